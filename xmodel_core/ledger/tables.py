"""The ledger's tables, each declared once: columns, keys, and what is summed over receipts.

Gives `TABLES`; CREATE TABLE, the types of incoming rows and the aggregation over shards all follow from it. Tables
and columns are added, never renamed or removed: people script against them.
"""

from dataclasses import dataclass
from functools import cached_property

TEXT, COUNT, NUMBER, FLAG, JSON = "VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN", "JSON"


@dataclass(frozen=True)
class Table:
    """One table. Rows of one artifact with the same key are summed over `sums` (each of its shards counted a part); of
    two artifacts with rows for the same key, the newer counts."""

    name: str
    meaning: str
    keys: tuple[str, ...]
    """Columns whose values identify a row."""
    types: dict[str, str]
    """Every column and its DuckDB type, in the contract's order."""
    sums: tuple[str, ...] = ()
    """Columns summed over an artifact's shards; empty: rows are not summed, the last one of a key counts."""
    ratios: dict[str, tuple[str, str]] | None = None
    """Columns computed after summing: name -> (numerator, denominator)."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.types)

    @property
    def create(self) -> str:
        """The CREATE TABLE statement."""
        columns = ", ".join(f'"{name}" {kind}' for name, kind in self.types.items())
        return f'create table "{self.name}" ({columns})'

    def fill(self, source: str) -> str:
        """The statement that fills the table from the relation `source`, which has its columns, `_age` (rank of the
        artifact by creation time) and `_order` (position of the row)."""
        keys = ", ".join(f'"{key}"' for key in self.keys)
        newest = f"select * from {source} qualify _age = max(_age) over (partition by {keys})"
        if not self.sums:
            picked = ", ".join(f'"{name}"' for name in self.columns)
            return (
                f'insert into "{self.name}" select {picked} from ({newest}) '
                f"qualify row_number() over (partition by {keys} order by _order desc) = 1 order by {keys}"
            )
        cells = []
        for name, kind in self.types.items():
            if name in self.keys:
                cells.append(f'"{name}"')
            elif name in self.sums:
                cells.append(f'sum("{name}")::{kind}')
            elif self.ratios and name in self.ratios:
                over, under = self.ratios[name]
                cells.append(f'sum("{over}") / nullif(sum("{under}"), 0)')
            else:
                cells.append(f'max("{name}")')
        return f'insert into "{self.name}" select {", ".join(cells)} from ({newest}) group by {keys} order by {keys}'


_FLOW = dict.fromkeys(
    ("docs_in", "docs_out", "docs_dropped", "chars_in", "chars_out", "chars_dropped", "chars_removed_in_kept"), COUNT
)

_UNSEEN = ("unseen_chars", "unseen_bytes", "unseen_tokens")

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "artifacts",
            "one row per finished stage output; path is relative to the workspace",
            ("path",),
            {
                "kind": TEXT,
                "name": TEXT,
                "fingerprint": TEXT,
                "path": TEXT,
                "created_at": TEXT,
                "code_version": TEXT,
                "seconds": NUMBER,
                "config": JSON,
                "inputs": JSON,
                "label": TEXT,
                "facts": JSON,
            },
        ),
        Table(
            "sources",
            "one row per source: what its spec declares and what its files hold",
            ("source",),
            {
                "source": TEXT,
                "lang": TEXT,
                "category": TEXT,
                "license": TEXT,
                "uri": TEXT,
                "format": TEXT,
                "files": COUNT,
                "bytes": COUNT,
                "published_tokens": COUNT,
                "published_weight": NUMBER,
                "published_epochs": NUMBER,
            },
        ),
        Table(
            "document_flow",
            "one row per corpus, stage, source and language: what went in, came out, was dropped",
            ("corpus", "stage", "source", "lang"),
            {
                **dict.fromkeys(("corpus", "stage", "source", "lang"), TEXT),
                **_FLOW,
                "bytes_in": COUNT,
                "bytes_out": COUNT,
                "seconds": NUMBER,
            },
            sums=(*_FLOW, "bytes_in", "bytes_out", "seconds"),
        ),
        Table(
            "document_drops",
            "one row per corpus, stage, source, language and reason",
            ("corpus", "stage", "source", "lang", "reason"),
            {
                **dict.fromkeys(("corpus", "stage", "source", "lang", "reason"), TEXT),
                "docs": COUNT,
                "chars": COUNT,
            },
            sums=("docs", "chars"),
        ),
        Table(
            "edits",
            "one row per corpus, source, language and kind of change inside kept documents",
            ("corpus", "source", "lang", "kind"),
            {
                **dict.fromkeys(("corpus", "source", "lang", "kind"), TEXT),
                **dict.fromkeys(("docs", "edits", "chars"), COUNT),
            },
            sums=("docs", "edits", "chars"),
        ),
        Table(
            "contamination",
            "one row per corpus, benchmark and source: documents that hold a benchmark's items",
            ("corpus", "benchmark", "source", "lang"),
            {**dict.fromkeys(("corpus", "benchmark", "source", "lang"), TEXT), "docs": COUNT, "items": COUNT},
            sums=("docs", "items"),
        ),
        Table(
            "mixture",
            "one row per plan, phase and source: shares of tokens against supply",
            ("plan", "phase", "source"),
            {
                **dict.fromkeys(("plan", "phase", "source", "lang", "category"), TEXT),
                "weight": NUMBER,
                "supply_tokens": COUNT,
                "planned_tokens": COUNT,
                "epochs": NUMBER,
                "max_epochs": NUMBER,
            },
        ),
        Table(
            "tokenizer_fertility",
            "one row per tokenizer, source and language; fewer tokens per character is better; unseen: text that the "
            "tokenizer did not learn from",
            ("tokenizer", "source", "lang"),
            {
                **dict.fromkeys(("tokenizer", "source", "lang", "category"), TEXT),
                **dict.fromkeys(("chars", "bytes", "tokens"), COUNT),
                "tokens_per_char": NUMBER,
                "bytes_per_token": NUMBER,
                **dict.fromkeys(("byte_tokens", "unknown_tokens"), COUNT),
                **dict.fromkeys(_UNSEEN, COUNT),
                "unseen_tokens_per_char": NUMBER,
                "unseen_bytes_per_token": NUMBER,
            },
            sums=("chars", "bytes", "tokens", "byte_tokens", "unknown_tokens", *_UNSEEN),
            ratios={
                "tokens_per_char": ("tokens", "chars"),
                "bytes_per_token": ("bytes", "tokens"),
                "unseen_tokens_per_char": ("unseen_tokens", "unseen_chars"),
                "unseen_bytes_per_token": ("unseen_bytes", "unseen_tokens"),
            },
        ),
        Table(
            "tokenizer_comparison",
            "one row per report, tokenizer, source, language and kind of text (learned_from, unseen_document, "
            "unseen_source, by the report's own tokenizer)",
            ("report", "tokenizer", "source", "lang", "text"),
            {
                **dict.fromkeys(("report", "tokenizer"), TEXT),
                "pieces": COUNT,
                **dict.fromkeys(("source", "lang", "category", "text"), TEXT),
                **dict.fromkeys(("docs", "chars", "bytes", "tokens"), COUNT),
                "tokens_per_char": NUMBER,
                "bytes_per_token": NUMBER,
                **dict.fromkeys(("byte_tokens", "unknown_tokens", "docs_changed"), COUNT),
            },
            sums=("docs", "chars", "bytes", "tokens", "byte_tokens", "unknown_tokens", "docs_changed"),
            ratios={"tokens_per_char": ("tokens", "chars"), "bytes_per_token": ("bytes", "tokens")},
        ),
        Table(
            "token_shards",
            "one row per file of tokens; validation-… is held out, never supply",
            ("shards", "source", "lang", "shard"),
            {
                **dict.fromkeys(("shards", "source", "lang", "shard"), TEXT),
                **dict.fromkeys(("docs", "tokens", "bytes"), COUNT),
                "sha256": TEXT,
            },
        ),
        Table(
            "runs",
            "one row per training run",
            ("run",),
            {
                **dict.fromkeys(("run", "recipe", "plan", "tokenizer", "status", "started_at", "finished_at"), TEXT),
                "world_size": COUNT,
                "hardware": TEXT,
                "parameters": COUNT,
                "flops": NUMBER,
            },
        ),
        Table(
            "consumed",
            "one row per run, logged step and source; tokens, epochs and padding (part of tokens) are cumulative",
            ("run", "step", "source", "lang"),
            {
                "run": TEXT,
                "step": COUNT,
                **dict.fromkeys(("phase", "source", "lang"), TEXT),
                "tokens": COUNT,
                "epochs": NUMBER,
                "padding_tokens": COUNT,
            },
        ),
        Table(
            "train_metrics",
            "one row per run and logged step",
            ("run", "step"),
            {
                "run": TEXT,
                "step": COUNT,
                "phase": TEXT,
                "tokens": COUNT,
                **dict.fromkeys(
                    ("loss", "lr", "grad_norm", "param_norm", "tokens_per_second", "mfu", "seconds"), NUMBER
                ),
            },
        ),
        Table(
            "validation",
            "one row per run, step and source, on held-out documents",
            ("run", "step", "source", "lang"),
            {"run": TEXT, "step": COUNT, "source": TEXT, "lang": TEXT, "loss": NUMBER, "bits_per_byte": NUMBER},
        ),
        Table(
            "checkpoints",
            "one row per checkpoint",
            ("run", "step"),
            {
                "run": TEXT,
                "step": COUNT,
                "phase": TEXT,
                "tokens": COUNT,
                "path": TEXT,
                "bytes": COUNT,
                "created_at": TEXT,
                "kept": FLAG,
            },
        ),
        Table(
            "trials",
            "one row per search and trial: hyperparameters of a proxy, its mean loss over the last tenth of its steps; "
            "trial 0 is at the report's values",
            ("search", "trial"),
            {
                "search": TEXT,
                "trial": COUNT,
                "sampled_by": TEXT,
                "scale_emb": NUMBER,
                "dim_model_base": COUNT,
                **dict.fromkeys(("scale_depth", "peak_lr", "loss"), NUMBER),
                "diverged": FLAG,
                "steps": COUNT,
                "seconds": NUMBER,
            },
        ),
        Table(
            "evals",
            "one row per model, suite, task, metric, filter and shots; run is null for a checkpoint of no run here; "
            "checkpoint_sha256: of its weights, config and tokenizer; set_aside: items that cannot be asked",
            ("model", "run", "step", "suite", "task", "metric", "filter", "shots", "sample_limit"),
            {
                **dict.fromkeys(("model", "run"), TEXT),
                "step": COUNT,
                **dict.fromkeys(("suite", "task", "metric", "filter"), TEXT),
                **dict.fromkeys(("shots", "sample_limit"), COUNT),
                **dict.fromkeys(("value", "stderr"), NUMBER),
                "n": COUNT,
                "seconds": NUMBER,
                "checkpoint_sha256": TEXT,
                "set_aside": COUNT,
            },
        ),
        Table(
            "published",
            "one row per published score, with its source",
            ("model", "suite", "task", "metric", "shots"),
            {
                "model": TEXT,
                "parameters": COUNT,
                **dict.fromkeys(("suite", "task", "metric"), TEXT),
                "shots": COUNT,
                "value": NUMBER,
                "source": TEXT,
            },
        ),
    )
}

VIEWS: dict[str, str] = {
    "funnel": "documents and characters per corpus, stage and language",
    "mixture_by_language": "the plan's shares and tokens per phase and language",
    "leaderboard": "this workspace's checkpoints among the published rows",
    "books": "one row for each place where things do not add up; empty when all is well",
    "stages": "the order of the corpus stages",
    "artifact_inputs": "one row per artifact and input: the fingerprint it was built from",
    "documents_kept": "one row per corpus and source: kept documents and the digest of their files",
    "documents_encoded": "one row per token shards: documents and tokens, and the digest of what was encoded",
}
