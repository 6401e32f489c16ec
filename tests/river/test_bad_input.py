"""What bad input gets: one clear message, or a counted, named, set-aside record. Never a traceback, never a hang."""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodel_core.ledger.query import run_query

WORDS = {
    "who": ["ferryman", "baker", "widow", "captain", "schoolboy", "gardener", "painter", "nurse", "clerk", "stranger"],
    "did": ["carried", "sold", "forgot", "mended", "found", "painted", "borrowed", "weighed", "hid", "opened"],
    "what": ["lantern", "basket", "letter", "violin", "ladder", "compass", "blanket", "kettle", "mirror", "umbrella"],
    "where": ["harbour", "market", "bridge", "orchard", "station", "mill", "chapel", "tavern", "garden", "tower"],
    "when": ["dawn", "noon", "dusk", "midnight", "harvest", "Easter", "breakfast", "supper", "sunset", "winter"],
}


def documents(count: int = 40, start: int = 0) -> list[dict]:
    """Distinct, well-formed English documents."""

    def sentence(rng: Random) -> str:
        word = {key: rng.choice(words) for key, words in WORDS.items()}
        return "Before {when} the {who} {did} a {what}, and it was seen near the {where}.".format(**word)

    return [
        {"id": f"d{n}", "text": " ".join(sentence(Random(f"{n} {k}")) for k in range(8))}
        for n in range(start, start + count)
    ]


def jsonl(records: list[dict]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def recipe(folder: Path, source: str = "uri: raw", others: Mapping[str, str] | None = None, **more: str) -> Path:
    """A recipe over `folder/raw` that goes as far as its corpus in a second or two."""
    lines = [
        f"  - {{name: {name}, lang: en, category: web, license: CC0-1.0, {where}}}\n"
        for name, where in {"ferry": source, **(others or {})}.items()
    ]
    (folder / "sources.yaml").write_text("".join(["sources:\n", *lines]))
    (folder / "mixture.yaml").write_text("phases: [{name: all, sources: {ferry: 1}}]\n")
    path = folder / "recipe.yaml"
    extra = "".join(f"{key}: {value}\n" for key, value in more.items())
    path.write_text(
        f"name: ferry\nextends: quickstart\nsample_world: null\nsources: [sources.yaml]\nmixture: mixture.yaml\n"
        f"evaluation: {{suites: []}}\ncluster: {{workers: 1}}\n{extra}"
    )
    return path


def assert_fails(done, *words: str) -> str:
    assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr + done.stdout
    assert "leaked" not in done.stderr  # the message is the last thing said
    message = done.stderr[done.stderr.rindex("xmodel: ") :]
    for word in words:
        assert word in message, message
    return message


def test_a_missing_path_names_it(tmp_path: Path, xmodel) -> None:
    assert_fails(xmodel("xdata-build", recipe(tmp_path), workspace=tmp_path / "w"), "ferry", "no such path", "raw")


def test_an_empty_folder_says_what_it_looks_for(tmp_path: Path, xmodel) -> None:
    (tmp_path / "raw").mkdir()
    assert_fails(xmodel("xdata-build", recipe(tmp_path), workspace=tmp_path / "w"), "ferry", ".jsonl.gz")


def test_a_wrong_field_names_the_fields_there_are(tmp_path: Path, xmodel_process) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl(documents()))
    path = recipe(tmp_path, "uri: raw, text_field: txt")
    # In a process of its own: the message is the last thing said, also after the interpreter's end.
    assert_fails(xmodel_process("xdata-build", path, workspace=tmp_path / "w"), "txt", "text")


def test_a_mixture_of_missing_sources_is_refused_before_any_work(tmp_path: Path, xmodel) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl(documents()))
    path = recipe(tmp_path)
    (tmp_path / "mixture.yaml").write_text("phases: [{name: all, sources: {fery: 1}}]\n")
    assert_fails(xmodel("xdata-build", path, workspace=tmp_path / "w"), "fery", "ferry")
    assert not (tmp_path / "w" / "scans").exists()


def test_a_model_that_cannot_be_used_is_refused_before_any_work(tmp_path: Path, xmodel) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl(documents()))
    path = recipe(tmp_path, corpus="{perplexity: {english: models/en.kenlm}}")
    # Without the package the message is about the package, with it about the file.
    assert_fails(xmodel("xdata-build", path, workspace=tmp_path / "w"), "corpus.perplexity")
    assert not (tmp_path / "w" / "scans").exists()


@pytest.mark.parametrize(
    ("key", "near"),
    [("tokeniser: {}", "tokenizer"), ("training: {peek_lr: 1}", "peak_lr"), ("model: {hidden_sise: 3}", "hidden_size")],
)
def test_a_wrong_key_in_a_recipe_names_the_nearest(tmp_path: Path, xmodel, key: str, near: str) -> None:
    path = recipe(tmp_path)
    path.write_text(path.read_text() + key + "\n")
    assert_fails(xmodel("plan", path, workspace=tmp_path / "w"), "recipe.yaml", near)


