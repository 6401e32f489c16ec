"""Decontamination: a passage of a benchmark is found in any document and disguise; nothing else is found."""

import gzip
import json
import random
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.corpus.contamination import passages, word_runs
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex, build_index
from xmodel_core.corpus.contamination.benchmark_items import splits_asked
from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import TextBatch, make_batch
from xmodel_core.corpus.text.rolling_hash import SliceHashes
from xmodel_core.errors import XmodelError
from xmodel_core.specs.benchmarks import Suite

Items = list[dict[str, Any]]

RIVER = (
    "A ferryman counts forty lanterns along the quay, lights every third one before supper, and sells nine of the "
    "others to a pedlar: how many lanterns stay dark on the quay that night?"
)
TEA = (
    "老茶农在山坡上种了三行茶树，每行比前一行多出七棵；春天的霜冻毁掉了其中的十一棵，"
    "他又从邻居那里换来四棵小苗，请问他现在一共有多少棵茶树可以采摘？"
)
MIXED = "阿明在 Harbour Street 的 old bakery 买了 twelve 个面包，又送给 Captain Rosa 和她的 crew 五个，他还剩几个？"
SHORT = "which weed grows fastest under a leaking copper gutter"  # 9 words
短 = "铜檐沟漏水时哪一种野草长得最快"  # 15 characters
TINY, 小 = "which weed grows fastest", "哪种野草长得快"


def put(folder: Path, **files: Items) -> Path:
    """A folder of benchmarks; name__split=items, in the order given."""
    for name, items in files.items():
        benchmark, split = name.rsplit("__", 1)
        (folder / benchmark).mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in items]
        (folder / benchmark / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def questions(*texts: str) -> Items:
    return [{"id": number, "question": text, "label": 1.5} for number, text in enumerate(texts)]


def items_in(index: BenchmarkIndex, *texts: str) -> list[list[int]]:
    """The items that each text shares a passage with."""
    hits = index.hits(make_batch(texts))
    assert len(hits.offsets) == len(texts) + 1
    assert hits.offsets[-1] == len(hits.items)
    return [hits.items[a:b].tolist() for a, b in zip(hits.offsets, hits.offsets[1:], strict=False)]


def benchmarks_in(index: BenchmarkIndex, text: str) -> dict[str, int]:
    """Items by benchmark."""
    return index.per_benchmark(np.array(items_in(index, text)[0], np.uint32))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> BenchmarkIndex:
    folder = tmp_path_factory.mktemp("benchmarks")
    return build_index(put(folder, lore__test=questions(RIVER, SHORT, TINY), 茶__val=questions(TEA, MIXED, 短, 小)))


@cache
def pages(lang: str, make: Callable[..., str]) -> list[str]:
    return [make(lang, 12, seed) for seed in range(40)]


# Disguises that say the same: case, width, punctuation, white space.
def wide(text: str) -> str:
    return "".join(chr(ord(x) + 0xFEE0) if "!" <= x <= "~" else x for x in text)


def bare(text: str) -> str:
    return re.sub(r"[^\w\s]", " ", text)


def dotted(text: str) -> str:
    return re.sub(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])", "·", text.replace(" ", " -- \n\u3000**"))


DISGUISES = st.sampled_from([str, str.upper, str.title, wide, bare, dotted, lambda text: wide(dotted(text.upper()))])


def windows(text: str, pattern: str, count: int) -> st.SearchStrategy[str]:
    """Pieces of `count` words or more, from the first letter to the last."""
    spans = [match.span() for match in re.finditer(pattern, text)]

    def cut(ends: tuple[int, int]) -> str:
        begin = min(ends[0], len(spans) - count)
        return text[spans[begin][0] : spans[min(begin + count + ends[1], len(spans)) - 1][1]]

    return st.tuples(st.integers(0, len(spans)), st.integers(0, len(spans))).map(cut)


