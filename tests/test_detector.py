"""The detector's arithmetic equals YOLOX's and DWPose's own, and reads every output layout."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from dwpose.detector import (
    PersonDetector,
    decode_boxes,
    letterbox,
    read_outputs,
)
from dwpose.geometry import nms
from dwpose.runtimes.session import RuntimeInfo, Session


class StubSession:
    """Answers with what it was given, and remembers what it was asked."""

    def __init__(self, answer, size_hw=(640, 640), device="cpu", max_batch=None):
        self.info = RuntimeInfo("torch", device, "fp32", "a stub")
        self.input_size_hw = size_hw
        self.max_batch = max_batch
        self.input_dtype = "float32"
        self.answer = answer
        self.asked = []

    def __call__(self, images):
        self.asked.append(images.copy())
        return self.answer(images) if callable(self.answer) else self.answer


def raw_output(people, size_hw=(64, 64), classes=2):
    """A raw YOLOX output [1, A, 5 + C] with boxes (cx, cy, w, h in px, score, class)."""
    anchors = sum((size_hw[0] // s) * (size_hw[1] // s) for s in (8, 16, 32))
    raw = np.zeros((1, anchors, 5 + classes), np.float32)
    for row, (cx, cy, w, h, score, label) in enumerate(people):
        # Rows of the first stride, whose grid x is the row's number while it stays in row 0.
        raw[0, row, :4] = cx / 8 - row, cy / 8, np.log(w / 8), np.log(h / 8)
        raw[0, row, 4] = 1
        raw[0, row, 5 + label] = score
    return raw


@pytest.fixture(scope="module")
def yolox(load_reference):
    return load_reference("yolox.npz")


@pytest.mark.parametrize("index", range(6))
@pytest.mark.golden
def test_letterbox_equals_the_original(yolox, weights_by_name, index):
    facts = json.loads(str(yolox["meta"]))["letterbox"][index]
    name, height, width = eval(facts["image"][len("image_for") :])
    filled, ratio = letterbox(
        weights_by_name.image_for(name, height, width), tuple(facts["target"])
    )
    assert ratio == pytest.approx(float(yolox[f"letterbox{index}_ratio"]), rel=1e-12)
    expected = yolox[f"letterbox{index}_every8"].astype(np.float32)
    assert np.abs(filled[:, ::8, ::8] - expected).max() <= 1
    sums = yolox[f"letterbox{index}_channel_sum"]
    np.testing.assert_allclose(filled.sum(axis=(1, 2), dtype=np.float64), sums, rtol=1e-3)


def test_letterbox_swaps_channels_and_leaves_nothing_of_the_last_picture():
    red = np.full((10, 40, 3), (255, 0, 7), np.uint8)
    buffer = np.full((3, 32, 32), np.nan, np.float32)
    filled, ratio = letterbox(red, (32, 32), swap_channels=True, out=buffer)
    assert filled is buffer
    assert ratio == 0.8
    np.testing.assert_array_equal(
        filled[:, :8], np.broadcast_to([[[7]], [[0]], [[255]]], (3, 8, 32))
    )
    assert (filled[:, 8:] == 114).all()
    tall = letterbox(red.transpose(1, 0, 2), (32, 32), swap_channels=True, out=buffer)[0]
    assert (tall[:, :, 8:] == 114).all()
    assert (tall[2, :, :8] == 255).all()


@pytest.mark.parametrize("shape", [(36, 64), (108, 192), (180, 320), (72, 128), (90, 160)])
def test_the_quick_way_to_a_third_is_bilinear(shape):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    filled, _ = letterbox(image, (64, 64))
    expected = cv2.resize(image, (64, 36), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(filled[:, :36].transpose(1, 2, 0), expected)


def test_pictures_of_many_shapes_leave_nothing_of_one_another():
    session = StubSession((np.zeros((1, 84, 7), np.float32),), (64, 64))
    detector = PersonDetector(session)
    rng = np.random.default_rng(2)
    shapes = [(36, 64), (36, 64), (64, 30), (50, 50), (36, 64), (10, 90)]
    images = [rng.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    detector(images)
    for asked, image in zip(session.asked, images, strict=True):
        np.testing.assert_array_equal(asked[0], letterbox(image, (64, 64), swap_channels=True)[0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_letterbox_takes_slivers(shape):
    filled, _ = letterbox(np.zeros((*shape, 3), np.uint8), (64, 64))
    assert filled.shape == (3, 64, 64)
    assert filled[0, 0, 0] == 0


@pytest.mark.golden
@pytest.mark.parametrize(("name", "size", "every"), [("nano", 416, 4), ("s", 640, 10)])
def test_decoding_equals_the_original(yolox, name, size, every):
    raw = yolox[f"{name}_raw_every"]
    rows = np.arange(len(raw)) * every
    boxes = decode_boxes(raw[:, :4], (size, size), rows)
    centered = np.concatenate(
        ((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), axis=1
    )
    expected = yolox[f"{name}_decoded_boxes_every"]
    np.testing.assert_allclose(centered, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.golden
def test_suppression_equals_the_original(yolox):
    facts = json.loads(str(yolox["meta"]))["nms"]
    boxes, scores = yolox["nms_boxes_xyxy"], yolox["nms_scores"]
    found = []
    for label, column in enumerate(scores.T):
        alive = np.flatnonzero(column > facts["score_thr"])
        kept = alive[nms(boxes[alive], column[alive], facts["nms_thr"])]
        found.append(np.column_stack((boxes[kept], column[kept], np.full(len(kept), label))))
    np.testing.assert_allclose(np.concatenate(found), yolox["nms_aware"], rtol=1e-5, atol=1e-4)


@pytest.mark.golden
def test_raw_outputs_are_read_as_the_original_reads_them(yolox):
    facts = json.loads(str(yolox["meta"]))["nms"]
    [(boxes, scores)] = read_outputs(
        (yolox["nms_raw"][None],), [facts["ratio"]], (facts["size"],) * 2
    )
    np.testing.assert_allclose(boxes, yolox["nms_final_boxes"], rtol=1e-4, atol=0.01)
    np.testing.assert_allclose(scores, yolox["nms_final_scores"], rtol=1e-5)


@pytest.mark.golden
def test_the_whole_detector_equals_inference_detector(yolox, weights_by_name):
    raw = np.zeros((1, 8400, 85), np.float32)
    raw[0][np.ix_(yolox["det_rows"], [0, 1, 2, 3, 4, 5, 21])] = yolox["det_raw_rows"]
    session = StubSession((raw,))
    image = weights_by_name.image_for("inference_detector_public", 540, 720)
    [boxes] = PersonDetector(session, clip=False, colour="rgb")([image])
    order = np.lexsort(boxes.xyxy.T)
    expected = yolox["det_final_boxes"]
    np.testing.assert_allclose(
        boxes.xyxy[order], expected[np.lexsort(expected.T)], rtol=1e-4, atol=0.01
    )
    sums = session.asked[0].sum(axis=(0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(sums, yolox["det_input_sum"], rtol=1e-5)
    [clipped] = PersonDetector(session)([image])
    inside = (boxes.xyxy[:, :2] < [720, 540]).all(axis=1) & (boxes.xyxy[:, 2:] > 0).all(axis=1)
    np.testing.assert_array_equal(clipped.scores, boxes.scores[inside])
    assert 0 < len(clipped) < len(boxes)
    assert clipped.xyxy.min() >= 0
    assert (clipped.xyxy <= [720, 540, 720, 540]).all()
    # The network sees BGR unless told otherwise.
    np.testing.assert_array_equal(session.asked[1], session.asked[0][:, ::-1])


def test_thresholds_classes_and_duplicates():
    people = [
        (20, 20, 16, 16, 0.9, 0),
        (20, 21, 16, 16, 0.8, 0),  # the same person again
        (45, 20, 16, 16, 0.35, 0),
        (20, 45, 16, 16, 0.25, 0),  # too weak
        (45, 45, 16, 16, 0.9, 1),  # a bicycle
    ]
    detector = PersonDetector(StubSession((raw_output(people),), (64, 64)))
    image = np.zeros((64, 64, 3), np.uint8)
    [boxes] = detector([image])
    np.testing.assert_allclose(boxes.xyxy, [[12, 12, 28, 28], [37, 12, 53, 28]], atol=1e-4)
    np.testing.assert_allclose(boxes.scores, [0.9, 0.35], rtol=1e-6)
    assert [len(detector([image], score_threshold=s)[0]) for s in (0.2, 0.5, 0.95)] == [3, 1, 0]
    assert len(detector([image], nms_threshold=1.0)[0]) == 3


def test_boxes_leave_the_picture_only_when_allowed():
    session = StubSession((raw_output([(4, 60, 16, 16, 0.9, 0)]),), (64, 64))
    image = np.zeros((128, 128, 3), np.uint8)
    [inside] = PersonDetector(session)([image])
    np.testing.assert_allclose(inside.xyxy, [[0, 104, 24, 128]], atol=1e-3)
    [beyond] = PersonDetector(session, clip=False)([image])
    np.testing.assert_allclose(beyond.xyxy, [[-8, 104, 24, 136]], atol=1e-3)
    # Wholly outside, as in the letterbox's grey: nobody is left after clipping.
    session.answer = (raw_output([(32, 60, 8, 8, 0.9, 0)]),)
    [nobody] = PersonDetector(session)([np.zeros((16, 128, 3), np.uint8)])
    assert len(nobody) == 0


BOX = [10.0, 20.0, 30.0, 60.0]
OTHER = [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "outputs",
    [
        (
            np.array([[[*BOX, 0.8], [*OTHER, 0.9], [*OTHER, 0.2]]], np.float32),
            np.array([[0, 5, 0]]),
        ),
        (np.array([[[*BOX, 0.8], [*OTHER, 0.1]]], np.float32),),
        (np.array([[[*BOX, 0.8, 0], [*OTHER, 0.9, 2]]], np.float32),),
        (
            np.array([[2]]),
            np.array([[BOX, OTHER, OTHER]], np.float32),
            np.array([[0.8, 0.9, 0.9]], np.float32),
            np.array([[0, 3, 0]]),
        ),
        (np.array([[0, *BOX, 0.8, 0], [0, *OTHER, 0.9, 7]], np.float32),),
    ],
    ids=["dets and labels", "dets", "six columns", "yolo-nas batched", "yolo-nas flat"],
)
def test_suppressed_outputs_are_read(outputs):
    [(boxes, scores)] = read_outputs(outputs, [0.5], (640, 640))
    np.testing.assert_allclose(boxes, np.multiply([BOX], 2))
    np.testing.assert_allclose(scores, [0.8], rtol=1e-6)


def test_flat_outputs_are_dealt_to_their_pictures():
    flat = np.array([[1, *BOX, 0.8, 0], [0, *OTHER, 0.9, 0]], np.float32)
    read = read_outputs((flat,), [1.0, 1.0, 1.0], (640, 640))
    assert [boxes.tolist() for boxes, _ in read] == [[OTHER], [BOX], []]


def test_unknown_outputs_are_named():
    with pytest.raises(ValueError, match=r"\(1, 9, 9\)"):
        read_outputs((np.zeros((1, 9, 9)),), [1.0], (640, 640))


def test_pictures_are_batched_and_come_back_in_order():
    def answer(images):
        # One person, as high as the picture's upper left pixel is bright.
        return (
            np.concatenate(
                [raw_output([(32, 32, 16, image[0, 0, 0], 0.9, 0)]) for image in images]
            ),
        )

    session = StubSession(answer, (64, 64), device="cuda:0")
    images = [np.full((64, 64, 3), 4 * (i + 1), np.uint8) for i in range(5)]
    steps = []
    detector = PersonDetector(session, batch_size=2)
    found = detector(images, on_batch=lambda: steps.append(1))
    assert [len(asked) for asked in session.asked] == [2, 2, 1]
    assert len(steps) == 3
    heights = [float(b.xyxy[0, 3] - b.xyxy[0, 1]) for b in found]
    np.testing.assert_allclose(heights, [4, 8, 12, 16, 20], rtol=1e-4)
    assert PersonDetector(session).batch_size == 8
    assert PersonDetector(StubSession(answer, device="cpu")).batch_size == 1
    assert PersonDetector(StubSession(answer, device="dml", max_batch=1)).batch_size == 1
    assert detector([]) == []


def test_overflow_and_nan_are_nobody():
    raw = raw_output([(20, 20, 16, 16, 0.9, 0), (40, 40, 16, 16, 0.9, 0)])
    raw[0, 0, 2] = 500
    raw[0, 1, 4] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        [boxes] = PersonDetector(StubSession((raw,), (64, 64)), clip=False)(
            [np.zeros((64, 64, 3), np.uint8)]
        )
    assert len(boxes) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"score_threshold": 1.5}, "score_threshold"),
        ({"nms_threshold": -0.1}, "nms_threshold"),
        ({"colour": "cmyk"}, "colour"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_wrong_arguments_are_named(arguments, words):
    session = StubSession(())
    assert isinstance(session, Session)
    with pytest.raises(ValueError, match=words):
        PersonDetector(session, **arguments)
