"""Documents that nobody wants, made by rule at run time from real ones and from word lists of our own.

Takes real texts and a seed; gives pages by kind: gibberish, boilerplate, other languages, and edited copies of known
similarity. No rule was tuned on these: they are a second truth beside the labelled documents.
"""

import base64
import random
from collections.abc import Callable, Iterator, Sequence

from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.sample_world import junk
from xmodel_core.sample_world.foreign import LANGUAGES, foreign

_words = str.split
SHINGLE = 5
KEYS = {"en": ("qwertyuiop", "asdfghjkl", "zxcvbnm"), "zh": ("的我了啊", "哈哈呵嘿", "噢喔哦额")}
ENTRIES = {
    "en": "Home|Shop all|New in|Best sellers|Gift cards|Store locator|Size guide|Track order|My account|Wish "
    "list|Basket"
    "|Checkout|Customer care|Returns|Delivery|Careers|Investors|Affiliates|Press room|Blog|Events|Videos|Downloads|FAQ"
    "|Login|Register|English|Deutsch|Back to top|Site map|Advertise|Newsletter|Facebook|Twitter|YouTube|Instagram",
    "zh": "首页|全部商品|新品上市|热销排行|礼品卡|门店查询|尺码表|订单查询|我的账户|心愿单|购物袋|结算|客户服务|退换货"
    "|配送说明|人才招聘|投资者关系|加盟合作|媒体中心|博客|活动|视频|下载|常见问题|登录|注册|简体中文|English|回到顶部"
    "|网站地图|广告服务|电子报|微博|微信|抖音|哔哩哔哩",
}
NOTICES = {
    "en": "This website uses cookies to ensure you get the best experience.|By continuing to browse you agree to "
    "our use of "
    "cookies.|Manage consent preferences|Strictly necessary cookies are always active.|Read our privacy policy and "
    "terms of "
    "service.|© {year} {site} Ltd. All rights reserved.|Please enable JavaScript in your browser to use this "
    "site.|Sign up "
    "for our newsletter and never miss an offer.|Log in or create a free account to continue.|Your session has "
    "expired, "
    "please log in again.|Follow us on Facebook, Twitter and Instagram.|Powered by {site}.|Skip to main "
    "content|Accept all"
    "|Reject all|Contact us|About us|Share this article|Print this page|Back to top",
    "zh": "本站使用Cookie以提升您的浏览体验。|继续浏览即表示您同意我们使用Cookie。|请阅读我们的隐私政策和服务条款。"
    "|版权所有 © {year} {site} 保留所有权利|未经授权禁止转载|京ICP备{year}0101号|京公网安备 1101050200{year}号"
    "|请开启浏览器的JavaScript功能。|登录后可查看更多内容|扫一扫关注微信公众号|关于我们 联系我们 加入我们"
    "|违法和不良信息举报电话：见网站首页|友情链接|责任编辑：{site}|上一篇 下一篇|返回顶部|技术支持：{site}"
    "|免责声明：本文来自网络，如有侵权请联系我们。|点击查看更多|分享到：微信 微博 QQ空间",
}
KEYWORDS = {
    "en": _words(
        "cheap best buy online discount sale price review 2024 near me free shipping coupon code top rated "
        "wholesale shoes "
        "watches handbags insurance loans casino poker mortgage lawyer dentist hotel flights vitamins weight loss"
    ),
    "zh": _words(
        "正品 包邮 特价 代理 批发 厂家直销 价格 多少钱 哪家好 排行榜 十大品牌 官网 加盟 优惠券 减肥 美白 祛斑 贷款 "
        "信用卡 装修 搬家 二手车 租房 培训班 驾校 月嫂 保姆 开锁 疏通 白癜风 手表 女装"
    ),
}
# Everyday words, from which sentences are strung: they need not make sense to be distinguished.
FOREIGN = {
    "it": "il la di che non per una sono con del è anche più come ma quando questo tutti dopo casa giorno anni "
    "sempre molto "
    "perché tempo città stato fare",
    "es": "el la de que y en los se del las por un para con no una su al lo como más pero sus le ya este cuando muy "
    "sin sobre "
    "ciudad años también",
    "pt": "o a de que e do da em um para com não uma os no se na por mais as dos como mas foi ao ele das tem seu "
    "sua ou quando "
    "muito também cidade anos",
    "pl": "i w nie na się że z do to jest jak ale po co tak za od jego przez był tylko dla przy może jeszcze gdy "
    "już bardzo "
    "który miasto roku także",
    "nl": "de van het een en in is dat op te zijn met voor niet aan er om ook als dan maar bij nog naar uit worden "
    "deze wordt "
    "stad jaar heeft zeer",
    "tr": "bir ve bu da de için çok ile ne gibi daha olarak kadar sonra ama var en her şey olan ben o mi değil yıl "
    "şehir zaman "
    "gün ev iyi büyük",
    "vi": "và của là có cho không được một trong người những với các này đã khi để từ đến cũng như về năm thành phố "
    "nhiều ra "
    "vào lại còn",
    "sv": "och att det i en som är av för den till inte med har de på om ett men var sig så vi från när man kan nu "
    "stad år "
    "mycket också efter",
    "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena bisa ada mereka lebih "
    "kota tahun "
    "telah oleh sebagai hari orang",
    "uk": "і в не на що я з до це як та він але по за від так його про ще тільки коли дуже місто рік також після "
    "який бути "
    "цей вона",
    "el": "και το να του η της με που την από για είναι στο δεν τα θα ένα οι μια τον πολύ όταν πόλη χρόνια αυτό "
    "μετά επίσης "
    "όλα",
    "ar": "في من على أن إلى عن هذا كان التي مع ما هو لا كل بعد هذه قد بين ذلك حتى لم المدينة سنة يوم كثيرا أيضا الناس",
    "he": "של את על לא הוא זה עם גם כי אם היא כל אני יש היה מה או אבל רק עוד בין אחרי עיר שנה יום מאוד אנשים",
    "hi": "के में है की से को और का एक पर यह हैं ने कि भी इस लिए हो कर तो नहीं साथ था शहर साल बहुत लोग समय",
    "th": "ที่ ใน และ เป็น มี ของ ได้ จะ ไม่ ว่า ให้ กับ การ นี้ มา ไป คน แต่ ก็ อยู่ ปี เมือง มาก วัน",
    "ja": "この町では 毎年 春になると 川のそばで 大きな お祭りが 開かれます 人々は 歌を 歌いながら 古い道を 歩いて "
    "丘の上の 神社まで 行きます それから みんなで ごはんを 食べて 夜には 花火を 見ます とても にぎやかです",
    "ko": "이 마을에서는 해마다 봄이 되면 강가에서 큰 잔치가 열립니다 사람들은 노래를 부르며 오래된 길을 걸어서 "
    "언덕 위의 절까지 갑니다 그리고 다 함께 밥을 먹고 밤에는 불꽃을 봅니다 아주 즐겁습니다",
}


