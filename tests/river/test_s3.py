"""From s3:// sources into an s3:// workspace, through the real command and a real S3 server that goes away for ten
seconds in the middle: the same documents, decisions, receipts and ledger rows as in folders of this machine."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Xmodel, command_environment
from xmodel_core.artifacts import Store
from xmodel_core.artifacts.remote import write_bytes
from xmodel_core.ledger.query import run_query
from xmodel_core.sample_world.config import SampleWorldConfig
from xmodel_core.sample_world.stage import run as make_world
from xmodel_core.specs.sources import DATASETS_SPEC, RAW_SCHEME

SECONDS_AWAY = 10
WORLD = {"documents": 400, "planted_share": 0.25, "documents_per_file": 30}


def recipe(folder: Path, sources_at: str) -> Path:
    """The sample world's sources, read from a place of their own."""
    folder.mkdir()
    spec = yaml.safe_load((DATASETS_SPEC / "sources/sample_world.yaml").read_text(encoding="utf-8"))
    for source in spec["sources"]:
        source["uri"] = source["uri"].replace(f"{RAW_SCHEME}documents", sources_at)
    (folder / "sources.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    values = {"name": "remote", "extends": "quickstart", "sources": ["sources.yaml"], "sample_world": WORLD}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return folder / "recipe.yaml"


def start(recipe: Path, workspace: str, home: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "flows.cli", "xdata-build", str(recipe), "--workspace", workspace]
    words += ["--set", "cluster.workers=2"]
    environment = command_environment(PREFECT_HOME=str(home))
    with recipe.with_suffix(".log").open("w") as log:
        return subprocess.Popen(words, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def finish(process: subprocess.Popen[bytes], recipe: Path) -> str:
    code, log = process.wait(), recipe.with_suffix(".log").read_text(encoding="utf-8")
    assert code == 0, log[-3000:]
    return log


def data_of(workspace: Path) -> dict[str, Any]:
    """Every file's bytes; of receipts and manifests what is no time."""
    contents: dict[str, Any] = {}
    for kind in ("raw", "benchmarks", "scans", "rescans", "pairs", "corpus"):
        for path in sorted((workspace / kind).rglob("*")):
            # An upload that the server was killed in stays with the server, under a name of its own.
            servers = path.name.startswith(".rclone_temp_put_")
            if not path.is_file() or servers or "/.partial/" in path.as_posix():
                continue
            data: Any = path.read_bytes()
            if path.suffix == ".json":
                data = {k: v for k, v in json.loads(data).items() if k not in ("created_at", "seconds", "rows", "seal")}
            contents[path.relative_to(workspace).as_posix()] = data
    return contents


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("s3")
def test_s3_to_s3_is_the_same_corpus_whatever_the_server_does(
    object_store: Any, tmp_path: Path, xmodel: Xmodel, ledger_of
) -> None:
    world = make_world(SampleWorldConfig(**WORLD), Store(tmp_path / "world"))
    bucket = object_store.folder / "bucket"
    shutil.copytree(world.path / "documents", bucket / "raw documents")
    here = recipe(tmp_path / "here", str(bucket / "raw documents"))
    there = recipe(tmp_path / "there", "s3://bucket/raw documents")
    done = xmodel("xdata-build", here, "--set", "cluster.workers=1", workspace=tmp_path / "workspace")
    assert done.returncode == 0, done.stderr

    process = start(there, "s3://bucket/work", tmp_path / "prefect")
    while not list(bucket.glob("work/scans/*/receipts/*.json")):
        assert process.poll() is None, there.with_suffix(".log").read_text(encoding="utf-8")[-3000:]
        time.sleep(0.1)
    object_store.stop()
    time.sleep(SECONDS_AWAY)
    assert process.poll() is None, "it waits"
    assert not list(bucket.glob("work/corpus/*/manifest.json")), "the server went away in the middle"
    object_store.start()
    log = finish(process, there)
    assert "Traceback" not in log

    assert data_of(bucket / "work") == data_of(tmp_path / "workspace")
    assert ledger_of("s3://bucket/work") == ledger_of(tmp_path / "workspace")
    assert run_query("s3://bucket/work", "@books")[1] == []
    audited = xmodel("audit", "--json", "--workspace", "s3://bucket/work")
    assert audited.returncode == 0, audited.stdout
    part = next(bucket.glob("work/corpus/*/documents/*.parquet")).relative_to(bucket)
    write_bytes(f"s3://bucket/{part}", b"damaged")
    audited = xmodel("audit", "--json", "--workspace", "s3://bucket/work")
    assert audited.returncode == 1
    (damage,) = json.loads(audited.stdout)["workspace"]["damaged"]
    assert f"work/{damage['file']}" == part.as_posix()
    for path in [*bucket.rglob("*"), *(tmp_path / "cache").rglob("*"), there.with_suffix(".log")]:
        if path.is_file():
            data = path.read_bytes()
            assert object_store.secret.encode() not in data and object_store.key.encode() not in data, path
