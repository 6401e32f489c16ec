"""Sources: which files a spec gives, and what changes their fingerprint."""

import os
from pathlib import Path

import pytest

from xmodel_core.artifacts import file_digest, fingerprint
from xmodel_core.errors import MissingInput
from xmodel_core.specs import Source, list_source, load_sources, resolve
from xmodel_core.specs.listing import list_files


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


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    """A folder that holds itself, by one link or by two, and a folder of links to where the disks are."""
    write(tmp_path / "disk" / "part" / "b.jsonl")
    write(tmp_path / "data" / "a.jsonl")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "data" / "one.jsonl").symlink_to(tmp_path / "disk" / "part" / "b.jsonl")
    (tmp_path / "data" / "itself").symlink_to(tmp_path / "data", target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to("../data", target_is_directory=True)
    (tmp_path / "data" / "ouroboros").symlink_to("ouroboros")
    for uri in (tmp_path / "data", tmp_path / "data" / "**" / "*.jsonl"):
        assert names(uri) == ["a.jsonl", "more/part/b.jsonl", "one.jsonl"]
        left_out = " ".join(list_source(source(uri)).left_out)
        assert all(
            name in left_out for name in ("itself: ", "more/back: ", *(["ouroboros: "] if uri.suffix == "" else []))
        )
    (tmp_path / "linked").symlink_to(tmp_path / "data", target_is_directory=True)
    assert names(tmp_path / "linked") == ["a.jsonl", "more/part/b.jsonl", "one.jsonl"]


def test_a_link_to_nothing_and_a_folder_without_permission_are_named(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl")
    (tmp_path / "part-2.jsonl").symlink_to(tmp_path / "unmounted" / "part-2.jsonl")
    assert list_source(source(tmp_path)).left_out == ("part-2.jsonl: a link to nothing",)
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(MissingInput, match=r"part-2\.jsonl: a link to nothing"):
        list_source(source(tmp_path))
    write(tmp_path / "shut" / "b.jsonl").parent.chmod(0)
    try:
        if os.geteuid():
            assert "shut: permission denied" in list_files(tmp_path).left_out
    finally:
        (tmp_path / "shut").chmod(0o755)


def test_files_of_programs_are_passed_over_and_counted(tmp_path: Path) -> None:
    for name in ("a.jsonl", "._a.jsonl", ".ipynb_checkpoints/a.jsonl", "b/.partial/c.jsonl", "b/_c.jsonl"):
        write(tmp_path / name)
    listed = list_source(source(tmp_path))
    assert ([name for name, *_ in listed.files], listed.hidden) == (["a.jsonl", "b/_c.jsonl"], 3)
    assert names(tmp_path / "*.jsonl") == ["a.jsonl"]
    assert list_source(source(tmp_path / "**" / "*.jsonl")).hidden == 3
    assert names(tmp_path / ".ipynb_checkpoints") == ["a.jsonl"]  # what a person names is read
    assert names(tmp_path / ".*" / "*.jsonl") == [".ipynb_checkpoints/a.jsonl"]


@pytest.mark.parametrize("folder", ["proj[1]", "[zh]", "what?", "a*b", "a[b", "[!a]"])
def test_what_glob_takes_for_a_pattern_may_be_a_name(tmp_path: Path, folder: str) -> None:
    write(tmp_path / folder / "data" / "x[2].jsonl")
    write(tmp_path / folder / "data" / "y.jsonl")
    spec = write(
        tmp_path / folder / "sources.yaml",
        "sources:\n"
        + "".join(
            f"  - {{name: s{index}, lang: zh, category: web, license: none, uri: '{uri}'}}\n"
            for index, uri in enumerate(["data", "data/*.jsonl", "*/?.jsonl", "**/*.jsonl", "data/x[2].jsonl"])
        ),
    )
    found = [[name for name, *_ in list_source(one).files] for one in load_sources([spec.name], spec.parent)]
    both = ["x[2].jsonl", "y.jsonl"]
    assert found == [both, both, ["data/y.jsonl"], [f"data/{name}" for name in both], ["x[2].jsonl"]]


def test_a_file_name_that_is_no_utf8_has_a_fingerprint(tmp_path: Path) -> None:
    gbk = os.fsdecode("语料.jsonl".encode("gbk"))
    write(tmp_path / gbk)
    write(tmp_path / "语料.jsonl")
    assert set(names(tmp_path)) == {gbk, "语料.jsonl"}
    assert len(resolve(source(tmp_path), file_digest).fingerprint) == 64


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
