"""The `xmodel` command.

Takes what a person types; gives exit code 0 (done, and the books closed), 1 (one clear message) or
2 (a wrong call). Nothing heavy is imported before a verb needs it, so `--help` answers at once.
"""

import json
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xmodel_core.errors import XmodelError

if TYPE_CHECKING:
    from xmodel_core.search.scaled import Parametrisation

Command = TypeVar("Command", bound=Callable[..., Any])


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


def workspace_option(command: Command) -> Command:
    """--workspace: where artifacts and the ledger lie."""
    return click.option(
        "--workspace",
        metavar="PLACE",
        help="Where artifacts lie: a folder or s3://…; else $XMODEL_WORKSPACE, else ./workspace.",
    )(command)


def recipe_options(command: Command) -> Command:
    """The recipe, its overrides and the workspace, for every verb that runs part of the river."""
    command = click.argument("recipe", default="quickstart")(command)
    command = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a field, e.g. training.peak_lr=0.005."
    )(command)
    return workspace_option(command)


def json_option(command: Command) -> Command:
    """--json: for scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _flow_verb(run: Callable[..., None]) -> Callable[..., None]:
    @wraps(run)
    def verb(*args: Any, **kwargs: Any) -> None:
        from flows.preflight import check

        check(kwargs["recipe"], kwargs["overrides"])
        from flows.server import quiet_prefect

        quiet_prefect()
        from flows.embedded import ensure_server

        ensure_server()
        run(*args, **kwargs)

    return verb


@main.command()
@recipe_options
@json_option
@_flow_verb
def run(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """The whole river; default recipe: quickstart."""
    from flows.session import workspace_folder
    from flows.summary import print_summary, summary
    from flows.xmodel import xmodel

    report = xmodel(recipe, list(overrides), workspace)
    facts = summary(workspace_folder(workspace), report)
    click.echo(json.dumps(facts, ensure_ascii=False, indent=1)) if as_json else print_summary(facts)


@main.command()
@recipe_options
@json_option
def plan(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """What would be built, what is reused and why; documents, tokens, parameters, FLOPs, hours."""
    from flows.plan import plan as make_plan
    from flows.plan import print_plan
    from flows.session import workspace_folder
    from xmodel_core.config import load_recipe

    values, path = load_recipe(recipe, overrides)
    planned = make_plan(values, path, workspace_folder(workspace))
    click.echo(json.dumps(planned, ensure_ascii=False, indent=1)) if as_json else print_plan(planned)


@main.command("xdata-build")
@recipe_options
@click.option("--decisions-only", is_flag=True, help="Show what the thresholds would do; write no documents.")
@_flow_verb
def xdata_build(recipe: str, overrides: Sequence[str], workspace: str | None, decisions_only: bool) -> None:
    """Sources to kept documents."""
    from flows.session import workspace_folder
    from flows.summary import print_balance, print_decisions, print_queries
    from flows.xdata_build import xdata_build as build

    built = build(recipe, list(overrides), workspace, decisions_only)
    if decisions_only:
        print_decisions(built)
    else:
        root = workspace_folder(workspace)
        print_queries(root, ["@funnel", "@drops"], corpus=built["corpus"])
        print_balance(root, built["corpus"], built["mixture_shares"])


@main.command("tokenizer-train")
@recipe_options
@_flow_verb
def tokenizer_train(recipe: str, overrides: Sequence[str], workspace: str | None) -> None:
    """Documents to a tokenizer and token shards."""
    from flows.session import workspace_folder
    from flows.summary import print_queries
    from flows.tokenizer_train import tokenizer_train as train

    label = train(recipe, list(overrides), workspace)
    print_queries(workspace_folder(workspace), ["@fertility"], tokenizer=label)


@main.command("tokenizer-report")
@recipe_options
@click.option("--against", multiple=True, metavar="PATH", help="Another tokenizer: a .model or a tokenizer.json.")
@json_option
@_flow_verb
def tokenizer_report(
    recipe: str, overrides: Sequence[str], workspace: str | None, against: Sequence[str], as_json: bool
) -> None:
    """The recipe's tokenizer beside others, on text it did and did not learn from."""
    from flows.session import workspace_folder
    from flows.summary import print_tokenizers
    from flows.tokenizer_report import tokenizer_report as compare

    found = compare(recipe, list(overrides), workspace, list(against))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        print_tokenizers(workspace_folder(workspace), found)


