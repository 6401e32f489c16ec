"""Doctor: what is well says so, what is not says what to do."""

import sys
import time
from pathlib import Path

import pytest

from flows.commands import doctor_checks
from flows.commands.doctor import print_findings
from flows.commands.doctor_checks import run_checks


def states(workspace: Path) -> dict[str, str]:
    return {finding["what"]: finding["state"] for finding in run_checks(workspace)}


def test_this_installation_is_well_and_said_so_quickly(tmp_path: Path) -> None:
    began = time.monotonic()
    findings = run_checks(tmp_path / "not" / "made" / "yet")
    assert time.monotonic() - began < 30  # a second or two; a busy machine imports slowly
    assert [finding for finding in findings if finding["state"] == "fail"] == []
    assert {"Python", "packages", "torch", "cores", "memory", "workspace", "file system", "Prefect server"} <= {
        finding["what"] for finding in findings
    }
    assert not (tmp_path / "not").exists()
    assert all(finding["remedy"] for finding in findings if finding["state"] != "ok")


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
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(doctor_checks.tempfile, "TemporaryFile", refuse)
    assert states(tmp_path)["workspace"] == "fail"


def test_a_network_file_system_is_a_warning_about_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_checks, "file_system", lambda _: "nfs4")
    finding = next(f for f in run_checks(tmp_path) if f["what"] == "file system")
    assert finding["state"] == "warn"
    assert "locks" in finding["remedy"]


def test_a_server_that_does_not_answer_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    from prefect.settings import temporary_settings  # the process's settings are read once; this reads them anew

    with temporary_settings():
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
