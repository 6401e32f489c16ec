"""Arithmetic: pages of worked problems in both languages, in complete sentences, each with its result.

Takes a language; gives an endless stream of texts. The numbers are small and every result is right.
"""

from collections.abc import Iterator
from random import Random

_WORDS = {
    "en": {
        "who": ("the teacher", "the farmer", "the doctor", "the sailor", "the guard", "the singer"),
        "what": ("books", "cups", "letters", "chairs", "hats", "lamps", "bells", "flags"),
        "where": ("school", "market", "house", "mill", "station", "well"),
    },
    "zh": {
        "who": ("老师", "农夫", "医生", "水手", "门卫", "歌手"),
        "what": ("杯子", "椅子", "帽子", "桌子", "铃", "灯", "果子", "房子"),
        "where": ("学校", "集市", "家里", "磨坊", "车站", "店里"),
    },
}
_PROBLEMS = {
    "en": {
        "+": (
            "At the {where} {who} has {a} {what} and buys {b} more, so now there are {a} + {b} = {c}.",
            "There are {a} {what} at the {where}, and {who} takes {b} more there; that makes {a} + {b} = {c}.",
            "One day {who} saw {a} {what} at the {where} and then {b} more, which is {a} + {b} = {c} in all.",
        ),
        "-": (
            "At the {where} {who} had {a} {what} and gave {b} of them to guests, so there are still {a} - {b} = {c}.",
            "There were {a} {what} at the {where}; when {who} took {b} of them home, {a} - {b} = {c} were left.",
            "Of {a} {what} at the {where}, {who} lost {b} last week, and the rest is {a} - {b} = {c}.",
        ),
        "×": (
            "On each of {a} tables at the {where} {who} sees {b} {what}, which makes {a} × {b} = {c} in all.",
            "Every day {who} makes {b} {what} at the {where}; after {a} days there are {a} × {b} = {c}.",
            "For {a} guests at the {where} {who} buys {b} {what} each, and that makes {a} × {b} = {c}.",
        ),
        "÷": (
            "At the {where} {who} shares {a} {what} with {b} people, so each of them has {a} ÷ {b} = {c}.",
            "If {b} tables at the {where} share {a} {what}, then {who} sees {a} ÷ {b} = {c} on each.",
            "In {b} days {who} makes {a} {what} at the {where}, which is {a} ÷ {b} = {c} every day.",
        ),
    },
    "zh": {
        "+": (
            "{where}有{a}个{what}，{who}又买了{b}个，一共有{a}+{b}={c}个。",
            "{who}早上看到{a}个{what}，晚上在{where}又看到{b}个，一共是{a}+{b}={c}个。",
            "{who}有{a}个{what}，去{where}又带回{b}个，这就有{a}+{b}={c}个。",
        ),
        "-": (
            "{who}有{a}个{what}，在{where}送人{b}个，还有{a}-{b}={c}个。",
            "{where}有{a}个{what}，{who}用了{b}个，后来只有{a}-{b}={c}个。",
            "{who}买了{a}个{what}，在{where}送出{b}个，家里还有{a}-{b}={c}个。",
        ),
        "×": (
            "{where}来了{a}个人，{who}给每人{b}个{what}，一共要{a}×{b}={c}个。",
            "{who}每天在{where}做{b}个{what}，{a}天一共做{a}×{b}={c}个。",
            "{where}有{a}个门，每个门前有{b}个{what}，{who}知道一共有{a}×{b}={c}个。",
        ),
        "÷": (
            "{who}在{where}把{a}个{what}送给{b}个朋友，每人得到{a}÷{b}={c}个。",
            "{who}在{where}{b}天做了{a}个{what}，每天做{a}÷{b}={c}个。",
            "{where}有{a}个{what}，{b}个人每人一样多，{who}说每人有{a}÷{b}={c}个。",
        ),
    },
}
_OPENINGS = {
    "en": (
        "Today {who} asks about {what} at the {where}.",
        "One day {who} wrote these lines at the {where}.",
        "This page is about {what}, and {who} wrote it at the {where}.",
        "Before class at the {where}, {who} looks at {what}.",
    ),
    "zh": (
        "今天{who}在{where}问起{what}的事。",
        "这些是{who}在{where}写下的。",
        "这一页讲的是{what}，是{who}写的。",
        "上课以前，{who}在{where}写了这些。",
    ),
}


def _numbers(sign: str, rng: Random) -> tuple[int, int, int]:
    if sign == "+":
        a, b = rng.randint(2, 99), rng.randint(2, 99)
        return a, b, a + b
    if sign == "-":
        b, c = rng.randint(2, 60), rng.randint(1, 60)
        return b + c, b, c
    b, c = rng.randint(2, 9), rng.randint(2, 12)
    return (c, b, b * c) if sign == "×" else (b * c, b, c)


def arithmetic(lang: str, rng: Random) -> Iterator[str]:
    """Endless pages of seven to ten problems; two or three paragraphs."""
    gap = " " if lang == "en" else ""
    while True:
        sentences = [rng.choice(_OPENINGS[lang])]
        numbers: list[tuple[int, int, int]] = [(0, 0, 0)]
        for _ in range(rng.choice((7, 8, 9, 10))):
            sign = rng.choice("+-×÷")
            sentences.append(rng.choice(_PROBLEMS[lang][sign]))
            numbers.append(_numbers(sign, rng))
        filled = []
        for template, (a, b, c) in zip(sentences, numbers, strict=True):
            slots = {key: rng.choice(words) for key, words in _WORDS[lang].items()}
            filled.append(template.format(a=a, b=b, c=c, **slots))
        cut = rng.randint(3, 5)
        yield gap.join(filled[:cut]) + "\n\n" + gap.join(filled[cut:])
