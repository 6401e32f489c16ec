"""Quality rules: for each one a document that must go, under that rule's name, and a near one that must stay."""

import base64
import random
import re
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from xmodel_core.corpus.config import ChineseRules, CodeRules, CorpusConfig, EnglishRules, LineLimits
from xmodel_core.corpus.measure.features import features
from xmodel_core.corpus.rules import KEPT, chinese, code, english, judge
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.corpus.text.language import detect

Text = Callable[..., str]
Example = tuple[str, str]
"""A document that the rule must drop, and one that must stay."""

SETS: dict[str, Sequence[Callable[..., np.ndarray]]] = {
    "en": english.RULES,
    "zh": chinese.RULES,
    "code": code.RULES,
}
BROKEN = "\ufffd\ue000\x07"
MENU = ["Home", "About", "Products", "Price list", "Opening hours", "Gallery", "Team", "Jobs", "Press", "Map"]
菜单 = ["首页", "新闻中心", "产品", "价格表", "营业时间", "图片", "团队", "招聘", "地图", "留言板"]
NOTICES = [
    "This site uses cookies.",
    "Please enable JavaScript to go on.",
    "Log in to leave a comment here.",
    "Subscribe to our newsletter.",
    "Copyright 2019, all rights reserved.",
    "Read our privacy policy and terms of use.",
]
提示 = [
    "请登录后再发表评论。",
    "关于我们，联系我们。",
    "版权所有，未经授权不得转载。",
    "隐私政策。",
    "扫一扫关注公众号。",
]
_words = str.split
WORDS = _words(
    "lantern harbour violin orchard ladder kitchen painter valley tunnel meadow barrel candle printer station"
)
SMALL_WORDS = _words("of to in it is he we do go so no my up at by or as an if me us be")


def figures(lines: int) -> str:
    """A table without letters."""
    rng = random.Random(lines)
    return "\n".join(" ".join(f"{rng.randrange(10**6)}" for _ in range(8)) for _ in range(lines))


def encoded(size: int) -> str:
    """Runs of 60 letters and digits that are no words."""
    packed = base64.b32encode(random.Random(size).randbytes(size)).decode().rstrip("=").lower()
    return "\n".join(packed[begin : begin + 60] for begin in range(0, len(packed), 60))


def every(words: Sequence[str], count: int, seed: int = 0) -> list[str]:
    """`count` of the words, drawn at random."""
    return random.Random(seed).choices(words, k=count)