@main.command("tokenizer-sweep")
@recipe_options
@click.option(
    "--vocab-size",
    "vocab_sizes",
    multiple=True,
    type=click.IntRange(min=301),
    metavar="PIECES",
    help="A size to train; give several. Default: half, once and twice the recipe's.",
)
@click.option(
    "--zh-share",
    "zh_shares",
    multiple=True,
    type=click.FloatRange(0, 1, True, True),
    metavar="SHARE",
    help="Chinese part of the sample's Chinese and English; give several. Default: 0.3, 0.5, 0.7.",
)
@json_option
@_flow_verb
def tokenizer_sweep(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    vocab_sizes: Sequence[int],
    zh_shares: Sequence[float],
    as_json: bool,
) -> None:
    """Tokenizers of several sizes and balances; their trade-off as a table and a picture."""
    from flows.summary import print_table
    from flows.tokenizer_sweep import tokenizer_sweep as sweep

    found = sweep(recipe, list(overrides), workspace, list(vocab_sizes), list(zh_shares))
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
        return
    rows = found["trade_off"]
    print_table(list(rows[0]), [list(row.values()) for row in rows], "tokens per character of text not learned from")
    click.echo(f"{found['path']}/trade_off.png")


@main.command()
@recipe_options
@_flow_verb
def pretrain(recipe: str, overrides: Sequence[str], workspace: str | None) -> None:
    """Token shards to checkpoints."""
    from flows.pretrain import pretrain as train
    from flows.session import workspace_folder
    from flows.summary import print_queries

    label = train(recipe, list(overrides), workspace)
    print_queries(workspace_folder(workspace), ["@mixture", "@loss"], run=label)


def proxy_options(widths: str) -> Callable[[Command], Command]:
    """The shapes of proxies, for every verb that compares widths."""

    def add(command: Command) -> Command:
        for option in (
            click.option("--head-size", type=click.IntRange(min=2), default=32, show_default=True),
            click.option("--layers", type=click.IntRange(min=1), default=4, show_default=True),
            click.option(
                "--base-width", type=click.IntRange(min=1), help="dim_model_base, where m is 1. Default: the narrowest."
            ),
            click.option(
                "--width", "widths", multiple=True, type=click.IntRange(min=2), help=f"Give several. Default: {widths}."
            ),
        ):
            command = option(command)
        return command

    return add


@main.command("coordinate-check")
@recipe_options
@proxy_options("64, 128, 256, 512, 1024")
@click.option(
    "--step",
    "steps",
    multiple=True,
    type=click.IntRange(min=1),
    help="Look after so many steps; give several. Default: 1, 2, 5, 10.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings to average.")
@json_option
@_flow_verb
def coordinate_check(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    widths: Sequence[int],
    steps: Sequence[int],
    as_json: bool,
    **shape: Any,
) -> None:
    """Do activations keep their size as the model grows wider: slopes under muP and under the standard
    parametrisation."""
    from flows.coordinate_check import coordinate_check as check
    from flows.summary import print_coordinates

    found: Any = check(recipe, list(overrides), workspace, list(widths), list(steps), **shape)
    click.echo(json.dumps(found, ensure_ascii=False, indent=1)) if as_json else print_coordinates(found)


@main.command("lr-transfer")
@recipe_options
@proxy_options("64, 128, 256, 512")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    help="A peak_lr; give several. Default: 1/512, 1/256 … 1/16.",
)
@click.option(
    "--parametrisation",
    "parametrisations",
    multiple=True,
    type=click.Choice(["mup", "standard"]),
    help="Default: both.",
)
@click.option("--steps", type=click.IntRange(min=3), default=128, show_default=True, help="Of each training.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings to average.")
@json_option
@_flow_verb
def lr_transfer(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    widths: Sequence[int],
    rates: Sequence[float],
    parametrisations: "Sequence[Parametrisation]",
    as_json: bool,
    **settings: Any,
) -> None:
    """Does the best learning rate of a narrow model serve the wide ones: losses over widths and rates."""
    from flows.lr_transfer import lr_transfer as test
    from flows.summary import print_transfer

    found: Any = test(recipe, list(overrides), workspace, list(widths), list(rates), list(parametrisations), **settings)
    click.echo(json.dumps(found, ensure_ascii=False, indent=1)) if as_json else print_transfer(found)


@main.command()
@recipe_options
@click.option("--checkpoint", metavar="PATH", help="A checkpoint folder; default: the last of the recipe's run.")
@_flow_verb
def evaluate(recipe: str, overrides: Sequence[str], workspace: str | None, checkpoint: str | None) -> None:
    """A checkpoint to scores."""
    from flows.evaluate import evaluate as score
    from flows.session import workspace_folder
    from flows.summary import print_queries

    label = score(recipe, list(overrides), workspace, checkpoint)
    print_queries(workspace_folder(workspace), ["@scores"], run=label)


