"""Perplexity: words in no order go where a recipe names a model and a threshold, and nothing changes where not.

Models are made here, of sentences of our own, as small .arpa files; tests that hold text against one need the package
kenlm, an extra, and are skipped by name without it.
"""

import math
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import opencc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.recipes import load_recipe
from xmodel_core.artifacts import Store
from xmodel_core.corpus.config import PERPLEXITY_FIELDS, ChineseRules, CorpusConfig, EnglishRules, PerplexityConfig
from xmodel_core.corpus.measure.features import features
from xmodel_core.corpus.measure.perplexity import NgramModels, sentences
from xmodel_core.corpus.rules import chinese, english
from xmodel_core.corpus.rules.shared import perplexity
from xmodel_core.corpus.stage import funnel, keep_models
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.errors import XmodelError
from xmodel_core.specs import Source

Text = Callable[..., str]
Corpus = Callable[..., Any]
RULES = {"zh": chinese.RULES, "en": english.RULES}
ORDER = 5
DISCOUNT = 0.75
UNKNOWN = 1e-6
"""Probability of all the words that no model here has seen."""
NOTICE = "Subscribe to the harbour gazette for tides, timetables and tickets to the lighthouse."


class Ngrams:
    """A model of order 5 by interpolated absolute discounting (Ney, Essen and Kneser 1994), lower orders by counts:
    p(w|h) = max(c(hw) - D, 0) / c(h) + D n(h) / c(h) p(w|h'), n being how many different words follow h."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        for line in read(*texts):
            words = ("<s>", *line.split(" "), "</s>")
            for size in range(1, ORDER + 1):
                self.counts.update(words[at : at + size] for at in range(len(words) - size + 1))
        del self.counts[("<s>",)]  # never foretold
        self.followed: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for words, count in self.counts.items():
            self.followed[words[:-1]].append(count)

    def backoff(self, history: tuple[str, ...]) -> float:
        counts = self.followed[history]
        return DISCOUNT * len(counts) / sum(counts)

    def probability(self, word: str, history: tuple[str, ...]) -> float:
        if not history:
            seen = self.counts[(word,)] / sum(self.followed[()])
            return seen * (1 - UNKNOWN) if seen else UNKNOWN
        if history not in self.followed:
            return self.probability(word, history[1:])
        seen = max(self.counts[(*history, word)] - DISCOUNT, 0) / sum(self.followed[history])
        return seen + self.backoff(history) * self.probability(word, history[1:])

    def perplexity(self, text: str) -> float:
        """The definition, in plain Python."""
        logs = []
        for line in read(text):
            words = ("<s>", *line.split(" "), "</s>")
            for at in range(1, len(words)):
                logs.append(math.log10(self.probability(words[at], words[max(0, at - ORDER + 1) : at])))
        return 10 ** (-sum(logs) / len(logs))

    def write(self, path: Path) -> Path:
        """As .arpa, the form that every tool for such models reads."""
        orders: list[list[tuple[str, ...]]] = [[] for _ in range(ORDER)]
        for words in [("<unk>",), ("<s>",), *sorted(self.counts)]:
            orders[len(words) - 1].append(words)
        parts = ["\\data\\", *(f"ngram {size}={len(grams)}" for size, grams in enumerate(orders, 1))]
        for size, grams in enumerate(orders, 1):
            parts += ["", f"\\{size}-grams:"]
            for words in grams:
                likely = -99 if words == ("<s>",) else math.log10(self.probability(words[-1], words[:-1]))
                back = f"\t{math.log10(self.backoff(words))}" if words in self.followed else ""
                parts.append(f"{likely}\t{' '.join(words)}{back}")
        path.write_text("\n".join([*parts, "", "\\end\\", ""]), encoding="utf-8")
        return path


def read(*texts: str) -> list[str]:
    """The lines of texts as a model reads them."""
    return [line.decode() for line in sentences(make_batch(texts)).lines]


def shuffled(text: str, seed: int = 0) -> str:
    """The same characters (Chinese) or words in random order; stops stay where they are, so the form is prose's."""
    parts = re.findall(r"[一-龥]|\w+", text)
    random.Random(seed).shuffle(parts)
    return re.sub(r"[一-龥]|\w+", lambda _: parts.pop(), text)


