"""Networks of other programs, as ONNX files with known answers, through the whole pipeline."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.heatmap import decode_heatmaps
from dwpose.pipeline import DWPose

onnx = pytest.importorskip("onnx")
pytest.importorskip("torch")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

RED = (255, 0, 0)
# A picture twice as high as the detector's input, so boxes come back doubled.
HEIGHT, WIDTH = 128, 64
PERSON = [8.0, 4.0, 24.0, 60.0]
ALMOST = [8.0, 5.0, 24.0, 60.0]
CHAIR = [40.0, 4.0, 60.0, 30.0]
CELLS_XY = (5.3, 7.6)


def save(path, nodes, constants, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*port) for port in inputs],
        [helper.make_tensor_value_info(*port) for port in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def brightest(channel):
    """Nodes that find the largest number in a channel of "input": `found`, shape [1, 1]."""
    return [
        helper.make_node("Gather", ["input", "channel"], ["plane"], axis=1),
        helper.make_node("ReduceMax", ["plane"], ["found"], axes=[2, 3], keepdims=0),
    ], {"channel": np.array([channel], np.int64)}


@pytest.fixture
def humanart(tmp_path):
    """As mmdeploy exports HumanArt's YOLOX: `dets` [1, M, 5], `labels` [1, M], NMS inside."""
    nodes, constants = brightest(2)  # red, where BGR comes in
    constants |= {
        "boxes": np.array([[PERSON, ALMOST, CHAIR]], np.float32),
        "scores": np.array([[[0.8, 0.9, 0.1], [0.1, 0.1, 0.95]]], np.float32) / 255,
        "most": np.array([10], np.int64),
        "iou": np.array([0.5], np.float32),
        "least": np.array([0.2], np.float32),
        "of_box": np.array([0, 2], np.int64),
        "middle": np.array([1], np.int64),
    }
    nodes += [
        helper.make_node("Unsqueeze", ["found"], ["gain"], axes=[2]),
        helper.make_node("Mul", ["scores", "gain"], ["scored"]),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "scored", "most", "iou", "least"], ["chosen"]
        ),
        helper.make_node("Gather", ["chosen", "of_box"], ["picture_box"], axis=1),
        helper.make_node("GatherND", ["boxes", "picture_box"], ["kept"]),
        helper.make_node("GatherND", ["scored", "chosen"], ["sure"]),
        helper.make_node("Unsqueeze", ["sure"], ["sure_column"], axes=[1]),
        helper.make_node("Concat", ["kept", "sure_column"], ["rows"], axis=1),
        helper.make_node("Unsqueeze", ["rows"], ["dets"], axes=[0]),
        helper.make_node("Gather", ["chosen", "middle"], ["classes"], axis=1),
        helper.make_node("Squeeze", ["classes"], ["flat"], axes=[1]),
        helper.make_node("Unsqueeze", ["flat"], ["labels"], axes=[0]),
    ]
    return save(
        tmp_path / "humanart.onnx",
        nodes,
        constants,
        [("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        [
            ("dets", TensorProto.FLOAT, [1, "n", 5]),
            ("labels", TensorProto.INT64, [1, "n"]),
        ],
    )


@pytest.fixture
def yolov10(tmp_path):
    """As Wan-Animate's YOLOv10: RGB in 0..1, [1, 300, 6] with rows of nothing at the end."""
    nodes, constants = brightest(0)  # red, where RGB comes in
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, :3] = [[*CHAIR, 0.95, 56], [*PERSON, 0.9, 0], [*PERSON, 0.1, 0]]
    gain = np.zeros((1, 1, 6), np.float32)
    gain[..., 4] = 1
    constants |= {"rows": rows, "only_score": gain, "others": 1 - gain}
    nodes += [
        helper.make_node("Unsqueeze", ["found"], ["red"], axes=[2]),
        helper.make_node("Mul", ["only_score", "red"], ["by_red"]),
        helper.make_node("Add", ["by_red", "others"], ["factors"]),
        helper.make_node("Mul", ["rows", "factors"], ["output0"]),
    ]
    return save(
        tmp_path / "yolov10.onnx",
        nodes,
        constants,
        [("input", TensorProto.FLOAT, [1, 3, 64, 64])],
        [("output0", TensorProto.FLOAT, [1, 300, 6])],
    )


@pytest.fixture
def yolo_nas(tmp_path):
    """As YOLO-NAS: RGB bytes in, flat rows [M, 7] of picture, box, score and class out."""
    nodes, constants = brightest(0)
    rows = np.array([[0, *CHAIR, 0.95, 56], [0, *PERSON, 0.9, 0], [0, *PERSON, 0.1, 0]])
    only_score = np.eye(7, dtype=np.float32)[5:6]
    constants |= {
        "rows": rows.astype(np.float32),
        "only_score": only_score / 255,
        "others": 1 - only_score,
    }
    nodes = [
        helper.make_node("Cast", ["bytes"], ["input"], to=TensorProto.FLOAT),
        *nodes,
        helper.make_node("Mul", ["only_score", "found"], ["by_red"]),
        helper.make_node("Add", ["by_red", "others"], ["factors"]),
        helper.make_node("Mul", ["rows", "factors"], ["graph2_flat_predictions"]),
    ]
    return save(
        tmp_path / "yolo_nas.onnx",
        nodes,
        constants,
        [("bytes", TensorProto.UINT8, [1, 3, 64, 64])],
        [("graph2_flat_predictions", TensorProto.FLOAT, ["n", 7])],
    )


def peaks(height=16, width=12, xy=CELLS_XY):
    x, y = np.arange(width), np.arange(height)[:, None]
    return np.exp(-((x - xy[0]) ** 2 + (y - xy[1]) ** 2) / 8).astype(np.float32)


