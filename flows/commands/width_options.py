"""The shapes of the small models that `coordinate-check` and `lr-transfer` compare."""

from collections.abc import Callable

import click

from flows.commands.options import Command


def width_options(default_widths: str) -> Callable[[Command], Command]:
    """--width, --base-width, --layers, --head-size; `default_widths` is what the help names."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--head-size", type=click.IntRange(min=2), default=32, show_default=True, help="Width of a head."
            ),
            click.option("--layers", type=click.IntRange(min=1), default=4, show_default=True, help="Decoder layers."),
            click.option(
                "--base-width",
                type=click.IntRange(min=1),
                help="dim_model_base: the width at which muP scales nothing. Default: the narrowest.",
            ),
            click.option(
                "--width",
                "widths",
                multiple=True,
                type=click.IntRange(min=2),
                help=f"hidden_size to train (repeatable). Default: {default_widths}.",
            ),
        ):
            command = option(command)
        return command

    return add
