"""A checkpoint is loaded as it was written or not at all; what is damaged is set aside by name."""

import logging
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from xmodel_core.artifacts import LocalFolder, Store
from xmodel_core.artifacts.sealed_folder import DamagedFolder, folder_digest, is_complete, seal, verify
from xmodel_core.model.formats.export_checkpoint import SpecialTokens, export_checkpoint
from xmodel_core.model.weights import load_checkpoint
from xmodel_core.training import loop, stage
from xmodel_core.training.checkpoint.save import newest_sound_checkpoint


def flip(path: Path, at: int, mask: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


@pytest.fixture
def checkpoint(trained: Any, tmp_path: Path) -> Path:
    """A copy of a run's last checkpoint."""
    return Path(shutil.copytree(stage.final_checkpoint(trained.run), tmp_path / "step-00000036"))


def test_every_flipped_byte_is_found_by_file(checkpoint: Path) -> None:
    verify(checkpoint)
    random_choice = random.Random(3)
    files = sorted(path for path in checkpoint.iterdir() if path.name != "manifest.json")
    assert [file.name for file in files] == [
        "config.json",
        "model.safetensors",
        "optimizer.pt",
        "state.json",
        "tokenizer.model",
    ]
    for file in files:
        for _ in range(40):
            at, mask = random_choice.randrange(file.stat().st_size), 1 << random_choice.randrange(8)
            flip(file, at, mask)
            with pytest.raises(DamagedFolder, match="has changed since it was written") as error:
                verify(checkpoint)
            assert error.value.where == file
            flip(file, at, mask)
    verify(checkpoint)


def test_a_flip_in_the_manifest_never_hides_anything(checkpoint: Path) -> None:
    manifest = checkpoint / "manifest.json"
    created_at = manifest.read_text().index("created_at")
    files_at = manifest.read_text().index('"files"')
    assert created_at < files_at
    for at in range(files_at, manifest.stat().st_size, 5):
        flip(manifest, at)
        with pytest.raises(DamagedFolder):
            verify(checkpoint)
        flip(manifest, at)
    verify(checkpoint)


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: flip(file, 900),
        lambda file: file.unlink(),
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(b""),
    ],
    ids=["flipped", "missing", "shorter", "empty"],
)
def test_what_is_damaged_is_neither_asked_nor_exported(checkpoint: Path, tmp_path: Path, harm: Any) -> None:
    load_checkpoint(checkpoint)
    harm(checkpoint / "model.safetensors")
    with pytest.raises(DamagedFolder, match=r"model\.safetensors"):
        load_checkpoint(checkpoint)
    with pytest.raises(DamagedFolder, match=r"model\.safetensors"):
        export_checkpoint(checkpoint, "xmodel", tmp_path / "out", SpecialTokens(None, None), {})
    assert not (tmp_path / "out").exists()


def test_the_digest_is_that_of_the_files_sealed_or_not(checkpoint: Path, tmp_path: Path) -> None:
    digest = folder_digest(checkpoint)
    bare = Path(shutil.copytree(checkpoint, tmp_path / "bare", ignore=shutil.ignore_patterns("manifest.json")))
    assert folder_digest(bare) == digest
    verify(bare)  # nothing to compare with
    flip(bare / "state.json", 3)
    assert folder_digest(bare) != digest
    assert seal(bare).bytes == sum(path.stat().st_size for path in bare.iterdir() if path.name != "manifest.json")
    assert is_complete(LocalFolder(tmp_path), "bare") and not is_complete(LocalFolder(tmp_path), "nowhere")


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, workspace: Any) -> Path:
    """A run that failed at a step; its folder."""
    real = loop.training_step

    def fails(*args: Any) -> tuple[float, float]:
        if args[5] == step:
            raise OSError("pulled the plug")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "training_step", fails)
        with pytest.raises(OSError, match="pulled the plug"):
            workspace.train()
    (folder,) = workspace.store.root.path.glob("runs/small-*")
    return folder


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_used(
    trained: Any, workspace: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = stop_at(30, monkeypatch, workspace)
    flip(folder / "checkpoints/step-00000028/optimizer.pt", 700)  # not one of pickle's bytes: it would load
    with caplog.at_level(logging.WARNING):
        run = workspace.train()
    assert (folder / "checkpoints/damaged-step-00000028/optimizer.pt").exists()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "step-00000028 is damaged" in warning and "optimizer.pt" in warning and "step-00000024" in warning
    name = "model.safetensors"
    assert (stage.final_checkpoint(run) / name).read_bytes() == (
        stage.final_checkpoint(trained.run) / name
    ).read_bytes()


def test_where_every_checkpoint_is_damaged_nothing_is_trained_over(
    workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stop_at(10, monkeypatch, workspace)
    flip(folder / "checkpoints/step-00000007/state.json", 2)
    for _ in range(2):
        with pytest.raises(DamagedFolder, match=r"the only checkpoint of this run is damaged[\s\S]*state\.json"):
            workspace.train()
    assert (folder / "checkpoints/step-00000007").is_dir()


def test_a_checkpoint_of_sizes_alone_is_still_one(checkpoint: Path) -> None:
    """What 0.2 wrote: a user's run goes on from it."""
    sizes = ", ".join(f'"{path.name}": {path.stat().st_size}' for path in sorted(checkpoint.iterdir()))
    manifest = checkpoint / "manifest.json"
    sizes = ", ".join(part for part in sizes.split(", ") if "manifest" not in part)
    manifest.write_text(f'{{"files": {{{sizes}}}, "created_at": "2026-11-20T10:00:00+00:00"}}')
    verify(checkpoint)
    (checkpoint / "state.json").write_text("{}")
    with pytest.raises(DamagedFolder, match=r"state\.json"):
        verify(checkpoint)


@pytest.mark.slow
def test_setting_aside_works_on_an_object_store(remote_workspace: Any, object_store: Any) -> None:
    run = remote_workspace.train()
    names = [name.rpartition("/")[0] for name in run.folder.names("checkpoints/step-*/manifest.json")]
    placed = object_store.folder / "bucket/work/runs" / run.label / names[-1]
    flip(placed / "optimizer.pt", 700)
    folder = Store("s3://bucket/work").root / "runs" / run.label
    assert newest_sound_checkpoint(folder) == names[-2]
    aside = names[-1].replace("checkpoints/", "checkpoints/damaged-")
    assert folder.names("checkpoints/damaged-*/manifest.json") == [f"{aside}/manifest.json"]
    assert not placed.exists() or not list(placed.iterdir())
