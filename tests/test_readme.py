"""The README is correct: its tree is the disk, its verbs exist, its Chinese twin keeps step."""

import re
import subprocess
from pathlib import Path

import pytest

from flows.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
READMES = ["README.md", "README.zh.md"]


def tree_of(readme: str) -> dict[str, str]:
    """path → phrase, from the indented tree of a README."""
    block = re.search(r"```\n(xmodel_core/|README\.md|datasets_spec/).*?```", (ROOT / readme).read_text(), re.S)
    assert block, f"{readme} has no tree"
    paths: dict[str, str] = {}
    folders: list[str] = []
    for line in block[0].strip("`\n").splitlines():
        name, _, phrase = line.strip().partition("  ")
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name.rstrip("/")]
        paths["/".join(folders)] = phrase.strip()
    return paths


def on_disk() -> set[str]:
    """Tracked (or about to be) top-level files and folders, the packages' rooms, and the rooms' own folders."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    listed_paths = set()
    for name in listed:
        parts = name.split("/")
        if parts[0].startswith("."):
            continue
        listed_paths.add(parts[0])
        if parts[0] in ("xmodel_core", "flows", "datasets_spec", "infra", "tests") and len(parts) > 1:
            listed_paths.add("/".join(parts[:2]))
        if parts[0] == "xmodel_core" and len(parts) > 3:
            listed_paths.add("/".join(parts[:3]))
    return {name for name in listed_paths if not name.endswith("__init__.py")}


@pytest.mark.parametrize("readme", READMES)
def test_the_tree_equals_the_disk(readme: str) -> None:
    tree = tree_of(readme)
    assert set(tree) == on_disk()
    assert all(tree.values()), [path for path, phrase in tree.items() if not phrase]


@pytest.mark.parametrize("readme", READMES)
def test_every_verb_it_names_exists_and_every_verb_is_named(readme: str) -> None:
    text = (ROOT / readme).read_text()
    named = set(re.findall(r"\bxmodel ([a-z][a-z-]+)", text))
    assert named == set(COMMANDS)


def test_the_chinese_readme_gives_the_same_commands() -> None:
    commands = [
        re.findall(r"^(?:xmodel|make|prefect|source) [^#\n]*", (ROOT / name).read_text(), re.M) for name in READMES
    ]
    stripped = [[command.strip() for command in listed] for listed in commands]
    assert stripped[0] == stripped[1]


def test_every_path_that_contributing_names_exists() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [
        path for path in re.findall(r"`([^` ]+)`", text) if "/" in path or path.endswith((".md", ".toml", ".yaml"))
    ]
    questions = re.findall(r"^\| \d+\. ", text, re.M)
    assert len(questions) >= 20 and len(named) > 30
    assert [path for path in named if not (ROOT / path).exists() and path != ".ci/run"] == []
