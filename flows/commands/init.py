"""`xmodel init`: a recipe and specs for files of your own."""

import shlex
from pathlib import Path

import click

from flows.commands.options import set_option, workspace_option


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the recipe and of the folder to write.")
@workspace_option
@set_option
def init(paths: tuple[Path, ...], name: str, workspace: str | None, overrides: tuple[str, ...]) -> None:
    """Write NAME/recipe.yaml, NAME/sources.yaml and NAME/mixture.yaml for the documents in PATHS."""
    from flows.commands.init_specs import write_specs

    for path in write_specs(list(paths), name):
        click.echo(f"wrote {path}")
    given = [
        *(["--workspace", workspace] if workspace else []),
        *(part for one in overrides for part in ("--set", one)),
    ]
    words = shlex.join([f"{name}/recipe.yaml", *given])
    click.echo(f"\nRead them, change what you like, then:\n  xmodel plan {words}\n  xmodel run {words}")
