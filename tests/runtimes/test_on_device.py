"""Both ends of a network on its device: the same numbers as with both ends on the host.

The device is the CPU here, so that the networks themselves answer alike; see the tests marked gpu
for what only a GPU shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dwpose.detector import PersonDetector  # noqa: E402
from dwpose.estimator import Estimator  # noqa: E402
from dwpose.models.rtmpose import RTMPose, RTMPoseConfig  # noqa: E402
from dwpose.models.yolox import YOLOX, yolox_config  # noqa: E402
from dwpose.runtimes import graphs  # noqa: E402
from dwpose.runtimes.session import RuntimeInfo  # noqa: E402
from dwpose.runtimes.torch_session import TorchSession  # noqa: E402
from dwpose.types import Boxes  # noqa: E402

CONFIG = RTMPoseConfig("tiny", 0.1, 0.125, (64, 32), dim=32, attention_dim=16)
PRECISIONS = ("fp32", "fp16", "bf16")


def _spread(network: Any) -> Any:
    """Make a network that answers differently here and there."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def poser() -> Any:
    torch.manual_seed(0)
    return _spread(RTMPose(CONFIG))


@pytest.fixture(scope="module")
def finder() -> Any:
    torch.manual_seed(1)
    network = _spread(YOLOX(yolox_config("nano", input_size_hw=(64, 64))))
    for level in range(3):  # some hundred cells sure enough to be read
        network.head.obj_preds[level].bias.data.fill_(1.0)
        network.head.cls_preds[level].bias.data.fill_(1.0)
    return network


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    # Whole pictures into the letterbox, a third of it, upright, and a large one.
    return [
        rng.integers(0, 256, (h, w, 3), np.uint8)
        for h, w in ((64, 64), (90, 120), (192, 192), (50, 30), (400, 300))
    ]


@pytest.fixture(scope="module")
def boxes() -> list[Boxes]:
    rng = np.random.default_rng(4)
    found = []
    for count in (2, 0, 5, 1, 3):
        low = rng.uniform(-10, 40, (count, 2))
        found.append(Boxes(np.concatenate((low, low + rng.uniform(5, 200, (count, 2))), axis=1)))
    return found


def _same_people(one: list[Any], other: list[Any]) -> None:
    assert sum(len(p) for p in one) == 11
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.keypoints, b.keypoints)
        np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_points_are_those_of_the_host(poser, pictures, boxes, precision, flip_test):
    session = TorchSession(poser, CONFIG.input_size_hw, "cpu", precision)
    host = Estimator(session, batch_size=4)
    device = Estimator(session, batch_size=4, on_device=True)
    asked = []
    session_of = device.session
    device.session = lambda images: asked.append(images) or session_of(images)
    ticks = []
    found = device(pictures, boxes, flip_test=flip_test, on_batch=lambda: ticks.append(1))
    _same_people(found, host(pictures, boxes, flip_test=flip_test))
    assert asked == []
    assert len(ticks) == (6 if flip_test else 3)
    assert len({tuple(p) for people in found for p in people.keypoints[:, 0].tolist()}) > 5
    # Again, in buffers that are full of what was there before, and more of them.
    _same_people(device(pictures, boxes), host(pictures, boxes))
    assert [len(p) for p in device(pictures[:2], [Boxes.empty()] * 2)] == [0, 0]


