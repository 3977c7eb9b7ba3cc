"""Both stages against the original distiller, from pictures to losses, gradients and buffers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dwpose.errors import WeightsError
from dwpose.estimator import merge_flipped
from dwpose.models.export import export_onnx
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.simcc import encode
from dwpose.training.checkpoint import save_network
from dwpose.training.convert import load_distilled, unfold_batchnorm
from dwpose.training.distill import (
    StageOne,
    StageTwo,
    Taught,
    load_distiller_state,
    load_teacher,
)
from dwpose.training.schedule import WeightAverage, parameter_groups

ONE, TWO = "distill_s1_l_to_t_256x192.npz", "distill_s2_t_tt_256x192.npz"
SMALL = rtmpose_config("t", (64, 64))


class Case:
    """A fixture, its inputs and a filled distiller."""

    def __init__(self, arrays, weights, teacher, make):
        self.arrays = arrays
        self.meta = json.loads(str(arrays["meta"]))
        self.rows = json.loads(str(arrays["losses_json"]))
        self.state = {
            key: torch.from_numpy(weights.value_for(key, shape))
            for key, shape in weights.shapes_from(arrays)
        }
        self.make = make
        self.teacher = teacher
        images = weights.input_for(self.meta["input_name"], self.meta["input_shape"])
        labels = encode(arrays["keypoints"], arrays["visible"], (256, 192))
        self.batch = tuple(torch.from_numpy(np.asarray(a)) for a in (images, *labels))

    def distiller(self, mode):
        """The distiller as the original was in this mode: its teacher in train mode too."""
        teacher = RTMPose(rtmpose_config(self.teacher))
        distiller = self.make(teacher, teacher_training=True)
        load_distiller_state(distiller, self.state)
        return distiller.train(mode == "train")


@pytest.fixture(scope="module", params=[ONE, TWO])
def case(request, load_reference, weights_by_name):
    if request.param == ONE:
        return Case(
            load_reference(ONE),
            weights_by_name,
            "l",
            lambda teacher, **more: StageOne(teacher, RTMPose(rtmpose_config("t")), 270, **more),
        )
    return Case(load_reference(TWO), weights_by_name, "t", StageTwo)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_losses_gradients_and_buffers_equal_the_original(case, mode):
    distiller = case.distiller(mode)
    at = case.meta[f"{mode}_grad_at"]["epoch"]
    losses = distiller(*case.batch, epoch=at)
    sum(losses.values()).backward()
    arrays = case.arrays

    for row in case.rows:
        if row["mode"] != mode or row["epoch"] != at:
            continue
        expected = {k: v for k, v in row.items() if k.startswith("loss_")}
        assert {k: v.item() for k, v in losses.items()} == pytest.approx(expected, rel=1e-4)

    rtol = 1e-4 if mode == "eval" else 2e-3
    got = {n: p.grad for n, p in distiller.named_parameters() if p.grad is not None}
    assert sorted(got) == sorted(arrays[f"{mode}_grad_keys"].tolist())
    for key, norm, first in zip(
        arrays[f"{mode}_grad_keys"],
        arrays[f"{mode}_grad_norm"],
        arrays[f"{mode}_grad_first4"],
        strict=True,
    ):
        gradient = got[str(key)].flatten()
        assert gradient.double().norm().item() == pytest.approx(norm, rel=rtol), key
        count = min(4, len(gradient))
        np.testing.assert_allclose(gradient[:count], first[:count], rtol=0, atol=rtol * norm)

    if mode == "train":
        buffers = dict(distiller.named_buffers())
        for key, first in zip(
            arrays["train_buffer_keys"], arrays["train_buffer_first4"], strict=True
        ):
            # The second stage's student has no backbone here; in the original it is never run.
            value = buffers.get(str(key), case.state[str(key)]).double().flatten()[:4]
            np.testing.assert_allclose(value, first[: len(value)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_losses_of_every_epoch(case, mode):
    distiller = case.distiller(mode)
    with torch.no_grad():
        taught = distiller.teach(case.batch[0])
        for row in (r for r in case.rows if r["mode"] == mode):
            losses = distiller(*case.batch, epoch=row["epoch"], taught=taught)
            expected = {k: v for k, v in row.items() if k.startswith("loss_")}
            assert {k: v.item() for k, v in losses.items()} == pytest.approx(expected, rel=1e-4)
            total = sum(losses.values()).item()
            assert total == pytest.approx(row["total"], rel=1e-4)


def small(seed=0, size="t"):
    torch.manual_seed(seed)
    return RTMPose(rtmpose_config(size, (64, 64)))


def batch(count=2):
    torch.manual_seed(5)
    images = torch.randn(count, 3, 64, 64)
    points = np.full((count, 133, 2), 30.0, np.float32)
    labels = encode(points, np.ones((count, 133), np.float32), (64, 64))
    return (images, *(torch.from_numpy(np.asarray(a)) for a in labels))


@pytest.mark.parametrize("teacher_training", [False, True])
@pytest.mark.parametrize("stage", [1, 2])
def test_teacher_is_frozen_unless_asked(stage, teacher_training):
    teacher = small()
    distiller = (
        StageOne(teacher, small(1), 10, teacher_training=teacher_training)
        if stage == 1
        else StageTwo(teacher, teacher_training=teacher_training)
    ).train()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, weight_decay=0.1)
    sum(distiller(*batch()).values()).backward()
    optimizer.step()
    moved = {k for k, v in teacher.state_dict().items() if not torch.equal(v, before[k])}
    assert teacher.training is teacher_training
    assert bool(moved) is teacher_training
    assert all("running_" in k or k.endswith("tracked") for k in moved)
    assert not distiller.eval().teacher.training


def test_losses_can_be_left_out_and_kept_from_fading():
    teacher, inputs = small(), batch()

    def losses(epoch, **more):
        torch.manual_seed(3)
        return StageOne(teacher, small(1), 10, **more).eval()(*inputs, epoch=epoch)

    assert set(losses(0)) == {"loss_kpt", "loss_fea", "loss_logit"}
    assert set(losses(0, alpha=0)) == {"loss_kpt", "loss_logit"}
    assert set(losses(0, logit_weight=0)) == {"loss_kpt", "loss_fea"}
    assert set(losses(0, alpha=0, logit_weight=0)) == {"loss_kpt"}
    late, flat = losses(7.5), losses(7.5, decay=False)
    for name in ("loss_fea", "loss_logit"):
        assert late[name].item() == pytest.approx(flat[name].item() / 4)
    assert late["loss_kpt"].item() == flat["loss_kpt"].item()
    with pytest.raises(ValueError, match="epoch"):
        losses(11)


def test_one_teacher_run_serves_several_students():
    teacher, inputs = small(), batch()
    calls = []
    teacher.backbone.register_forward_hook(lambda *_: calls.append(1))
    students = [StageOne(teacher, small(i), 10) for i in (1, 2)]
    taught = students[0].teach(inputs[0])
    assert isinstance(taught, Taught)
    alone = students[1](*inputs)
    calls.clear()
    shared = [student(*inputs, taught=taught) for student in students]
    assert calls == []
    assert shared[1]["loss_fea"].item() == pytest.approx(alone["loss_fea"].item())


@pytest.mark.parametrize("stage", [1, 2])
def test_students_learn_and_their_average_can_be_taken(stage):
    teacher, inputs = small(), batch(4)
    with torch.no_grad():  # a teacher with something to say: curves that rise to about 0.3
        for part in teacher.head.modules():
            if isinstance(part, torch.nn.Linear):
                torch.nn.init.normal_(part.weight, std=part.in_features**-0.5)
        peak = max(curves.max() for curves in teacher.eval()(inputs[0]))
        teacher.head.cls_x.weight.mul_(0.3 / peak)
        teacher.head.cls_y.weight.mul_(0.3 / peak)
    torch.manual_seed(2)
    distiller = StageOne(teacher, small(1), 10) if stage == 1 else StageTwo(teacher)
    distiller.train()
    optimizer = torch.optim.AdamW(parameter_groups(distiller), lr=3e-4)
    average = WeightAverage(distiller.student)
    values = []
    for _ in range(24):
        loss = sum(distiller(*inputs).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(distiller.student)
        values.append(loss.item())
    assert values[-1] < 0.9 * values[0]
    mine = distiller.plain_model().state_dict()
    averaged = distiller.plain_model(average.module).state_dict()
    assert torch.equal(averaged["head.cls_x.weight"], average.module.head.cls_x.weight)
    assert not torch.equal(averaged["head.cls_x.weight"], mine["head.cls_x.weight"])


@pytest.mark.parametrize("stage", [1, 2])
def test_half_precision_computes_the_losses_in_full(stage):
    teacher = small()
    distiller = StageOne(teacher, small(1), 10) if stage == 1 else StageTwo(teacher, small(1).head)
    inputs = batch()
    full = distiller.eval()(*inputs)
    with torch.autocast("cpu", torch.bfloat16):
        half = distiller(*inputs)
    sum(half.values()).backward()
    for name, loss in half.items():
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(full[name].item(), rel=0.05)


def test_networks_must_fit():
    with pytest.raises(ValueError, match="input_size_hw"):
        StageOne(small(), RTMPose(rtmpose_config("t", (128, 64))), 10)
    other_map = RTMPose(rtmpose_config("lite", (64, 64)))
    with pytest.raises(ValueError, match="alpha"):
        StageOne(small(), other_map, 10)
    assert StageOne(small(), other_map, 10, alpha=0)


def test_a_second_stage_may_teach_what_a_flip_test_gives():
    teacher, images = small().eval(), batch()[0]
    taught = StageTwo(teacher, mirror=True).teach(images)
    with torch.no_grad():
        own, mirrored = teacher(images), teacher(images.flip(-1))
    expected = merge_flipped(
        tuple(curve.numpy() for curve in own), tuple(curve.numpy() for curve in mirrored)
    )
    for got, curves in zip((taught.simcc_x, taught.simcc_y), expected, strict=True):
        np.testing.assert_allclose(got.numpy(), curves, atol=1e-6)
    assert torch.equal(taught.features, teacher.features(images))


def test_distilled_runs_become_plain_networks(tmp_path):
    images = batch()[0]
    one = StageOne(small(), small(1), 10)
    torch.save({"model": one.state_dict()}, tmp_path / "one.pth")
    two = StageTwo(small(), small(2).head)
    torch.save({"model": two.state_dict()}, tmp_path / "two.pth")
    with torch.inference_mode():
        for distiller, name in ((one, "one.pth"), (two, "two.pth")):
            expected = distiller.plain_model()(images)
            got = load_distilled(tmp_path / name)(images)
            assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
        # The joined network is the teacher's backbone under the student's head.
        joined = two.student.head(two.teacher.features(images))
        assert torch.equal(two.plain_model()(images)[0], joined[0])


def test_official_layouts_are_read(tmp_path):
    """mmengine's files: `state_dict`, a preprocessor, and a whole student in both stages."""
    teacher, student = small(), small(1)
    state = {f"teacher.{k}": v for k, v in teacher.state_dict().items()}
    state |= {f"student.{k}": v for k, v in student.state_dict().items()}
    state["data_preprocessor.mean"] = torch.zeros(3, 1, 1)
    file = tmp_path / "epoch_60.pth"
    torch.save({"meta": {"epoch": 60}, "state_dict": state}, file)
    one = load_distilled(file).state_dict()
    assert torch.equal(
        one["backbone.stem.0.conv.weight"], student.state_dict()["backbone.stem.0.conv.weight"]
    )
    two = load_distilled(file, stage=2).state_dict()
    for key, value in two.items():
        source = teacher if key.startswith("backbone.") else student
        assert torch.equal(value, source.state_dict()[key]), key
    resumed = StageTwo(small(7))
    load_distiller_state(resumed, state)
    assert torch.equal(resumed.student.head.cls_x.weight, student.state_dict()["head.cls_x.weight"])
    torch.save(student.state_dict(), tmp_path / "plain.pth")
    with pytest.raises(WeightsError, match="no distillation run"):
        load_distilled(tmp_path / "plain.pth")
    with pytest.raises(ValueError, match="stage"):
        load_distilled(file, stage=3)


def test_teachers_come_from_every_format(tmp_path):
    trained = small().eval()
    with torch.no_grad():  # batch norms that do something
        for norm in trained.modules():
            if isinstance(norm, torch.nn.BatchNorm2d):
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.5, 1.5)
    save_network(tmp_path / "t.safetensors", trained)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "t.pth")
    export_onnx(trained, tmp_path / "t.onnx")
    images = batch()[0]
    with torch.inference_mode():
        expected = trained.features(images)
        for name in ("t.safetensors", "t.pth", "t.onnx"):
            teacher = load_teacher(tmp_path / name)
            torch.testing.assert_close(teacher.features(images), expected, rtol=1e-4, atol=1e-5)
            assert set(teacher.state_dict()) == set(trained.state_dict())
    assert unfold_batchnorm(trained) is trained
