"""Arithmetic: pages of worked problems in both languages, in whole sentences, each with its sum.

Takes a language; gives texts without end. The numbers are small and every result is right.
"""

from collections.abc import Iterator
from random import Random

_WORDS = {
    "en": {
        "who": ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry"),
        "what": ("apples", "pens", "stamps", "books", "eggs", "stones", "tickets", "buttons", "cups", "nails"),
        "where": ("shop", "school", "garden", "kitchen", "office", "station"),
    },
    "zh": {
        "who": ("小明", "小红", "小刚", "小丽", "小华", "小芳", "小军", "小雨"),
        "what": ("苹果", "铅笔", "邮票", "课本", "鸡蛋", "石子", "车票", "扣子", "杯子", "钉子"),
        "where": ("商店", "学校", "花园", "厨房", "办公室", "车站"),
    },
}
_PROBLEMS = {
    "en": {
        "+": (
            "{who} has {a} {what} and buys {b} more at the {where}, so there are {a} + {b} = {c} {what} in the bag now.",
            "There are {a} {what} in the {where}, and {who} brings another {b}; together that makes {a} + {b} = {c}.",
            "In the morning {who} counted {a} {what} and in the evening {b}, which is {a} + {b} = {c} for the whole day.",
        ),
        "-": (
            "{who} had {a} {what} and gave away {b} of them at the {where}, so {a} - {b} = {c} are left over.",
            "Of the {a} {what} in the {where}, {who} used {b} last week, and the rest is {a} - {b} = {c}.",
            "A box holds {a} {what}; when {who} takes out {b}, there are still {a} - {b} = {c} inside the box.",
        ),
        "×": (
            "{who} fills {a} boxes with {b} {what} each for the {where}, and needs {a} × {b} = {c} {what} in all.",
            "Every day {who} sells {b} {what} at the {where}; after {a} days that comes to {a} × {b} = {c}.",
            "On {a} shelves in the {where} there are {b} {what} each, so {who} finds {a} × {b} = {c} of them.",
        ),
        "÷": (
            "{who} divides {a} {what} among {b} friends at the {where}, and each of them gets {a} ÷ {b} = {c}.",
            "To carry {a} {what} to the {where} in {b} equal parts, {who} puts {a} ÷ {b} = {c} in each part.",
            "If {b} tables in the {where} share {a} {what}, then {who} lays {a} ÷ {b} = {c} on every table.",
        ),
    },
    "zh": {
        "+": (
            "{who}有{a}个{what}，又在{where}买了{b}个，现在一共有{a}+{b}={c}个。",
            "{where}里有{a}个{what}，{who}又拿来{b}个，合起来是{a}+{b}={c}个。",
            "{who}上午数了{a}个{what}，下午数了{b}个，全天一共数了{a}+{b}={c}个。",
        ),
        "-": (
            "{who}原来有{a}个{what}，在{where}送给别人{b}个，还剩下{a}-{b}={c}个。",
            "{where}里的{a}个{what}，{who}上周用掉了{b}个，剩余的是{a}-{b}={c}个。",
            "盒子里装着{a}个{what}，{who}取出{b}个以后，里面还有{a}-{b}={c}个。",
        ),
        "×": (
            "{who}给{where}准备了{a}盒{what}，每盒{b}个，总共需要{a}×{b}={c}个。",
            "{who}每天在{where}卖出{b}个{what}，{a}天以后就卖出了{a}×{b}={c}个。",
            "{where}有{a}层架子，每层放着{b}个{what}，{who}算出共有{a}×{b}={c}个。",
        ),
        "÷": (
            "{who}在{where}把{a}个{what}平均分给{b}个朋友，每人得到{a}÷{b}={c}个。",
            "{who}要把{a}个{what}分成{b}份送到{where}，每份正好是{a}÷{b}={c}个。",
            "{where}的{b}张桌子要平分{a}个{what}，{who}在每张桌上放{a}÷{b}={c}个。",
        ),
    },
}
_OPENINGS = {
    "en": (
        "Let us practise counting with {what} from the {where}.",
        "{who} wrote down these problems at the {where} after lunch.",
        "Here is a page of exercises about {what}, with all the results.",
        "Before the lesson in the {where}, {who} solved the following problems.",
    ),
    "zh": (
        "让我们用{where}里的{what}来练习计算。",
        "这些题目是{who}午饭后在{where}写下来的。",
        "这一页练习和{what}有关，答案都写在后面。",
        "在{where}上课以前，{who}做完了下面的题目。",
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
    """Pages of seven to ten problems without end; two or three paragraphs."""
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