def test_points_without_confidence_are_where_the_host_puts_them(poser, pictures, boxes):
    class Unsure(RTMPose):
        """Answers curves with no value above 0, or with several equal maxima."""

        def forward(self, images):
            x, y = super().forward(images)
            x = x.round()
            x[:, ::2] = -x[:, ::2].abs()
            return x, y.round()

    network = Unsure(CONFIG).eval()
    network.load_state_dict(poser.state_dict())
    session = TorchSession(network, CONFIG.input_size_hw)
    host = Estimator(session)(pictures, boxes)
    _same_people(Estimator(session, on_device=True)(pictures, boxes), host)
    scores = np.concatenate([p.scores for p in host])
    assert (scores <= 0).sum() > 100


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("colour", ["bgr", "rgb"])
def test_boxes_are_those_of_the_host(finder, pictures, precision, colour):
    session = TorchSession(finder, (64, 64), "cpu", precision)
    settings = {"colour": colour, "batch_size": 2, "score_threshold": 0.4, "nms_threshold": 0.9}
    host = PersonDetector(session, **settings)
    device = PersonDetector(session, **settings, on_device=True)
    run, answers = device._run, []
    assert run is not None
    start = run.start

    def noting(batch: np.ndarray) -> Callable[[], np.ndarray]:
        wait = start(batch)
        return lambda: answers.append(wait()) or answers[-1]

    run.start = noting
    # Twice, so that pictures of all shapes come where others were.
    found, expected = device(pictures + pictures[::-1]), host(pictures + pictures[::-1])
    assert min(len(boxes) for boxes in expected) > 3
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own.xyxy, other.xyxy)
        np.testing.assert_array_equal(own.scores, other.scores)
    # Of 85 columns six come back.
    assert {answer.shape for answer in answers} == {(2, 84, 6)}
    # The colours of these pictures matter.
    if precision == "fp32":
        settings["colour"] = {"bgr": "rgb", "rgb": "bgr"}[colour]
        other = PersonDetector(session, **settings)
        assert not np.array_equal(other(pictures)[0].scores, host(pictures)[0].scores)


class Recorded:
    """Stands in for CUDA graphs: takes one batch alone, and writes to the same outputs."""

    def __init__(self, run: Any, example: Any) -> None:
        self.run, self.example = run, example
        self.outputs = run(example)

    def __call__(self, batch: Any) -> Any:
        assert batch is self.example
        for held, new in zip(self.outputs, self.run(batch), strict=True):
            held.copy_(new)
        return self.outputs


def test_fixed_sizes_answer_the_same(poser, pictures, boxes, monkeypatch):
    """As in mode graph: batches filled up, answers overwritten by the next run."""
    session = TorchSession(poser, CONFIG.input_size_hw)
    host = Estimator(session)(pictures, boxes)
    sizes = []

    def forward_of(module: Any) -> Any:
        def make(example: Any) -> Any:
            sizes.append(len(example))
            return Recorded(lambda batch: (module(batch),), example)

        return graphs.FixedSizes(make, session.device)

    monkeypatch.setattr(session, "forward_of", forward_of)
    for batch_size in (1, 3, 11):
        device = Estimator(session, batch_size=batch_size, on_device=True)
        found = device(pictures, boxes)
        # Tiny batches round differently in the last bit on some CPUs.
        for own, other in zip(found, host, strict=True):
            np.testing.assert_allclose(own.scores, other.scores, atol=1e-5)
            same = np.abs(own.keypoints - other.keypoints).max(axis=-1) < 1e-3
            assert same.mean() >= 0.99 if len(own) else True
    assert sizes == [1, 4, 2, 16]


def test_ends_follow_a_session_that_moves(poser, pictures, boxes):
    session = TorchSession(poser, CONFIG.input_size_hw)
    device = Estimator(session, on_device=True)
    before = device(pictures, boxes)
    made = device._runs[0]._forward
    _same_people(device(pictures, boxes), before)
    assert device._runs[0]._forward is made
    session.move("cpu")
    _same_people(device(pictures, boxes), before)
    assert device._runs[0]._forward is not made


def test_what_is_raised_in_between_leaves_the_rest_whole(poser, pictures, boxes):
    device = Estimator(TorchSession(poser, CONFIG.input_size_hw), batch_size=2, on_device=True)
    before = device(pictures, boxes)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device(pictures, boxes, on_batch=stop)
    _same_people(device(pictures, boxes), before)


def test_who_does_the_work_is_chosen(poser, finder):
    session = TorchSession(poser, CONFIG.input_size_hw)
    # On a CPU the host does as well, and faster.
    assert Estimator(session)._runs == []
    assert PersonDetector(TorchSession(finder, (64, 64)))._run is None
    # As on a GPU; what runs there is not asked.
    session.info = RuntimeInfo("torch", "cuda:0", "fp32", "a pretence")
    assert len(Estimator(session)._runs) == 2
    assert Estimator(session, on_device=False)._runs == []
    assert Estimator(session, split=3.0)._runs == []
    small = TorchSession(finder, (64, 64))
    small.info = session.info
    assert PersonDetector(small)._run is not None
    assert PersonDetector(small, gain=0.5)._run is None


