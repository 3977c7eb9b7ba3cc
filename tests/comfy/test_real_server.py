"""The pack in a real ComfyUI server: nodes, a workflow, its cache, cancelling, freeing memory.

Needs COMFYUI_PATH, a checkout, and COMFYUI_PYTHON, an interpreter with its requirements (this one
by default).
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
START_S, RUN_S = 300, 120
FRAMES = 3
FOLDER = "odd pack_7 (copy)"
# Another pack: Word hands a text on as a choice; Pretend makes downloads bring the small network.
STAND_IN = """
import dataclasses, importlib, pathlib, sys

class Word:
    INPUT_TYPES = classmethod(lambda cls: {"required": {"text": ("STRING", {})}})
    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = ("COMBO",), "run", "test", True
    def run(self, text):
        return (text,)

class Pretend(Word):
    def run(self, text):
        [root] = [name for name in sys.modules if name.endswith("odd pack_7 (copy)")]
        part = lambda name: importlib.import_module(f"{root}.dwpose.weights.{name}")
        source = pathlib.Path(text)
        table = part("catalogue").CATALOGUE
        table["dw-ll-384"] = dataclasses.replace(
            table["dw-ll-384"], local_name="net.safetensors", sha256=None,
            bytes=source.stat().st_size,
        )
        def fetch(entry, folder, progress):
            path = pathlib.Path(folder) / entry.name
            path.write_bytes(source.read_bytes())
            return path
        part("hub").fetch = fetch
        return (text,)

