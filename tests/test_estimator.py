"""The estimator's crops and keypoints equal the original's, whatever the batches are."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dwpose.crop import crop_matrices, crop_people, normalize
from dwpose.estimator import Estimator, merge_flipped, to_source, write_crop
from dwpose.runtimes.session import RuntimeInfo
from dwpose.simcc import decode
from dwpose.types import Boxes

SIZE = (64, 48)


class CurveSession:
    """Answers each crop with curves that depend on its pixels alone."""

    def __init__(self, size_hw=SIZE, device="cuda:0"):
        self.info = RuntimeInfo("torch", device, "fp32", "a stub")
        self.input_size_hw = size_hw
        self.max_batch = None
        self.input_dtype = "float32"
        self.asked = []

    def __call__(self, images):
        self.asked.append(images.copy())
        height, width = self.input_size_hw
        x = np.zeros((len(images), 133, width * 2), np.float32)
        y = np.zeros((len(images), 133, height * 2), np.float32)
        for i, image in enumerate(images):
            seed = abs(int(image.sum() * 100)) % 2**31
            rng = np.random.default_rng(seed)
            x[i] = rng.standard_normal(x.shape[1:])
            y[i] = rng.standard_normal(y.shape[1:])
        return x, y


@pytest.fixture
def pictures():
    rng = np.random.default_rng(3)
    images = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((90, 120), (40, 30), (64, 64))]
    boxes = [
        Boxes(np.array([[10, 10, 60, 80], [50, -5, 130, 95], [0, 0, 5, 9]], np.float32)),
        Boxes.empty(),
        Boxes(np.array([[5, 5, 60, 30], [1, 2, 40, 60]], np.float32)),
    ]
    return images, boxes


@pytest.mark.golden
@pytest.mark.parametrize("size", ["256x192", "384x288"])
def test_postprocessing_equals_onnxpose(load_reference, weights_by_name, size):
    affine = load_reference("affine.npz")
    height, width = (int(n) for n in size.split("x"))
    x = weights_by_name.input_for(f"affine_public_{size}_sx", (1, 17, 2 * width))
    y = weights_by_name.input_for(f"affine_public_{size}_sy", (1, 17, 2 * height))
    x[0, 0], y[0, 1] = -1, -1
    keypoints, scores = decode(x, y)
    _, inverse = crop_matrices(affine["bboxes"], (height, width))
    back = to_source(np.repeat(keypoints, len(inverse), axis=0), inverse)
    expected = affine[f"{size}_onnx_post_keypoints"]
    # Box 5 is one pixel wide: the original's matrix is that of a 1.25 pixel wide area too.
    np.testing.assert_allclose(back, expected, atol=5e-3)
    np.testing.assert_allclose(
        np.repeat(scores, len(inverse), axis=0), affine[f"{size}_onnx_post_scores"], atol=1e-6
    )


@pytest.mark.golden
@pytest.mark.parametrize("size", ["256x192", "384x288"])
def test_crops_equal_onnxpose(load_reference, weights_by_name, size):
    affine = load_reference("affine.npz")
    hw = tuple(int(n) for n in size.split("x"))
    image = weights_by_name.image_for("affine_public", 480, 640)
    chosen = affine[f"{size}_onnx_crop_index"]
    forward, _ = crop_matrices(affine["bboxes"][chosen], hw)
    out = np.empty((3, *hw), np.float32)
    for matrix, expected in zip(forward, affine[f"{size}_onnx_crop_every4"], strict=True):
        write_crop(image, matrix, out)
        got = out.transpose(1, 2, 0)[::4, ::4]
        levels = np.abs(got - expected) * 57  # normalised units to grey levels
        assert levels.mean() < 0.5
        assert levels.max() <= 8


def test_write_crop_is_crop_and_normalise(pictures):
    images, boxes = pictures
    crops, inverse = crop_people(images[0], boxes[0].xyxy, SIZE)
    forward, again = crop_matrices(boxes[0].xyxy, SIZE)
    np.testing.assert_array_equal(inverse, again)
    out = np.empty((2, 3, *SIZE), np.float32)
    for i, matrix in enumerate(forward):
        write_crop(images[0], matrix, out[0], out[1])
        np.testing.assert_allclose(out[0], normalize(crops[i : i + 1])[0], atol=1e-5)
        np.testing.assert_array_equal(out[1], out[0][:, :, ::-1])
        with_alpha = np.dstack((images[0], np.full(images[0].shape[:2], 255, np.uint8)))
        write_crop(with_alpha, matrix, out[1])
        np.testing.assert_array_equal(out[1], out[0])


@pytest.mark.golden
def test_the_network_with_flip_test_equals_the_original(load_reference, weights_by_name):
    torch = pytest.importorskip("torch")
    from dwpose.models.rtmpose import RTMPose, rtmpose_config

    fixture = load_reference("rtmpose_t_256x192.npz")
    facts = json.loads(str(fixture["meta"]))
    model = RTMPose(rtmpose_config("t", (256, 192))).eval()
    weights_by_name.fill_module(model, torch.from_numpy)
    images = torch.from_numpy(weights_by_name.input_for(facts["input_name"], facts["input_shape"]))
    with torch.inference_mode():
        plain = tuple(t.numpy() for t in model(images))
        mirrored = tuple(t.numpy() for t in model(images.flip(3)))
    x, y = merge_flipped(plain, mirrored)
    np.testing.assert_allclose(x[:, ::8], fixture["flip_simcc_x_every8"], atol=1e-3)
    np.testing.assert_allclose(y[:, ::8], fixture["flip_simcc_y_every8"], atol=1e-3)
    keypoints, scores = decode(x, y)
    np.testing.assert_allclose(scores, fixture["flip_scores"], atol=1e-3)
    sure = (fixture["flip_margin_x"] > 2e-3) & (fixture["flip_margin_y"] > 2e-3)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(keypoints[sure], fixture["flip_keypoints"][sure])


def test_batches_span_pictures_and_change_nothing(pictures):
    images, boxes = pictures
    results = []
    for size in (1, 2, 3, 100):
        session = CurveSession()
        steps = []
        people = Estimator(session, batch_size=size)(
            images, boxes, on_batch=lambda steps=steps: steps.append(1)
        )
        assert [len(asked) for asked in session.asked] == [
            min(size, 5 - start) for start in range(0, 5, size)
        ]
        assert len(steps) == len(session.asked)
        results.append(people)
    assert [len(p) for p in results[0]] == [3, 0, 2]
    assert [p.image_hw for p in results[0]] == [(90, 120), (40, 30), (64, 64)]
    for people in results[1:]:
        for one, other in zip(people, results[0], strict=True):
            np.testing.assert_array_equal(one.keypoints, other.keypoints)
            np.testing.assert_array_equal(one.scores, other.scores)
            np.testing.assert_array_equal(one.boxes.xyxy, other.boxes.xyxy)


def test_keypoints_are_in_the_pictures_pixels():
    class Middle(CurveSession):
        def __call__(self, images):
            x = np.zeros((len(images), 133, 96), np.float32)
            y = np.zeros((len(images), 133, 128), np.float32)
            x[:, :, 48] = 0.9
            y[:, :, 64] = 0.7
            return x, y

    boxes = Boxes(np.array([[10, 20, 30, 60]], np.float32))
    [people] = Estimator(Middle())([np.zeros((100, 100, 3), np.uint8)], [boxes])
    np.testing.assert_allclose(people.keypoints, np.broadcast_to([20, 40], (1, 133, 2)), atol=1e-4)
    np.testing.assert_allclose(people.scores, 0.7)


def test_flip_test_averages_within_the_same_bound(pictures):
    images, boxes = pictures
    session = CurveSession()
    flipped = Estimator(session, batch_size=4)(images, boxes, flip_test=True)
    assert [len(asked) for asked in session.asked] == [4, 4, 2]
    first = session.asked[0]
    np.testing.assert_array_equal(first[2:], first[:2, :, :, ::-1])
    one = Estimator(CurveSession(), batch_size=1)(images, boxes, flip_test=True)
    np.testing.assert_array_equal(one[2].keypoints, flipped[2].keypoints)
    plain = Estimator(CurveSession())(images, boxes)
    assert not np.array_equal(plain[0].keypoints, flipped[0].keypoints)


def test_nobody_asks_the_network_nothing():
    session = CurveSession()
    [people] = Estimator(session)([np.zeros((5, 6, 3), np.uint8)], [Boxes.empty()])
    assert len(people) == 0
    assert people.image_hw == (5, 6)
    assert session.asked == []
    assert Estimator(session)([], []) == []


def test_odd_boxes_do_not_crash():
    boxes = Boxes(np.array([[5, 5, 5, 5], [-900, -900, -800, -700], [0, 0, 1e5, 1e5]], np.float32))
    [people] = Estimator(CurveSession())([np.zeros((8, 8, 3), np.uint8)], [boxes])
    assert np.isfinite(people.keypoints).all()


def test_wrong_networks_and_arguments_are_named(pictures):
    images, boxes = pictures

    class Body(CurveSession):
        def __call__(self, images):
            return tuple(a[:, :17] for a in super().__call__(images))

    with pytest.raises(ValueError, match="133-point SimCC"):
        Estimator(Body())(images, boxes)
    with pytest.raises(ValueError, match="input size"):
        Estimator(CurveSession(size_hw=None))
    with pytest.raises(ValueError, match="padding"):
        Estimator(CurveSession(), padding=0)
    with pytest.raises(ValueError, match="boxes"):
        Estimator(CurveSession())(images, boxes[:1])
    assert Estimator(CurveSession(device="cpu")).batch_size == 4
    assert Estimator(CurveSession()).batch_size == 32