@given(windows(RIVER, r"\w+", 13), DISGUISES, st.integers(0, 39), st.sampled_from(["zh", "en", "code"]))
def test_thirteen_words_are_found_in_any_page_and_disguise(
    index: BenchmarkIndex, text: Callable[..., str], passage: str, disguise, page: int, lang: str
) -> None:
    host = pages(lang, text)[page]
    cut = len(host) // 2
    assert benchmarks_in(index, f"{host[:cut]}\n{disguise(passage)}\n{host[cut:]}") == {"lore": 1}


@given(windows(TEA, r"\w", 20), DISGUISES, st.integers(0, 39), st.sampled_from(["zh", "en", "code"]))
def test_twenty_chinese_characters_are_found_in_any_page_and_disguise(
    index: BenchmarkIndex, text: Callable[..., str], passage: str, disguise, page: int, lang: str
) -> None:
    host = pages(lang, text)[page]
    cut = len(host) // 2
    assert benchmarks_in(index, host[:cut] + disguise(passage) + host[cut:]) == {"茶": 1}


@given(st.integers(0, len(TEA) - 26))
def test_twenty_six_characters_are_found_though_some_are_punctuation(index: BenchmarkIndex, begin: int) -> None:
    assert benchmarks_in(index, TEA[begin : begin + 26]) == {"茶": 1}


def test_text_that_mixes_both_languages_is_found(index: BenchmarkIndex) -> None:
    assert benchmarks_in(index, f"参考答案如下。{MIXED.upper()}谢谢！") == {"茶": 1}
    assert benchmarks_in(index, f"Two riddles. {MIXED} {RIVER}") == {"lore": 1, "茶": 1}


@pytest.mark.parametrize(
    "window",
    [
        "在1987年由James Cook船长写下的《航海记》里",
        "于2015年10月31日发行，又于2016年",
        "她说：“是”，他说：“不，不是，是她的，是她的！”",
    ],
)
def test_twenty_six_characters_with_names_figures_and_marks_are_found(tmp_path: Path, window: str) -> None:
    index = build_index(put(tmp_path, cook__test=questions(f"老人记得，{window}，后来大家都忘记了这件事情。")))
    assert items_in(index, f"有人问起那本旧书。{window}。没有人回答。", f"{window[:13]}绝{window[13:]}") == [[0], []]


