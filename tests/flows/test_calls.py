"""Calls of every command: the options that all of them take, wrong calls, places that cannot be used."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from flows.cli import COMMANDS, main
from tests.flows.checkpoints import xmodel


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_workspace_and_set(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    options = [option for parameter in command.params for option in parameter.opts]
    assert options.count("--workspace") == options.count("--set") == 1
    help_text = CliRunner().invoke(main, [name, "--help"]).output
    assert "--workspace PLACE" in help_text and "--set KEY=VALUE" in help_text


WRONG = (["--set", "nonsense"], ["--set", "=3"], ["--set", "training..seed=1"], ["--no-such-option"], ["--workspace"])


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_wrong_call_is_2(name: str, words: list[str]) -> None:
    result = CliRunner().invoke(main, [name, *words])
    assert result.exit_code == 2
    assert "Error: " in result.stderr and "xmodel: " not in result.stderr
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "words",
    [
        ["evalute"],
        ["trace"],
        ["init"],
        ["export", "a", "b", "--format", "gif"],
        ["up", "--port", "99999999"],
        ["sources", "x"],
    ],
    ids=" ".join,
)
def test_so_are_other_wrong_words(words: list[str]) -> None:
    assert xmodel(*words).exit_code == 2


def test_the_same_words_serve_a_whole_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    words = ("--workspace", tmp_path / "w", "--set", "training.seed=7")
    assert xmodel("plan", "quickstart", *words).exit_code == 0
    assert xmodel("sources", *words).exit_code == 0
    assert xmodel("down", *words).output == "nothing was up\n"
    (tmp_path / "a.jsonl").write_text('{"text": "Once upon a time there was a mill."}\n' * 3)
    told = xmodel("init", "a.jsonl", "--name", "mine", *words).output
    assert f"run mine/recipe.yaml --workspace {tmp_path}/w --set training.seed=7" in told


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Prefect home that is not there yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("PREFECT_HOME", str(folder / "prefect"))
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.mark.parametrize("words", [["up"], ["down"], ["xdata-build"], ["run"]], ids=" ".join)
def test_a_home_that_cannot_be_written_to_is_one_message(tmp_path: Path, home: Path, words: list[str]) -> None:
    home.write_text("a file")
    result = xmodel(*words, "--workspace", tmp_path / "w")
    assert result.exit_code == 1
    assert result.stderr.startswith("xmodel: Prefect's home cannot be written to")
    assert "PREFECT_HOME" in result.stderr and "report it" not in result.stderr
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("text", [b"active = [broken", b"\xff\xfe"], ids=["not TOML", "not UTF-8"])
def test_profiles_that_cannot_be_read_are_one_message(tmp_path: Path, home: Path, text: bytes) -> None:
    (home / "prefect").mkdir(parents=True)
    (home / "prefect" / "profiles.toml").write_bytes(text)
    for words in (["up"], ["pretrain"]):
        result = xmodel(*words, "--workspace", tmp_path / "w")
        assert result.exit_code == 1
        assert str(home / "prefect" / "profiles.toml") in result.stderr and "report it" not in result.stderr
    assert "profiles cannot be read" in xmodel("doctor").output.replace("\n", " ")


@pytest.mark.parametrize("place", ["/proc/nowhere", "FILE/inside"], ids=["refused", "below a file"])
def test_a_workspace_that_cannot_be_written_to_is_one_message(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    workspace = place.replace("FILE", str(tmp_path / "file"))
    result = xmodel("run", "--workspace", workspace)
    assert result.exit_code == 1
    assert f"workspace: {workspace} cannot be written to" in result.stderr
    assert "report it" not in result.stderr


def test_so_is_any_place_that_the_system_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Once upon a time there was a mill."}\n' * 3)
    monkeypatch.chdir("/proc")
    result = xmodel("init", tmp_path / "a.jsonl", "--name", "nowhere")
    assert result.exit_code == 1
    assert "nowhere" in result.stderr and "report it" not in result.stderr
