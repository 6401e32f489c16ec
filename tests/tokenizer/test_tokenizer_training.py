"""The sample keeps its shares and its order, the model its bytes; impossible vocabularies are refused."""

import random
import re
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from xmodel_core.artifacts import Store, file_digest
from xmodel_core.errors import XmodelError
from xmodel_core.specs.strict import validate
from xmodel_core.tokenizer import sample
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.documents import document_files, held_out, held_out_below
from xmodel_core.tokenizer.sample import Draw, draw_sample
from xmodel_core.tokenizer.stage import tokenizer_identity, train_tokenizer
from xmodel_core.tokenizer.tokenizer import Tokenizer

SMALL = TokenizerConfig(vocab_size=450, sample_characters=40_000, validation_documents=5)


def test_the_sample_keeps_the_shares(make_corpus: Any, documents: Any) -> None:
    corpus = make_corpus({"a": [documents("zh", 400), documents("en", 300)], "b": [documents("code", 300)]})
    config = SMALL.model_copy(
        update={"sample_characters": 20_000, "sample_shares": {"zh": 0.5, "en": 0.3, "code": 0.2}}
    )
    drawn = draw_sample(document_files(corpus), config, {})
    for lang, share in config.sample_shares.items():
        # Whole documents are drawn, so a share is kept to within one.
        assert drawn.shares[lang]["characters"] == pytest.approx(share * 20_000, abs=500), lang
    assert sum(share["characters"] for share in drawn.shares.values()) == drawn.characters


def test_absent_shares_give_their_share_to_the_others(make_corpus: Any, documents: Any) -> None:
    corpus = make_corpus({"a": [documents("en", 50)], "b": [documents("code", 100)]})
    drawn = draw_sample(document_files(corpus), SMALL, {})
    assert drawn.shares["en"]["share"] == pytest.approx(0.45 / 0.55)
    assert set(drawn.shares) == {"en", "code"}


def test_shares_of_categories(make_corpus: Any, documents: Any) -> None:
    corpus = make_corpus({"wiki": [documents("zh", 300)], "web": [documents("zh", 300, seed=1) + documents("en", 400)]})
    files, categories = document_files(corpus), {"wiki": "encyclopedia", "web": "web"}

    def characters(shares: dict[str, float]) -> dict[str, float]:
        config = SMALL.model_copy(update={"sample_characters": 20_000, "sample_shares": shares})
        drawn = draw_sample(files, config, categories).shares
        return {share: of_share["characters"] for share, of_share in drawn.items()}

    drawn = characters({"zh/encyclopedia": 0.2, "zh": 0.4, "en": 0.4})
    assert drawn == {
        "zh/encyclopedia": pytest.approx(4_000, abs=500),
        "zh": pytest.approx(8_000, abs=500),
        "en": pytest.approx(8_000, abs=500),
    }
    # What has no text leaves its share to its language, and only a language without any to the others.
    drawn = characters({"zh/law": 0.3, "zh": 0.3, "en": 0.4, "code": 0.4})
    assert drawn == {"zh": pytest.approx(12_000, abs=500), "en": pytest.approx(8_000, abs=500)}


def test_held_out_sources_give_nothing(make_corpus: Any, documents: Any) -> None:
    rows = documents("en", 60, seed=1)
    corpus = make_corpus({"a": [documents("en", 60)], "b": [rows]})
    config = SMALL.model_copy(update={"held_out_sources": ("b",), "sample_characters": 10**9})
    assert not set(draw_sample(document_files(corpus), config, {}).texts()) & {text for _, text, _ in rows}
    with pytest.raises(XmodelError, match=r"no source c to hold out"):
        draw_sample(document_files(corpus), config.model_copy(update={"held_out_sources": ("c",)}), {})