def at_length(text: Text, lang: str, words: int) -> str:
    """A text of this many words or Chinese characters that never repeats itself."""
    rng = random.Random(words)
    if lang == "zh":
        known = sorted({character for character in text("zh", 200) if character.isalpha()})
        return (
            text("zh", 30) + "".join(c + "，" * (rng.random() < 0.1) for c in rng.choices(known, k=words - 400)) + "。"
        )
    syllables = [a + b for a in "bdfglmnprst" for b in ("a", "e", "i", "on", "er")]
    made = ("".join(rng.choices(syllables, k=3)) for _ in range(words // 2))
    return text("en", 12) + " " + " ".join(f"{rng.choice(SMALL_WORDS)} {word}" for word in made) + "."


def divided(entries: Sequence[str], sign: str) -> str:
    return f" {sign} ".join(entries)


def interleaved(text: str, insert: str, after: int) -> str:
    """A text with something put in after that many words."""
    words = text.split(" ")
    return " ".join(f"{word} {insert}" if number % after == after - 1 else word for number, word in enumerate(words))


def rare(count: int) -> str:
    """Rare Chinese characters, as a wrong decoding leaves them."""
    return "".join(chr(0x3400 + number) for number in random.Random(1).sample(range(6000), count))


ENGLISH: dict[str, Callable[[Text], Example]] = {
    "too_short": lambda text: ("The ferry leaves at noon.", text("en", 2)),
    "too_long": lambda text: (at_length(text, "en", 100_200), at_length(text, "en", 99_000)),
    "broken_decoding": lambda text: (text("en") + BROKEN * 8, text("en") + BROKEN),
    "symbols: signs": lambda text: (interleaved(text("en"), "★☆", 2), interleaved(text("en"), "★", 12)),
    "symbols: hash signs": lambda text: (interleaved(text("en"), "#", 3), interleaved(text("en"), "#", 30)),
    "few_letters: a table": lambda text: (
        f"{text('en', 2)}\n\n{figures(12)}",
        f"{text('en', 12)}\n\n{figures(2)}",
    ),
    "few_letters: mathematics": lambda text: (
        "\n".join(f"f({n}) = {n * n} + {n} = {n * n + n} > {n * 7}" for n in range(11, 40)),
        "\n".join(f"Let f of {n} be {n * n} + {n}, so the sum is {n * n + n} and we are done." for n in range(11, 23)),
    ),
    "menu: lines": lambda text: ("\n".join(MENU), "\n".join(MENU[:4]) + "\n" + text("en", 8)),
    "menu: one line": lambda text: (divided(MENU * 2, ">"), divided(MENU[:4], ">") + "\n" + text("en", 8)),
    "site_notices": lambda text: (
        "\n".join(NOTICES) + "\n" + text("en", 2),
        "\n".join(NOTICES) + "\n" + text("en", 16),
    ),
    "site_notices: of few kinds": lambda text: (
        "\n".join(NOTICES * 2),
        "\n".join(f"Bake the {size} cookies {place}." for size, place in zip(WORDS[:6], WORDS[6:12], strict=True)),
    ),
    "bullet_list": lambda text: (
        "\n".join("* " + s for s in text("en", 16).replace("\n\n", " ").split(". ")),
        text("en", 4) + "\n" + "\n".join("* " + s for s in text("en", 8).replace("\n\n", " ").split(". ")),
    ),
    "cut_off_lines": lambda text: (
        "\n".join(f"{line}…" for line in text("en", 40).split("\n\n")),
        text("en", 40) + "…",
    ),
    "cut_off_lines: dots": lambda text: (
        "\n".join(f"{line}..." for line in text("en", 40).split("\n\n")),
        text("en", 40) + "...",
    ),
    "link_list": lambda text: (
        "\n".join(f"See this at https://a.test/{n} or there." for n in every(WORDS, 12)),
        text("en") + " See https://a.test/one and https://a.test/two for the rest.",
    ),
    "repeated_lines": lambda text: (
        "\n".join([text("en", 4, 1)] * 3 + [text("en", 4, 2)]),
        "\n".join(text("en", 4, seed) for seed in range(4)),
    ),
    "repeated_phrase": lambda text: (
        " ".join(f"Buy the best shoes {word} now and be happy." for word in every(WORDS, 30)),
        "Buy the best shoes now. " + text("en", 30) + " Buy the best shoes now.",
    ),
    "repeated_passages": lambda text: (
        " ".join(text("en", 5, seed).replace("\n\n", " ") for seed in (1, 2, 3, 4, 1, 5, 2, 3)),
        " ".join(text("en", 5, seed).replace("\n\n", " ") for seed in (1, 2, 3, 4, 5, 6, 7, 8)),
    ),
    "word_length: long on average": lambda text: (
        " ".join(every(["institutionalization", "incomprehensibilities", "of", "counterrevolutionary"], 60)),
        text("en") + " Institutionalization is incomprehensible to the counterrevolutionary.",
    ),
    "word_length: encoded data": lambda text: (
        text("en", 8) + "\n" + encoded(300),
        text("en", 20) + "\n" + encoded(35),
    ),
    "word_length: short on average": lambda text: (
        " ".join(every(SMALL_WORDS, 60)),
        text("en", 9) + " The answers are a, c, b, d, e and a.",
    ),
    "gibberish": lambda text: (
        " ".join("".join(random.Random(n).choices("bcdfghjklmnpqrstvwxz", k=3 + n % 6)) for n in range(80)),
        text("en", 8) + " The spies wrote xkcd qwrt zzpf, and nobody knew what it meant.",
    ),
    "gibberish: all vowels": lambda text: (
        " ".join("".join(random.Random(n).choices("aeiouaeiouy", k=3 + n % 6)) + "l" for n in range(80)),
        text("en", 8) + " Aaaa, oooo, eeee, said the ghost.",
    ),
    "no_function_words": lambda text: (
        " ".join(random.Random(5).sample(WORDS * 5, 60)),
        text("en", 6) + " Keywords: " + ", ".join(WORDS) + ".",
    ),
}
CHINESE: dict[str, Callable[[Text], Example]] = {
    "too_short": lambda text: ("大桥通车了", text("zh", 1)),
    "too_long": lambda text: (at_length(text, "zh", 201_000), at_length(text, "zh", 199_000)),
    "few_chinese_characters": lambda text: (
        "Zuótiān wǒmen yīqǐ qù le shūdiàn, mǎi le yī běn shū, 然后 jiù huí jiā le, lùshang hěn rènao.",
        text("zh", 4) + "Zuótiān wǒmen qù le shūdiàn.",
    ),
    "punctuation": lambda text: (
        "".join(f"{c}，。、！" for c in text("zh", 6) if c.isalpha()),
        text("zh", 6) + "！！！，，，",
    ),
    "broken_decoding": lambda text: (text("zh") + BROKEN * 8, text("zh") + BROKEN[:1]),
    "symbols: signs": lambda text: (text("zh").replace("。", "★☆★☆★"), text("zh") + "★"),
    "symbols: ellipses": lambda text: (text("zh").replace("，", "……x……y……"), text("zh") + "可是……"),
    "few_letters": lambda text: (
        text("zh", 3) + "\n" + figures(8),
        text("zh", 12) + "\n" + figures(2),
    ),
    "menu: lines": lambda text: ("\n".join(菜单), "\n".join(菜单[:4]) + "\n" + text("zh", 8)),
    "menu: one line": lambda text: (divided(菜单 * 2, ">"), divided(菜单[:4], ">") + "\n" + text("zh", 8)),
    "site_notices": lambda text: (
        "\n".join(提示) + "\n" + text("zh", 1),
        "\n".join(提示) + "\n" + text("zh", 12),
    ),
    "bullet_list": lambda text: (
        "\n".join("· " + s for s in text("zh", 16).replace("\n\n", "").split("。")[:-1]),
        text("zh", 4) + "\n" + "\n".join("· " + s for s in text("zh", 8).replace("\n\n", "").split("。")[:-1]),
    ),
    "cut_off_lines": lambda text: (
        "\n".join(f"{line}…" for line in text("zh", 40).split("\n\n")),
        text("zh", 40) + "…",
    ),
    "link_list": lambda text: (
        "\n".join(f"{name}：https://a.test/{n}，请看。" for n, name in enumerate(菜单)),
        text("zh") + "请看 https://a.test/one 和 https://a.test/two。",
    ),
    "repeated_lines": lambda text: (
        "\n".join([text("zh", 4, 1)] * 3 + [text("zh", 4, 2)]),
        "\n".join(text("zh", 4, seed) for seed in range(4)),
    ),
    "repeated_phrase": lambda text: (
        "".join(f"快来买最便宜的鞋子吧{word}。" for word in every(菜单, 40)),
        "快来买最便宜的鞋子吧。" + text("zh", 30) + "快来买最便宜的鞋子吧。",
    ),
    "repeated_passages": lambda text: (
        "".join(text("zh", 6, seed).replace("\n\n", "") for seed in (1, 2, 3, 4, 1, 5, 2, 3, 1, 4, 2)),
        "".join(text("zh", 6, seed).replace("\n\n", "") for seed in range(9)),
    ),
    "gibberish": lambda text: (text("zh", 2) + rare(60), text("zh", 12) + rare(6)),
    "gibberish: struck keys": lambda text: (
        "".join(every([*"啊哈嘿哦呵"], 200)) + "。",
        text("zh", 6) + "哈哈哈哈哈哈！",
    ),
    "menu: with figures": lambda text: (
        "\n".join(f"{name} {number * 7}" for number, name in enumerate(菜单 * 2)),
        text("zh", 8) + "\n" + "\n".join(f"{name} {number * 7}" for number, name in enumerate(菜单[:4])),
    ),
    "no_function_characters: without punctuation": lambda text: (
        " ".join(
            every(
                _words(
                    "正品 包邮 特价 代理 批发 厂家 价格 加盟 优惠 减肥 美白 贷款 装修 搬家 租房 培训 保姆 手表 一流"
                ),
                80,
            )
        ),
        text("zh", 12).replace("，", " ").replace("。", " "),
    ),
    "random_order": lambda text: (
        "".join(random.Random(5).sample(page := text("zh", 30).replace("\n", ""), len(page))),
        text("zh", 30).replace("\n", ""),
    ),
    "random_order: verse": lambda text: (
        "".join(random.Random(6).sample(page := text("zh", 30).replace("\n", ""), len(page))),
        re.sub("(.{14})", r"\1。\n", "".join(random.Random(6).sample(page := text("zh", 30), len(page)))),
    ),
    "no_function_characters": lambda text: (
        "、".join(
            random.Random(7).sample([a + b for a in "红黄蓝绿黑白紫灰粉橙金银" for b in "鞋帽裤伞杯碗灯桌椅床柜箱"], 64)
        )
        + "。",
        text("zh", 8) + "、".join(a + b for a in "红黄蓝绿黑" for b in "鞋帽裤伞杯") + "。",
    ),
}
CODE: dict[str, Callable[[Text], Example]] = {
    "too_short": lambda text: ("return first + 1;\n", "return first + second + 1;\n"),
    "broken_decoding": lambda text: (text("code") + BROKEN * 40, text("code") + BROKEN[:1]),
    "few_letters": lambda text: (
        "values = [\n" + ",\n".join(f"    {n}, {n * 7919}, {n * 104729}" for n in range(50)) + "\n]\n",
        text("code") + "values = [\n" + ",\n".join(f"    {n * 7919}" for n in range(20)) + "\n]\n",
    ),
    "encoded_data": lambda text: (
        "DATA = (\n" + "\n".join(f'    "{line}"' for line in encoded(900).split("\n")) + "\n)\nprint(DATA)\n",
        text("code") + "DATA = (\n" + "\n".join(f'    "{line}"' for line in encoded(90).split("\n")) + "\n)\n",
    ),
    "long_lines": lambda text: (
        ";".join(line.strip() for line in text("code", 60).split("\n") if line),
        ";".join(line.strip() for line in text("code", 12).split("\n") if line),
    ),
    "repeated_lines": lambda text: (
        "values.append(next(reader))\n" * 60 + text("code", 2),
        "values.append(next(reader))\n" * 10 + text("code", 4),
    ),
}
EXAMPLES = [
    pytest.param(lang, name, make, id=f"{lang}: {name}")
    for lang, examples in (("en", ENGLISH), ("zh", CHINESE), ("code", CODE))
    for name, make in examples.items()
]


def judged(text: str, lang: str, policy: str = "prose", config: CorpusConfig | None = None) -> str:
    """The rule that drops a text of this language, or KEPT."""
    batch = make_batch([text])
    columns = features(batch, np.array([lang == "zh"]))
    return judge(columns, np.array([lang], object), policy, config or CorpusConfig())[0]


def detected(text: str) -> str:
    return detect([text], make_batch([text]))[0][0]


@pytest.mark.parametrize(("lang", "name", "make"), EXAMPLES)
def test_a_bad_document_goes_by_the_rule_s_name_and_a_near_one_stays(
    lang: str, name: str, make: Callable[[Text], Example], text: Text
) -> None:
    bad, good = make(text)
    assert judged(bad, lang) == name.split(":")[0]
    assert judged(good, lang) == KEPT
    assert detected(good) == lang


@pytest.mark.parametrize(("lang", "examples"), [("en", ENGLISH), ("zh", CHINESE), ("code", CODE)])
def test_every_rule_has_its_examples(lang: str, examples: dict[str, object]) -> None:
    rules = [rule.__name__ for rule in SETS[lang]]
    assert len(set(rules)) == len(rules), "a rule's name is the reason of a drop: it must be unambiguous"
    assert {name.split(":")[0] for name in examples} == set(rules) - {"perplexity"}  # test_perplexity.py has its own


@pytest.mark.parametrize("lang", SETS)
def test_ordinary_documents_of_any_length_stay(lang: str, text: Text) -> None:
    for length in (2, 5, 12, 40, 60):
        for seed in range(5):
            assert judged(text(lang, length, seed), lang) == KEPT, (length, seed)


def test_traditional_characters_are_as_good_as_simplified() -> None:
    page = (
        "從前有一位老船長，他住在海邊的小屋裡，每天早晨都要到碼頭去看船。\n"
        "鄰居們問他為什麼不再出海，他總是笑著回答說：「我已經見過所有的風浪了。」\n"
        "直到有一天，一個孩子請他講講遠方的故事，他才把那張舊地圖拿了出來。\n"
    )
    assert (judged(page, "zh"), detected(page)) == (KEPT, "zh")


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        pytest.param("en", "Give the Danish word for ferry.\n\nThe Danish word for ferry is færge.", id="an answer"),
        pytest.param("zh", "怎样让画笔变粗？\n\n要让画笔变粗，可以用“让画笔变粗”这个按钮。", id="an answer in Chinese"),
        pytest.param(
            "en",
            "Write a list of the things that I need for the trip.\n\n" + "\n".join(f"- {word}" for word in WORDS[:8]),
            id="a list that was asked for",
        ),
        pytest.param(
            "en", "# RD\n\n> Removes a folder.\n\nSee https://a.test/wiki#RD for the rest of it.", id="headings"
        ),
        pytest.param(
            "zh", "窗口模块有哪些类别？\n\n类别有 Motion、Looks、Sensing 和 Variables Extension。", id="English names"
        ),
        pytest.param(
            "zh",
            "漫画家さくらももこ（樱桃子）是《樱桃小丸子》的作者，一九六五年生于静冈县清水市，后来在东京工作。",
            id="kana",
        ),
    ],
)
def test_short_and_listed_documents_that_say_something_stay(lang: str, text: str) -> None:
    assert (judged(text, lang), detected(text)) == (KEPT, lang)


