"""The paper's rows: their numbers are the configs', and each runs on a few labelled photos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dwpose.cli import main
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.training import rows as R
from dwpose.training.checkpoint import load_state, save_network
from dwpose.training.journal import read_log
from dwpose.training.losses import FEATURE_ALPHA, LOGIT_WEIGHT_ONE, LOGIT_WEIGHT_TWO
from dwpose.training.schedule import EMA_GAMMA, EMA_MOMENTUM, FINAL_SHARE, WARM_UP_START
from dwpose.weights.load import load_model

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
DISTILLED = {**R.STAGE_ONE, **R.STAGE_TWO}


@pytest.fixture(scope="module")
def hparams(reference):
    return json.loads(reference("train_hparams.json").read_text())


@pytest.mark.parametrize("name", R.ALONE)
def test_numbers_of_a_student_alone_are_the_configs(name, hparams):
    row, block = R.ALONE[name], hparams["base_training"][R.ALONE[name].config]
    assert row.size_hw == tuple(reversed(block["codec"]["input_size"]))
    assert row.batch == block["total_batch"]
    assert row.epochs == R.BASE_EPOCHS == block["runtime"]["max_epochs"]
    _check_optimizer(row, block)
    shape = rtmpose_config(row.student)
    assert (shape.deepen, shape.widen) == (
        block["backbone"]["deepen_factor"],
        block["backbone"]["widen_factor"],
    )
    ema = hparams["ema_details"]["ExpMomentumEMA_defaults"]
    assert (block["ema"]["momentum"], ema["gamma"]) == (EMA_MOMENTUM, EMA_GAMMA)


@pytest.mark.parametrize("name", DISTILLED)
def test_numbers_of_distillation_are_the_configs(name, hparams):
    row = DISTILLED[name]
    block = hparams[f"stage{row.stage}_distillation"][row.config]
    size = f"{row.size_hw[0]}x{row.size_hw[1]}"
    assert f"{row.teacher}_{size}" == block["teacher"]
    assert f"{row.student}_{size}" == block["student"]
    assert (row.stage == 2) is block["two_dis"]
    assert row.batch == 8 * block["batch_per_gpu"]
    assert row.epochs == block["max_epochs"]
    weight = {1: LOGIT_WEIGHT_ONE, 2: LOGIT_WEIGHT_TWO}[row.stage]
    assert block["losses"]["loss_logit"]["weight"] == weight
    if row.stage == 1:
        assert block["losses"]["loss_fea"]["alpha_fea"] == FEATURE_ALPHA
    else:
        assert set(block["losses"]) == {"loss_logit"}
    _check_optimizer(row, block)


def _check_optimizer(row, block):
    wrapper = block["optim_wrapper"]
    assert wrapper["optimizer"] == {"type": "AdamW", "lr": row.rate, "weight_decay": 0.05}
    assert wrapper.get("clip_grad", {"max_norm": 0})["max_norm"] == row.clip
    warm_up, cosine = block["param_scheduler"]
    assert warm_up["end"] == R.RowSettings().warm_up
    assert warm_up["start_factor"] == WARM_UP_START
    assert cosine["eta_min"] == pytest.approx(FINAL_SHARE * row.rate)
    assert (cosine["begin"], cosine["end"]) == (R.BASE_EPOCHS // 2, R.BASE_EPOCHS)


@pytest.fixture(scope="module")
def photos(shared_dir, tmp_path_factory):
    """Three photos to learn from and one to measure on, as COCO-WholeBody lays them out."""
    tiny = shared_dir / "data" / "mmpose-tiny" / "coco"
    root = tmp_path_factory.mktemp("data") / "coco"
    document = json.loads((tiny / "test_coco_wholebody.json").read_text())
    held_out = {197388}
    for split in ("train", "val"):
        images = [i for i in document["images"] if (i["id"] in held_out) == (split == "val")]
        ids = {image["id"] for image in images}
        people = [a for a in document["annotations"] if a["image_id"] in ids]
        part = {**document, "images": images, "annotations": people}
        path = R.annotation_file(root, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(part))
        R.image_folder(root, split).mkdir()
        for image in images:
            target = R.image_folder(root, split) / image["file_name"]
            target.write_bytes((tiny / image["file_name"]).read_bytes())
    return root


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """A function from size and input size to the file of a teacher that knows nothing."""
    folder = tmp_path_factory.mktemp("teachers")

    def find(size, size_hw):
        path = folder / f"{size}-{size_hw[0]}.safetensors"
        if not path.exists():
            torch.manual_seed(ord(size))
            save_network(path, RTMPose(rtmpose_config(size, size_hw)))
        return path

    return find


LARGE = pytest.mark.slow
RUNS = [
    pytest.param("student_alone", "t"),
    pytest.param("student_alone", "s", marks=LARGE),
    pytest.param("student_alone", "m", marks=LARGE),
    pytest.param("student_alone", "l", marks=LARGE),
    pytest.param("student_alone", "x", marks=LARGE),
    pytest.param("student_alone", "l-384", marks=LARGE),
    pytest.param("student_alone", "x-384", marks=LARGE),
    pytest.param("stage_one", "l-t"),
    pytest.param("stage_one", "l-s"),
    pytest.param("stage_one", "l-m"),
    pytest.param("stage_one", "x-l", marks=LARGE),
    pytest.param("stage_one", "x-l-384", marks=LARGE),
    pytest.param("stage_two", "tt"),
    pytest.param("stage_two", "ss"),
    pytest.param("stage_two", "mm"),
    pytest.param("stage_two", "ll", marks=LARGE),
    pytest.param("stage_two", "ll-384", marks=LARGE),
    pytest.param("stage_two", "xx", marks=LARGE),
]


def command(recipe, folder, **settings):
    given = {"batch": 2, "iterations": 1, "epochs": 2, "workers": 0, "device": "cpu"}
    given |= {"ubody": "none", "flip_test": "false", "warm_up": 2, **settings}
    sets = [text for key, value in given.items() for text in ("--set", f"{key}={value}")]
    return ["train", str(RECIPES / f"{recipe}.py"), "-o", str(folder), *sets]


@pytest.mark.parametrize(("recipe", "name"), RUNS)
def test_every_row_trains_by_one_command(recipe, name, photos, teachers, tmp_path):
    row = {**R.ALONE, **DISTILLED}[name]
    settings = {"row": name, "coco": photos}
    if row.teacher:
        settings["teacher"] = teachers(row.teacher, row.size_hw)
    assert main(command(recipe, tmp_path, **settings)) == 0
    outcome = load_model(tmp_path / "model.safetensors")
    assert outcome.meta["size"] == row.student
    assert outcome.input_size_hw == row.size_hw
    assert row.config in outcome.meta["note"]
    lines = read_log(tmp_path / "log.jsonl")
    expected = {0: {"kpt"}, 1: {"kpt", "fea", "logit"}, 2: {"logit"}}[row.stage]
    assert {k for k in lines[0] if k.startswith("loss_")} == {f"loss_{k}" for k in expected}
    assert lines[0]["rate"] < lines[1]["rate"]
    expected = {"ap", "ap_body", "ap_feet", "ap_face", "pck", "oks", "oks_face"}
    assert expected <= lines[-1]["measured"].keys()
    assert (tmp_path / "best.safetensors").exists()
    _, facts = load_state(tmp_path / "state.safetensors")
    learner = facts["settings"]["learner"]
    assert learner["clip"] == row.clip
    assert learner["rate"] == pytest.approx(row.rate * 2 / row.batch)
    if row.stage == 2:
        before = load_model(settings["teacher"]).module.backbone.state_dict()
        for key, value in outcome.module.backbone.state_dict().items():
            assert torch.equal(value, before[key])


def test_wrong_settings_are_one_sentence(photos, teachers, tmp_path, capsys):
    teacher = teachers("t", (256, 192))
    for settings, message in (
        ({"row": "q-q"}, "row must be one of l-t"),
        ({"row": "l-t"}, "teacher must name a trained RTMPose-l of 256x192"),
        ({"row": "l-t", "teacher": teacher}, "holds an RTMPose-t of 256x192"),
        ({"row": "l-t", "teacher": "no.pth"}, "no.pth"),
        ({"row": "l-t", "coco": "nowhere"}, "nowhere"),
        ({"row": "l-t", "device": "cuda:7"}, "device"),
    ):
        given = {"coco": photos, **settings}
        assert main(command("stage_one", tmp_path, **given)) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("key", ["batch", "epochs", "rate", "iterations"])
def test_a_setting_of_0_does_not_mean_the_rows(key, photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(R.Trainer, "run", lambda trainer: True)
    words = command("student_alone", tmp_path, row="t", coco=photos, **{key: 0})
    assert main(words) == 2
    assert key in capsys.readouterr().err


def test_training_on_validation_pictures_is_refused(photos, tmp_path, capsys):
    root = tmp_path / "coco"
    for split in ("train", "val"):
        path = R.annotation_file(root, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(R.annotation_file(photos, "val").read_bytes())
        folder = R.image_folder(root, split)
        folder.symlink_to(R.image_folder(photos, "val"))
    assert main(command("student_alone", tmp_path / "run", row="t", coco=root)) == 2
    assert "share" in capsys.readouterr().err


def test_a_student_starts_from_a_given_backbone(teachers, tmp_path):
    path = teachers("t", (256, 192))
    settings = R.RowSettings(row="t", init=str(path))
    student = R.objective(R.ALONE["t"], settings, 1).student
    given = load_model(path).module
    for key, value in given.backbone.state_dict().items():
        assert torch.equal(student.backbone.state_dict()[key], value)
    assert not torch.equal(student.head.cls_x.weight, given.head.cls_x.weight)
    with pytest.raises(ValueError, match="RTMPose-s"):
        R.objective(R.ALONE["s"], settings, 1)
