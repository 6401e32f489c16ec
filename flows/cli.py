"""The `xmodel` command.

Takes what a person types; gives exit code 0 (done, and the books closed), 1 (one clear message) or
2 (a wrong call). Nothing heavy is imported before a verb needs it, so `--help` answers at once.
"""

import sys
from typing import Any

import click

from flows.commands import verbs_model, verbs_river, verbs_search, verbs_workspace
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
    verbs_river.run,
    verbs_river.plan,
    verbs_river.xdata_build,
    verbs_river.tokenizer_train,
    verbs_river.tokenizer_report,
    verbs_river.tokenizer_sweep,
    verbs_river.pretrain,
    verbs_search.coordinate_check,
    verbs_search.lr_transfer,
    verbs_river.evaluate,
    verbs_search.hparam_search,
    verbs_workspace.up,
    verbs_workspace.down,
    verbs_workspace.status,
    verbs_workspace.init,
    verbs_workspace.sources,
    verbs_workspace.ledger,
    verbs_workspace.trace,
    verbs_workspace.audit,
    verbs_workspace.report,
    verbs_model.generate,
    verbs_model.chat,
    verbs_model.diagnose,
    verbs_model.export,
    verbs_model.import_released,
    verbs_workspace.doctor,
)
for verb in VERBS:
    main.add_command(verb)


if __name__ == "__main__":
    main()
