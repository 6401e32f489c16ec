"""The `xmodel` command.

Takes what a person types; gives exit code 0 (done, and the books closed), 1 (one clear message) or
2 (a wrong call). Nothing heavy is imported before a verb needs it, so `--help` answers at once.
"""

import sys
from typing import Any

import click

from flows.verbs import model, river, search, workspace
from xmodel_core.errors import XmodelError


class _Verbs(click.Group):
    """Shows the verbs in the order of the river rather than of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            message, code = "stopped; run again to go on from what is finished", 130
        except Exception as error:  # the one place where an exception becomes a message: -v shows where it was
            if ctx.params.get("verbose"):
                raise
            known = isinstance(error, XmodelError)
            bug = f"{type(error).__name__}: {error}\n  what to do: -v shows where; please report it"
            message, code = str(error) if known else bug, 1
            # Prefect's engines keep the exception to the end: without its frames nothing of DuckDB outlives the
            # interpreter, which nanobind would report in forty lines below ours.
            error.__traceback__ = error.__cause__ = error.__context__ = None
        click.echo(f"xmodel: {message}", err=True)
        sys.exit(code)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="xmodel")
def main(verbose: bool) -> None:
    """Small Chinese-English language models, from raw documents to an evaluated model."""


VERBS = (
    river.run,
    river.plan,
    river.xdata_build,
    river.tokenizer_train,
    river.tokenizer_report,
    river.tokenizer_sweep,
    river.pretrain,
    search.coordinate_check,
    search.lr_transfer,
    river.evaluate,
    search.hparam_search,
    workspace.up,
    workspace.down,
    workspace.status,
    workspace.init,
    workspace.sources,
    workspace.ledger,
    workspace.trace,
    workspace.audit,
    workspace.report,
    model.generate,
    model.chat,
    model.diagnose,
    model.export,
    model.import_released,
    workspace.doctor,
)
for verb in VERBS:
    main.add_command(verb)


if __name__ == "__main__":
    main()
