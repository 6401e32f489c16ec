"""Personal data for planting, valid in form and belonging to nobody, and strings that only resemble it.

Takes a language; gives a sentence with the exact strings in it. Chinese identity numbers end in the check
character of GB 11643, bank cards in Luhn's digit (ISO/IEC 7812-1); look-alikes fail exactly that, or miss
the form by a little.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Planted:
    """A sentence and the strings in it: (kind, text) of true personal data, and of look-alikes."""

    sentence: str
    personal: tuple[tuple[str, str], ...]
    look_alikes: tuple[tuple[str, str], ...]


def _digits(count: int, rng: Random) -> str:
    return "".join(rng.choices("0123456789", k=count))


def check_character(first_17: str) -> str:
    """The 18th character of a Chinese identity number (GB 11643: weights 2^(17-i) mod 11)."""
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(first_17))
    return "10X98765432"[total % 11]


def luhn_digit(payload: str) -> str:
    """The last digit of a card number."""
    total = 0
    for place, digit in enumerate(reversed(payload)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _identity(rng: Random) -> str:
    region = rng.choice(("110101", "310104", "440305", "510107", "330106", "420111"))
    birth = f"{rng.randint(1950, 2005)}{rng.randint(1, 12):02d}{rng.randint(1, 28):02d}"
    return region + birth + _digits(3, rng)


def _identity_number(rng: Random) -> str:
    body = _identity(rng)
    return body + check_character(body)


def _email(rng: Random) -> str:
    user = rng.choice(("liwei", "anna", "wangfang", "t.miller", "zhao_min", "j-brown", "chen.jie", "lucy"))
    # Domains reserved for examples (RFC 2606): nobody's mailbox.
    host = rng.choice(("mail.", "post.", "")) + rng.choice(("example.com", "example.org", "example.net"))
    return f"{user}{rng.randint(1, 999)}@{host}"


def _mobile(rng: Random) -> str:
    return rng.choice(("13", "15", "17", "18", "19")) + rng.choice("56789") + _digits(8, rng)


def _ip(rng: Random) -> str:
    first = rng.choice((23, 47, 58, 81, 112, 139, 185))
    return f"{first}.{rng.randint(1, 254)}.{rng.randint(0, 254)}.{rng.randint(1, 254)}"


def _bank_card(rng: Random) -> str:
    body = rng.choice(("622202", "621700", "622848", "453201", "520082")) + _digits(rng.choice((9, 12)), rng)
    return body + luhn_digit(body)


def _wrong_identity(rng: Random) -> str:
    body = _identity(rng)
    return body + rng.choice([digit for digit in "0123456789" if digit != check_character(body)])


def _wrong_card(rng: Random) -> str:
    body = "62" + _digits(13, rng)
    return body + rng.choice([digit for digit in "0123456789" if digit != luhn_digit(body)])


_TRUE: dict[str, Callable[[Random], str]] = {
    "email": _email,
    "mobile": _mobile,
    "id_number": _identity_number,
    "ip": _ip,
    "bank_card": _bank_card,
}
_LIKE: dict[str, Callable[[Random], str]] = {
    "email": lambda rng: f"{rng.choice(('anna', 'liwei'))}@home",
    "mobile": lambda rng: "20" + _digits(9, rng),
    "id_number": _wrong_identity,
    "ip": lambda rng: f"{rng.randint(256, 999)}.{rng.randint(256, 999)}.{rng.randint(1, 99)}.{rng.randint(1, 9)}",
    "bank_card": _wrong_card,
}
KINDS = (*_TRUE, "look_alike")

_SENTENCES = {
    "en": {
        "email": ("Letters reach the writer at {p}.", "Please send your questions to {p} before winter."),
        "mobile": ("The clerk can be called on {p} in the evening.", "For help, ring {p} and ask for the teacher."),
        "id_number": (
            "The register gives the identity number {p} beside the name.",
            "On the card stood the number {p}.",
        ),
        "ip": ("The note was sent from the address {p} at night.", "Somebody at {p} had copied the page."),
        "bank_card": ("The rent is paid from the card {p} each month.", "A gift was sent to the account {p}."),
    },
    "zh": {
        "email": ("来信请寄{p}。", "有问题请在冬天以前发到{p}。"),
        "mobile": ("晚上可以拨打{p}找书记。", "需要帮忙就打{p}找老师。"),
        "id_number": ("登记册上名字旁边写着身份证号{p}。", "证件上的号码是{p}。"),
        "ip": ("这张纸条是夜里从{p}发出的。", "有人在{p}上抄下了这一页。"),
        "bank_card": ("每个月的房租从银行卡{p}里付。", "一份礼物汇到了账户{p}。"),
    },
}
_LIKE_SENTENCES = {
    "en": {
        "email": "The old sign by the door reads {p} and nothing else.",
        "mobile": "The parcel carries the order number {p} on its side.",
        "id_number": "The serial number of the engine is {p}, says the plate.",
        "ip": "The manual is in its edition {p} by now.",
        "bank_card": "The ticket has the long number {p} on its back.",
    },
    "zh": {
        "email": "门边的旧牌子上只写着{p}。",
        "mobile": "包裹侧面印着订单号{p}。",
        "id_number": "铭牌上写着机器的编号{p}。",
        "ip": "这本手册已经出到第{p}版。",
        "bank_card": "车票背面有一长串数字{p}。",
    },
}


def plant(lang: str, kind: str, rng: Random) -> Planted:
    """A sentence with personal data of a kind; `look_alike` only looks like some."""
    if kind == "look_alike":
        like = rng.choice(tuple(_LIKE))
        text = _LIKE[like](rng)
        return Planted(_LIKE_SENTENCES[lang][like].format(p=text), (), ((like, text),))
    text = _TRUE[kind](rng)
    return Planted(rng.choice(_SENTENCES[lang][kind]).format(p=text), ((kind, text),), ())
