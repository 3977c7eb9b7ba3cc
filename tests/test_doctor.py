"""The doctor finds what is wrong, names the mend, and is never ill itself."""

from __future__ import annotations

import argparse
import http.server
import json
import sys
import threading
import types
from importlib import metadata

import pytest

from dwpose import __version__, doctor
from dwpose.commands import doctor as command
from dwpose.weights import catalogue


@pytest.fixture(autouse=True)
def own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")


def wheels(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Pretend that exactly these of the wheels that fight are installed."""

    def version(name: str) -> str:
        if name in names:
            return "1.0"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", version)


def levels(report: doctor.Report, text: str) -> list[str]:
    return [finding.level for finding in report.findings if text in finding.what]


def test_everything_is_looked_at_and_is_plain_data():
    report = doctor.report(network=False)
    data = json.loads(json.dumps(report.as_dict()))
    assert data["versions"]["dwpose"] == __version__
    assert data["versions"]["torch"]
    assert data["devices"][0]["name"] == "cpu"
    assert data["runtimes"]["torch"]["providers"]
    assert set(data["choices"]) == {"estimator", "detector"}
    assert data["choices"]["estimator"]["model"] in catalogue.CATALOGUE
    assert data["hub"]["reachable"] is None
    assert not levels(report, "failed:")
    assert all(finding["mend"] for finding in data["findings"])


def test_the_official_model_is_suggested_when_it_is_absent():
    report = doctor.report(network=False)
    assert levels(report, "dw-ll-384 is not here") == ["hint"]


def test_fighting_runtime_wheels_are_a_fault(monkeypatch):
    wheels(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    report = doctor.report(network=False)
    assert not report.healthy
    (finding,) = [f for f in report.findings if "overwrite each other" in f.what]
    assert finding.level == "fault"
    assert finding.mend == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def test_fighting_opencv_wheels_are_a_warning(monkeypatch):
    wheels(monkeypatch, "opencv-python", "opencv-python-headless")
    report = doctor.report(network=False)
    assert levels(report, "opencv-python and opencv-python-headless") == ["warning"]


def test_single_wheels_are_well(monkeypatch):
    wheels(monkeypatch, "onnxruntime", "opencv-python")
    assert not levels(doctor.report(network=False), "overwrite each other")


def test_the_other_projects_distribution_is_a_fault(monkeypatch):
    wheels(monkeypatch, "dwpose")
    assert levels(doctor.report(network=False), "another project's") == ["fault"]


def test_a_gpu_runtime_without_its_gpu_is_a_fault(monkeypatch):
    module = types.ModuleType("onnxruntime")
    module.__version__ = "1.0"  # type: ignore[attr-defined]
    module.get_available_providers = lambda: ["CPUExecutionProvider"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "onnxruntime", module)
    wheels(monkeypatch, "onnxruntime-gpu")
    assert levels(doctor.report(network=False), "offers no CUDA provider") == ["fault"]


def test_a_missing_runtime_is_only_a_hint(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    report = doctor.report(network=False)
    assert report.versions["onnxruntime"] is None or "broken" in report.versions["onnxruntime"]
    assert "onnxruntime" in report.runtimes
    assert not levels(report, "failed:")


def test_an_empty_folder_of_a_removed_wheel_is_a_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", types.ModuleType("onnxruntime"))
    assert levels(doctor.report(network=False), "empty folder") == ["fault"]


def test_a_library_that_breaks_on_import_is_a_fault(monkeypatch):
    real = doctor.importlib.import_module

    def fail(name: str, *args: object) -> types.ModuleType:
        if name == "safetensors":
            raise ImportError("libfoo.so: cannot open shared object file")
        return real(name, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(doctor.importlib, "import_module", fail)
    report = doctor.report(network=False)
    assert levels(report, "safetensors is installed but cannot be imported") == ["fault"]
    assert report.versions["safetensors"] == "broken (ImportError)"


def test_one_part_that_fails_hides_no_other(monkeypatch):
    def fail(*_: object) -> None:
        raise OSError("no such driver")

    monkeypatch.setattr(doctor, "_devices", fail)
    report = doctor.report(network=False)
    assert levels(report, "looking at devices failed: OSError: no such driver") == ["fault"]
    assert report.folder
    assert report.choices


def test_model_files_and_their_states_are_listed(tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    (models / "yolox_nano.onnx").write_bytes(b"short")
    (models / "yolox_m.onnx.part").write_bytes(b"x" * 3_000_000)
    report = doctor.report(network=False)
    assert levels(report, "is not yolox-nano") == ["fault"]
    states = {model["id"]: model["state"] for model in report.models}
    assert states["yolox-nano"] == "wrong"
    assert states["yolox-m"] == "absent"
    assert "3 MB" in next(m["detail"] for m in report.models if m["id"] == "yolox-m")


def test_little_space_is_a_warning(monkeypatch):
    usage = type(doctor.shutil.disk_usage("/"))
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage(10, 9, 1))
    assert levels(doctor.report(network=False), "are free where models are kept") == ["warning"]


# The hub.


@pytest.fixture
def endpoint(monkeypatch):
    """A server that answers every HEAD with the status it is told."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(server.status)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status = 200  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}/")
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_that_answers(endpoint):
    report = doctor.report(timeout_s=2)
    assert report.hub["reachable"] is True
    assert "status 200" in report.hub["detail"]


def test_a_hub_in_trouble(endpoint):
    endpoint.status = 503
    report = doctor.report(timeout_s=2)
    assert report.hub["reachable"] is False
    assert levels(report, "answers with status 503") == ["warning"]


def test_a_hub_that_does_not_answer(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    report = doctor.report(timeout_s=1)
    assert report.hub["reachable"] is False
    assert levels(report, "does not answer") == ["warning"]


def test_offline_asks_nobody(monkeypatch, endpoint):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    report = doctor.report()
    assert report.hub["reachable"] is None
    assert levels(report, "HF_HUB_OFFLINE") == ["hint"]


# The command.


def run(*args: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return command.run(parser.parse_args(["doctor", *args]))


def test_the_command_prints_for_people_and_for_programs(capsys, monkeypatch):
    healthy = doctor.report(network=False).healthy
    assert run("--offline") == (0 if healthy else 1)
    text = capsys.readouterr().out
    for word in ("versions", "devices", "auto would use", "models in", "hub", "estimator"):
        assert word in text
    run("--offline", "--json")
    assert json.loads(capsys.readouterr().out)["healthy"] is healthy


def test_a_fault_is_an_exit_code_and_comes_with_its_mend(capsys, monkeypatch):
    wheels(monkeypatch, "onnxruntime", "onnxruntime-gpu")
    assert run("--offline") == 1
    assert "mend: pip uninstall -y onnxruntime onnxruntime-gpu" in capsys.readouterr().out
