"""A Prefect plugin: `prefect deployment run xdata-build` means `xdata-build/local`, and makes one run.

Prefect loads it (entry point group `prefect.plugins`) where PREFECT_PLUGINS_ENABLED is true, which
`xmodel up` sets in the active profile. A name with a slash, and every other package, is left alone.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from uuid import uuid4

from prefect.plugins import HookContext, register_hook

from flows.server import worker_settings

DEFAULT_DEPLOYMENT = "local"


def full_name(name: str) -> str:
    """`flow/deployment`, with the deployment filled in where a person typed only the flow."""
    return name if "/" in name else f"{name}/{DEFAULT_DEPLOYMENT}"


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Makes both of Prefect's clients complete bare names, and create one run per call; called when `prefect` is
    imported, possibly twice. Our own worker and its runs get their settings too."""
    worker_settings.apply()
    # `import prefect` has loaded this module by now, so the plugin adds a millisecond, not an import.
    from prefect.client.orchestration._deployments.client import DeploymentAsyncClient, DeploymentClient

    read, read_async = DeploymentClient.read_deployment_by_name, DeploymentAsyncClient.read_deployment_by_name
    if hasattr(read, "__wrapped__") or hasattr(read_async, "__wrapped__"):
        return
    # setattr, because type checkers rightly refuse the replacement of a method, which is this plugin's purpose.
    setattr(DeploymentClient, read.__name__, _with_full_name(read))
    setattr(DeploymentAsyncClient, read_async.__name__, _with_full_name_async(read_async))
    for client in (DeploymentClient, DeploymentAsyncClient):
        create = client.create_flow_run_from_deployment
        setattr(client, create.__name__, _once(create))


def _with_full_name(read: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(read)
    def by_name(client: Any, name: str) -> Any:
        return read(client, full_name(name))

    return by_name


def _with_full_name_async(read: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(read)
    async def by_name(client: Any, name: str) -> Any:
        return await read(client, full_name(name))

    return by_name


def _once(create: Callable[..., Any]) -> Callable[..., Any]:
    """With a key by which the server knows a call that is repeated because its answer was lost: without one, it makes a
    second run."""

    @wraps(create)
    def with_key(client: Any, deployment_id: Any, **given: Any) -> Any:
        key = given.pop("idempotency_key", None) or str(uuid4())
        return create(client, deployment_id, idempotency_key=key, **given)

    return with_key