def test_the_draw_knows_which_documents_were_learned_from(make_corpus: Any, documents: Any, tmp_path: Path) -> None:
    rows = documents("zh", 200) + documents("en", 200)
    corpus = make_corpus({"a": [rows]})
    trained = train_tokenizer("small", corpus, [], SMALL, Store(tmp_path / "built"))
    files = document_files(corpus)
    ids, texts, languages = zip(*rows, strict=True)
    validation = held_out("a", ids, held_out_below(files["a"], SMALL.validation_documents))
    taken = Draw.of(trained).takes("a", "", ids, languages) & ~validation
    drawn = list(draw_sample(files, SMALL, {}).texts())
    assert sorted(drawn) == sorted(text for text, took in zip(texts, taken, strict=True) if took)
    assert 0 < len(drawn) < 400 - validation.sum()


def test_the_sample_is_the_same_however_little_is_held_at_a_time(
    make_corpus: Any, documents: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = document_files(make_corpus({"a": [documents("zh", 60)], "b": [documents("en", 90)]}))
    at_once = list(draw_sample(files, SMALL, {}).lines())
    monkeypatch.setattr(sample, "HELD_CHARACTERS", 1_500)
    parts = draw_sample(files, SMALL, {})
    assert len(parts.ranges) > 5
    assert list(parts.lines()) == at_once


def test_what_is_held_out_is_never_sampled(make_corpus: Any, documents: Any) -> None:
    corpus = make_corpus({"a": [documents("en", 200)], "b": [documents("en", 10, seed=1)]})
    files = document_files(corpus)
    config = SMALL.model_copy(update={"sample_characters": 10**9})
    sampled = set(draw_sample(files, config, {}).texts())
    rows = documents("en", 200)
    validation = held_out("a", [row[0] for row in rows], held_out_below(files["a"], 5))
    assert validation.sum() == 5
    assert not sampled & {row[1] for row, out in zip(rows, validation, strict=True) if out}
    assert held_out_below(files["b"], 5) == 0, "a twentieth of ten documents is none"
    assert len(sampled) == 205


def test_same_documents_same_bytes_whatever_the_files(make_corpus: Any, documents: Any, tmp_path: Path) -> None:
    rows = documents("zh", 80) + documents("en", 60) + documents("code", 80)
    shuffled = random.Random(3).sample(rows, len(rows))
    one = make_corpus({"a": [rows]}, place="one")
    other = make_corpus({"a": [shuffled[:7], [], shuffled[7:]]}, place="elsewhere/other")
    models = []
    for corpus, place in ((one, "first"), (other, "second place")):
        trained = train_tokenizer("small", corpus, [], SMALL, Store(tmp_path / place))
        models.append(file_digest(trained.path / "tokenizer.model"))
    assert models[0] == models[1]


@pytest.mark.parametrize("model_type", ["unigram", pytest.param("bpe", marks=pytest.mark.slow)])
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="cores are taken away with sched_setaffinity")
def test_same_bytes_on_one_core(make_corpus: Any, documents: Any, tmp_path: Path, model_type: str) -> None:
    config = SMALL.model_copy(update={"model_type": model_type})
    corpus = make_corpus({"a": [documents("zh", 80) + documents("en", 60)]})
    here = train_tokenizer("small", corpus, [], config, Store(tmp_path / "all cores"))
    script = f"""
import os; from pathlib import Path
os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}})
from xmodel_core.artifacts import Artifact, Store, open_folder
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.stage import train_tokenizer
corpus = Artifact("corpus", "small", {corpus.fingerprint!r}, open_folder({str(corpus.folder)!r}))
config = TokenizerConfig.model_validate_json({config.model_dump_json()!r})
train_tokenizer("small", corpus, [], config, Store(Path({str(tmp_path / "one core")!r})))
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    alone = tmp_path / "one core" / "tokenizer" / here.label / "tokenizer.model"
    assert file_digest(alone) == file_digest(here.path / "tokenizer.model")


def test_a_trained_tokenizer_is_reused_and_records_its_sample(make_corpus: Any, documents: Any, tmp_path: Path) -> None:
    corpus = make_corpus({"a": [documents("en", 50) + documents("code", 50)]})
    store, config = Store(tmp_path / "built"), SMALL.model_copy(update={"vocab_size": 350})
    trained = train_tokenizer("small", corpus, [], config, store)
    facts = trained.manifest()["facts"]
    assert (facts["vocab_size"], facts["eos_id"], facts["absent_shares"]) == (350, 2, ["zh"])
    before = (trained.path / "manifest.json").stat().st_mtime_ns
    assert train_tokenizer("small", corpus, [], config, store) == trained
    assert (trained.path / "manifest.json").stat().st_mtime_ns == before
    assert Tokenizer.load(trained).vocab_size == 350


def test_only_kept_documents_and_the_config_name_a_tokenizer() -> None:
    digests = {"a": "1", "b": "2"}
    identity = tokenizer_identity("small", digests, SMALL, [])
    assert identity == tokenizer_identity("small", dict(reversed(digests.items())), SMALL, [])
    assert identity.label != tokenizer_identity("small", {"a": "1", "b": "3"}, SMALL, []).label
    assert identity.label != tokenizer_identity("small", digests, SMALL.model_copy(update={"seed": 1}), []).label


def test_a_vocabulary_larger_than_the_text_allows(make_corpus: Any, documents: Any, tmp_path: Path) -> None:
    corpus = make_corpus({"a": [documents("en", 50)]})
    with pytest.raises(XmodelError, match="larger than the text allows") as caught:
        train_tokenizer("small", corpus, [], SMALL.model_copy(update={"vocab_size": 30_000}), Store(tmp_path / "built"))
    largest = re.search(r"tokenizer\.vocab_size=(\d+)", str(caught.value))
    assert largest, caught.value
    allowed = SMALL.model_copy(update={"vocab_size": int(largest[1])})
    trained = train_tokenizer("small", corpus, [], allowed, Store(tmp_path / "built"))
    assert trained.manifest()["facts"]["vocab_size"] == int(largest[1])


def test_a_vocabulary_smaller_than_the_characters(make_corpus: Any, tmp_path: Path) -> None:
    def page(n: int) -> str:
        """Twenty everyday characters, and five of the fifteen hundred that are rare."""
        everyday = Random(n).choices([chr(0x4E00 + k) for k in range(20)], k=400)
        return "".join(everyday) + "".join(chr(0x5E00 + n * 5 + k) for k in range(5))

    corpus = make_corpus({"a": [[(str(n), page(n), "zh") for n in range(300)]]})
    config = SMALL.model_copy(update={"vocab_size": 350})
    with pytest.raises(XmodelError, match="smaller than the text's characters") as caught:
        train_tokenizer("small", corpus, [], config, Store(tmp_path / "built"))
    coverage = re.search(r"character_coverage=([\d.]+):", str(caught.value))
    assert coverage, caught.value
    allowed = config.model_copy(update={"character_coverage": float(coverage[1])})
    train_tokenizer("small", corpus, [], allowed, Store(tmp_path / "built"))


def test_characters_that_no_coverage_can_leave_out(make_corpus: Any, tmp_path: Path) -> None:
    han = [(str(n), "".join(chr(0x4E00 + (n * 40 + k) % 1500) for k in range(400)), "zh") for n in range(60)]
    with pytest.raises(XmodelError, match="smaller than the text's characters") as caught:
        train_tokenizer("small", make_corpus({"a": [han]}), [], SMALL, Store(tmp_path / "built"))
    assert "character_coverage=" not in str(caught.value)


def test_no_text_at_all(make_corpus: Any, tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="no text to train"):
        train_tokenizer("small", make_corpus({"a": [[]]}), [], SMALL, Store(tmp_path / "built"))


def test_bpe_is_the_other_model(make_corpus: Any, documents: Any, tmp_path: Path) -> None:
    corpus = make_corpus({"a": [documents("zh", 60) + documents("code", 60)]})
    config = SMALL.model_copy(update={"model_type": "bpe"})
    tokenizer = Tokenizer.load(train_tokenizer("small", corpus, [], config, Store(tmp_path / "built")))
    text = documents("code", 1)[0][1]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_shares": {"zh": 0}},
        {"sample_shares": {"fr": 1}},
        {"sample_shares": {"zh/": 1}},
        {"special_tokens": ["<|reserved_0|>"], "reserved_tokens": 1},
        {"special_tokens": ["<s>"]},
        {"vocab_sise": 9},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(XmodelError):
        validate(TokenizerConfig, {"vocab_size": 500, **wrong}, "recipe.yaml")