@main.command("hparam-search")
@recipe_options
@json_option
def hparam_search(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """Proxies over Xmodel-2's ranges: the best learning rate, scale_emb, dim_model_base, scale_depth."""
    from flows.summary import search_price
    from xmodel_core.config import load_recipe
    from xmodel_core.search.stage import require_mup

    values, _ = load_recipe(recipe, overrides)
    require_mup(values.model)
    click.echo(search_price(values), err=True)
    _search(recipe=recipe, overrides=overrides, workspace=workspace, as_json=as_json)


@_flow_verb
def _search(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    from flows.hparam_search import hparam_search as search
    from flows.summary import print_search

    found = search(recipe, list(overrides), workspace)
    click.echo(json.dumps(found, ensure_ascii=False, indent=1)) if as_json else print_search(found)


@main.command()
@workspace_option
@click.option("--port", type=int, help="The server's port; default: 4200, or the next that is free.")
def up(workspace: str | None, port: int | None) -> None:
    """Prefect server with its UI, a worker, the deployments."""
    from flows.server import up as start
    from flows.session import workspace_folder

    click.echo(start(workspace_folder(workspace), port))


@main.command()
def down() -> None:
    """Stop what `up` started and restore the Prefect profile."""
    from flows.server import down as stop

    click.echo(stop())


@main.command()
@json_option
def status(as_json: bool) -> None:
    """Server, worker, deployments and the latest runs."""
    from dataclasses import asdict

    from flows.server import status as ask

    now = ask()
    click.echo(json.dumps(asdict(now), ensure_ascii=False, indent=1, default=str) if as_json else now)


@main.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The folder to write and the recipe's name.")
def init(paths: tuple[Path, ...], name: str) -> None:
    """Write NAME/recipe.yaml, sources.yaml and mixture.yaml for files of your own."""
    from flows.init import init as write

    for path in write(list(paths), name):
        click.echo(f"wrote {path}")
    click.echo(
        f"\nRead them, change what you like, then:\n  xmodel plan {name}/recipe.yaml\n  xmodel run {name}/recipe.yaml"
    )


@main.command()
@click.argument("action", required=False, type=click.Choice(["check"]))
@click.option("--recipe", help="Only the sources of this recipe.")
@json_option
def sources(action: str | None, recipe: str | None, as_json: bool) -> None:
    """What the specs declare; `check`: whether it holds together and is there."""
    from flows.sources import check, declared, print_sources

    rows, wrong = check(recipe) if action == "check" else (declared(recipe), [])
    if as_json:
        click.echo(json.dumps([*rows, *({"problem": line} for line in wrong)], ensure_ascii=False, indent=1))
    else:
        print_sources(rows)
        print("\n".join(wrong), end="\n" if wrong else "")
    if wrong or any(row.get("problem") for row in rows):
        sys.exit(1)


@main.command()
@click.argument("query", required=False)
@workspace_option
@json_option
def ledger(query: str | None, workspace: str | None, as_json: bool) -> None:
    """A query ("SQL" or @NAME) and its table; without one, the path and the tables."""
    from flows.session import workspace_folder
    from flows.summary import print_table
    from xmodel_core.ledger.build import refresh
    from xmodel_core.ledger.query import contents, run_query

    root = workspace_folder(workspace)
    path = refresh(root)
    columns, rows = run_query(root, query) if query else contents(root)
    if as_json:
        click.echo(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], ensure_ascii=False, default=str))
        return
    if not query:
        click.echo(f"{root}/{path.name}")
    print_table(columns, rows)


@main.command()
@click.argument("document", metavar="[SOURCE:]ID")
@workspace_option
@json_option
def trace(document: str, workspace: str | None, as_json: bool) -> None:
    """One document's way: source, each decision, shard and offset, the steps that consumed it."""
    from flows.session import workspace_folder
    from flows.trace import print_trace, trace_document

    found = trace_document(workspace_folder(workspace), document)
    click.echo(json.dumps(found, ensure_ascii=False, indent=1, default=str)) if as_json else print_trace(found)


@main.command()
@click.argument("run", required=False)
@click.option("--steps", type=click.IntRange(min=1), help="Only the first so many steps.")
@workspace_option
@json_option
def audit(run: str | None, steps: int | None, workspace: str | None, as_json: bool) -> None:
    """Prove a run's token stream against its shards: every document, every share, its sha256; default: the newest."""
    from flows.audit import audit_run, print_audit
    from flows.session import workspace_folder

    found = audit_run(workspace_folder(workspace), run, steps)
    click.echo(json.dumps(found, ensure_ascii=False, indent=1)) if as_json else print_audit(found)


@main.command()
@click.argument("run", required=False)
@workspace_option
def report(run: str | None, workspace: str | None) -> None:
    """One self-contained HTML page about a run; default: the newest."""
    from flows.report import report_of
    from flows.session import workspace_folder

    click.echo(report_of(workspace_folder(workspace), run))