def _letters(text: str, lang: str, rng: random.Random) -> str:
    if lang == "zh":
        return "".join(chr(rng.randrange(0x4E00, 0x9FA0)) for _ in range(rng.randint(150, 400)))
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 11))) for _ in range(90))


def _shuffled(text: str, lang: str, rng: random.Random) -> str:
    signs = [sign for sign in text[:1500] if not sign.isspace()]
    rng.shuffle(signs)
    return "".join(signs) if lang == "zh" else "".join(sign + " " * (rng.random() < 0.18) for sign in signs)


def _mash(text: str, lang: str, rng: random.Random) -> str:
    words = ("".join(rng.choices(rng.choice(KEYS[lang]), k=rng.randint(4, 12))) for _ in range(60))
    return ("" if lang == "zh" else " ").join(words)


def _mojibake(text: str, lang: str, rng: random.Random) -> str:
    """UTF-8 read as GBK, GBK read as UTF-8 or Latin-1; English in UTF-16 or EBCDIC read as Latin-1 or as the other."""
    text = text[:2000]
    if lang == "en":
        written, read = rng.choice((("utf-16", "latin-1"), ("utf-16-be", "utf-16-le"), ("cp500", "latin-1")))
        return text.encode(written, "replace").decode(read, "replace")
    written, read = rng.choice((("utf-8", "gbk"), ("gb18030", "utf-8"), ("gb18030", "latin-1"), ("utf-8", "latin-1")))
    return text.encode(written, "replace").decode(read, "replace")


def _flipped(text: str, lang: str, rng: random.Random) -> str:
    """Every other character with its high bit set: no known program does this."""
    return "".join(chr(ord(sign) ^ 0x80) if rng.random() < 0.5 and ord(sign) < 0x80 else sign for sign in text[:2000])


def _base64(text: str, lang: str, rng: random.Random) -> str:
    packed = base64.b64encode(text[:1200].encode()).decode()
    return "\n".join(packed[begin : begin + 76] for begin in range(0, len(packed), 76))


def _hexadecimal(text: str, lang: str, rng: random.Random) -> str:
    packed = text[:600].encode().hex()
    return " ".join(packed[begin : begin + 4] for begin in range(0, len(packed), 4))


def _menu(text: str, lang: str, rng: random.Random) -> str:
    entries = rng.sample(ENTRIES[lang].split("|"), rng.randint(14, 32))
    return rng.choice(("\n", " | ", " > ", "\n- ", " · ")).join(entries)


def _notices(text: str, lang: str, rng: random.Random) -> str:
    site = "".join(rng.choices("abdegiklmnorstu", k=6))
    notices = rng.sample(NOTICES[lang].split("|"), rng.randint(7, 13))
    return "\n".join(notice.format(year=rng.randint(2001, 2025), site=site) for notice in notices)


def _links(text: str, lang: str, rng: random.Random) -> str:
    entries = rng.sample(ENTRIES[lang].split("|"), 18)
    address = ("".join(rng.choices("abcdefghij/", k=12)) for _ in entries)
    return "\n".join(f"{entry} https://www.{next(address)}.com" for entry in entries)


