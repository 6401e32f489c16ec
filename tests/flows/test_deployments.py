"""prefect.yaml: every flow on this machine and on Ray, schedules off, an evaluation for each new checkpoint."""

import inspect
import pkgutil
from importlib import import_module
from typing import Any

import pytest
import yaml
from prefect import Flow

import flows.river
import flows.studies
from flows.river.checkpoint_event import EVENT
from flows.server.settings import PREFECT_YAML

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load(PREFECT_YAML.read_text(encoding="utf-8"))["deployments"]


def flow_of(entrypoint: str) -> Flow[..., Any]:
    module, _, name = entrypoint.rpartition(".")
    return getattr(import_module(module), name)


def all_flows() -> set[str]:
    """The names of all flows of the two rooms that hold flows."""
    modules = [
        import_module(f"{room.__name__}.{found.name}")
        for room in (flows.river, flows.studies)
        for found in pkgutil.iter_modules(room.__path__)
    ]
    return {value.name for module in modules for value in vars(module).values() if isinstance(value, Flow)}


def test_every_flow_has_the_deployments_local_and_ray() -> None:
    declared = [f"{flow_of(one['entrypoint']).name}/{one['name']}" for one in DEPLOYMENTS]
    assert sorted(declared) == sorted(f"{flow}/{kind}" for flow in all_flows() for kind in ("local", "ray"))
    assert len(all_flows()) == 10


@pytest.mark.parametrize("one", DEPLOYMENTS, ids=lambda one: f"{one['entrypoint'].rpartition('.')[2]}-{one['name']}")
def test_a_deployment_gives_only_parameters_that_its_flow_has(one: dict[str, Any]) -> None:
    parameters = inspect.signature(flow_of(one["entrypoint"]).fn).parameters
    given = [one["parameters"], *(schedule.get("parameters", {}) for schedule in one.get("schedules", []))]
    given += [trigger["parameters"] for trigger in one.get("triggers", [])]
    for values in given:
        assert values.keys() <= parameters.keys()
    # A run's own overrides would replace a deployment's: where it runs is a parameter beside them.
    assert "overrides" not in one["parameters"]
    assert one["parameters"].get("cluster") == ("ray" if one["name"] == "ray" else None)
    assert one["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_schedules_are_off_until_a_person_switches_them_on() -> None:
    schedules = {
        flow_of(one["entrypoint"]).name: (one["name"], schedule)
        for one in DEPLOYMENTS
        for schedule in one.get("schedules", [])
    }
    assert schedules.keys() == {"xdata-build", "evaluate"}
    assert all(not schedule["active"] and schedule["slug"] and name == "local" for name, schedule in schedules.values())
    assert schedules["evaluate"][1]["parameters"] == {"checkpoint": "all"}


def test_one_deployment_hears_of_new_checkpoints() -> None:
    heard = [(one, trigger) for one in DEPLOYMENTS for trigger in one.get("triggers", [])]
    ((one, trigger),) = heard
    assert (flow_of(one["entrypoint"]).name, one["name"]) == ("evaluate", "local")
    assert trigger["expect"] == [EVENT]
