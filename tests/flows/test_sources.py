"""`xmodel sources check`: what is wrong without a network, and what a real server on loopback answers."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.commands.sources_check import check, declared
from xmodel_core.planning.availability import Availability, check_availability

REPOSITORIES = {
    "/api/datasets/us/open": {
        "gated": False,
        "siblings": [{"rfilename": "README.md"}, {"rfilename": "data/a.jsonl.gz"}],
    },
    "/api/datasets/us/gated": {"gated": "auto"},
}
STATUS = {"/page": 200, "/gone": 404, "/forbidden": 403, "/bucket/here.jsonl": 200, "/bucket/private": 403}


class Publisher(BaseHTTPRequestHandler):
    """A small Hub, a small S3 and a few pages; it remembers who asked, and how."""

    asked: list[tuple[str, str, dict[str, str]]] = []

    def do_GET(self) -> None:
        self._answer(json.dumps(REPOSITORIES.get(self.path, {"error": "…"})).encode())

    def do_HEAD(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.asked.append((self.command, self.path, dict(self.headers)))
        if self.path == "/busy":
            threading.Event().wait(3)
        if self.path == "/api/datasets/us/strange":
            body = b"<html>a login page</html>"
        known = self.path in REPOSITORIES or self.path.endswith("strange")
        self.send_response(STATUS.get(self.path, 200 if known else 401 if "/api/" in self.path else 404))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Publisher.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_a_publisher_answers_is_reported(publisher: str) -> None:
    wanted = {
        ("hf://datasets/us/open", False): Availability("reached"),
        ("hf://datasets/us/open/data", False): Availability("reached"),
        ("hf://datasets/us/open/data/*.gz", None): Availability("reached"),
        ("hf://datasets/us/gated", True): Availability("reached, gated"),
        ("hf://datasets/us/strange", False): Availability("not reached: its answer is none of the Hub's"),
        ("s3://bucket/here.jsonl", None): Availability("reached"),
        ("s3://bucket/private", None): Availability("there, or private: it asks for credentials"),
        (f"{publisher}/page", None): Availability("reached"),
        (f"{publisher}/forbidden", None): Availability("not reached: HTTP 403"),
    }
    assert dict(zip(wanted, check_availability(list(wanted), publisher, publisher), strict=True)) == wanted


def test_a_missing_source_and_a_wrong_gated_field_are_problems(publisher: str) -> None:
    wanted: dict[tuple[str, bool | None], str] = {
        ("hf://datasets/us/none", False): "nothing found at hf://datasets/us/none: HTTP 401",
        ("hf://datasets/us/open/dat", False): "there is no dat in hf://datasets/us/open",
        ("hf://datasets/us/gated", False): "is gated, its spec says gated: false",
        ("hf://datasets/us/open", True): "is not gated, its spec says gated: true",
        ("s3://bucket/none", None): "nothing found at s3://bucket/none: HTTP 404",
        (f"{publisher}/gone", None): "HTTP 404",
    }
    for answer, problem in zip(check_availability(list(wanted), publisher, publisher), wanted.values(), strict=True):
        assert problem in answer.problem


def test_no_network_and_a_server_that_does_not_answer_are_no_problem(publisher: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        (answer,) = check_availability([("hf://datasets/us/open", False)], nobody)
    assert answer == Availability("not reached: no network")
    (answer,) = check_availability([(f"{publisher}/busy", None)], timeout_seconds=0.3)
    assert answer == Availability("not reached: no answer in 0.3 seconds")


def test_each_address_is_asked_once_and_no_credentials_are_sent(
    publisher: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    check_availability([("hf://datasets/us/open", False), ("hf://datasets/us/open/data", False)], publisher, publisher)
    check_availability([("s3://bucket/here.jsonl", None)], publisher, publisher)
    assert [(verb, path) for verb, path, _ in Publisher.asked] == [
        ("GET", "/api/datasets/us/open"),
        ("HEAD", "/bucket/here.jsonl"),
    ]
    for _, _, headers in Publisher.asked:
        assert "authorization" not in {name.lower() for name in headers}
        assert "secret" not in str(headers)


def test_what_we_publish_holds_together_without_a_network(publisher: str) -> None:
    """Against a Hub that knows nothing: only what it does not know is a problem, and only of what is asked there."""
    rows, wrong = check(None, hub=publisher, s3=publisher)
    assert wrong == []
    assert {row["name"] for row in rows} == {row["name"] for row in declared(None)}
    assert all("nothing found at hf://" in row["problem"] for row in rows if row["problem"])


SPEC = """sources:
  - {name: one, lang: zh, category: web, license: CC0, uri: "unpublished://one", published_weight: 0.5}
  - {name: two, lang: en, category: web, license: CC0, uri: "unpublished://two", published_weight: 0.5}
"""
MIXTURE = "phases: [{name: stable, sources: {one: 1, en/web: 1}}]\n"


def recipe(folder: Path, spec: str = SPEC, mixture: str = MIXTURE) -> str:
    for name, text in (("sources.yaml", spec), ("mixture.yaml", mixture)):
        (folder / name).write_text(text, encoding="utf-8")
    path = folder / "recipe.yaml"
    path.write_text(
        "extends: quickstart\nname: mine\nsources: [sources.yaml]\nmixture: mixture.yaml\nsample_world: null\n",
        encoding="utf-8",
    )
    return str(path)


def test_a_recipe_that_holds_together_ends_with_0_and_one_row_a_source(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["sources", "check", "--json", "--recipe", recipe(tmp_path)])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["name"], row["state"], row["problem"]) for row in rows] == [
        ("one", "with its authors alone", ""),
        ("two", "with its authors alone", ""),
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("unpublished://one", "ftp://one", "one: no reader for the uri scheme ftp://"),
        ("unpublished://one", "hf://us/open", "one: uri is not a hf:// address: hf://us/open"),
        (
            "unpublished://one",
            "hf://datasets/us/open",
            "one: gated is not set: write gated: true if the publisher asks for consent",
        ),
        ("unpublished://one", "https://me:secret@x.test/a", "one: uri is not a https:// address"),
        ("unpublished://one", "nowhere", "no such path"),
        ('license: CC0, uri: "unpublished://one"', "license: ' ', uri: \"unpublished://one\"", "license is empty"),
        ("published_weight: 0.5", "published_weight: 0.4", "the published weights add up to 0.8000, not to 1"),
        ("en/web: 1", "en/wbe: 1", "phase stable names en/wbe: no source and no language/category"),
    ],
)
def test_what_is_wrong_is_named_and_the_command_ends_with_1(
    right: str, wrong: str, problem: str, tmp_path: Path
) -> None:
    path = recipe(tmp_path, SPEC.replace(right, wrong), MIXTURE.replace(right, wrong))
    result = CliRunner().invoke(main, ["sources", "check", "--recipe", path])
    assert result.exit_code == 1
    assert problem in result.output
