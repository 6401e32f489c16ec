"""Junk pages of several kinds, in Chinese and English: pages that a crawl brings in and that are not worth training on.

Takes a language and a kind; gives an endless stream of texts. They are modelled on real junk, not
on any rule that drops it.
"""

from collections.abc import Callable, Iterator
from random import Random

_LINKS = {
    "en": "Home|About|Contact|Login|Sign up|Next|Previous|Cart|Help|Sitemap|News|Archive|Tags|Share|RSS|Top|Back|Search"
    "|Wishlist|Orders|Blog|FAQ|Jobs|Press|Terms|Privacy|Video|Photos|Forum|Games",
    "zh": "首页|关于|联系|登录|注册|下一页|上一页|购物车|帮助|地图|新闻|归档|标签|分享|订阅|顶部|返回|搜索|收藏|订单"
    "|博客|问答|招聘|媒体|条款|隐私|视频|图片|论坛|游戏",
}
_NOTICES = {
    "en": "We use cookies on {site} to improve your visit.|Please enable JavaScript to view {site}."
    "|By using {site} you accept our terms of use and our privacy policy.|Copyright {year} {site}. All rights reserved."
    "|Sign in or create an account to continue.|Subscribe to the {site} newsletter, edition {year}."
    "|Click here to read more.|This page was last updated in {year}.|Your cart at {site} is empty."
    "|Powered by {site} version {year}.|Share this page on social media.|Accept all cookies or manage settings.",
    "zh": "本网站{site}使用Cookie来改善您的访问体验。|使用{site}即表示您同意我们的服务条款和隐私政策。"
    "|版权所有©{year} {site}，保留所有权利。|请启用JavaScript以浏览{site}。|请登录或注册账号后继续。"
    "|订阅{site}{year}年邮件通讯。|点击此处阅读更多。|本页最后更新于{year}年。|您在{site}的购物车是空的。"
    "|由{site} {year}版提供技术支持。|分享到朋友圈。|接受全部Cookie或管理设置。",
}
_FRAGMENTS = {
    "en": "Page {n}|No results for {n}|Read more ({n})|Photo {n}|Posted {n} days ago|Error {n}|{n} comments",
    "zh": "第{n}页|没有找到{n}|更多（{n}）|图{n}|{n}天前|错误{n}|{n}条评论",
}
_SHOUTS = {
    "en": "Buy now and save {n} percent today!|Call the number {n} for a free gift!|Win {n} prizes in one click!",
    "zh": "立即购买，今天省{n}元！|点击领取第{n}份免费礼物！|一键赢取{n}个大奖！",
}
_MASH = {"en": "asdfghjklqwertyuiopzxcvbnm", "zh": "啊哦嗯哈呃咳咚哒嘟噜唔喔哼嘿asdfghjkl"}


def _mash(lang: str, rng: Random) -> str:
    words = ("".join(rng.choices(_MASH[lang], k=rng.randint(3, 14))) for _ in range(rng.randint(40, 120)))
    return (" " if lang == "en" else rng.choice(("", " "))).join(words)


def _menu(lang: str, rng: Random) -> str:
    links = rng.choices(_LINKS[lang].split("|"), k=rng.randint(30, 70))
    return rng.choice((" | ", "\n", " > ", "\n* ")).join(
        f"{link} {rng.randint(1, 99)}" if rng.random() < 0.3 else link for link in links
    )


def _repeated(lang: str, rng: Random) -> str:
    line = rng.choice(_SHOUTS[lang].split("|")).format(n=rng.randint(10, 9999))
    return "\n".join([line] * rng.randint(12, 40))


def _symbols(lang: str, rng: Random) -> str:
    signs = "#$%^&*+=<>{}[]~@/\\|" if lang == "en" else "★☆◆◇■□▲△●○※→←↑↓【】《》"
    words = _LINKS[lang].split("|")
    parts = (
        "".join(rng.choices(signs, k=rng.randint(4, 20))) + rng.choice(("", "", rng.choice(words))) for _ in range(60)
    )
    return " ".join(parts)


def _fragment(lang: str, rng: Random) -> str:
    return rng.choice(_FRAGMENTS[lang].split("|")).format(n=rng.randint(1, 99_999))


def _boilerplate(lang: str, rng: Random) -> str:
    site = "".join(rng.choices("abcdefghiklmnoprstuvw", k=rng.randint(4, 9))) + rng.choice((".com", ".net", ".org"))
    notices = rng.sample(_NOTICES[lang].split("|"), rng.randint(6, 11))
    return "\n".join(notice.format(site=site, year=rng.randint(1998, 2026)) for notice in notices)


_KINDS: dict[str, Callable[[str, Random], str]] = {
    "keyboard_mash": _mash,
    "menu": _menu,
    "repeated_lines": _repeated,
    "symbol_soup": _symbols,
    "fragment": _fragment,
    "boilerplate": _boilerplate,
}
KINDS = tuple(_KINDS)


def junk(lang: str, kind: str, rng: Random) -> Iterator[str]:
    """Endless pages of one kind, no two the same."""
    seen: set[str] = set()
    while True:
        text = _KINDS[kind](lang, rng)
        if text not in seen:
            seen.add(text)
            yield text
