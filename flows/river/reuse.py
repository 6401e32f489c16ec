"""What of a recipe is already built: each stage's identity, as far as it is known without running.

Takes a recipe, its sources and a store; gives the artifacts that a run would find and, stage by stage,
`reused`, `new`, what changed, or after which stage it is known. Identities are the rooms' own functions.
"""

from collections.abc import Sequence
from pathlib import Path

from flows.river.session import benchmarks_of
from xmodel_core.artifacts import Artifact, Identity, Store
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.config import Recipe
from xmodel_core.corpus.references import References
from xmodel_core.errors import XmodelError
from xmodel_core.mixture.stage import plan_identity, used_sources
from xmodel_core.specs import Mixture, Source, resolve
from xmodel_core.specs.sources import RAW_SCHEME

Row = dict[str, str]


class Reuse:
    """The chain of a recipe's artifacts, followed as far as each is there."""

    def __init__(self, recipe: Recipe, beside: Path, sources: Sequence[Source], mixture: Mixture, store: Store) -> None:
        self._recipe, self._beside, self._sources, self._mixture, self._store = recipe, beside, sources, mixture, store
        self._rows: list[Row] = []
        self.world: Artifact | None = None
        self.corpus: Artifact | None = None
        self.tokenizer: Artifact | None = None
        self.shards: dict[str, Artifact] = {}
        # In an empty workspace nothing can be reused, so no raw file need be read for its digest.
        self._empty = store.is_empty()
        self._world_stage()
        self._tokens_stages(self._corpus_stages())
        self._run_stages()

    def rows(self) -> list[Row]:
        """stage, name, state of each artifact of a run, in the order of building."""
        return self._rows

    def _say(self, stage: str, name: str, state: str) -> None:
        self._rows.append({"stage": stage, "name": name, "state": state})

    def _look_up(self, stage: str, identity: Identity) -> Artifact | None:
        self._say(stage, identity.name, self._store.explain(identity))
        return self._store.find(identity)

    def _world_stage(self) -> None:
        if self._recipe.sample_world:
            from xmodel_core.sample_world.stage import identity

            self.world = self._look_up("sample world", identity(self._recipe.sample_world, self._recipe.name))

    def _benchmarks_stage(self) -> tuple[bool, Identity | None]:
        """(whether the benchmarks are known, what they are if any are named)."""
        from xmodel_core.corpus.stage import benchmarks_identity

        if self._recipe.corpus.decontaminate.benchmarks is None:
            return True, None
        found = None if self._empty else benchmarks_of(self._recipe, self._beside, self.world)
        if found is None:
            self._say("benchmarks", self._recipe.name, "new" if self._empty else "known after the sample world")
            return False, None
        try:
            identity = benchmarks_identity(self._recipe.name, *found, self._store)
        except XmodelError:
            self._say("benchmarks", self._recipe.name, "its files are not here")
            return False, None
        self._look_up("benchmarks", identity)
        return True, identity

    def _models_stage(self) -> tuple[bool, Identity | None]:
        """(whether the perplexity models are known, what they are if any are named)."""
        from xmodel_core.corpus.stage import models_identity

        recipe = self._recipe
        if not recipe.corpus.perplexity.named():
            return True, None
        if self._empty:
            self._say("perplexity models", recipe.name, "new")
            return False, None
        try:
            identity = models_identity(recipe.name, recipe.corpus.perplexity, self._store)
        except XmodelError:
            self._say("perplexity models", recipe.name, "its files are not here")
            return False, None
        self._look_up("perplexity models", identity)
        return True, identity

    def _scan_identities(self) -> list[Identity] | None:
        """None where some source's files are not known yet."""
        from xmodel_core.corpus.stage import scan_identity

        known, benchmarks = self._benchmarks_stage()
        models_known, models = self._models_stage()
        identities = []
        for source in self._sources:
            if self._empty or (source.uri.startswith(RAW_SCHEME) and self.world is None):
                self._say("scan", source.name, "new" if self._empty else "known after the sample world")
                continue
            if is_remote(source.uri):
                self._say("scan", source.name, "known when its files are listed: a plan asks no network")
                continue
            try:
                files = resolve(source, self._store.digest, self.world)
            except XmodelError:
                self._say("scan", source.name, "its files are not here")
                continue
            if not known:
                self._say("scan", source.name, "known after the benchmarks")
                continue
            if not models_known:
                self._say("scan", source.name, "known after the perplexity models")
                continue
            identities.append(scan_identity(files, self._recipe.corpus.scan, References(benchmarks, models)))
            self._look_up("scan", identities[-1])
        return identities if len(identities) == len(self._sources) else None

    def _corpus_stages(self) -> Artifact | None:
        scans = self._scan_identities()
        if scans is None:
            self._say("corpus", self._recipe.name, "new" if self._empty else "known after the scans")
            return None
        from xmodel_core.corpus.stage import corpus_identity, pairs_identity, rescan_identity

        recipe, sources = self._recipe, list(self._sources)
        rescans = [rescan_identity(*both, recipe.corpus.lines) for both in zip(sources, scans, strict=True)]
        for identity in rescans:
            if identity:
                self._look_up("lines", identity)
        self._look_up("near copies", pairs_identity(recipe.name, scans, rescans))
        what = corpus_identity(recipe.name, scans, rescans, sources, recipe.corpus)
        self.corpus = self._look_up("corpus", what)
        return self.corpus

    def _tokens_stages(self, corpus: Artifact | None) -> None:
        recipe, later = self._recipe, "new" if self._empty else "known after the corpus"
        digests: dict[str, str] = {}
        if corpus is None:
            self._say("tokenizer", recipe.name, later)
        else:
            from xmodel_core.tokenizer.documents import documents_digests
            from xmodel_core.tokenizer.stage import shards_identity, tokenizer_identity

            digests = documents_digests(corpus)
            what = tokenizer_identity(recipe.name, digests, recipe.tokenizer, list(self._sources))
            self.tokenizer = self._look_up("tokenizer", what)
            later = "known after the tokenizer"
        for source in self._sources:
            if self.tokenizer is None:
                self._say("shards", source.name, later)
                continue
            what = shards_identity(source.name, digests[source.name], self.tokenizer.fingerprint, recipe.tokenizer)
            if shards := self._look_up("shards", what):
                self.shards[source.name] = shards

    def _run_stages(self) -> None:
        recipe, training = self._recipe, self._recipe.training
        later = "new" if self._empty else "known after the shards"
        needed = {source.name for source in used_sources(self._mixture, self._sources)}
        plan = None
        if self.tokenizer is not None and needed <= self.shards.keys():
            prints = {name: artifact.fingerprint for name, artifact in self.shards.items()}
            there = [source for source in self._sources if source.name in self.shards]
            what = plan_identity(recipe.name, self._mixture, training.phases(), there, prints)
            plan = self._look_up("plan", what)
            from xmodel_core.training.stage import identity

            # What the plan will be is known before it is written.
            model = identity(recipe.name, recipe.model, training, what.fingerprint, self.tokenizer.fingerprint)
            run = self._look_up("run", model)
        else:
            self._say("plan", recipe.name, later)
            self._say("run", recipe.name, later)
            run = None
        if recipe.evaluation.suites:
            known = plan is not None and run is not None
            state = "asks only what was not asked yet" if known else "new" if self._empty else "known after the run"
            self._say("evaluation", recipe.name, state)