def _keywords(text: str, lang: str, rng: random.Random) -> str:
    joined = {"en": (", ", " ", " | "), "zh": ("，", " ", "、", "|")}[lang]
    return rng.choice(joined).join(rng.choices(KEYWORDS[lang], k=rng.randint(50, 140)))


def _teasers(text: str, lang: str, rng: random.Random) -> str:
    size = 14 if lang == "zh" else 45
    cuts = [rng.randrange(max(1, len(text) - size)) for _ in range(14)]
    return "\n".join(text[cut : cut + size].replace("\n", " ").strip() + "..." for cut in cuts)


GIBBERISH: dict[str, Callable[[str, str, random.Random], str]] = {
    "random letters": _letters,
    "shuffled characters": _shuffled,
    "keyboard mash": _mash,
    "wrong decoding": _mojibake,
    "base64": _base64,
    "hexadecimal": _hexadecimal,
    "flipped bits": _flipped,
}
BOILERPLATE: dict[str, Callable[[str, str, random.Random], str]] = {
    "menus": _menu,
    "notices": _notices,
    "link lists": _links,
    "keyword lists": _keywords,
    "teaser lists": _teasers,
}


def junk_pages(texts: Sequence[str], lang: str, count: int) -> Iterator[tuple[str, str, str]]:
    """(family, kind, page): `count` of every kind, made of these texts, and the sample world's own junk."""
    for family, kinds in (("gibberish", GIBBERISH), ("boilerplate", BOILERPLATE)):
        for kind, make in kinds.items():
            rng = random.Random(f"{kind} {lang}")
            for number in range(count):
                if (kind, lang) != ("flipped bits", "zh"):
                    yield family, kind, make(texts[number % len(texts)], lang, rng)
    for kind in junk.KINDS:
        family = "boilerplate" if kind in ("menu", "boilerplate", "fragment") else "gibberish"
        written = junk.junk(lang, kind, random.Random(f"{kind} {lang}"))
        for _ in range(count):
            yield family, f"sample world: {kind}", next(written)


def foreign_pages(count: int) -> Iterator[tuple[str, str]]:
    """(language, page) in every language of FOREIGN and of the sample world."""
    for lang, words in FOREIGN.items():
        rng = random.Random(lang)
        gap = "" if lang in ("ja", "th") else " "
        for _ in range(count):
            sentences = [gap.join(rng.choices(_words(words), k=rng.randint(6, 14))) for _ in range(rng.randint(3, 9))]
            stop = "。" if lang == "ja" else ". "
            yield lang, stop.join(sentence[0].upper() + sentence[1:] for sentence in sentences) + stop.strip()
    for lang in LANGUAGES:
        written = foreign(lang, random.Random(lang))
        for _ in range(count):
            yield f"{lang}, sample world", next(written)


def shingles(text: str) -> set[tuple[int, ...]]:
    """The set of runs of five words, or Chinese characters, case, width and punctuation folded."""
    hashes = make_batch([text]).words.hashes.tolist()
    return {tuple(hashes[at : at + SHINGLE]) for at in range(len(hashes) - SHINGLE + 1)}


def jaccard(one: str, other: str) -> float:
    """Similarity of two texts' shingles, 0 to 1."""
    a, b = shingles(one), shingles(other)
    return len(a & b) / max(len(a | b), 1)


def _pieces(text: str, lang: str) -> list[str]:
    return list(text) if lang == "zh" else text.split(" ")


def _substitute(text: str, other: str, lang: str, share: float, rng: random.Random) -> str:
    pieces, other_pieces = _pieces(text, lang), _pieces(other, lang)
    # Five shingles hold a word, so a fifth of the changes does.
    return ("" if lang == "zh" else " ").join(
        rng.choice(other_pieces) if rng.random() < share / 8 else piece for piece in pieces
    )


def _delete(text: str, other: str, lang: str, share: float, rng: random.Random) -> str:
    pieces = _pieces(text, lang)
    return ("" if lang == "zh" else " ").join(piece for piece in pieces if rng.random() >= share / 7)


def _drop_sentences(text: str, other: str, lang: str, share: float, rng: random.Random) -> str:
    stop = "。" if lang == "zh" else ". "
    return stop.join(sentence for sentence in text.split(stop) if rng.random() >= share)


def _surround(text: str, other: str, lang: str, share: float, rng: random.Random) -> str:
    more = other[: int(len(text) * share / (1 - share))]
    return f"{more}\n\n{text}" if rng.random() < 0.5 else f"{text}\n\n{more}"


def _truncate(text: str, other: str, lang: str, share: float, rng: random.Random) -> str:
    return text[: int(len(text) * (1 - share))]


def _format(text: str, other: str, lang: str, share: float, rng: random.Random) -> str:
    marked = "\n".join(f"> {line.upper()}" if line.strip() else line for line in text.split("\n"))
    return _substitute(marked, other, lang, share, rng)


EDITS: dict[str, Callable[[str, str, str, float, random.Random], str]] = {
    "words substituted": _substitute,
    "words deleted": _delete,
    "sentences dropped": _drop_sentences,
    "boilerplate added": _surround,
    "truncated": _truncate,
    "formatting changed": _format,
}