def test_what_cannot_be_done_is_said(poser, finder):
    other = TorchSession(torch.nn.Identity(), (64, 32))
    with pytest.raises(ValueError, match="on_device needs a session that runs an RTMPose"):
        Estimator(other, on_device=True)
    with pytest.raises(ValueError, match="on_device needs a session that runs a YOLOX"):
        PersonDetector(other, on_device=True)
    few = TorchSession(RTMPose(RTMPoseConfig("few", 0.1, 0.125, (64, 32), num_keypoints=17)))
    few.input_size_hw = (64, 32)
    with pytest.raises(ValueError, match="on_device"):
        Estimator(few, on_device=True)


def _real(name: str) -> Any:
    from dwpose.models.rtmpose import rtmpose_config

    torch.manual_seed(0)
    if name == "pose":
        return _spread(RTMPose(rtmpose_config("t", (256, 192))))
    return _spread(YOLOX(yolox_config("nano", input_size_hw=(64, 64))))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("mode", graphs.MODES)
def test_a_gpu_answers_as_with_both_ends_on_the_host(pictures, boxes, mode, flip_test):
    """In fp16, whose rounding depends on the kernels that were chosen: maxima may move."""
    session = TorchSession(_real("pose"), (256, 192), "cuda", "fp16", mode=mode)
    plain = TorchSession(_real("pose"), (256, 192), "cuda", "fp16")
    host = Estimator(plain, on_device=False)(pictures, boxes, flip_test=flip_test)
    for batch_size in (32,) if mode == "compile" else (1, 3, 32):  # each compiles for long
        device = Estimator(session, batch_size=batch_size)
        assert len(device._runs) == 2
        for _ in range(2):  # the second time with graphs that are there already
            found = device(pictures, boxes, flip_test=flip_test)
            points, scores = (
                np.concatenate([getattr(p, name) for p in found])
                for name in ("keypoints", "scores")
            )
            truth = np.concatenate([p.keypoints for p in host])
            expected = np.concatenate([p.scores for p in host])
            assert np.abs(scores - expected).max() < 0.03 * np.abs(expected).max()
            assert (np.abs(points - truth).max(axis=-1) < 1e-3).mean() > 0.9


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("mode", graphs.MODES)
def test_a_gpu_fetches_the_rows_of_the_host(finder, mode):
    session = TorchSession(finder, (64, 64), "cuda", "fp32", mode=mode)
    run = PersonDetector(session)._run
    assert run is not None
    pictures = np.random.default_rng(6).integers(0, 256, (2, 64, 64, 3), np.uint8)
    buffer = run.new_buffer(2, (64, 64))
    buffer[:] = pictures
    (expected,) = session(pictures[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32))
    # Convolutions may use TF32, with 10 bits of mantissa, and other kernels in another mode.
    for _ in range(2):
        np.testing.assert_allclose(run.start(buffer)(), expected[..., :6], rtol=0.02, atol=0.02)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_copies_to_a_gpu_are_from_pinned_memory(finder, poser):
    for run, size in (
        (Estimator(TorchSession(poser, CONFIG.input_size_hw, "cuda"))._runs[0], (64, 32)),
        (PersonDetector(TorchSession(finder, (64, 64), "cuda"))._run, (64, 64)),
    ):
        assert run is not None
        buffer = run.new_buffer(3, size)
        assert torch.from_numpy(buffer).is_pinned()
        assert torch.from_numpy(buffer[:2]).is_pinned()
        buffer[:] = 128
        answer = run.start(buffer[:2])()
        assert torch.from_numpy(answer).is_pinned()
        assert np.isfinite(answer).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_buffers_may_be_filled_while_the_network_runs(poser, pictures):
    """Batches of one, each from a buffer that an earlier one used, and each with its own answer."""
    session = TorchSession(poser, CONFIG.input_size_hw, "cuda", "fp32", mode="graph")
    rng = np.random.default_rng(5)
    low = rng.uniform(0, 100, (40, 2))
    many = [Boxes(np.concatenate((low, low + rng.uniform(40, 200, (40, 2))), axis=1))]
    one_by_one = Estimator(session, batch_size=1)(pictures[-1:], many)[0]
    for i in (0, 7, 23, 39):
        alone = Estimator(session, batch_size=1)(pictures[-1:], [many[0][i : i + 1]])[0]
        apart = np.abs(alone.keypoints[0] - one_by_one.keypoints[i]).max(axis=-1)
        assert (apart < 1e-3).mean() > 0.95
