"""What the benchmarks look at: pictures, made-up people, and networks seeded by name.

The networks know nothing, so a detector's answer is replaced by one that holds a given number of
people, in the raw form that a YOLOX network gives. Every contender gets the same answer.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np

from dwpose.detector import STRIDES
from dwpose.geometry import letterbox_ratio
from dwpose.types import Boxes, People

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS_BY_NAME = ROOT / "tests" / "data" / "reference" / "weights_by_name.py"

SIZES_HW = {"480p": (480, 854), "1080p": (1080, 1920), "4K": (2160, 3840)}
# Anchors that a trained YOLOX fires for one person above the first threshold, roughly.
ANCHORS_A_PERSON = 12


def picture(size_hw: tuple[int, int]) -> np.ndarray:
    """Return uint8 [H, W, 3], smooth noise: the same for a size every time."""
    coarse = np.random.default_rng(0).integers(0, 256, (27, 48, 3), dtype=np.uint8)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def boxes_of(image_hw: tuple[int, int], count: int) -> np.ndarray:
    """Return float32 [count, 4] xyxy in pixels: standing people side by side, in two rows at most.

    None overlaps another, so that no contender's suppression removes anybody.
    """
    rows = 1 if count <= 4 else 2
    columns = -(-count // rows)
    height, width = image_hw[0] / rows, image_hw[1] / columns
    tall = 0.8 * height
    wide = min(0.4 * tall, 0.8 * width)
    centers = [((i % columns + 0.5) * width, (i // columns + 0.5) * height) for i in range(count)]
    return np.array(
        [(x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2) for x, y in centers], np.float32
    )


def raw_detections(
    image_hw: tuple[int, int], boxes: np.ndarray, input_hw: tuple[int, int], classes: int = 80
) -> np.ndarray:
    """Return a raw YOLOX output float32 [1, A, 5 + classes] that decodes to these boxes.

    Each person fires some neighbouring anchors with slightly different boxes, as trained networks
    do; all other anchors have low scores.
    """
    rng = np.random.default_rng(1)
    grids, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: input_hw[0] // stride, : input_hw[1] // stride]
        grids.append(np.stack((x, y), -1).reshape(-1, 2))
        strides.append(np.full(x.size, stride))
    grid, stride = np.concatenate(grids), np.concatenate(strides)
    raw = np.zeros((len(grid), 5 + classes), np.float32)
    raw[:, :4] = rng.normal(0, 0.5, (len(grid), 4))
    raw[:, 4:] = rng.uniform(0.001, 0.15, (len(grid), 1 + classes))
    free = np.ones(len(grid), bool)
    for box in boxes * letterbox_ratio(image_hw, input_hw):
        center, size = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        far = np.abs((grid + 0.5) * stride[:, None] - center).sum(1) + stride
        rows = np.argsort(np.where(free, far, np.inf), kind="stable")[:ANCHORS_A_PERSON]
        free[rows] = False
        jitter = rng.uniform(0.97, 1.03, (len(rows), 2))
        jitter[0] = 1
        raw[rows, :2] = center / stride[rows, None] - grid[rows]
        raw[rows, 2:4] = np.log(size * jitter / stride[rows, None])
        raw[rows, 4:6] = rng.uniform(0.85, 0.93, (len(rows), 2))
        raw[rows[0], 4:6] = 0.97
    return raw[None]


def _hand(x: float, y: float, way: int) -> list[tuple[float, float]]:
    points = [(x, y)]
    for finger in range(5):
        angle = np.deg2rad(30 + 30 * finger)
        for joint in range(1, 5):
            reach = 0.012 * joint
            points.append((x + way * reach * np.sin(angle) * 2, y + reach * np.cos(angle)))
    return points


def _figure() -> np.ndarray:
    """Return float32 [133, 2]: a person standing in the unit box, seen from the front."""
    middle = [(0.5, 0.1), (0.54, 0.085), (0.46, 0.085), (0.6, 0.095), (0.4, 0.095)]
    pairs = [(0.2, 0.2), (0.33, 0.35), (0.4, 0.5), (0.13, 0.53), (0.13, 0.74), (0.13, 0.93)]
    body = middle + [(0.5 + way * dx, y) for dx, y in pairs for way in (1, -1)]
    feet = [
        (0.5 + way * dx, y)
        for way in (1, -1)
        for dx, y in [(0.15, 0.98), (0.2, 0.98), (0.12, 0.95)]
    ]
    turns = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    face = [(0.5 + 0.09 * np.cos(a), 0.1 + 0.045 * np.sin(a)) for a in turns]
    return np.array(body + feet + face + _hand(0.9, 0.5, 1) + _hand(0.1, 0.5, -1), np.float32)


def people_in(boxes: np.ndarray, image_hw: tuple[int, int]) -> People:
    """Return one figure with every point visible in each box, for drawing."""
    size = boxes[:, None, 2:] - boxes[:, None, :2]
    keypoints = boxes[:, None, :2] + _figure() * size
    return People(keypoints, np.full(keypoints.shape[:2], 0.9), Boxes(boxes), image_hw)


def export_networks(folder: Path, estimator: str, detector: str) -> tuple[Path, Path]:
    """Write the two name-seeded networks as ONNX files.

    Args:
        folder: where to.
        estimator: size and input, such as "t-256x192" or "l-384x288".
        detector: size and input, such as "nano-640".

    Returns:
        the pose network's and the detector's file.
    """
    import torch

    from dwpose.models.export import export_onnx
    from dwpose.models.rtmpose import RTMPose, rtmpose_config
    from dwpose.models.yolox import YOLOX, yolox_config

    spec = importlib.util.spec_from_file_location("weights_by_name", WEIGHTS_BY_NAME)
    assert spec is not None
    assert spec.loader is not None
    by_name = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(by_name)

    pose_size, pose_hw = estimator.split("-")
    height, width = (int(n) for n in pose_hw.split("x"))
    box_size, side = detector.split("-")
    networks = (
        RTMPose(rtmpose_config(pose_size, (height, width))),  # type: ignore[arg-type]
        YOLOX(yolox_config(box_size, input_size_hw=(int(side), int(side)))),  # type: ignore[arg-type]
    )
    paths = (folder / f"rtmpose-{estimator}.onnx", folder / f"yolox-{detector}.onnx")
    for network, path in zip(networks, paths, strict=True):
        state = network.state_dict()
        values = by_name.state_dict_for(state, [v.shape for v in state.values()])
        network.load_state_dict({k: torch.from_numpy(v) for k, v in values.items()})
        export_onnx(network.eval(), path)
    return paths
