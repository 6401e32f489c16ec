"""`xmodel --help`: every line whole, every command where the table says, and nothing heavy loaded to print it."""

import pkgutil
import subprocess
import sys
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

import flows.commands
from flows.cli import COMMANDS, main

HEAVY = ("torch", "ray", "prefect", "pyarrow", "duckdb", "pydantic", "numpy", "rich")
# `plan` walks the pipeline's stages, whose modules it imports.
LOADED_BY_HELP = {"plan": ("pyarrow", "duckdb", "pydantic", "numpy", "rich")}


def test_every_line_of_help_is_whole_at_80_columns() -> None:
    help_text = CliRunner().invoke(main, ["--help"], terminal_width=80).output
    lines = help_text.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    for line, entry in zip(lines, COMMANDS.values(), strict=True):
        assert line.endswith(f"  {entry.short_help}")
        assert len(line) <= 80


def test_the_table_and_the_modules_name_the_same_commands() -> None:
    context = click.Context(main)
    by_target = {}
    for name, entry in COMMANDS.items():
        command = main.get_command(context, name)
        assert isinstance(command, click.Command) and command.name == name
        assert command.help
        by_target[id(command)] = entry.target
    defined = {
        id(value): f"{module.name}:{attribute}"
        for module in pkgutil.iter_modules(flows.commands.__path__)
        for attribute, value in vars(import_module(f"flows.commands.{module.name}")).items()
        if isinstance(value, click.Command)
    }
    assert defined == by_target


def test_an_unknown_command_is_a_wrong_call_with_the_nearest_name() -> None:
    result = CliRunner().invoke(main, ["evalute"])
    assert result.exit_code == 2
    assert "No such command 'evalute'" in result.output
    assert "evaluate" in result.output


LOADED = """
import sys
from importlib import import_module
from flows.cli import COMMANDS

first = set(sys.modules)
for name in sys.argv[1:]:
    import_module("flows.commands." + COMMANDS[name].target.partition(":")[0])
print(*first, "|", *sys.modules)
"""


def loaded(*names: str) -> tuple[set[str], set[str]]:
    """Modules that the table alone has loaded, and those after the named commands' modules."""
    words = [sys.executable, "-c", LOADED, *names]
    before, _, after = subprocess.run(words, capture_output=True, text=True, check=True).stdout.partition("|")
    return set(before.split()), set(after.split())


@pytest.mark.parametrize("names", [tuple(set(COMMANDS) - {"plan"}), ("plan",)], ids=["others", "plan"])
def test_help_loads_nothing_heavy(names: tuple[str, ...]) -> None:
    before, after = loaded(*names)
    assert [module for module in before if module.startswith("flows.commands.")] == ["flows.commands.options"]
    assert before.isdisjoint(HEAVY)
    allowed = LOADED_BY_HELP.get(names[0], ())
    assert after.isdisjoint(set(HEAVY) - set(allowed))