@pytest.fixture(scope="module")
def ngrams(text: Text) -> dict[str, Ngrams]:
    return {lang: Ngrams([text(lang, 40, 1000 + number) for number in range(25)]) for lang in ("zh", "en")}


@pytest.fixture(scope="module")
def models(ngrams: dict[str, Ngrams], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The models' files; needs kenlm, which reads them."""
    pytest.importorskip("kenlm", reason="the extra `perplexity` is not installed")
    folder = tmp_path_factory.mktemp("models")
    return {lang: model.write(folder / f"{lang}.arpa") for lang, model in ngrams.items()}


def judging(models: dict[str, Path], chinese: float | None = 300, english: float | None = 300) -> CorpusConfig:
    return CorpusConfig(
        perplexity=PerplexityConfig(chinese=str(models["zh"]), english=str(models["en"])),
        chinese=ChineseRules(max_perplexity=chinese),
        english=EnglishRules(max_perplexity=english),
    )


def write_pages(folder: Path, text: Text, jsonl: Callable[..., bytes], source: Callable[..., Source]) -> list[Source]:
    """Prose and the same words in no order, too short to be judged without a model; a source of each language."""
    sources = []
    for lang in ("zh", "en"):
        prose = {f"prose {n}": text(lang, 8, n) for n in range(6)}
        soup = {f"soup {n}": shuffled(text(lang, 8, 50 + n), n) for n in range(6)}
        (folder / lang).mkdir(parents=True)
        records = [{"id": key, "text": value} for key, value in (prose | soup).items()]
        (folder / lang / "a.jsonl").write_bytes(jsonl(records))
        sources.append(source(folder / lang, lang=lang))
    return sources


def reasons(made: Any) -> Counter[tuple[str, str, str]]:
    return Counter((row["lang"], row["id"].split()[0], row["reason"] or "kept") for row in made.decisions)


# What a model reads.


def test_a_line_is_a_sentence_of_folded_words() -> None:
    lines = read("Hello, World's ＡＢＣ 12!\n\n --- \n機器學習，　很 fun。", "", "。。", "last")
    assert lines == ["hello world s abc 12", "机 器 学 习 很 fun", "last"]


def test_traditional_text_reads_as_simplified(text: Text) -> None:
    simplified = text("zh", 30)
    traditional = opencc.OpenCC("s2t").convert(simplified)
    assert traditional != simplified
    assert read(traditional) == read(simplified)


texts_of_any_kind = st.lists(
    st.text(st.sampled_from("aZé７漢汉か한の's_.,。 \n\t\r\u2028\u3000①½²́𠮷😀"), max_size=40), max_size=5
)


@given(texts_of_any_kind)
@settings(max_examples=150, deadline=None)
def test_sentences_agree_with_their_plain_twin(texts: list[str]) -> None:
    batch = make_batch(texts)
    split = sentences(batch)
    expected, owners = [], []
    for number, text in enumerate(texts):
        for line in text.split("\n"):
            alone = make_batch([line])
            words = [line[begin:end] for begin, end in zip(alone.words.starts, alone.words.ends, strict=True)]
            if words:
                expected.append(" ".join(read(word)[0] for word in words))
                owners.append(number)
    assert [line.decode() for line in split.lines] == expected
    assert split.text.tolist() == owners
    assert sum(len(line.split()) for line in split.lines) == len(batch.words)


def test_the_program_writes_what_the_scan_reads(text: Text) -> None:
    pages = "\n".join(text(lang, 200, seed) for lang in ("zh", "en") for seed in range(120))
    done = subprocess.run(
        [sys.executable, "-m", "xmodel_core.corpus.measure.perplexity"],
        input=pages.encode() + b"\n\xff\xfe broken bytes",
        capture_output=True,
        check=True,
    )
    *lines, last = done.stdout.decode().split("\n")[:-1]
    assert lines == read(pages)
    assert last == "broken bytes"


# What is measured.


def test_perplexity_is_that_of_words_and_ends_of_lines(
    models: dict[str, Path], ngrams: dict[str, Ngrams], text: Text
) -> None:
    opened = NgramModels(models)
    for lang, other in (("zh", "en"), ("en", "zh")):
        texts = [text(lang, 9), shuffled(text(lang, 9)), text(other, 3), "", "?!\n\n", text(lang, 1)]
        measured = opened.perplexity(make_batch(texts), np.full(len(texts), lang, object))
        assert measured.dtype == np.float32
        expected = [ngrams[lang].perplexity(text) if read(text) else math.nan for text in texts]
        assert measured.tolist() == pytest.approx(expected, rel=1e-4, nan_ok=True)
        assert measured[0] * 5 < measured[1] < measured[2]


def test_a_text_without_a_model_of_its_language_has_none(models: dict[str, Path], text: Text) -> None:
    texts = [text("zh"), text("en"), text("code"), text("en")]
    languages = np.array(["zh", "en", "code", "other"], object)
    measured = NgramModels({"zh": models["zh"]}).perplexity(make_batch(texts), languages)
    assert np.isnan(measured).tolist() == [False, True, True, True]
    assert NgramModels(models).perplexity(make_batch(texts), languages)[0] == measured[0]


def test_the_unlikeliest_text_still_has_a_number(tmp_path: Path) -> None:
    pytest.importorskip("kenlm", reason="the extra `perplexity` is not installed")
    model = tmp_path / "one.arpa"
    model.write_text(
        "\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-99\t<unk>\n-99\t<s>\t0\n-0.1\t</s>\n-0.1\tword\t0\n\n"
        "\\2-grams:\n-0.1\t<s> word\n\n\\end\\\n"
    )
    (perplexity,) = NgramModels({"en": model}).perplexity(make_batch(["rare " * 90]), np.array(["en"], object))
    assert 1e37 < perplexity < np.inf


# What is decided.


@pytest.mark.parametrize(("lang", "enough"), [("zh", 100), ("en", 50)])
def test_the_rule_drops_what_is_long_enough_and_beyond_its_threshold(lang: str, enough: int, text: Text) -> None:
    config = judging({"zh": Path("zh.arpa"), "en": Path("en.arpa")})
    (line,) = sentences(make_batch([text(lang, 40).replace("\n", " ")])).lines
    pages = [b" ".join(line.split()[:size]).decode() + "." for size in (enough, enough, enough, enough - 1)]
    columns = features(make_batch(pages), np.full(4, lang == "zh"))
    measured = {**columns, "perplexity": np.array([300, 301, np.nan, 9000], np.float32)}
    dropped = [
        rule(measured, getattr(config, PERPLEXITY_FIELDS[lang])).tolist() for rule in RULES[lang] if rule is perplexity
    ]
    assert dropped == [[False, True, False, False]]


def test_words_in_no_order_drop_and_prose_stays(
    tmp_path: Path, store: Store, models: dict[str, Path], text: Text, jsonl: Any, source: Any, corpus: Corpus
) -> None:
    sources = write_pages(tmp_path / "raw", text, jsonl, source)
    made = corpus(sources, store, judging(models))
    assert reasons(made) == {
        (lang, kind, reason): 6 for lang in ("zh", "en") for kind, reason in (("prose", "kept"), ("soup", "perplexity"))
    }
    assert [d["docs"] for d in made.ledger("document_drops") if d["reason"] == "perplexity"] == [6, 6]
    assert all(row["perplexity"] > 300 for row in made.rows("dropped"))
    assert len(made.samples("perplexity")) == 12

    # No other rule knows them from prose, and without a threshold a model only measures.
    assert {reason for *_, reason in reasons(corpus(sources, store))} == {"kept"}
    assert {reason for *_, reason in reasons(corpus(sources, store, judging(models, None, None)))} == {"kept"}


def test_another_threshold_decides_again_and_reads_nothing_again(
    tmp_path: Path, store: Store, models: dict[str, Path], text: Text, jsonl: Any, source: Any, corpus: Corpus
) -> None:
    sources = write_pages(tmp_path / "raw", text, jsonl, source)
    made = corpus(sources, store, judging(models))
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*scans/*/*.parquet")}
    strict = corpus(sources, store, judging(models, chinese=2))
    assert strict.scanned == made.scanned
    assert strict.artifact.fingerprint != made.artifact.fingerprint
    assert written == {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*scans/*/*.parquet")}
    assert reasons(strict)["zh", "prose", "perplexity"] == 6
    shown = funnel("small", made.scanned, made.pairs, judging(models, chinese=2))["document_drops"]
    assert shown == strict.ledger("document_drops")


def test_a_few_words_are_not_judged_by_perplexity(
    tmp_path: Path, store: Store, models: dict[str, Path], text: Text, jsonl: Any, source: Any, corpus: Corpus
) -> None:
    soup = re.findall("[一-龥]", shuffled(text("zh", 40)))
    pages = ["".join(soup[begin : begin + size]) + "。" for begin, size in ((0, 99), (200, 100))]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_bytes(jsonl([{"text": page} for page in pages]))
    rules = judging(models).chinese.model_copy(update={"min_punctuation_share": 0.0})
    config = judging(models).model_copy(update={"chinese": rules})
    made = corpus([source(tmp_path / "raw", lang="zh")], store, config)
    assert [row["reason"] for row in made.decisions] == [None, "perplexity"]


def test_what_lost_boilerplate_lines_is_measured_again(
    tmp_path: Path,
    store: Store,
    models: dict[str, Path],
    ngrams: dict[str, Ngrams],
    text: Text,
    jsonl: Any,
    source: Any,
    corpus: Corpus,
) -> None:
    pages = [text("en", 24, number) for number in range(20)]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").write_bytes(jsonl([{"text": f"{NOTICE}\n{page}\n{NOTICE}"} for page in pages]))
    before, after = (ngrams["en"].perplexity(entry) for entry in (f"{NOTICE}\n{pages[0]}\n{NOTICE}", pages[0]))
    assert after < before * 0.8
    made = corpus([source(tmp_path / "raw")], store, judging(models, english=(before + after) / 2))
    (scanned,) = made.scanned
    for artifact, expected in ((scanned.scan, before), (scanned.rescan, after)):
        column = pq.read_table(artifact.path / "raw-00000.parquet")["perplexity"]
        assert column[0].as_py() == pytest.approx(expected, rel=1e-4)
    assert made.decisions[0]["kept"]


# What is built again.


def test_a_model_is_what_its_file_holds(
    tmp_path: Path, store: Store, models: dict[str, Path], text: Text, jsonl: Any, source: Any, corpus: Corpus
) -> None:
    prose, _ = write_pages(tmp_path / "raw", text, jsonl, source)
    program = prose.model_copy(update={"name": "programs", "policy": "code"})

    def made(**places: Path) -> list[str]:
        config = CorpusConfig(perplexity=PerplexityConfig(**{name: str(path) for name, path in places.items()}))
        corpus_made = corpus([prose, program], store, config)
        return [artifact.fingerprint for artifact in (*corpus_made.scans, corpus_made.artifact)]

    elsewhere = tmp_path / "the same.arpa"
    elsewhere.write_bytes(models["zh"].read_bytes())
    other = Ngrams([text("zh", 40, 3)]).write(tmp_path / "other.arpa")
    of_zh, of_same, of_other, of_both, of_none = (
        made(chinese=models["zh"]),
        made(chinese=elsewhere),
        made(chinese=other),
        made(chinese=models["zh"], english=models["en"]),
        made(),
    )
    assert of_zh == of_same
    assert len({prints[0] for prints in (of_zh, of_other, of_both, of_none)}) == 4
    # Programs have rules of their own: their sources are not held against models, nor read again for one.
    assert len({prints[1] for prints in (of_zh, of_other, of_both, of_none)}) == 1


def test_what_was_measured_stays_though_the_model_goes(
    tmp_path: Path, store: Store, models: dict[str, Path], text: Text, jsonl: Any, source: Any, corpus: Corpus
) -> None:
    moved = {lang: tmp_path / path.name for lang, path in models.items()}
    for lang, path in moved.items():
        path.write_bytes(models[lang].read_bytes())
    kept = keep_models("small", judging(moved).perplexity, store)
    assert {name: kept.file(name).read_bytes() for name in ("zh.kenlm", "en.kenlm")} == {
        f"{lang}.kenlm": path.read_bytes() for lang, path in models.items()
    }
    assert kept.manifest()["facts"] == {"zh": "zh.arpa", "en": "en.arpa"}


def test_bytes_do_not_depend_on_the_workers(
    tmp_path: Path, models: dict[str, Path], text: Text, jsonl: Any, source: Any, corpus: Corpus
) -> None:
    sources = write_pages(tmp_path / "raw", text, jsonl, source)
    one, two = (corpus(sources, Store(tmp_path / f"{n}"), judging(models), workers=n) for n in (1, 2))
    assert one.data() == two.data()
    for scan, again in zip(one.scans, two.scans, strict=True):
        for path in sorted(scan.path.glob("*.parquet")):
            assert path.read_bytes() == (again.path / path.name).read_bytes()


# Errors of a recipe that cannot be followed.


def error_of(config: PerplexityConfig, store: Store) -> str:
    with pytest.raises(XmodelError) as error:
        keep_models("small", config, store)
    assert not list(Path(str(store.root)).glob("perplexity-models/*"))
    return str(error.value)


def test_without_the_package_a_recipe_that_names_a_model_says_what_to_install(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)  # as where it is not installed
    (tmp_path / "zh.arpa").touch()
    message = error_of(PerplexityConfig(chinese=str(tmp_path / "zh.arpa")), store)
    assert "corpus.perplexity" in message and "install kenlm" in message


@pytest.mark.parametrize("content", ["nothing", "a folder", "text", "half of it"])
def test_a_model_that_cannot_be_read_names_its_file_and_field(
    tmp_path: Path, store: Store, models: dict[str, Path], content: str
) -> None:
    path = tmp_path / "en.arpa"
    if content == "a folder":
        path.mkdir()
    elif content == "text":
        path.write_text("This is no model.")
    elif content == "half of it":
        path.write_bytes(models["en"].read_bytes()[:9000])
    message = error_of(PerplexityConfig(chinese=str(models["zh"]), english=str(path)), store)
    assert str(path) in message and "corpus.perplexity.english" in message


@pytest.mark.parametrize("lang", ["chinese", "english"])
def test_a_threshold_without_its_model_is_refused(lang: str) -> None:
    other = {"chinese": "english", "english": "chinese"}[lang]
    with pytest.raises(XmodelError, match=rf"{lang}\.max_perplexity needs a model.*perplexity\.{lang}"):
        load_recipe("quickstart", [f"corpus.{lang}.max_perplexity=900", f"corpus.perplexity.{other}=a.arpa"])


def test_models_lie_beside_the_recipe_that_names_them(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: quickstart\nname: mine\ncorpus: {perplexity: {chinese: models/zh.kenlm}}\n")
    recipe, _ = load_recipe(str(path), ["corpus.perplexity.english=en.kenlm"])
    assert recipe.corpus.perplexity.named() == {
        "zh": tmp_path / "models/zh.kenlm",
        "en": Path.cwd() / "en.kenlm",
    }
    assert recipe.corpus.decontaminate.benchmarks == "raw://benchmarks"


def test_without_models_nothing_is_measured(
    tmp_path: Path, store: Store, text: Text, jsonl: Any, source: Any, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    made = corpus(write_pages(tmp_path / "raw", text, jsonl, source), store)
    assert all(row["kept"] for row in made.decisions)
    for scan in made.scans:
        for path in scan.path.glob("*.parquet"):
            assert pq.read_table(path)["perplexity"].null_count == 12
