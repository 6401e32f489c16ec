"""The `xmodel` command.

Takes command-line arguments; gives exit code 0 (done, and the books closed), 1 (one clear message), 2 (a wrong call:
words that no recipe or file could make right: an unknown option, a --set that is not KEY=VALUE), 130 (SIGINT) or 143
(SIGTERM). `COMMANDS` is the whole list: a command's module is imported when that command is called, so `--help` answers
at once.
"""

import errno
import signal
import sys
from importlib import import_module
from typing import Any, NamedTuple

import click

from flows.commands.options import with_every_option
from xmodel_core.errors import XmodelError


class CommandEntry(NamedTuple):
    """Where a command is defined, and its line in `xmodel --help`: at most 56 characters, to fit 80 columns."""

    target: str
    """module:attribute, the module inside `flows.commands`."""
    short_help: str


# In the order of the pipeline, then what surrounds it.
COMMANDS = {
    "run": CommandEntry("run:run", "Run the whole pipeline of a recipe."),
    "plan": CommandEntry("plan:plan_command", "Show what a run would build, reuse and cost."),
    "xdata-build": CommandEntry("xdata_build:xdata_build", "Build a corpus of clean documents from the sources."),
    "tokenizer-train": CommandEntry("tokenizer_train:tokenizer_train", "Train the tokenizer and encode the documents."),
    "tokenizer-report": CommandEntry(
        "tokenizer_report:tokenizer_report", "Compare the recipe's tokenizer with others."
    ),
    "tokenizer-sweep": CommandEntry("tokenizer_sweep:tokenizer_sweep", "Compare tokenizer sizes and Chinese shares."),
    "pretrain": CommandEntry("pretrain:pretrain", "Train a model on the token shards."),
    "coordinate-check": CommandEntry("coordinate_check:coordinate_check", "Check muP: activation sizes across widths."),
    "lr-transfer": CommandEntry("lr_transfer:lr_transfer", "Check muP: the best learning rate across widths."),
    "evaluate": CommandEntry("evaluate:evaluate", "Score a checkpoint on benchmarks."),
    "hparam-search": CommandEntry(
        "hparam_search:hparam_search", "Search learning rate and muP scales on small models."
    ),
    "up": CommandEntry("up_down_status:up", "Start a Prefect server, a worker and the deployments."),
    "down": CommandEntry("up_down_status:down", "Stop what `up` started; restore the Prefect profile."),
    "status": CommandEntry("up_down_status:status", "Show server, worker, deployments and latest runs."),
    "init": CommandEntry("init:init", "Write a recipe and specs for your own files."),
    "sources": CommandEntry("sources:sources", "List the declared sources; `check` verifies them."),
    "ledger": CommandEntry("ledger:ledger", "Query the ledger with SQL or a named query."),
    "trace": CommandEntry("trace:trace", "Follow one document through every stage."),
    "audit": CommandEntry("audit:audit", "Verify every file, and a run's tokens against its shards."),
    "report": CommandEntry("report:report", "Write a self-contained HTML page about a run."),
    "generate": CommandEntry("generate_chat:generate", "Continue prompts with a checkpoint."),
    "chat": CommandEntry("generate_chat:chat", "Talk with a checkpoint."),
    "diagnose": CommandEntry("diagnose:diagnose", "Plot attention maps and per-layer gradient norms."),
    "export": CommandEntry("export_import:export", "Convert a checkpoint for other software."),
    "import": CommandEntry("export_import:import_released", "Convert a released checkpoint to our format."),
    "doctor": CommandEntry("doctor:doctor", "Check this machine: packages, disk, memory, services."),
}


REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)
"""What a system says of a place that cannot be used, whatever the command: not there, not a folder, not allowed."""


class Terminated(BaseException):
    """SIGTERM: what a scheduler, a shutdown or `kill` sends. Like KeyboardInterrupt, no failure of what is running."""


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _end(stopped: BaseException) -> None:
    """Ends this process after SIGINT or SIGTERM, with one line: the note of the stage that was stopped, if it left
    one."""
    # A training notes its checkpoint on the exception that stopped it, from which Prefect makes another.
    notes, error = [], stopped
    while error is not None and not notes:
        notes = getattr(error, "__notes__", [])
        error = error.__context__
    signalled, code = ("interrupted", 130) if isinstance(stopped, KeyboardInterrupt) else ("terminated", 143)
    kept = notes[0] if notes else "finished stages are kept; run the same command again to continue"
    click.echo(f"xmodel: {signalled}; {kept}", err=True)
    sys.exit(code)


class _LazyGroup(click.Group):
    """Commands from `COMMANDS`, in its order; only the one that is called is imported."""

    def __init__(self, **settings: Any) -> None:
        # Placeholders: click suggests a near name from these.
        super().__init__(commands={name: click.Command(name) for name in COMMANDS}, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        return with_every_option(getattr(import_module(f"flows.commands.{module}"), attribute))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.short_help) for name, entry in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        before = signal.signal(signal.SIGTERM, _terminate)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (KeyboardInterrupt, Terminated) as stopped:
            _end(stopped)
        except Exception as error:  # the one place where an exception becomes a message; -v shows the traceback
            if ctx.params.get("verbose"):
                raise
            from xmodel_core.artifacts.disk import disk_error  # here, so that `--help` answers at once

            error = disk_error(error) or error
            message, code = message_of(error), 1
            # Prefect's engines keep the exception until the interpreter exits. Without its frames no DuckDB object
            # outlives the interpreter, which nanobind would report in forty lines below our message.
            error.__traceback__ = error.__cause__ = error.__context__ = None
        finally:
            signal.signal(signal.SIGTERM, before)
        click.echo(f"xmodel: {message}", err=True)
        sys.exit(code)


def message_of(error: Exception) -> str:
    """What a person reads of an error."""
    if isinstance(error, XmodelError):
        return str(error)
    if isinstance(error, OSError) and error.errno in REFUSED and error.filename is not None:
        remedy = "choose another place, or allow reading and writing there; -v shows where it was asked for"
        return str(
            XmodelError("a file or folder cannot be used", found=error.strerror, where=error.filename, remedy=remedy)
        )
    return (
        f"{type(error).__name__}: {error}\n  what to do: run it again with -v for the traceback, and please report it"
    )


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show tracebacks.")
@click.version_option(package_name="xmodel")
def main(verbose: bool) -> None:
    """Small Chinese-English language models, from raw documents to an evaluated model."""


if __name__ == "__main__":
    main()
