"""Signs and phrases of a site's own text, which are on every page and belong to no document."""

# Signs between the entries of a menu in one line.
DIVIDERS = ">|»›·•→｜"
# Notices of a site that are on every page and belong to no text: C4's policy and script notices (Raffel et al. 2020,
# section 2.2), the prompts that RefinedWeb's line rules name (Penedo et al. 2023, appendix G), and their Chinese
# counterparts, among them the registration numbers (ICP 备案) that pages in China must carry.
NOTICES = (
    "javascript|cookie|cookies|privacy policy|terms of use|terms of service|all rights reserved|copyright|sign in"
    "|sign up|log in|login|subscribe|newsletter|powered by|click here|read more|last updated|follow us|contact us"
    "|share this|shopping cart|your cart"
    "|版权所有|保留所有权利|隐私政策|服务条款|使用条款|免责声明|备案号|公网安备|未经授权|转载请注明|请登录|登录|注册"
    "|点击此处|点击这里|点击查看|扫一扫|公众号|上一篇|下一篇|返回顶部|联系我们|关于我们|友情链接|加入收藏|购物车"
    "|技术支持|最后更新|责任编辑|分享到|邮件订阅|版權所有|隱私政策|服務條款|登入|註冊|聯絡我們|關於我們|購物車"
)