def test_bulleted_sentences_stay(text: Text) -> None:
    for lang, stop in (("en", ". "), ("zh", "。")):
        sentences = text(lang, 16).replace("\n\n", stop[1:]).split(stop)
        assert judged("\n".join(f"- {sentence}{stop}" for sentence in sentences[:-1]), lang) == KEPT


def test_code_is_judged_by_the_rules_for_code_wherever_it_occurs(text: Text) -> None:
    program = "values.append(next(reader))\n" * 10 + text("code", 4)
    assert judged(program, "code") == KEPT
    assert judged(program, "en") != KEPT
    assert judged(program, "en", policy="code") == KEPT
    assert judged(text("en"), "en", policy="code") == KEPT


def test_the_thresholds_decide(text: Text) -> None:
    def at(**changes: object) -> CorpusConfig:
        return CorpusConfig(english=EnglishRules(**changes))  # type: ignore[arg-type]

    words = len(text("en", 6).split())
    assert judged(text("en", 6), "en", config=at(min_words=words)) == KEPT
    assert judged(text("en", 6), "en", config=at(min_words=words + 1)) == "too_short"
    assert judged("\n".join(NOTICES), "en") == "site_notices"
    assert judged("\n".join(NOTICES), "en", config=at(layout=LineLimits(max_notice_line_share=1.0))) == KEPT
    assert judged(text("zh", 2), "zh", config=CorpusConfig(chinese=ChineseRules(min_characters=500))) == "too_short"
    assert judged(text("code", 2), "code", config=CorpusConfig(code=CodeRules(min_words=5000))) == "too_short"