@pytest.fixture
def vitpose(tmp_path):
    """As ViTPose: normalised RGB to heatmaps of a quarter; as high as red is bright."""
    nodes, constants = brightest(0)
    constants["maps"] = np.tile(peaks(), (1, 133, 1, 1))
    nodes += [
        helper.make_node("Unsqueeze", ["found"], ["red"], axes=[2, 3]),
        helper.make_node("Mul", ["maps", "red"], ["output"]),
    ]
    return save(
        tmp_path / "vitpose.onnx",
        nodes,
        constants,
        [("input", TensorProto.FLOAT, ["n", 3, 64, 48])],
        [("output", TensorProto.FLOAT, ["n", 133, 16, 12])],
    )


@pytest.fixture(params=["torch", "onnxruntime"])
def open_pipeline(request):
    pytest.importorskip(request.param)

    def make(pose, detector):
        return DWPose.from_pretrained(pose, detector, runtime=request.param, device="cpu")

    return make


@pytest.fixture
def picture():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = RED
    return image


@pytest.mark.parametrize("detector", ["humanart", "yolov10", "yolo_nas"])
def test_a_foreign_detector_and_heatmaps_make_a_person(
    request, detector, vitpose, open_pipeline, picture
):
    model = open_pipeline(vitpose, request.getfixturevalue(detector))
    people = model.pose(picture)
    assert len(people) == 1
    # The graph's own suppression kept the better of two boxes; colours and range were right.
    wanted = np.multiply(ALMOST if detector == "humanart" else PERSON, 2)
    np.testing.assert_allclose(people.boxes.xyxy[0], wanted, atol=1e-4)
    np.testing.assert_allclose(people.boxes.scores, [0.9], rtol=1e-5)
    # From cells to the crop (4 px each), then to the padded box of aspect 3 : 4.
    left, top, right, bottom = wanted
    height = max((bottom - top) * 1.25, (right - left) * 1.25 / 0.75)
    scale = height / 64
    crop = np.multiply(CELLS_XY, 4)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    expected = middle + (crop - (24, 32)) * scale
    np.testing.assert_allclose(people.keypoints[0, 0], expected, atol=0.05)
    assert np.ptp(people.keypoints[0], axis=0).max() == 0
    red = (255 - 123.675) / 58.395
    np.testing.assert_allclose(people.scores, red * peaks().max(), rtol=1e-4)


def test_peaks_are_found_between_cells():
    places = [(20.3, 30.6), (12.0, 40.0), (30.49, 20.51), (35.9, 50.2)]
    maps = np.stack([peaks(64, 48, place) for place in places])[None]
    keypoints, scores = decode_heatmaps(maps, (256, 192))
    np.testing.assert_allclose(keypoints[0], np.multiply(places, 4), atol=5e-3)
    np.testing.assert_allclose(scores[0], maps.max(axis=(2, 3))[0])
    udp, _ = decode_heatmaps(maps, (256, 192), udp=True)
    np.testing.assert_allclose(udp[0], np.multiply(places, (191 / 47, 255 / 63)), atol=5e-3)


def test_peaks_at_the_border_and_none_at_all():
    maps = np.zeros((1, 3, 16, 12), np.float32)
    maps[0, 0, 15, 11] = 0.5
    maps[0, 1, 8, 1] = 0.5
    maps[0, 2] = -1
    keypoints, scores = decode_heatmaps(maps, (64, 48))
    np.testing.assert_allclose(keypoints[0], [[44, 60], [4, 32], [-4, -4]])
    np.testing.assert_allclose(scores[0], [0.5, 0.5, -1])
    flat = np.full((1, 1, 16, 12), 0.7, np.float32)
    assert np.isfinite(decode_heatmaps(flat, (64, 48))[0]).all()


def test_a_flip_test_averages_maps_of_swapped_sides():
    from dwpose.estimator import Estimator
    from dwpose.runtimes.session import RuntimeInfo
    from dwpose.skeleton import FLIP_INDICES
    from dwpose.types import Boxes

    asked = peaks(64, 48, (13.4, 28.0))

    class Mirrors:
        def __init__(self):
            self.info = RuntimeInfo("torch", "cpu", "fp32", "a stub")
            self.input_size_hw = (256, 192)
            self.max_batch = None
            self.input_dtype = "float32"

        def __call__(self, images):
            # A point at cell x of the crop lies at 48 - x of its mirror image, borders counted.
            maps = np.zeros((2, 133, 64, 48), np.float32)
            maps[0, 5] = asked
            maps[1, FLIP_INDICES[5]] = peaks(64, 48, (48 - 13.4, 28.0))
            return (maps,)

    box = Boxes(np.array([[0, 0, 192, 256]], np.float32))
    [people] = Estimator(Mirrors(), padding=1.0)(
        [np.zeros((256, 192, 3), np.uint8)], [box], flip_test=True
    )
    np.testing.assert_allclose(people.keypoints[0, 5], (13.4 * 4, 112), atol=1e-2)
    np.testing.assert_allclose(people.scores[0, 5], asked.max(), rtol=1e-5)


def test_a_graph_of_one_picture_takes_several_on_torch(vitpose, tmp_path):
    from dwpose.models.onnx_graph import load_onnx
    from dwpose.runtimes.torch_session import TorchSession

    model = onnx.load(str(vitpose))
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 1
    fixed = tmp_path / "fixed.onnx"
    onnx.save(model, str(fixed))
    session = TorchSession(load_onnx(fixed), (64, 48))
    assert session.max_batch == 1
    images = np.random.default_rng(0).random((3, 3, 64, 48), np.float32)
    [maps] = session(images)
    np.testing.assert_allclose(
        maps.max(axis=(1, 2, 3)), images[:, 0].max(axis=(1, 2)) * peaks().max()
    )
