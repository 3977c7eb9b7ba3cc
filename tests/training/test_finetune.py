"""Fine-tuning on one's own folder: one command, and what it leaves behind."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from dwpose.cli import main
from dwpose.geometry import BOX_PADDING
from dwpose.io import openpose_json
from dwpose.io.images import save_image
from dwpose.models.export import export_onnx
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.checkpoint import save_network
from dwpose.training.data import loader
from dwpose.training.data.augment import vary
from dwpose.training.distill import load_teacher
from dwpose.training.journal import read_log
from dwpose.types import Boxes, People
from dwpose.weights.load import load_model

RECIPE = Path(__file__).resolve().parents[2] / "training" / "recipes" / "finetune.py"
SIZE_HW = (64, 64)


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Path:
    """A network that knows nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "start.safetensors"
    save_network(path, RTMPose(rtmpose_config("t", SIZE_HW)), note="random numbers")
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Five photos, each with a body and without face and hands."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(5):
        rng = np.random.default_rng(i)
        save_image(folder / f"{i}.png", rng.integers(0, 256, (80, 80, 3), np.uint8))
        keypoints = rng.uniform(20, 60, (1, 133, 2)).astype(np.float32)
        scores = np.zeros((1, 133), np.float32)
        scores[:, :17] = 1
        box = Boxes(np.array([[15, 15, 65, 65]], np.float32))
        openpose_json.save(People(keypoints, scores, box, (80, 80)), folder / f"{i}.json")
    return folder


def command(folder: Path, own: Path, start: Path, **settings) -> list[str]:
    given = {"photos": own, "model": start, "batch": 4, "epochs": 2, "workers": 0}
    given |= {"device": "cpu", "warm_up": 2, "measure_every": 1, "val_share": 0.2, **settings}
    sets = [text for key, value in given.items() for text in ("--set", f"{key}={value}")]
    return ["train", str(RECIPE), "-o", str(folder), *sets]


def test_one_command_from_photos_to_a_model(photos, start, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="dwpose"):
        assert main(command(tmp_path, photos, start)) == 0
    assert "4 people to learn from, 1 to measure on" in caplog.text
    outcome = load_model(tmp_path / "best.safetensors")
    assert outcome.input_size_hw == SIZE_HW
    assert "fine-tuned on 4 people" in outcome.meta["note"]
    assert "(before: random numbers)" in outcome.meta["note"]
    lines = read_log(tmp_path / "log.jsonl")
    assert {"loss_kpt", "loss_logit"} <= lines[0].keys()
    assert {"ap", "pck", "pck_body"} <= lines[-1]["measured"].keys()
    before, after = load_model(start).module.state_dict(), outcome.module.state_dict()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    # The statistics of four photos are not those of the world.
    assert not {key for key in changed if key.endswith(("running_mean", "running_var"))}


@pytest.mark.parametrize("kind", ["onnx", "lite"])
def test_networks_without_batch_norms_learn_everywhere(kind, photos, tmp_path):
    torch.manual_seed(0)
    network = RTMPose(rtmpose_config("lite" if kind == "lite" else "t", SIZE_HW)).eval()
    for part in network.modules():  # so that something of the loss arrives at the first layers
        if isinstance(part, (torch.nn.Conv2d, torch.nn.Linear)):
            torch.nn.init.kaiming_normal_(part.weight)
    start = tmp_path / ("start.onnx" if kind == "onnx" else "start.safetensors")
    if kind == "onnx":
        export_onnx(network, start)
    else:
        save_network(start, network)
    assert main(command(tmp_path, photos, start, epochs=1)) == 0
    before = load_teacher(start).state_dict()
    after = load_teacher(tmp_path / "best.safetensors").state_dict()
    layers = [key for key in before if key.endswith("conv.weight")]
    assert layers
    assert not [key for key in layers if torch.equal(before[key], after[key])]


def test_crops_are_those_of_the_network(photos, tmp_path, monkeypatch):
    network = RTMPose(rtmpose_config("lite", SIZE_HW))
    save_network(tmp_path / "start.safetensors", network)
    seen = []
    monkeypatch.setattr(loader, "vary", lambda *args: seen.append(args[-1]) or vary(*args))
    assert main(command(tmp_path, photos, tmp_path / "start.safetensors", epochs=1)) == 0
    assert set(seen) == {network.config.usage.padding} != {BOX_PADDING}
    assert load_teacher(tmp_path / "best.safetensors").config.usage == network.config.usage


def test_it_may_forget(photos, start, tmp_path, capsys):
    assert main(command(tmp_path, photos, start, keep=0, epochs=1)) == 0
    assert "loss_logit" not in read_log(tmp_path / "log.jsonl")[0]
    capsys.readouterr()
    assert main(command(tmp_path, photos, start, keep=0.1, epochs=1)) == 2
    assert "another weight of the curves' loss" in capsys.readouterr().err


def test_measuring_on_what_is_learned_is_refused(photos, start, tmp_path, capsys):
    assert main(command(tmp_path, photos, start, val_photos=photos)) == 2
    assert "share 5 pictures" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"photos": "nowhere"}, "nowhere"),
        ({"model": "no.safetensors"}, "no.safetensors"),
        ({"model": "yolox-l"}, "must be an RTMPose; yolox-l is a person detector"),
        ({"val_share": 1.5}, "share"),
        ({"measure_every": 0}, "measure_every must be at least 1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"keep": -1}, "keep must be at least 0"),
        ({"device": "toaster"}, "device=toaster: torch knows no such device"),
    ],
)
def test_wrong_settings_are_one_sentence(settings, message, photos, start, tmp_path, capsys):
    assert main(command(tmp_path, photos, start, **settings)) == 2
    assert message in capsys.readouterr().err
