"""Whether a published source is where its spec says.

Takes addresses; gives for each what was found there. Asks the Hub's HTTP API for `hf://`, and HEAD for `https://` and
`s3://` (unsigned); many at a time, each for a few seconds, never with credentials. No network, and a server that is
busy or refuses, are said and are no problem; an address under which there is nothing is one.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import httpx

HUB = "https://huggingface.co"
S3 = "https://s3.amazonaws.com"
SCHEMES = ("hf://", "s3://", "https://")
AT_ONCE = 8
GONE = (404, 410)


@dataclass(frozen=True)
class Availability:
    """What was found under an address."""

    state: str
    problem: str = ""
    """Empty where there is none, or where nothing could be found out."""


def hub_name(uri: str) -> tuple[str, str]:
    """(owner/name, path inside it) of hf://datasets/owner/name/path."""
    owner, name, *inside = uri.removeprefix("hf://datasets/").split("/", 2)
    return f"{owner}/{name}", inside[0] if inside else ""


def check_availability(
    declared: Sequence[tuple[str, bool | None]], hub: str = HUB, s3: str = S3, timeout_seconds: float = 5
) -> list[Availability]:
    """What is found at each (uri, gated as declared), in their order. Each address is asked once."""
    limits = httpx.Timeout(timeout_seconds)
    # Proxies of the environment are used; httpx reads no token, and no .netrc unless asked to.
    with httpx.Client(timeout=limits, follow_redirects=True, headers={"User-Agent": "xmodel"}) as client:

        def ask(url_and_verb: tuple[str, str]) -> httpx.Response | str:
            verb, url = url_and_verb
            try:
                return client.request(verb, url)
            except httpx.TimeoutException:
                return f"not reached: no answer in {timeout_seconds:g} seconds"
            except httpx.TransportError:
                return "not reached: no network"
            except httpx.HTTPError as error:
                return f"not reached: {error}"

        wanted = [_request(uri, hub, s3) for uri, _ in declared]
        unlike = list(dict.fromkeys(wanted))
        with ThreadPoolExecutor(AT_ONCE) as threads:
            answers = dict(zip(unlike, threads.map(ask, unlike), strict=True))
    return [_availability(answers[request], uri, gated) for request, (uri, gated) in zip(wanted, declared, strict=True)]


def _request(uri: str, hub: str, s3: str) -> tuple[str, str]:
    if uri.startswith("hf://"):
        return "GET", f"{hub}/api/datasets/{hub_name(uri)[0]}"
    # The path form of an S3 address, because a bucket's name with dots fits no certificate.
    return "HEAD", f"{s3}/{uri.removeprefix('s3://')}" if uri.startswith("s3://") else uri


def _availability(answer: httpx.Response | str, uri: str, gated: bool | None) -> Availability:
    if isinstance(answer, str):
        return Availability(answer)
    status = answer.status_code
    if status in GONE or (status == 401 and uri.startswith("hf://")):
        # The Hub answers 401 for a name that does not exist, so that private ones cannot be guessed.
        also = " (or it is private)" if status == 401 else ""
        return Availability("nothing there", f"nothing found at {uri}: HTTP {status}{also}")
    if status == 403 and uri.startswith("s3://"):
        return Availability("there, or private: it asks for credentials")
    if status >= 400:
        return Availability(f"not reached: HTTP {status}")
    if not uri.startswith("hf://"):
        return Availability("reached")
    try:
        return _on_the_hub(answer.json(), uri, gated)
    except (ValueError, AttributeError, TypeError):
        return Availability("not reached: its answer is none of the Hub's")


def _on_the_hub(facts: dict[str, Any], uri: str, gated: bool | None) -> Availability:
    asks = bool(facts.get("gated"))  # false, or "auto" or "manual": how consent is given
    if gated is not None and asks != gated:
        return Availability(
            "reached", f"{uri} is {'gated' if asks else 'not gated'}, its spec says gated: {str(gated).lower()}"
        )
    _, inside = hub_name(uri)
    files = [str(file.get("rfilename")) for file in facts.get("siblings") or ()]
    if inside and files and not any(fnmatchcase(name, inside) or name.startswith(f"{inside}/") for name in files):
        return Availability("reached", f"there is no {inside} in {uri.removesuffix('/' + inside)}")
    return Availability("reached, gated" if asks else "reached")
