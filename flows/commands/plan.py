"""`xmodel plan`: what a recipe would build, what is reused and why, how much of everything, how long.

Takes a recipe and a workspace; gives plain data and a printed page. It needs neither data nor network
and builds nothing: what no artifact knows yet is taken from published figures, files' sizes and the
recipe, and every such figure is named as assumed. Tokens come from the mixture room's own arithmetic.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands.options import emit, json_option, recipe_options
from flows.river.dry_run import explain_stages
from flows.river.preflight import missing_needs
from flows.river.session import Session
from flows.river.stages import STAGES
from xmodel_core.artifacts import Place, Store
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.config import Recipe
from xmodel_core.mixture.plan import PlannedPhase, Supply, make_plan
from xmodel_core.mixture.stage import used_sources
from xmodel_core.model.cost import count_parameters, flops_per_token
from xmodel_core.planning.duration import Throughput, Workload
from xmodel_core.planning.supply import SourceEstimate, estimate_sources


def _source_row(estimate: SourceEstimate, planned_tokens: Mapping[str, int]) -> dict[str, Any]:
    source, planned = estimate.source, planned_tokens.get(estimate.source.name)
    return {
        "source": source.name,
        "lang": source.lang,
        "category": source.category,
        "uri": source.uri,
        "documents": estimate.documents,
        "characters": estimate.chars,
        "tokens": estimate.tokens,
        "planned_tokens": planned or 0,
        "epochs": planned / estimate.tokens if estimate.tokens and planned is not None else None,
        "basis": estimate.basis,
        "counted": estimate.counted,
        "missing": estimate.missing,
    }


def _phase_row(phase: PlannedPhase) -> dict[str, Any]:
    columns = (
        "source",
        "lang",
        "category",
        "weight",
        "planned_tokens",
        "supply_tokens",
        "epochs",
        "max_epochs",
        "capped",
    )
    return {
        "phase": phase.name,
        "first_step": phase.first_step,
        "steps": phase.steps,
        "sequence_length": phase.sequence_length,
        "global_batch_tokens": phase.global_batch_tokens,
        "tokens": phase.sequences * phase.sequence_length,
        "sources": [{column: getattr(planned, column) for column in columns} for planned in phase.sources],
    }


def _sum(values: list[int | None]) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _assumed(estimates: list[SourceEstimate], vocab_known: bool, recipe: Recipe, throughput: Throughput) -> list[str]:
    """Every figure that is not a count, in words."""
    lines = []
    if not vocab_known:
        lines.append(
            f"vocabulary: {recipe.tokenizer.vocab_size:,} pieces, as the recipe says; no tokenizer is there yet"
        )
    for basis, count in Counter(estimate.basis for estimate in estimates if not estimate.counted).items():
        lines.append(f"documents, characters, tokens of {count} sources: {basis}")
    if any(estimate.basis == "published" for estimate in estimates):
        lines.append("documents of published sources: 1,000 tokens each; characters by language")
    if unknown := [estimate.source.name for estimate in estimates if estimate.tokens is None]:
        lines.append(f"taken to be large enough: {', '.join(unknown)}")
    return [*lines, *throughput.assumptions]


def plan(recipe: Recipe, recipe_file: Path, workspace: Place) -> dict[str, Any]:
    """The plan as plain data: parameters, documents, tokens, flops, hours, `needs` that are not met, and `details`.

    XmodelError: a mixture that names no source, or asks for more than its limits allow."""
    session = Session(recipe, recipe_file, Store(workspace))
    training, rows = recipe.training, explain_stages(session)
    estimates = estimate_sources(
        recipe, session.sources, session.built("sample world"), session.built("corpus"), session.shards()
    )
    used = {source.name for source in used_sources(session.mixture, session.sources)}
    tokenizer = session.built("tokenizer")
    vocab_size = tokenizer.manifest()["facts"]["vocab_size"] if tokenizer else recipe.tokenizer.vocab_size

    supplies = [Supply(e.source.name, e.source.lang, e.source.category, e.tokens) for e in estimates]
    phases = make_plan(session.mixture, training.phases(), supplies)
    planned_tokens: Counter[str] = Counter()
    for phase in phases:
        for planned in phase.sources:
            planned_tokens[planned.source] += planned.planned_tokens

    parameters = count_parameters(recipe.model, vocab_size)
    tokens = training.total_tokens
    flops = sum(
        flops_per_token(recipe.model, vocab_size, phase.sequence_length) * phase.tokens for phase in training.phases()
    )
    throughput = Throughput(session.store, recipe, estimates, flops / tokens)
    workload = Workload(recipe, estimates, throughput, flops / tokens)
    stages = [
        {**row, "hours": 0.0 if row["state"] == "reused" else _hours(workload, row["stage"], row["name"])}
        for row in rows
    ]
    return {
        "recipe": recipe.name,
        "parameters": parameters.total,
        "documents": _sum([estimate.documents for estimate in estimates if estimate.source.name in used]),
        "tokens": tokens,
        "flops": flops,
        "hours": round(sum(row["hours"] for row in stages), 4),
        "needs": [asdict(need) for need in missing_needs(Session(recipe, recipe_file, session.store), "report")],
        "details": {
            "description": recipe.description,
            "non_embedding_parameters": parameters.non_embedding,
            "vocab_size": vocab_size,
            "flops_per_token": flops / tokens,
            "supply_tokens": _sum([estimate.tokens for estimate in estimates if estimate.source.name in used]),
            "characters": _sum([estimate.chars for estimate in estimates if estimate.source.name in used]),
            "steps": training.total_steps,
            "stages": stages,
            "sources": [_source_row(estimate, planned_tokens) for estimate in estimates],
            "phases": [_phase_row(phase) for phase in phases],
            "rates": throughput.figures(),
            "assumed": _assumed(estimates, tokenizer is not None, recipe, throughput),
        },
    }


def _hours(workload: Workload, stage: str, item: str) -> float:
    seconds = next(known.seconds for known in STAGES if known.name == stage)
    return round(seconds(workload, item) / 3600, 6)


def _count(value: float | None) -> str:
    if value is None:
        return "?"
    for unit, factor in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e4)):
        if value >= factor:
            return f"{value / (1e3 if unit == 'k' else factor):,.3g} {unit}"
    return f"{value:,.0f}"


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.0f} seconds"


def _stage_table(stages: list[dict[str, Any]]) -> Table:
    table = Table("stage", "what", "state", "about", box=SIMPLE_HEAD, title="what would be built", title_justify="left")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in stages:
        groups.setdefault((row["stage"], row["state"]), []).append(row)
    for (stage, state), rows in groups.items():
        names = [row["name"] for row in rows]
        what = f"{len(names)} sources" if len(names) > 3 else ", ".join(names)
        hours = sum(row["hours"] for row in rows)
        table.add_row(stage, what, escape(state), _duration(hours) if hours else "")
    return table


def _source_table(rows: list[dict[str, Any]]) -> Table:
    """Without the categories and what each figure rests on, which a narrow terminal has no room for."""
    table = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        title="sources (~ is estimated or published, not counted)",
        title_justify="left",
    )
    table.add_column("source", no_wrap=True)
    table.add_column("lang", no_wrap=True)
    for column in ("documents", "characters", "tokens", "planned", "epochs"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        epochs = f"{row['epochs']:.2f}" if row["epochs"] is not None else "?" if row["planned_tokens"] else ""
        about = "" if row["counted"] else "~"
        figures = [_count(row[key]) for key in ("documents", "characters", "tokens")]
        cells = [value if value == "?" else about + value for value in figures]
        planned = _count(row["planned_tokens"]) if row["planned_tokens"] else ""
        table.add_row(row["source"], row["lang"], *cells, planned, epochs)
    return table


def print_plan(planned: dict[str, Any]) -> None:
    """The plan on the terminal."""
    console, details = Console(), planned["details"]
    console.print(f"[bold]{planned['recipe']}[/]: {escape(details['description'])}\n", highlight=False)
    console.print(_stage_table(details["stages"]))
    console.print(_source_table(details["sources"]))
    for phase in details["phases"]:
        by_lang: Counter[str] = Counter()
        for row in phase["sources"]:
            by_lang[row["lang"]] += row["planned_tokens"]
        shares = ", ".join(f"{lang} {count / phase['tokens']:.1%}" for lang, count in by_lang.most_common())
        capped = [row["source"] for row in phase["sources"] if row["capped"]]
        less = f"; at max_epochs: {', '.join(capped)}" if capped else ""
        line = f"phase [bold]{phase['phase']}[/]: {phase['steps']:,} steps, {phase['tokens']:,} tokens ({shares}){less}"
        console.print(line, highlight=False)
    lines = {
        "parameters": f"{planned['parameters']:,} ({details['non_embedding_parameters']:,} without embeddings)",
        "documents": f"about {_count(planned['documents'])}, {_count(details['characters'])} characters, "
        f"{_count(details['supply_tokens'])} tokens of supply",
        "tokens": f"{planned['tokens']:,} in {details['steps']:,} steps",
        "FLOPs": f"{planned['flops']:.3e} (6N + attention: {details['flops_per_token']:.3e} per token)",
        "time": f"about {_duration(planned['hours'])}",
    }
    console.print()
    for name, value in lines.items():
        console.print(f"[bold]{name:<11}[/]{value}", highlight=False)
    console.print("\n[bold]assumed[/]")
    for line in details["assumed"]:
        console.print(f"  {escape(line)}", highlight=False)
    required = [need for need in planned["needs"] if need["required"]]
    if required:
        console.print("\n[yellow]needs that are not met on this machine:[/] until they are, there is no run")
    for need in required:
        console.print(
            f"  {escape(need['stage'])}: {escape(need['what'])}\n    → {escape(need['remedy'])}", highlight=False
        )
    for need in planned["needs"]:
        if not need["required"]:
            console.print(
                f"\nwithout: {escape(need['stage'])}: {escape(need['what'])}; {escape(need['remedy'])}", highlight=False
            )
    elsewhere = [row["source"] for row in details["sources"] if row["missing"] and is_remote(row["uri"])]
    if elsewhere:
        console.print(f"\nread where they lie, over the network: {', '.join(elsewhere)}", highlight=False)


@click.command("plan")
@recipe_options
@json_option
def plan_command(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """Show what a run would build, what it would reuse and why; documents, tokens, parameters, FLOPs, hours."""
    from flows.recipes import load_recipe
    from flows.river.session import workspace_folder

    values, path = load_recipe(recipe, overrides)
    emit(plan(values, path, workspace_folder(workspace)), as_json, print_plan)
