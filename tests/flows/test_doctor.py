"""Doctor: what is well says so, what is not says what to do."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands import doctor_checks
from flows.commands.doctor import print_findings
from flows.commands.doctor_checks import run_checks
from xmodel_core.planning import machine


def states(workspace: Path) -> dict[str, str]:
    return {finding["what"]: finding["state"] for finding in run_checks(workspace)}


def test_this_installation_is_well(tmp_path: Path) -> None:
    findings = run_checks(tmp_path / "not" / "made" / "yet")
    assert [finding for finding in findings if finding["state"] == "fail"] == []
    assert {"Python", "packages", "torch", "cores", "memory", "workspace", "file system", "Prefect server"} <= {
        finding["what"] for finding in findings
    }
    assert not (tmp_path / "not").exists()
    assert all(finding["remedy"] for finding in findings if finding["state"] != "ok")


def test_torch_and_ray_are_examined_without_being_imported(tmp_path: Path) -> None:
    words = "import sys; from pathlib import Path; from flows.commands.doctor_checks import run_checks; "
    words += "run_checks(Path(sys.argv[1])); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", words, tmp_path], capture_output=True, text=True, check=True).stdout
    assert {"torch", "ray"}.isdisjoint(loaded.split())


def test_an_old_python_fails_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert states(tmp_path)["Python"] == "fail"


def test_another_version_than_the_pinned_one_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = tmp_path / "constraints.txt"
    pins.write_text("click==0.1  # old\n", encoding="utf-8")
    monkeypatch.setattr(doctor_checks, "CONSTRAINTS", pins)
    finding = next(f for f in run_checks(tmp_path) if f["what"] == "packages")
    assert finding["state"] == "warn"
    assert "tried with 0.1" in finding["found"]


def test_a_package_that_is_not_there_fails_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "requires", lambda _: ["no-such-package>=1", "click>=8.1"])
    finding = next(f for f in run_checks(tmp_path) if f["what"] == "packages")
    assert finding["state"] == "fail"
    assert "no-such-package is not installed" in finding["found"]


def test_a_workspace_that_cannot_be_written_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(machine.tempfile, "mkdtemp", refuse)
    assert states(tmp_path)["workspace"] == "fail"


def test_a_network_file_system_is_a_warning_about_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "file_system", lambda _: "nfs4")
    finding = next(f for f in run_checks(tmp_path) if f["what"] == "file system")
    assert finding["state"] == "warn"
    assert "locks" in finding["remedy"]


def test_a_server_that_does_not_answer_is_a_warning(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with socket.socket() as silent:  # bound and not listening: nobody else can answer there
        silent.bind(("127.0.0.1", 0))
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{silent.getsockname()[1]}/api"}):
            finding = next(f for f in run_checks(tmp_path) if f["what"] == "Prefect server")
    assert finding["state"] == "warn"
    assert "xmodel up" in finding["remedy"]


def test_findings_are_printed_with_their_remedies(capsys: pytest.CaptureFixture[str]) -> None:
    print_findings(
        [{"what": "memory", "state": "warn", "found": "1 of [8] GB", "remedy": "buy some"}, *run_checks(Path.cwd())]
    )
    printed = capsys.readouterr().out
    assert "1 of [8] GB" in printed
    assert "→ buy some" in printed
