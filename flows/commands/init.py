"""`xmodel init`: a recipe and specs for files of your own."""

from pathlib import Path

import click


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the recipe and of the folder to write.")
def init(paths: tuple[Path, ...], name: str) -> None:
    """Write NAME/recipe.yaml, NAME/sources.yaml and NAME/mixture.yaml for the documents in PATHS."""
    from flows.commands.init_specs import write_specs

    for path in write_specs(list(paths), name):
        click.echo(f"wrote {path}")
    click.echo(
        f"\nRead them, change what you like, then:\n  xmodel plan {name}/recipe.yaml\n  xmodel run {name}/recipe.yaml"
    )
