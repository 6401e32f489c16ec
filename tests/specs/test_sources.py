"""Sources: which files a spec gives, and what changes their fingerprint."""

from pathlib import Path

import pytest

from xmodel_core.artifacts import file_digest, fingerprint
from xmodel_core.errors import MissingInput
from xmodel_core.specs import Source, resolve


def source(uri: Path | str, **changes: object) -> Source:
    fields = {"name": "wiki", "lang": "zh", "category": "web", "license": "unknown", "uri": str(uri)}
    return Source.model_validate({**fields, **changes})


def write(path: Path, text: str = '{"id": 1, "text": "雨"}\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(uri: Path | str, **changes: object) -> list[str]:
    return [file.name for file in resolve(source(uri, **changes), file_digest).files]


def test_a_folder_gives_its_files_of_the_format_at_any_depth_in_name_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/c.jsonl.gz", "a/b.jsonl.zst", "notes.txt", "a/d.parquet"):
        write(tmp_path / name)
    assert names(tmp_path) == ["a/b.jsonl.zst", "a/c.jsonl.gz", "b.jsonl"]
    assert names(tmp_path, format="parquet") == ["a/d.parquet"]


def test_a_file_is_named_without_its_folder(tmp_path: Path) -> None:
    assert names(write(tmp_path / "deep" / "one.jsonl")) == ["one.jsonl"]


def test_a_glob_gives_what_matches_named_from_its_fixed_part(tmp_path: Path) -> None:
    for name in ("x/2020/a.jsonl", "x/2021/a.jsonl", "y/2021/a.jsonl"):
        write(tmp_path / name)
    assert names(tmp_path / "x" / "*" / "a.jsonl") == ["2020/a.jsonl", "2021/a.jsonl"]
    assert names(tmp_path / "x" / "202?" / "*.jsonl") == ["2020/a.jsonl", "2021/a.jsonl"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingInput, match="no such path") as error:
        resolve(source(tmp_path / "nowhere"), file_digest)
    assert error.value.where == str(tmp_path / "nowhere")


def test_an_empty_folder_is_not_a_missing_one(tmp_path: Path) -> None:
    write(tmp_path / "readme.md")
    with pytest.raises(MissingInput, match="none that match"):
        resolve(source(tmp_path), file_digest)


@pytest.mark.parametrize("uri", ["unpublished://sft_math", "https://opendatalab.org.cn/WanJuan1.0"])
def test_a_source_that_is_declared_but_not_available_says_what_to_do(uri: str) -> None:
    with pytest.raises(MissingInput, match="declared but not available") as error:
        resolve(source(uri), file_digest)
    assert "give the folder of a copy" in str(error.value.remedy)


def test_the_fingerprint_follows_bytes_and_not_places_or_papers(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        write(tmp_path / folder / "a.jsonl")
    here = resolve(source(tmp_path / "here"), file_digest).fingerprint
    assert resolve(source(tmp_path / "there"), file_digest).fingerprint == here
    papers = {"license": "CC0", "category": "book", "published_tokens": 5, "gated": True, "records": "text"}
    assert resolve(source(tmp_path / "here", **papers), file_digest).fingerprint == here
    changes: list[dict[str, object]] = [
        {"lang": "en"},
        {"text_field": "body"},
        {"id_field": None},
        {"policy": "code"},
        {"name": "w"},
        {"records": "alpaca", "text_field": "text"},
        {"records": "sharegpt", "text_field": "text"},
    ]
    assert (
        len({resolve(source(tmp_path / "here", **change), file_digest).fingerprint for change in changes} | {here}) == 8
    )
    write(tmp_path / "there" / "a.jsonl", '{"id": 1, "text": "云"}\n')
    assert resolve(source(tmp_path / "there"), file_digest).fingerprint != here


def test_the_fingerprint_of_plain_text_is_what_it_was_before_there_was_instruction_data(tmp_path: Path) -> None:
    """Scans that exist keep their names: the form of the records counts only where it is not the default."""
    files = resolve(source(write(tmp_path / "a.jsonl")), file_digest)
    spec = {"name": "wiki", "format": "jsonl", "text_field": "text", "id_field": "id", "lang": "zh", "policy": "prose"}
    (file,) = files.files
    assert files.fingerprint == fingerprint([spec, [[file.name, file.bytes, file.digest]]])


def test_the_text_field_of_instruction_data_is_its_forms_own_unless_stated() -> None:
    assert source("x").text_field == "text"
    assert source("x", records="alpaca").text_field == "output"
    assert source("x", records="sharegpt").text_field == "conversations"
    assert source("x", records="sharegpt", text_field="messages").text_field == "messages"
