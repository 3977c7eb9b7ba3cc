"""The ablation's commands on a tiny scale, and the arithmetic of its report."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from dwpose.cli import main
from dwpose.models.efficientnet import EfficientNetLite
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training.ablation import Ablation, AblationConfig
from dwpose.training.ablation_report import gains, save_report
from dwpose.training.checkpoint import load_state, save_network
from dwpose.training.distill import StageTwo, load_teacher
from dwpose.training.journal import read_log
from dwpose.training.learner import LearnerConfig
from dwpose.training.pool import PoolSource
from dwpose.training.rendered import RenderedSource, RingConfig
from dwpose.training.synthetic import SyntheticConfig, SyntheticPeople
from dwpose.training.variants import VARIANTS, shared_trunk, stage_one
from dwpose.weights.load import load_model

from ..models.imagenet import published_state

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
TINY = {"batch": 2, "ring": 2, "reuse": 2, "epoch": 2, "held_out": 4, "warm_up": 2}
TINY |= {"device": "cpu", "precision": "fp32"}


def run(recipe, folder, **settings):
    sets = [t for k, v in {**TINY, **settings}.items() for t in ("--set", f"{k}={v}")]
    return main(["train", str(RECIPES / f"{recipe}.py"), "-o", str(folder), *sets])


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    assert run("rendered", folder, size="t", height=64, width=64, samples=4) == 0
    return folder


def test_a_network_learns_from_rendered_crops(teacher):
    lines = read_log(teacher / "log.jsonl")
    assert {"loss_kpt", "loss_coarse_8"} <= lines[0].keys()
    assert {"ap", "ap_face", "oks", "oks_face", "pck"} <= lines[-1]["measured"].keys()
    assert load_model(teacher / "model.safetensors").input_size_hw == (64, 64)


def test_a_student_of_rendered_crops_says_where_it_began(teacher, tmp_path):
    taught = teacher / "model.safetensors"
    given = {"size": "t", "height": 64, "width": 64, "samples": 4, "teacher": taught}
    assert run("rendered", tmp_path, **given, init=taught) == 0
    note = load_model(tmp_path / "model.safetensors").meta["note"]
    assert "trained on rendered crops, backbone of model.safetensors" in note
    assert "(before: trained on rendered crops" in note


def test_one_command_compares_all_and_reports(teacher, tmp_path):
    given = {"teacher": teacher / "model.safetensors", "size": "t", "samples": 4, "seeds": "0"}
    given |= {"measure_every": 1, "report": tmp_path / "report"}
    given["variants"] = "alone; curves; both; both, no decay"
    assert run("ablation", tmp_path / "run", **given) == 0
    (result,) = json.loads((tmp_path / "report" / "results.json").read_text())
    names = ["alone", "curves", "both", "both, no decay", "both, second stage"]
    names += ["both, second stage, head kept"]
    assert list(result["last"]) == names
    # Each is measured at its end, the second stage also at its start.
    assert [line["samples"] for line in result["curves"]["both"]] == [4]
    assert [line["samples"] for line in result["curves"]["both, second stage"]] == [4, 8]
    assert result["timing"][0]["data_s"] > 0
    assert 0 <= result["teacher"]["measured"]["ap"] <= 1
    report = (tmp_path / "report" / "report.md").read_text()
    assert all(f"| {name} |" in report for name in ["teacher", *names])
    for name in ("curves.png", "gains.png"):
        assert (tmp_path / "report" / name).stat().st_size > 10_000
    files = {path.stem for path in (tmp_path / "run" / "seed-0").glob("*.safetensors")}
    assert files >= {"alone", "both", "both-no_decay", "both-second_stage"}
    first, second = (
        load_model(tmp_path / "run" / "seed-0" / f"{name}.safetensors").module
        for name in ("both", "both-second_stage")
    )
    for key, value in first.backbone.state_dict().items():
        assert torch.equal(second.backbone.state_dict()[key], value)
    assert not torch.equal(first.head.cls_x.weight, second.head.cls_x.weight)


def test_lite_students_start_from_imagenet_and_learn_from_a_pool(spot_pool, tmp_path):
    torch.manual_seed(0)
    trained = RTMPose(rtmpose_config("lite", (64, 64))).eval()
    save_network(tmp_path / "teacher.safetensors", trained)
    imagenet = tmp_path / "imagenet.pth"
    torch.save(published_state(), imagenet)
    pool = tmp_path / "pool"
    given = {"teacher": tmp_path / "teacher.safetensors", "size": "lite", "imagenet": imagenet}
    given |= {"pool": pool, "pool_held_out": pool, "backbone_rate": 0.2}
    given |= {"samples": 4, "seeds": "0", "variants": "alone; both"}
    assert run("ablation", tmp_path / "run", **given) == 0
    (result,) = json.loads((tmp_path / "run" / "results.json").read_text())
    assert result["crops"] == len(spot_pool)
    # What is frozen is still the teacher's, in all students; the rest came from ImageNet and has
    # learned a little.
    before = trained.backbone.state_dict()
    start = RTMPose(trained.config)
    start.backbone.load_imagenet(torch.load(imagenet))
    given_last = start.backbone.state_dict()["blocks.15.project.conv.weight"]
    for name in ("alone", "both"):
        path = tmp_path / "run" / "seed-0" / f"{name}.safetensors"
        after = load_model(path).module.backbone.state_dict()
        frozen = [key for key in before if torch.equal(before[key], after[key])]
        start.backbone.freeze(5)
        fixed = [k for k, value in start.backbone.named_parameters() if not value.requires_grad]
        assert set(frozen) == set(fixed)
        moved = (after["blocks.15.project.conv.weight"] - given_last).abs().max()
        assert 0 < moved < 0.01
        # A student with seed 0 does not start from the numbers that its teacher started from.
        pyramids = (trained.backbone.state_dict()["mix.1.weight"], after["mix.1.weight"])
        together = torch.corrcoef(torch.stack([weight.flatten() for weight in pyramids]))[0, 1]
        assert abs(together) < 0.1


def test_frozen_blocks_that_all_share_run_once_and_change_nothing(spot_pool, tmp_path, monkeypatch):
    torch.manual_seed(0)
    taught, student = (RTMPose(rtmpose_config("lite", (64, 64))).eval() for _ in range(2))
    taught.backbone.load_imagenet(published_state())
    student.backbone.load_state_dict(taught.backbone.state_dict())
    student.backbone.freeze(2)
    learner = LearnerConfig(rate=1e-3, warm_up=2)
    config = AblationConfig(learner, 1, ("alone", "both"))
    calls, trunk = [], EfficientNetLite.trunk
    monkeypatch.setattr(EfficientNetLite, "trunk", lambda *args: calls.append(1) or trunk(*args))
    ends, counts = [], []
    for folder in (tmp_path / "shared", tmp_path / "apart"):
        run = Ablation(
            deepcopy(taught),
            deepcopy(student),
            PoolSource(spot_pool, 4, 2),
            config,
            folder,
            lambda _: {"ap": 0.5},
        )
        calls.clear()
        assert run.run()
        counts.append(len(calls))
        ends.append(load_model(folder / "both-second_stage-head_kept.safetensors").module)
        monkeypatch.setattr("dwpose.training.ablation.shared_trunk", lambda *_: None)
    for one, other in zip(*(end.parameters() for end in ends), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    # Two steps of each stage; apart, the first's teacher and its two students run them each.
    assert counts[0] == run.step == 4
    assert counts[1] == 2 * 3 + 2


def test_both_heads_of_the_second_stage_ask_their_teacher_once(spot_pool, tmp_path, monkeypatch):
    torch.manual_seed(0)
    taught, student = (RTMPose(rtmpose_config("t", (64, 64))).eval() for _ in range(2))
    config = AblationConfig(LearnerConfig(rate=1e-3, warm_up=2), 1, ("both",))
    source = PoolSource(spot_pool, 4, 2)
    run = Ablation(taught, student, source, config, tmp_path, lambda _: {"ap": 0.5})
    calls, teach = [], StageTwo.teach
    monkeypatch.setattr(StageTwo, "teach", lambda *args: calls.append(1) or teach(*args))
    assert run.run()
    assert len(calls) == run.second == 2
    assert len(run.learners) == 2


def test_a_run_that_is_killed_leaves_what_it_measured(spot_pool, tmp_path):
    torch.manual_seed(0)
    taught, student = (RTMPose(rtmpose_config("t", (64, 64))).eval() for _ in range(2))
    learner = LearnerConfig(rate=1e-3, warm_up=2)
    config = AblationConfig(learner, 3, ("alone",), (), measure_every=1)
    measured = []

    def measure(_) -> dict[str, float]:
        measured.append(1)
        if len(measured) == 4:  # the teacher, then each epoch
            raise SystemExit
        return {"ap": 0.5}

    run = Ablation(taught, student, PoolSource(spot_pool, 4, 2), config, tmp_path, measure)
    with pytest.raises(SystemExit):
        run.run()
    curve = json.loads((tmp_path / "results.json").read_text())["curves"]["alone"]
    assert [line["samples"] for line in curve] == [8, 16]


def test_students_are_taught_as_their_variant_says():
    teacher, student = (RTMPose(rtmpose_config("t", (64, 64))) for _ in range(2))
    taught = stage_one(VARIANTS["both"], teacher, student, 1, alpha=1e-3)
    loss = taught.distill_losses["loss_fea"]
    assert loss.alpha == 1e-3
    assert any(isinstance(part, nn.Conv2d) for part in loss.modules())  # though channels agree
    assert not stage_one(VARIANTS["curves"], teacher, student, 1).distill_losses


def test_a_teacher_with_other_first_blocks_shares_none():
    taught, student = (RTMPose(rtmpose_config("lite", (64, 64))) for _ in range(2))
    student.backbone.load_state_dict(taught.backbone.state_dict())
    assert shared_trunk(taught, student, LearnerConfig()) is None  # nothing is frozen
    student.backbone.freeze(2)
    assert shared_trunk(taught, student, LearnerConfig()) is not None
    with torch.no_grad():
        taught.backbone.stem.conv.bias[0] += 1.0
    assert shared_trunk(taught, student, LearnerConfig()) is None


@pytest.fixture(scope="module")
def engine():
    return SyntheticPeople(SyntheticConfig((64, 64)))


def make(teacher, engine, folder, minutes=None, config_seed=0):
    source = RenderedSource(engine, RingConfig(2, 2, capacity=2, epoch_length=2))
    network = load_teacher(teacher / "model.safetensors")
    torch.manual_seed(5)
    student = type(network)(network.config)
    learner = LearnerConfig(rate=1e-3, warm_up=2)
    config = AblationConfig(learner, 1, ("alone", "both"), seed=config_seed, minutes=minutes)
    return Ablation(network, student, source, config, folder, lambda model: {"ap": 0.5})


def test_stopped_at_every_step_it_ends_as_if_it_had_not_been(teacher, engine, tmp_path):
    whole = make(teacher, engine, tmp_path / "whole")
    assert whole.run()
    steps = 0
    while not (part := make(teacher, engine, tmp_path / "parts", minutes=0.0)).run():
        steps += 1
        assert part.step == steps
    assert steps == 3
    states = [load_state(tmp_path / n / "ablation.safetensors")[0] for n in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()
    assert any("second stage/average" in name for name in states[0])
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=0, atol=0, msg=name)
    assert part.results["curves"] == whole.results["curves"]
    with pytest.raises(ValueError, match="another seed"):
        make(teacher, engine, tmp_path / "whole", config_seed=1)


def test_gains_are_those_over_the_student_alone():
    results = [
        {"last": {"alone": {"ap": 0.40}, "both": {"ap": 0.43}}},
        {"last": {"alone": {"ap": 0.50}, "both": {"ap": 0.51}}},
    ]
    table = gains(results, "ap")
    assert table["both"]["gain"] == pytest.approx(0.02)
    assert table["both"]["gains"] == pytest.approx([0.03, 0.01])
    assert table["alone"]["gain"] == 0


def test_unknown_variants_are_refused():
    with pytest.raises(ValueError, match="everything"):
        AblationConfig(LearnerConfig(), 1, ("everything",))
    with pytest.raises(ValueError, match="both"):
        AblationConfig(LearnerConfig(), 1, ("alone",), ("both",))


def test_the_report_has_each_gain_and_needs_no_photos(tmp_path):
    line = {"ap": 0.4, "oks": 0.3, "pck": 0.5}
    better = {"ap": 0.41, "oks": 0.3, "pck": 0.53}
    best = {"ap": 0.43, "oks": 0.3, "pck": 0.54}
    results = [
        {
            "last": {"alone": line, "both": both},
            "curves": {"alone": [{"samples": 4, **line}], "both": [{"samples": 4, **both}]},
            "teacher": {"size": "l", "measured": best},
            "student": {"size": "s"},
            "settings": {"epochs": 1},
            "epoch_length": 2,
            "batch": 2,
            "crops": 4,
        }
        for both in (better, best)
    ]
    save_report(results, tmp_path)
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "| alone | 40.00 |  | 30.00 |  | 50.00 |  |  |  |" in lines
    ap, pck = "42.00 | +2.00 (+1.00 to +3.00)", "53.50 | +3.50 (+3.00 to +4.00)"
    assert f"| both | {ap} | 30.00 |  | {pck} |  |  |" in lines
    save_report(results[:1], tmp_path)
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "| both | 41.00 | +1.00 | 30.00 |  | 53.00 | +3.00 |  |  |" in lines
