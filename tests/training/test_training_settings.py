"""The schedule as the reports write it, the phases, and what a run's identity leaves out."""

from typing import Any

import pytest

from xmodel_core.errors import XmodelError
from xmodel_core.specs.strict import validate
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.schedule import learning_rate

BATCH: dict[str, Any] = {"global_batch_tokens": 1024, "sequence_length": 128, "micro_batch_sequences": 8}


def config(**settings: Any) -> TrainingConfig:
    return TrainingConfig(**{**BATCH, **settings})


def test_xmodel_2_holds_then_halves_every_5000_steps() -> None:
    two = config(warmup_steps=2000, stable_steps=528_000, decay_steps=20_000, peak_lr=0.01)
    assert [phase[:2] for phase in two.phases()] == [("stable", 530_000), ("decay", 20_000)]
    expected = {1: 0.01 / 2000, 1000: 0.005, 2000: 0.01, 530_000: 0.01, 535_000: 0.005, 540_000: 0.0025}
    assert {step: learning_rate(two, step) for step in expected} == pytest.approx(expected)


def test_xmodel_lm_falls_on_a_cosine() -> None:
    lm = config(schedule="cosine", warmup_steps=2000, decay_steps=598_000, peak_lr=6e-4, min_lr_ratio=0.1)
    assert [phase[:2] for phase in lm.phases()] == [("train", 600_000)]
    expected = {2000: 6e-4, 301_000: 3.3e-4, 600_000: 6e-5}
    assert {step: learning_rate(lm, step) for step in expected} == pytest.approx(expected)


def test_linear_decay_and_floor() -> None:
    linear = config(warmup_steps=0, stable_steps=10, decay_steps=10, decay_shape="linear", peak_lr=1, min_lr_ratio=0.2)
    assert [learning_rate(linear, step) for step in (1, 10, 15, 20)] == pytest.approx([1, 1, 0.6, 0.2])
    floor = config(warmup_steps=0, decay_steps=100, decay_half_life_steps=1, peak_lr=1, min_lr_ratio=0.3)
    assert learning_rate(floor, 1) == 0.5
    assert learning_rate(floor, 50) == 0.3
    assert [phase[:2] for phase in floor.phases()] == [("decay", 100)]


def test_the_batch_doubles_and_the_context_grows_at_the_steps_that_say_so() -> None:
    grown = config(
        warmup_steps=10,
        stable_steps=90,
        decay_steps=20,
        peak_lr=0.01,
        batch_schedule=[
            {"after_steps": 40, "global_batch_tokens": 2048},
            {"after_steps": 100, "sequence_length": 256},
            {"after_steps": 110, "sequence_length": 512, "micro_batch_sequences": 4},
        ],
    )
    assert [tuple(phase) for phase in grown.phases()] == [
        ("stable", 40, 128, 1024, False),
        ("stable_2", 60, 128, 2048, True),
        ("decay", 10, 256, 2048, False),
        ("decay_2", 10, 512, 2048, True),
    ]
    assert [grown.batching(step).micro_batch_sequences for step in (1, 40, 41, 110, 111, 120)] == [8, 8, 8, 8, 4, 4]
    assert grown.total_tokens == 40 * 1024 + 80 * 2048
    assert grown.longest_sequence == 512


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_schedule": [{"after_steps": 6, "sequence_length": 256}]}, "batch_schedule must rise inside"),
        ({"batch_schedule": [{"after_steps": 2}, {"after_steps": 2}]}, "batch_schedule must rise inside"),
        (
            {"batch_schedule": [{"after_steps": 2, "sequence_length": 1000}]},
            "multiple of sequence_length 1000 (after 2 steps)",
        ),
        (
            {"workers": 5, "batch_schedule": [{"after_steps": 2, "sequence_length": 256}]},
            "a batch of 4 sequences has none for some of the 5 workers (after 2 steps)",
        ),
        ({"global_batch_tokens": 1000}, "must be a multiple of sequence_length 128"),
        ({"workers": 9}, "a batch of 8 sequences has none for some of the 9 workers"),
        ({"workers": 2}, "2 · 8"),
        ({"schedule": "cosine"}, "a cosine has no stable part"),
        ({"warmup_steps": 0, "stable_steps": 0, "decay_steps": 0}, "nothing to train"),
        ({"peak_learning_rate": 0.1}, "`peak_learning_rate` is not a field"),
    ],
)
def test_nonsense_gets_one_message(change: dict[str, Any], message: str) -> None:
    right = {**BATCH, "warmup_steps": 1, "stable_steps": 2, "decay_steps": 3, "peak_lr": 0.01}
    validate(TrainingConfig, right, "recipe.yaml")
    with pytest.raises(XmodelError) as error:
        validate(TrainingConfig, {**right, **change}, "recipe.yaml")
    assert message in str(error.value)


def test_where_it_runs_is_no_part_of_what_it_is() -> None:
    settings: dict[str, Any] = {"warmup_steps": 1, "decay_steps": 3, "peak_lr": 0.01, "micro_batch_sequences": 4}
    here = config(**settings).identity()
    assert here == config(**settings, workers=2, device="cpu", gradient_checkpointing=True).identity()
    assert here != config(**settings, threads_per_worker=2).identity()
    assert here != config(**settings, precision="bf16").identity()
    assert here != config(**settings, compile=True).identity()


def test_a_renamed_field_keeps_its_recorded_name() -> None:
    lengths = {"after_steps": 2, "global_batch_tokens": 2048, "sequence_length": None, "micro_batch_sequences": None}
    schedule: dict[str, Any] = {"warmup_steps": 1, "decay_steps": 3, "peak_lr": 0.01, "batch_schedule": [lengths]}
    schedule["micro_batch_sequences"] = 4
    recorded = config(**schedule, workers=2).identity()
    assert recorded["changes"] == [lengths] and "batch_schedule" not in recorded
    assert TrainingConfig.from_identity(recorded) == config(**schedule)