# 19 Chinese characters and two marks would be 21 of what the page shows, enough where words are long.
@pytest.mark.parametrize(("passage", "pattern", "longest"), [(RIVER, r"\w+", 12), (TEA, r"\w", 18)])
def test_less_than_a_passage_is_not_found(index: BenchmarkIndex, passage: str, pattern: str, longest: int) -> None:
    spans = [match.span() for match in re.finditer(pattern, passage)]
    pieces = [passage[a[0] : b[1]] for a, b in zip(spans, spans[longest - 1 :], strict=False)]
    assert items_in(index, *pieces) == [[]] * len(pieces)
    # Nor is a passage that one text begins and the next one ends, or that has a strange word in its midst.
    half = spans[longest // 2][0]
    assert items_in(index, passage[:half], passage[half : spans[longest][1]]) == [[], []]
    parted = spans[longest - 1 :: longest - 1]
    for begin, _ in reversed(parted):
        passage = passage[:begin] + " never 绝 " + passage[begin:]
    assert items_in(index, passage) == [[]]


@given(st.lists(st.integers(0, 39), max_size=6), st.sampled_from(["zh", "en", "code"]))
def test_pages_of_others_are_clean(index: BenchmarkIndex, text: Callable[..., str], of: list[int], lang: str) -> None:
    assert items_in(index, *(pages(lang, text)[number] for number in of)) == [[] for _ in of]


def test_a_short_field_is_found_whole_and_a_tiny_one_not_at_all(index: BenchmarkIndex) -> None:
    assert items_in(index, f"He asked {SHORT.title()}, and left.", f"他问：“{短[:7]}，{短[7:]}？”") == [[1], [5]]
    assert items_in(index, SHORT.rsplit(" ", 1)[0], SHORT.split(" ", 1)[1], 短[1:], 短[:-1]) == [[]] * 4
    assert items_in(index, f"So {TINY}, they say.", f"都说{小}。") == [[], []]


def test_each_text_of_a_batch_has_its_own_items(index: BenchmarkIndex) -> None:
    assert items_in(index, TEA, "", "?!\n", RIVER, TEA + RIVER + TEA) == [[3], [], [], [0], [0, 3]]
    assert items_in(index) == []


def test_items_are_counted_once_however_often_they_stand(index: BenchmarkIndex) -> None:
    numbers = [number for items in items_in(index, RIVER + RIVER, RIVER + SHORT) for number in items]
    assert index.per_benchmark(np.array(numbers, np.uint32)) == {"lore": 2}
    assert index.per_benchmark(np.array([], np.uint32)) == {}


def test_every_field_with_text_counts_however_it_is_nested(tmp_path: Path, text: Callable[..., str]) -> None:
    turns = [sentence for sentence in re.split(r"(?<=\.) ", text("en", 4, 7)) if sentence]
    item = {"n": 3, "none": None, "答案": {"texts": [["否", RIVER]], "label": ["A"]}, "turns": turns, "end": TEA}
    index = build_index(put(tmp_path, nested__test=[item]))
    dialogue = " ".join(turns).split()
    across = " ".join(dialogue[len(turns[0].split()) - 5 :][:13])  # a passage that two turns share
    assert items_in(index, RIVER, TEA, across, "A") == [[0], [0], [0], []]


def test_items_with_the_same_passage_are_all_found(tmp_path: Path) -> None:
    again = [{"passage": RIVER, "question": f"question number {n}"} for n in range(30)]
    index = build_index(put(tmp_path, reading__test=again, copy__test=questions(RIVER)))
    # A paragraph under thirty questions is no template.
    assert benchmarks_in(index, RIVER) == {"copy": 1, "reading": 30}


def test_a_template_that_many_items_share_removes_nothing(tmp_path: Path, text: Callable[..., str]) -> None:
    template = "Read the following short story with care and then write down the one letter of the right answer"
    stories = [text("en", 4, seed) for seed in range(30)]
    index = build_index(put(tmp_path, exam__test=questions(*(f"{template}: {story}" for story in stories))))
    assert items_in(index, f"My teacher said: {template}!") == [[]]
    assert [number for number, story in enumerate(stories) if number not in items_in(index, story)[0]] == []
    few = build_index(put(tmp_path / "few", exam__test=questions(*(f"{template}: {s}" for s in stories[:5]))))
    assert items_in(few, template) == [[0, 1, 2, 3, 4]]


def test_runs_of_figures_and_letters_are_no_passages(tmp_path: Path) -> None:
    counting = "assert count([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]) == 18"
    alphabet = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    index = build_index(put(tmp_path, code__test=questions(counting, alphabet)))
    assert items_in(index, "Pages: " + " ".join(map(str, range(3, 19))), alphabet) == [[], []]
    assert items_in(index, counting) == [[0]]


def test_train_and_prompts_are_ignored_unless_a_suite_asks_them(tmp_path: Path) -> None:
    folder = put(
        tmp_path, a__train=questions(RIVER), a__test=questions(SHORT), b__dev=questions(TEA), c__prompts=questions(短)
    )
    assert build_index(folder).benchmarks == ("a",)
    assert items_in(build_index(folder), RIVER, TEA, 短, SHORT) == [[], [], [], [0]]
    task = {"task": "t", "format": "multiple_choice", "lang": "zh", "metric": "acc", "shots": 5, "shots_split": "train"}
    tasks = [{**task, "data": "b", "split": "dev"}, {**task, "task": "u", "data": "raw://x/a", "split": "val"}]
    asked = splits_asked([Suite.model_validate({"name": "s", "tasks": tasks})])
    assert asked == {"a": {"val"}, "b": {"dev"}}  # the split that shots come from is not asked
    index = build_index(folder, asked)
    assert index.benchmarks == ("a", "b")
    assert items_in(index, RIVER, TEA, 短, SHORT) == [[], [1], [], [0]]


@pytest.mark.parametrize("split", ["test", "validation", "val"])
def test_the_splits_of_questions_count(tmp_path: Path, split: str) -> None:
    assert benchmarks_in(build_index(put(tmp_path, **{f"a__{split}": questions(RIVER)})), RIVER) == {"a": 1}


def held(index: BenchmarkIndex) -> list[tuple[str, bytes]]:
    """All that an index holds."""
    return [(field.name, np.asarray(getattr(index, field.name)).tobytes()) for field in fields(index)]


def test_an_index_depends_on_the_questions_and_nothing_else(tmp_path: Path) -> None:
    files = {"a__test": questions(RIVER), "a__val": questions(SHORT), "b__test": questions(TEA)}
    one = build_index(put(tmp_path / "one", **files, a__train=questions("other")))
    other = build_index(put(tmp_path / "other", **dict(reversed(files.items()))))
    assert held(one) == held(other)
    files["b__test"] = questions(TEA.replace("七", "八"))
    assert held(build_index(put(tmp_path / "changed", **files))) != held(one)
    named = build_index(
        put(tmp_path / "named", a__test=questions(RIVER), a__val=questions(SHORT), c__test=[{"q": TEA}])
    )
    assert held(named) != held(one)


def test_a_saved_index_is_the_same_and_so_are_its_bytes(index: BenchmarkIndex, tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        index.save(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    loaded = BenchmarkIndex.load(tmp_path / "one.npz")
    assert held(loaded) == held(index)
    assert items_in(loaded, TEA, RIVER, SHORT) == items_in(index, TEA, RIVER, SHORT) == [[3], [0], [1]]


def test_a_benchmark_without_any_passage_is_no_trouble(tmp_path: Path) -> None:
    index = build_index(put(tmp_path, tiny__test=[{"q": TINY, "n": 1}, {"q": ""}, {}]))
    assert items_in(index, RIVER, TINY) == [[], []]
    index.save(tmp_path / "index.npz")
    assert held(BenchmarkIndex.load(tmp_path / "index.npz")) == held(index)


@pytest.mark.parametrize(
    ("line", "says"),
    [(b'{"question": "a', "Unterminated"), (b"[1]", "list"), (b'"text"', "str"), (b'{"q": "\xff"}', "utf-8")],
)
def test_a_line_that_is_no_item_is_one_clear_error(tmp_path: Path, line: bytes, says: str) -> None:
    folder = put(tmp_path, a__test=questions(RIVER))
    (folder / "a" / "val.jsonl").write_bytes(b'{"q": "one"}\n\n' + line + b"\n")
    with pytest.raises(XmodelError, match=r"val\.jsonl, line 3") as error:
        build_index(folder)
    assert says in str(error.value)


def test_lines_end_at_newlines_only_and_odd_characters_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    rows = [{"q": RIVER.replace(",", "\u2028")}, {"q": "half \ud800 a pair " + SHORT}]
    lines = json.dumps(rows[0], ensure_ascii=False) + "\r\n" + json.dumps(rows[1]) + "\r\n"
    (tmp_path / "a" / "test.jsonl").write_bytes(lines.encode())
    assert items_in(build_index(tmp_path), RIVER, "Half a pair " + SHORT) == [[0], [1]]


def test_a_folder_that_protects_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="there is no folder"):
        build_index(tmp_path / "nowhere")
    with pytest.raises(XmodelError, match="an empty folder"):
        build_index(tmp_path)
    with pytest.raises(XmodelError, match="holds no benchmark"):
        build_index(put(tmp_path, a__train=questions(RIVER)))
    with pytest.raises(XmodelError, match="empty"):
        build_index(put(tmp_path, a__train=questions(RIVER), a__test=[]))


# The same in plain Python, over words as a reader would list them.
def words_of(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+|[\u4e00-\u9fff]", unicodedata.normalize("NFKC", text).lower())


def units_of(words: Iterable[str]) -> int:
    return sum(2 if word >= "\u4e00" else 3 for word in words)


def passages_of(words: list[str]) -> set[tuple[str, ...]]:
    """The shortest runs of 13 words, or of 20 characters, or between, from each word on."""
    runs = set()
    for begin in range(len(words)):
        end = begin
        while end < len(words) and units_of(words[begin:end]) < 39:
            end += 1
        if units_of(words[begin:end]) >= 39:
            runs.add(tuple(words[begin:end]))
    return runs


def mixed_passages_of(text: str) -> set[tuple[str, ...]]:
    """The shortest runs of at least 21 characters, blanks left out, with 4 Chinese ones, of 16 to 38 units."""
    plain = "".join(character for character in unicodedata.normalize("NFKC", text).lower() if not character.isspace())
    blank_free = {at for at, character in enumerate(unicodedata.normalize("NFKC", text)) if not character.isspace()}
    assert len(plain) == len(blank_free)
    spans = [
        (m[0], sum(at < m.start() for at in blank_free), sum(at < m.end() for at in blank_free))
        for m in re.finditer(r"[a-z0-9]+|[\u4e00-\u9fff]", unicodedata.normalize("NFKC", text).lower())
    ]
    runs = set()
    for begin, (_, start, _) in enumerate(spans):
        end = next((at + 1 for at in range(begin, len(spans)) if spans[at][2] - start >= 21), None)
        words = tuple(word for word, _, _ in spans[begin:end]) if end else ()
        if sum(word >= "\u4e00" for word in words) >= 4 and 16 <= units_of(words) < 39:
            runs.add(words)
    return runs


def plain_hits(fields: list[str], document: str) -> list[int]:
    words = words_of(document)
    runs, mixed = passages_of(words), mixed_passages_of(document)
    hit = []
    for number, (text, field) in enumerate((text, words_of(text)) for text in fields):
        places = range(len(words) - len(field) + 1)
        short = 24 <= units_of(field) < 39 and any(words[at : at + len(field)] == field for at in places)
        if short or runs & passages_of(field) or mixed & mixed_passages_of(text):
            hit.append(number)
    return hit


VOCABULARY = st.sampled_from([*"茶山雨灯", "oak", "Elm", "ash", "ｆｉｒ"])
PHRASE = st.lists(VOCABULARY, min_size=1, max_size=45).map(" ".join)


@given(st.lists(PHRASE, min_size=1, max_size=4, unique_by=lambda text: tuple(words_of(text))), st.data())
def test_hits_agree_with_plain_python(
    tmp_path_factory: pytest.TempPathFactory, fields: list[str], data: st.DataObject
) -> None:
    index = build_index(put(tmp_path_factory.mktemp("plain"), a__test=[{"q": field} for field in fields]))
    piece = st.sampled_from(fields).flatmap(
        lambda field: st.tuples(st.integers(0, len(field)), st.integers(0, len(field))).map(
            lambda ends: field[min(ends) : max(ends)]
        )
    )
    documents = data.draw(st.lists(st.lists(piece | PHRASE, max_size=4).map("，".join), max_size=3))
    assert items_in(index, *documents) == [plain_hits(fields, document) for document in documents]


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_natural_leak_is_found_and_clean_documents_stay(shared_data: Path) -> None:
    index = build_index(shared_data / "bench")
    lines = (shared_data / "bench/gsm8k/test.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line)["question"] for line in lines if line]
    normal = {question: " ".join(re.findall(r"[^\W_]+", question.lower())) for question in rows}
    by_start = {tuple(question.split()[:8]): question for question in normal.values()}
    leaked, found_leaks, clean, clean_hits = 0, 0, 0, 0
    for path in sorted(shared_data.glob("corpora/*/*.jsonl.gz")):
        with gzip.open(path) as stream:
            texts = [json.loads(line)["text"] for line in stream]
        random.Random(1).shuffle(texts)
        adapters = path.parent.name == "math_llm_adapters"
        # A part of each other source is enough to see a rule that takes clean documents.
        texts = texts if adapters else texts[:200]
        for text, items in zip(texts, items_in(index, *texts), strict=True):
            words = re.findall(r"[^\W_]+", text.lower()) if adapters else []
            starts = {by_start.get(tuple(words[at : at + 8])) for at in range(len(words))} - {None}
            if any(f" {question} " in f" {' '.join(words)} " for question in starts):
                leaked += 1
                found_leaks += "gsm8k" in index.per_benchmark(np.array(items, np.uint32))
            else:
                clean += 1
                clean_hits += bool(items)
    assert leaked == 1055
    assert found_leaks >= 0.99 * leaked
    assert clean > 12_000
    assert clean_hits <= 0.01 * clean
    print(f"found {found_leaks} of {leaked}; clean documents hit: {clean_hits} of {clean}")


class PlainRuns:
    """Runs of a batch's words, measured in units: by sums and searches, no loop."""

    def __init__(self, batch: TextBatch) -> None:
        words, units = batch.words, passages.units_of_words(batch)
        self._text = words.text
        self._hashes = SliceHashes(words.hashes)
        self._before = np.zeros(len(words) + 1, np.int64)
        np.cumsum(units, out=self._before[1:])
        self._word_of_unit = np.repeat(np.arange(len(words), dtype=np.int32), units)

    def shortest(self, begins: np.ndarray, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(begins, ends, uint64 hashes) of the shortest runs of at least `units` units inside one text."""
        needed = self._before[begins] + units
        begins = begins[: np.searchsorted(needed, self._before[-1], "right")]
        last = self._word_of_unit[needed[: len(begins)] - 1]
        inside = self._text[last] == self._text[begins]
        begins, ends = begins[inside], last[inside] + 1
        return begins, ends, self._hashes.of(begins, ends)

    def all(self, units: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same from every word on."""
        return self.shortest(np.arange(len(self._text)), units)


@settings(max_examples=60)
@given(st.lists(st.text("ab 中文1.", max_size=60), min_size=1, max_size=4), st.integers(1, 40), st.data())
def test_runs_agree_with_their_plain_twin(texts: list[str], units: int, data: st.DataObject) -> None:
    batch = make_batch(texts)
    words, sizes, plain = batch.words.slices, passages.units_of_words(batch), PlainRuns(batch)
    begins, ends, hashes = plain.all(units)
    places, run_ends, keys = word_runs.hash_runs(words, sizes, np.arange(len(batch.words), dtype=np.int32), units)
    complete = run_ends >= 0
    assert np.array_equal(np.flatnonzero(complete), begins)
    assert np.array_equal(run_ends[complete], ends)
    assert np.array_equal(keys[complete], hashes)
    assert np.array_equal(places, batch.words.text)
    some = np.unique(np.array(data.draw(st.lists(st.sampled_from(hashes.tolist()))) if len(hashes) else [], np.uint64))
    at, which = word_runs.find_runs(words, sizes, units, word_runs.index_hashes(some))
    assert at.tolist() == [begin for begin, key in zip(begins, hashes, strict=True) if key in some]
    assert np.array_equal(some[which], hashes[np.isin(begins, at)])


@settings(max_examples=100)
@given(st.lists(st.text("ab 中文国1.，", max_size=50), min_size=1, max_size=3), st.integers(1, 25), st.integers(0, 6))
def test_inked_runs_agree_with_their_plain_twin(texts: list[str], inked: int, least_small: int) -> None:
    batch = make_batch(texts)
    words, sizes = batch.words, passages.units_of_words(batch)
    begins = np.arange(len(words), dtype=np.int32)
    rule = (passages.CHARACTER_UNITS, least_small, 4, 30)
    _, ends, hashes = word_runs.hash_inked_runs(words.slices, batch.classes, char.CONTROL, sizes, begins, inked, rule)
    for begin, end, key in zip(begins.tolist(), ends.tolist(), hashes, strict=True):
        same_text = [place for place in range(begin, len(words)) if words.text[place] == words.text[begin]]
        enough = [
            place
            for place in same_text
            if np.sum(batch.classes[words.starts[begin] : words.ends[place]] >= char.CONTROL) >= inked
        ]
        run = sizes[begin : enough[0] + 1].astype(int) if enough else np.zeros(0, int)
        holds = enough and 4 <= run.sum() < 30 and (run == passages.CHARACTER_UNITS).sum() >= least_small
        assert end == (enough[0] + 1 if holds else -1)
        if holds:
            assert key == SliceHashes(words.hashes).of(np.array([begin]), np.array([end]))[0]
