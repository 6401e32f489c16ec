"""Strict YAML: what a person types wrong is answered with the file, the key and the nearest right one."""

from pathlib import Path

import pytest

from xmodel_core.errors import XmodelError
from xmodel_core.specs import Mixture, load_mixture, load_sources, read_yaml, validate
from xmodel_core.specs.sources import DATASETS_SPEC, SourceFamily

SOURCE = "sources:\n  - {name: wiki, lang: zh, category: web, license: unknown, uri: wiki}\n"


def write(folder: Path, text: str, name: str = "spec.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_wrong_key_is_answered_with_the_file_the_key_and_the_nearest_right_one(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE.replace("license", "licence"))
    with pytest.raises(XmodelError) as error:
        load_sources([str(path)], tmp_path)
    message = str(error.value)
    assert "sources.0.licence" in message
    assert str(path) in message
    assert "did you mean `license`?" in message


def test_a_wrong_key_inside_a_list_of_models_names_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, "phases: [{name: stable, sources: {wiki: {weigth: 1}}}]")
    with pytest.raises(XmodelError, match=r"phases\.0\.sources\.wiki\.weigth") as error:
        load_mixture(str(path), tmp_path)
    assert "did you mean `weight`?" in str(error.value)


def test_a_value_of_the_wrong_kind_names_the_key_and_shows_the_value(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE.replace("zh", "chinese"))
    with pytest.raises(XmodelError, match=r"sources\.0\.lang") as error:
        load_sources([str(path)], tmp_path)
    assert "chinese" in str(error.value)


def test_a_repeated_key_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "phases:\n  - name: stable\n    sources:\n      wiki: 1\n      books: 2\n      wiki: 3\n")
    with pytest.raises(XmodelError, match="'wiki' is repeated on line 6"):
        read_yaml(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a\n- b\n", "keys and values"),
        ("a: [1, 2", "not YAML"),
        ("", "keys and values"),
        ("a: !!python/object:os.X {}", "not YAML"),
    ],
)
def test_what_is_not_a_mapping_is_one_clear_message(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(XmodelError, match=expected):
        read_yaml(write(tmp_path, text))


def test_bytes_that_are_not_utf8_are_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: café".encode("latin-1"))
    with pytest.raises(XmodelError, match="not YAML"):
        read_yaml(path)


def test_a_missing_file_says_what_its_folder_holds(tmp_path: Path) -> None:
    write(tmp_path, SOURCE, "sources.yaml")
    with pytest.raises(XmodelError, match=r"sources\.yaml"):
        read_yaml(tmp_path / "source.yaml")


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="did you mean xdata"):
        load_mixture("xdta", tmp_path)


def test_a_source_declared_twice_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, SOURCE + SOURCE.splitlines()[1])
    with pytest.raises(XmodelError, match="wiki is declared twice"):
        load_sources([str(path)], tmp_path)


def test_weights_that_add_up_to_nothing_are_refused() -> None:
    with pytest.raises(XmodelError, match="add up to zero"):
        validate(Mixture, {"phases": [{"name": "stable", "sources": {"wiki": 0}}]}, "here")


def test_a_weight_may_stand_alone_or_with_limits() -> None:
    data = {"phases": [{"name": "stable", "sources": {"wiki": 3, "books": {"weight": 1, "max_epochs": 4}}}]}
    shares = validate(Mixture, data, "here").phases[0].sources
    assert (shares["wiki"].weight, shares["wiki"].max_epochs) == (3, None)
    assert (shares["books"].weight, shares["books"].max_epochs) == (1, 4)


@pytest.mark.parametrize("path", sorted((DATASETS_SPEC / "sources").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_family_that_we_publish_is_read(path: Path) -> None:
    family = validate(SourceFamily, read_yaml(path), path)
    assert family.description
    assert all(source.license for source in family.sources)
    assert all((source.policy == "code") == (source.lang == "code") for source in family.sources)


@pytest.mark.parametrize("name", ["xdata", "xmodel2"])
def test_every_key_of_a_published_mixture_names_a_source_or_a_language_and_category(name: str) -> None:
    sources = load_sources([name], DATASETS_SPEC)
    known = {source.name for source in sources} | {f"{source.lang}/{source.category}" for source in sources}
    for phase in load_mixture(name, DATASETS_SPEC).phases:
        assert set(phase.sources) <= known


def test_xdata_is_the_reports_table() -> None:
    """Totals by hand from the eighteen rows of Xmodel-LM's data table."""
    sources = load_sources(["xdata"], DATASETS_SPEC)
    weights = load_mixture("xdata", DATASETS_SPEC).phases[0].sources
    assert len(sources) == 18
    assert sum(source.published_tokens or 0 for source in sources) == 2_267_061_840_870
    assert sum(share.weight for share in weights.values()) == pytest.approx(1)
    assert {source.name: source.published_weight for source in sources} == {k: s.weight for k, s in weights.items()}
    by_lang = {lang: sum(s.published_weight or 0 for s in sources if s.lang == lang) for lang in ("en", "code", "zh")}
    assert by_lang == pytest.approx({"en": 0.7963, "code": 0.0686, "zh": 0.1351})


def test_every_source_on_the_hub_says_whether_it_is_gated() -> None:
    for path in sorted((DATASETS_SPEC / "sources").glob("*.yaml")):
        on_the_hub = [s for s in load_sources([path.stem], DATASETS_SPEC) if s.uri.startswith("hf://")]
        assert all(source.gated is not None for source in on_the_hub), path.stem
        assert {s.name for s in on_the_hub if s.gated} <= {"starcoder", "the_stack"}


def test_xmodel2_decays_into_sixty_four_percent_of_instruction_data() -> None:
    stable, decay = load_mixture("xmodel2", DATASETS_SPEC).phases
    assert sum(share.weight for share in stable.sources.values()) == pytest.approx(100)
    assert sum(share.weight for share in decay.sources.values()) == pytest.approx(100)
    assert sum(share.weight for key, share in decay.sources.items() if key.startswith("sft_")) == pytest.approx(63.9)