NODE_CLASS_MAPPINGS = {"Word": Word, "Pretend": Pretend}
"""


class Server:
    def __init__(self, url: str, base: Path) -> None:
        self.url, self.base = url, base

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def queue(self, prompt: dict[str, Any]) -> str:
        return self.post("/prompt", {"prompt": prompt})["prompt_id"]

    def wait(self, prompt_id: str) -> dict[str, Any]:
        end = time.monotonic() + RUN_S
        while time.monotonic() < end:
            found = self.get(f"/history/{prompt_id}")
            if prompt_id in found:
                return found[prompt_id]
            time.sleep(0.1)
        raise AssertionError(f"the workflow did not end in {RUN_S} s")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        return self.wait(self.queue(prompt))


def _kinds(entry: dict[str, Any]) -> list[str]:
    return [message[0] for message in entry["status"]["messages"]]


def _cached(entry: dict[str, Any]) -> set[str]:
    [nodes] = [m[1]["nodes"] for m in entry["status"]["messages"] if m[0] == "execution_cached"]
    return set(nodes)


@pytest.fixture(scope="module")
def server(
    comfyui_path: Path,
    comfyui_python: str,
    tiny_weights: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("comfyui")
    for name in ("models/dwpose", "custom_nodes", "input", "output", "temp", "user"):
        (base / name).mkdir(parents=True)
    (base / "models/dwpose/tiny.safetensors").write_bytes(tiny_weights)
    (base / "custom_nodes" / FOLDER).symlink_to(ROOT, target_is_directory=True)
    (base / "custom_nodes" / "stand_in.py").write_text(STAND_IN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        comfyui_python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(port),
        "--disable-auto-launch", "--disable-api-nodes", "--base-directory", str(base),
        "--user-directory", str(base / "user"), "--database-url", "sqlite:///:memory:",
    ]  # fmt: skip
    log = base / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=comfyui_path, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )  # fmt: skip
    found = Server(f"http://127.0.0.1:{port}", base)
    try:
        end = time.monotonic() + START_S
        while True:
            if process.poll() is not None:
                text = log.read_text(errors="replace")
                if "ModuleNotFoundError" in text and "custom_nodes" not in text:
                    pytest.skip("COMFYUI_PYTHON lacks ComfyUI's requirements")
                raise AssertionError(text[-3000:])
            try:
                found.get("/system_stats")
                break
            except (OSError, ValueError):
                assert time.monotonic() < end, "the server does not answer"
                time.sleep(0.3)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def _workflow(server: Server, frames: int = FRAMES, **changes: Any) -> dict[str, Any]:
    """Every widget at the default that the server announces."""

    def defaults(kind: str) -> dict[str, Any]:
        required = server.get(f"/object_info/{kind}")[kind]["input"]["required"]
        return {name: spec[1]["default"] for name, spec in required.items() if "default" in spec[1]}

    load = {**defaults("DWPose_LoadModel"), "estimator": "tiny.safetensors", "detector": "none"}
    estimator = {**defaults("DWPose_Estimator"), "model": ["2", 0], "image": ["1", 0], **changes}
    return {
        "1": _node("EmptyImage", width=96, height=64, batch_size=frames, color=0x808080),
        "2": _node("DWPose_LoadModel", **load),
        "3": _node("DWPose_Estimator", **estimator),
        "4": _node("SaveImage", images=["3", 0], filename_prefix="pose"),
        "5": _node("PreviewAny", source=["3", 1]),
    }


def test_every_node_is_there_with_its_tooltips(server: Server):
    released = json.loads(Path(__file__).with_name("snapshot.json").read_text(encoding="utf-8"))
    info = server.get("/object_info")
    assert set(released) == {name for name in info if name.startswith("DWPose_")}
    for name in released:
        node = info[name]
        assert node["category"] == "DWPose"
        assert all(node["output_tooltips"])
        given = {**node["input"].get("required", {}), **node["input"].get("optional", {})}
        assert [key for key, spec in given.items() if not spec[1].get("tooltip")] == []


def test_scripts_help_and_examples_are_served_under_an_odd_name(server: Server):
    def status(path: str) -> int:
        try:
            with urllib.request.urlopen(server.url + path, timeout=30) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    folder = urllib.parse.quote(FOLDER)
    scripts = [
        path for path in server.get("/extensions") if path.startswith(f"/extensions/{folder}/")
    ]
    assert len(scripts) >= 3
    pages = [
        *scripts,
        f"/extensions/{folder}/in_node.mjs",
        f"/extensions/{folder}/docs/DWPose_Estimator.md",
        f"/api/workflow_templates/{folder}/photo-to-skeleton.json",
        f"/api/workflow_templates/{folder}/photo-to-skeleton.jpg",
    ]
    assert {path: status(path) for path in pages} == dict.fromkeys(pages, 200)
    assert status(f"/extensions/{folder}/..%2Fpyproject.toml") == 404


def test_a_workflow_runs_and_then_is_cached(server: Server):
    first = server.run(_workflow(server))
    assert first["status"]["status_str"] == "success", first["status"]
    assert len(first["outputs"]["4"]["images"]) == FRAMES
    keypoints = json.loads(first["outputs"]["5"]["text"][0])
    assert len(keypoints) == FRAMES
    assert (keypoints[0]["canvas_width"], keypoints[0]["canvas_height"]) == (96, 64)
    assert _cached(server.run(_workflow(server))) == {"1", "2", "3", "4", "5"}
    # Only what depends on a change runs again; the model stays loaded.
    assert _cached(server.run(_workflow(server, style="xinsir"))) == {"1", "2"}


def test_a_choice_that_comes_by_a_link_is_cached(server: Server):
    prompt = _workflow(server)
    prompt["2"]["inputs"]["estimator"] = ["6", 0]
    prompt["6"] = _node("Word", text="tiny.safetensors")
    first = server.run(prompt)
    assert first["status"]["status_str"] == "success", first["status"]
    assert _cached(server.run(prompt)) == set(prompt)


def test_what_fetched_a_model_does_not_run_again(server: Server):
    tiny = server.base / "models/dwpose/tiny.safetensors"
    server.run({"1": _node("Pretend", text=str(tiny))})
    prompt = _workflow(server)
    prompt["2"]["inputs"].update(estimator="dw-ll-384", download_if_missing=True)
    first = server.run(prompt)
    assert first["status"]["status_str"] == "success", first["status"]
    assert (server.base / "models/dwpose/net.safetensors").is_file()
    assert _cached(server.run(prompt)) == set(prompt)


def test_a_video_goes_through_as_a_stream(server: Server):
    def given(kind: str, **inputs: Any) -> dict[str, Any]:
        announced = server.get(f"/object_info/{kind}")[kind]["input"]["required"]
        defaults = {k: spec[1]["default"] for k, spec in announced.items() if "default" in spec[1]}
        return _node(kind, **{**defaults, **inputs})

    prompt = {key: node for key, node in _workflow(server, 7).items() if key in "12"}
    prompt |= {
        "3": _node("CreateVideo", images=["1", 0], fps=10.0),
        "4": given("DWPose_VideoToKeypoints", video=["3", 0], model=["2", 0]),
        "5": given("DWPose_TrackAndSmooth", pose_keypoint=["4", 0], fps=["4", 2]),
        "6": given("DWPose_DrawPoseVideo", pose_keypoint=["5", 0], video=["3", 0]),
        "7": _node("SaveVideo", video=["6", 0], filename_prefix="v", format="auto", codec="auto"),
        "8": _node("PreviewAny", source=["4", 1]),
    }
    entry = server.run(prompt)
    assert entry["status"]["status_str"] == "success", entry["status"]
    assert entry["outputs"]["8"]["text"] == ["7"]
    [saved] = entry["outputs"]["7"]["images"]
    av = pytest.importorskip("av")
    with av.open(str(server.base / "output" / saved["filename"])) as film:
        frames = list(film.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(96, 64)] * 7
    assert [round(frame.time, 3) for frame in frames] == [i / 10 for i in range(7)]
    assert _cached(server.run(prompt)) == set(prompt)


def test_a_wrong_value_is_told_in_one_sentence(server: Server):
    entry = server.run(_workflow(server, order="backwards"))
    [message] = [m[1] for m in entry["status"]["messages"] if m[0] == "execution_error"]
    assert message["node_type"] == "DWPose_Estimator"
    assert "order must be one of" in message["exception_message"]
    assert "\n" not in message["exception_message"].strip()


def test_cancel_stops_a_long_batch(server: Server):
    prompt_id = server.queue(_workflow(server, frames=2000))
    time.sleep(1.5)
    server.post("/interrupt", {})
    entry = server.wait(prompt_id)
    assert "execution_interrupted" in _kinds(entry)
    assert "execution_success" not in _kinds(entry)


def test_freed_memory_means_loading_again(server: Server):
    server.run(_workflow(server))
    server.post("/free", {"unload_models": True, "free_memory": True})
    time.sleep(2)
    again = server.run(_workflow(server))
    assert again["status"]["status_str"] == "success"
    assert _cached(again) == set()
