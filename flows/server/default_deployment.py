"""A Prefect plugin: `prefect deployment run xdata-build` means `xdata-build/local`.

Prefect loads it (entry point group `prefect.plugins`) where PREFECT_PLUGINS_ENABLED is true, which
`xmodel up` sets in the active profile. A name with a slash, and every other package, is left alone.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from prefect.plugins import HookContext, register_hook

DEFAULT_DEPLOYMENT = "local"


def full_name(name: str) -> str:
    """`flow/deployment`, with the deployment filled in where a person typed the flow alone."""
    return name if "/" in name else f"{name}/{DEFAULT_DEPLOYMENT}"


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Teaches both of Prefect's clients to look a bare name up; called when `prefect` is imported, maybe twice."""
    # `import prefect` has loaded this module by now, so the plugin adds a millisecond, not an import.
    from prefect.client.orchestration._deployments.client import DeploymentAsyncClient, DeploymentClient

    ask, ask_async = DeploymentClient.read_deployment_by_name, DeploymentAsyncClient.read_deployment_by_name
    if hasattr(ask, "__wrapped__") or hasattr(ask_async, "__wrapped__"):
        return
    # setattr: replacing a method is what this plugin is for, and no type checker should approve of it unasked.
    setattr(DeploymentClient, ask.__name__, _with_full_name(ask))
    setattr(DeploymentAsyncClient, ask_async.__name__, _with_full_name_async(ask_async))


def _with_full_name(ask: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(ask)
    def by_name(client: Any, name: str) -> Any:
        return ask(client, full_name(name))

    return by_name


def _with_full_name_async(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @wraps(ask)
    async def by_name(client: Any, name: str) -> Any:
        return await ask(client, full_name(name))

    return by_name