def test_a_wrong_override_names_the_nearest(tmp_path: Path, xmodel) -> None:
    assert_fails(xmodel("plan", "quickstart", "--set", "training.peek_lr=1", workspace=tmp_path / "w"), "peak_lr")


def test_an_unknown_recipe_or_option(tmp_path: Path, xmodel) -> None:
    assert_fails(xmodel("run", "quickstrat", workspace=tmp_path / "w"), "quickstart")
    assert xmodel("run", "--no-such-option").returncode == 2


DAMAGED = [
    b'{"id": "utf8", "text": "\xff\xfe broken"}\n',
    b"not json at all\n",
    b"[1, 2]\n",
    b'{"id": "null", "text": null}\n',
    b'{"id": "empty", "text": "   "}\n',
    b'{"id": "none"}\n',
]


@pytest.fixture(scope="module")
def odd_corpus(tmp_path_factory: pytest.TempPathFactory, xmodel) -> Path:
    """The workspace of one run over sources that each have something wrong with them."""
    folder = tmp_path_factory.mktemp("odd")
    for source in ("damaged", "cut", "repeated", "giant"):
        (folder / "raw" / source).mkdir(parents=True)
    raw = folder / "raw"

    good = documents(60)
    lines = jsonl(good[:30]).splitlines(keepends=True)
    (raw / "damaged" / "a.jsonl").write_bytes(b"".join(lines[:10] + DAMAGED + lines[10:]))
    packed = gzip.compress(jsonl(good[30:]), mtime=0)
    (raw / "damaged" / "b.jsonl.gz").write_bytes(packed[: len(packed) * 2 // 3])

    pq.write_table(pa.Table.from_pylist(documents(30, start=1_000)), raw / "cut" / "a.parquet")
    (raw / "cut" / "b.parquet").write_bytes((raw / "cut" / "a.parquet").read_bytes()[:-100])

    for name, start in (("a", 2_000), ("b", 3_000)):
        records = [{**document, "id": "same"} for document in documents(20, start=start)]
        (raw / "repeated" / f"{name}.jsonl").write_bytes(jsonl(records))

    giant = {"id": "giant", "text": " ".join(document["text"] for document in documents(70_000, start=10_000))}
    assert len(giant["text"]) > 40_000_000
    (raw / "giant" / "a.jsonl").write_bytes(jsonl([*documents(20, start=100_000), giant]))

    others = {"cut": "uri: raw/cut, format: parquet", "repeated": "uri: raw/repeated", "giant": "uri: raw/giant"}
    done = xmodel("xdata-build", recipe(folder, "uri: raw/damaged", others), workspace=folder / "w")
    assert done.returncode == 0, done.stderr
    assert run_query(folder / "w", "select * from books")[1] == []
    return folder / "w"


def unreadable(workspace: Path, source: str) -> int:
    query = "select sum(docs) from document_drops where source = $source and reason = 'unreadable'"
    return run_query(workspace, query, {"source": source})[1][0][0]


def test_damaged_records_are_set_aside_counted_and_named(odd_corpus: Path) -> None:
    assert unreadable(odd_corpus, "ferry") >= len(DAMAGED) + 1  # the broken tail counts too
    query = "select sum(docs_out) from document_flow where stage = 'near' and source = 'ferry'"
    assert 30 < run_query(odd_corpus, query)[1][0][0] < 60


def test_a_truncated_parquet_file_is_set_aside_and_the_rest_is_built(odd_corpus: Path) -> None:
    assert unreadable(odd_corpus, "cut") == 1


def test_repeated_ids_are_told_apart(odd_corpus: Path, xmodel) -> None:
    ways = json.loads(xmodel("trace", "repeated:same#b.jsonl:3", "--json", workspace=odd_corpus).stdout)
    assert len(ways) == 1
    ways = json.loads(xmodel("trace", "same", "--json", workspace=odd_corpus).stdout)
    assert len(ways) == 1, "the first keeps the id"


def test_a_document_of_fifty_megabytes_neither_hangs_nor_breaks(odd_corpus: Path) -> None:
    query = "select sum(docs_in) from document_flow where stage = 'read' and source = 'giant'"
    assert run_query(odd_corpus, query)[1] == [(21,)]


def test_a_vocabulary_larger_than_the_text_allows_says_what_would_fit(tmp_path: Path, xmodel) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "a.jsonl").write_bytes(jsonl(documents()))
    done = xmodel("tokenizer-train", recipe(tmp_path), "--set", "tokenizer.vocab_size=60000", workspace=tmp_path / "w")
    assert_fails(done, "vocab", "60000")
