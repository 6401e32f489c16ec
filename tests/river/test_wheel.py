"""Installed from its wheel, in an empty folder, Xmodel does what it does in a checkout."""

import json
from pathlib import Path

import pytest

from tests.river.installed import Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.xdist_group("wheel")]

SHORT = (
    "--set sample_world.documents=800 --set sample_world.planted_share=0.25 --set sample_world.documents_per_file=60 "
    "--set tokenizer.vocab_size=1000 --set training.warmup_steps=4 --set training.stable_steps=20 "
    "--set training.decay_steps=8 --set training.validation_tokens=2048 --set evaluation.sample_limit=10"
)


def test_nothing_of_the_checkout_is_seen(installed: Installed) -> None:
    script = (
        "import json, flows, xmodel_core; from flows.server.settings import PREFECT_YAML; "
        "from flows.commands.doctor_checks import CONSTRAINTS; from xmodel_core.specs.sources import DATASETS_SPEC; "
        "from flows.recipes import PACKAGED; "
        "print(json.dumps([*map(str, (flows.__file__, xmodel_core.__file__, PREFECT_YAML, CONSTRAINTS, "
        "DATASETS_SPEC, PACKAGED.folder))]))"
    )
    places = json.loads(installed.types(f"python -c '{script}'"))
    for place in map(Path, places):
        assert place.is_relative_to(installed.environment) and place.exists() and not place.is_symlink()
    packages = next(f for f in json.loads(installed.types("xmodel doctor --json")) if f["what"] == "packages")
    assert "tried together" in packages["found"] or "tried with" in packages["found"]
    families = {row["family"] for row in json.loads(installed.types("xmodel sources --json"))}
    assert families == {"instructions", "sample_world", "xdata", "xmodel2"}


def test_a_run_a_deployment_and_a_training_on_ray(installed: Installed) -> None:
    """One workspace: the shell builds it, the deployment finds it built, Ray trains another seed on it."""
    made = json.loads(installed.types(f"xmodel run {SHORT} --json"))
    assert Path(made["report"]).is_relative_to(installed.folder)
    overrides = json.dumps(SHORT.replace("--set", "").split())
    try:
        installed.types("xmodel up")
        installed.types(f"prefect deployment run xmodel -p 'overrides={overrides}' --watch")
        # Of the shell and of the deployment: their servers keep one database, in Prefect's home.
        runs = json.loads(installed.types("xmodel status --json"))["runs"]
        assert [(run["flow"], run["state"]) for run in runs] == [("xmodel", "Completed")] * 2
    finally:
        installed.types("xmodel down")
    assert installed.types("xmodel ledger --json 'select count(*) as runs from runs'") == '[\n {\n  "runs": 1\n }\n]\n'
    on_ray = "--set cluster.kind=ray --set training.workers=2 --set training.micro_batch_sequences=4"
    installed.types(f"xmodel pretrain {SHORT} {on_ray} --set training.seed=7")
    (worlds,) = json.loads(installed.types("xmodel ledger --json 'select max(world_size) as n from runs'"))
    assert worlds == {"n": 2}
    assert json.loads(installed.types("xmodel ledger @books --json")) == []