def decoding_options(command: Command) -> Command:
    """How tokens are chosen, how many, and where; handed on as one Sampling beside the rest."""

    @wraps(command)
    def called(temperature: float, top_k: int, top_p: float, repetition_penalty: float, seed: int, **rest: Any) -> None:
        from xmodel_core.model.sampling import Sampling

        if temperature == 0 and (top_k or top_p < 1):
            raise click.UsageError("--top-k and --top-p need a --temperature above 0: without one nothing is drawn")
        command(sampling=Sampling(temperature, top_k, top_p, repetition_penalty, seed), **rest)

    options = [
        click.option("--max-new-tokens", type=click.IntRange(min=1), default=64, show_default=True),
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="0: the likeliest token each time.",
        ),
        click.option("--top-k", type=click.IntRange(min=0), default=0, help="Draw among the k likeliest; 0: all."),
        click.option(
            "--top-p",
            type=click.FloatRange(min=0, max=1, min_open=True),
            default=1.0,
            help="Draw among the likeliest that make up p together.",
        ),
        click.option(
            "--repetition-penalty",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            help="Above 1: what is there already becomes less likely.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Prompt i draws with seed + i."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda:0 …"),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
        ),
    ]
    wrapped: Any = called
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


@main.command()
@click.argument("checkpoint")
@click.option("--prompt", "prompts", multiple=True, help="The text to continue; several make a batch.")
@click.option(
    "--prompt-file",
    type=click.Path(path_type=Path),
    help="More prompts: one a line, or the field `prompt` of each line of a .jsonl.",
)
@click.option("--stop", "stops", multiple=True, metavar="TEXT", help="End before this text; may be given again.")
@decoding_options
@json_option
def generate(
    checkpoint: str,
    prompts: tuple[str, ...],
    prompt_file: Path | None,
    stops: tuple[str, ...],
    sampling: Any,
    max_new_tokens: int,
    device: str,
    dtype: str,
    as_json: bool,
) -> None:
    """Continue prompts with a checkpoint, or with a run's newest; one prompt's text appears as it comes."""
    from flows.generate import generate as write
    from flows.generate import read_prompts

    asked = [*prompts, *(read_prompts(prompt_file) if prompt_file else [])]
    if not asked:
        raise click.UsageError("a --prompt is needed, or a --prompt-file with one")
    write(checkpoint, asked, max_new_tokens, sampling, stops, device, dtype, as_json)


@main.command()
@click.argument("checkpoint")
@decoding_options
def chat(checkpoint: str, sampling: Any, max_new_tokens: int, device: str, dtype: str) -> None:
    """Talk with a checkpoint, or with a run's newest, in the terminal or through a pipe, a line each turn."""
    from flows.generate import chat as talk

    talk(checkpoint, max_new_tokens, sampling, device, dtype)


@main.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--prompt", help="The text to look at.")
@click.option("--file", "text_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Or its file.")
@click.option(
    "--head",
    "heads",
    multiple=True,
    type=click.IntRange(min=0),
    help="A head to draw; give several. Default: the mean.",
)
@click.option("--max-tokens", type=click.IntRange(min=2), default=256, show_default=True, help="Of the text.")
def diagnose(
    checkpoint: str, folder: Path, prompt: str | None, text_file: Path | None, heads: Sequence[int], max_tokens: int
) -> None:
    """Attention maps and the gradient's norm per layer, of a checkpoint or a run's newest, on a text."""
    if (prompt is None) == (text_file is None):
        raise click.UsageError("give the text with --prompt or with --file")
    from flows.diagnose import diagnose as look

    text = prompt if text_file is None else text_file.read_text(encoding="utf-8", errors="replace")
    assert text is not None
    look(checkpoint, folder, text, max_tokens, heads)


@main.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_name",
    required=True,
    type=click.Choice(["llama", "granite", "minicpm", "xmodel"]),
    help="Whose code will load it.",
)
def export(checkpoint: str, folder: Path, format_name: str) -> None:
    """Write a checkpoint, or a run's newest, for other code: weights, configs, tokenizer, model card."""
    from flows.convert import export as write

    write(checkpoint, folder, format_name)


@main.command("import")
@click.argument("released", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def import_released(released: Path, folder: Path) -> None:
    """Bring in a released checkpoint (Xmodel-LM, Xmodel-2, Xmodel-2.5, MiniCPM), to generate or train from."""
    from flows.convert import import_released as bring_in

    bring_in(released, folder)


@main.command()
@workspace_option
@json_option
def doctor(workspace: str | None, as_json: bool) -> None:
    """What is installed, reachable, too small; what to do about it."""
    from flows.doctor import doctor as examine
    from flows.doctor import print_findings
    from flows.session import workspace_folder

    findings = examine(workspace_folder(workspace))
    click.echo(json.dumps(findings, ensure_ascii=False, indent=1)) if as_json else print_findings(findings)
    if any(finding["state"] == "fail" for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
