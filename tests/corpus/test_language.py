"""Languages: Chinese in both scripts, English, programs, and everything else, detected from the text alone."""

import math

import pytest
from datatrove.data import Document
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.measure.features import FEATURES
from xmodel_core.corpus.measure.scan import Scan
from xmodel_core.corpus.measure.signature import key_names

C_PROGRAM = """#include <stdio.h>

static int add(int a, int b) {
    return a + b;
}

int main(void) {
    printf("%d\\n", add(2, 3));
    return 0;
}
"""
SHELL = '#!/bin/sh\nset -e\nfor file in *.txt; do\n    if [ -s "$file" ]; then\n        wc -l "$file"\n    fi\ndone\n'
COMMENTED = """# 读取所有的温度，然后求平均值；没有温度的日子不算在内
# 结果的单位和输入的一样
def mean_temperature(rows):
    total = 0
    for row in rows:  # 每一行是一天
        total += row["temperature"]
    return total / len(rows)


class Station:
    def __init__(self, name):
        self.name = name
        self.rows = []
"""
ARTICLE = """这篇文章说明怎样用几行程序求平均值。首先把所有的温度读进来，放在一个列表里；然后把它们加起来，再除以个数。
需要注意的是，列表可能是空的，这时候除法没有意义，应该先检查一下。

```python
def mean(values):
    return sum(values) / len(values)
```

运行以后可以看到结果。如果数据很多，也可以一边读一边加，这样就不用把所有的数都放在内存里。
"""
QUESTION = """I wrote the function below to find the mean of a list, and it works for short lists, but I am not sure
what happens when the list is empty. Should it return nothing, or is it better to raise an error and let the caller
decide?

def mean(values):
    return sum(values) / len(values)

My colleague says that the second way is more honest, because nobody reads a silent answer twice. What do you think?
"""
TEXTS = {
    "simplified": ("zh", "hans", "他们在图书馆里读书，后来一起去车站接远道而来的亲戚。"),
    "traditional": ("zh", "hant", "他們在圖書館裡讀書，後來一起去車站接遠道而來的親戚。"),
    "classical": ("zh", "hans", "山不在高，有仙则名。水不在深，有龙则灵。"),
    "a Chinese headline": ("zh", "hans", "大桥通车"),
    "Chinese with English names": ("zh", "hans", "他用 Python 和 NumPy 写了一个程序，运行在 Linux 上，速度很快。"),
    "Chinese with a Japanese name": (
        "zh",
        "hans",
        "这家公司叫做さくら，去年在上海开了三家新的商店，生意很好，今年打算再到北京和广州去看看，多找几个合适的地方。",
    ),
    "English": ("en", "latn", "The ferry leaves at noon, and everyone who wants to see the island should be there."),
    "English with a Chinese word": (
        "en",
        "latn",
        "The word for a bridge is 桥, which she wrote on the wall for us all.",
    ),
    "two English words": ("en", "latn", "Good morning"),
    "a formula": ("en", "latn", "Let $x^2 + y^2 = z^2$; then $x = 3$, $y = 4$ and $z = 5$ is one solution."),
    "French": ("other", "latn", "Le train part à midi, et tous ceux qui veulent voir la mer doivent être à la gare."),
    "German": (
        "other",
        "latn",
        "Der Zug fährt mittags ab, und wer das Meer sehen will, soll pünktlich am Bahnhof sein.",
    ),
    "Vietnamese": ("other", "latn", "Chuyến tàu khởi hành vào buổi trưa, và mọi người đều muốn nhìn thấy biển xanh."),
    "Japanese": ("other", "jpan", "列車は正午に出発しますので、海を見たい人は駅に集まってください。"),
    "Korean": ("other", "kore", "기차는 정오에 출발하니 바다를 보고 싶은 사람은 역으로 모이세요."),
    "Russian": ("other", "cyrl", "Поезд отходит в полдень, и все, кто хочет увидеть море, должны прийти на вокзал."),
    "Arabic": ("other", "zyyy", "يغادر القطار عند الظهر ومن أراد رؤية البحر فليأت إلى المحطة"),
    "figures": ("other", "zzzz", "3.14159 2.71828 1.41421 --- 1.61803"),
    "nothing": ("other", "zzzz", ""),
    "signs": ("other", "zzzz", "★☆★ !!! …"),
    "C": ("code", "latn", C_PROGRAM),
    "a shell script": ("code", "latn", SHELL),
    "a program with Chinese comments": ("code", "hans", COMMENTED),
    "a Chinese article around a program": ("zh", "hans", ARTICLE),
    "an English question around a program": ("en", "latn", QUESTION),
}


def languages(*texts: str) -> list[tuple[str, str]]:
    documents = Scan().run([Document(text=text, id=str(number)) for number, text in enumerate(texts)])
    return [(document.metadata["lang"], document.metadata["script"]) for document in documents]


@pytest.mark.parametrize("name", TEXTS)
def test_each_kind_of_text_is_known(name: str) -> None:
    lang, script, text = TEXTS[name]
    assert languages(text) == [(lang, script)]


@pytest.mark.parametrize("lang", ["zh", "en", "code"])
def test_prose_and_programs_of_every_length_are_known(lang: str, text) -> None:
    texts = [text(lang, length, seed) for length in (1, 2, 5, 40) for seed in range(8)]
    assert {detected for detected, _ in languages(*texts)} == {lang}


def test_the_language_of_more_text_decides_where_two_are_mixed(text) -> None:
    mostly_chinese, mostly_english = text("zh", 30) + "\n" + text("en", 2), text("en", 30) + "\n" + text("zh", 1)
    assert [lang for lang, _ in languages(mostly_chinese, mostly_english)] == ["zh", "en"]


def test_a_text_is_scanned_the_same_whatever_stands_around_it(text) -> None:
    texts = [entry for *_, entry in TEXTS.values()] + [text(lang, 9, 5) for lang in ("zh", "en", "code")]
    # What one text ends with and the next begins with must not make a phrase.
    texts += ["Sign", "in here.", "All rights", "reserved", "隐私", "政策"]

    def marks(documents: list[Document]) -> list[dict]:
        kept = ("lang", "script", "chars", "text_hash", *FEATURES, *key_names(ScanConfig()))
        return [{key: d.metadata[key] for key in kept} for d in Scan().run(documents)]

    together = marks([Document(text=entry, id="x") for entry in texts])
    assert together == [marks([Document(text=entry, id="x")])[0] for entry in texts]


@settings(max_examples=60)
@given(st.lists(st.text(max_size=80), min_size=1, max_size=4))
@example(["0㐀0"])
def test_any_text_has_a_language_a_script_and_finite_features(texts: list[str]) -> None:
    texts = [entry.encode("utf-8", "replace").decode() for entry in texts]
    for document in Scan().run([Document(text=entry, id="x") for entry in texts]):
        assert document.metadata["lang"] in ("zh", "en", "code", "other")
        assert document.metadata["script"] in ("hans", "hant", "latn", "jpan", "kore", "cyrl", "zyyy", "zzzz")
        shares = {name: float(document.metadata[name]) for name in FEATURES if name.endswith("_share")}
        bounded = {name: value for name, value in shares.items() if name not in ("hash_share", "divider_share")}
        assert all(0 <= value <= 1 for value in bounded.values()), bounded
        values = {name: float(document.metadata[name]) for name in FEATURES}
        assert math.isfinite(values.pop("word_order"))  # a deviation: fewer repeated pairs than by chance are below 0
        assert all(0 <= value < math.inf for value in values.values()), values
