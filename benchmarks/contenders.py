"""Ours, rtmlib and easy-dwpose behind one face: a picture in, keypoints out, or a drawing.

Each contender runs its own code around the same two ONNX networks in ONNX Runtime. The sessions
are replaced by one that measures the time inside the network and that lets the detector answer
with made-up people, see `scene`. What is left of a call's time is the contender's own.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import onnxruntime
from scene import people_in

POSE_THRESHOLD = 0.3


@dataclass
class Clock:
    """Seconds spent inside networks and inside OpenCV, and what the detector shall answer."""

    network_s: float = 0.0
    network_cpu_s: float = 0.0
    opencv_cpu_s: float = 0.0
    detections: np.ndarray | None = None

    def reset(self) -> None:
        """Begin a new call."""
        self.network_s = self.network_cpu_s = self.opencv_cpu_s = 0.0


CLOCK = Clock()


class MeasuredSession(onnxruntime.InferenceSession):
    """An ONNX Runtime session that keeps time; a detector's answer is replaced.

    Its threads sleep while they wait: spinning ones would count as work around the network.
    """

    def __init__(self, path_or_bytes: Any, sess_options: Any = None, **others: Any) -> None:
        settings = sess_options or onnxruntime.SessionOptions()
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        super().__init__(path_or_bytes, sess_options=settings, **others)

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        """Run the network, then answer with the prepared detections if this is the detector."""
        start, cpu = time.perf_counter(), time.process_time()
        outputs = super().run(output_names, input_feed, run_options)
        if CLOCK.detections is not None and self.get_outputs()[0].name == "output":
            outputs = [CLOCK.detections.copy()]  # some decode in place
        CLOCK.network_s += time.perf_counter() - start
        CLOCK.network_cpu_s += time.process_time() - cpu
        return outputs


@contextlib.contextmanager
def timed_opencv() -> Iterator[None]:
    """Add the time inside cv2.resize and cv2.warpAffine to the clock.

    Every program cuts and shrinks pictures with these two, so what they cost is a floor.
    """
    originals = {name: getattr(cv2, name) for name in ("resize", "warpAffine")}

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*values, **named)
            finally:
                CLOCK.opencv_cpu_s += time.thread_time() - start

        return call

    for name, function in originals.items():
        setattr(cv2, name, timed(function))
    try:
        yield
    finally:
        for name, function in originals.items():
            setattr(cv2, name, function)


@contextlib.contextmanager
def measured() -> Iterator[None]:
    """Let everybody who opens an ONNX Runtime session inside get a `MeasuredSession`."""
    original = onnxruntime.InferenceSession
    onnxruntime.InferenceSession = MeasuredSession  # type: ignore[misc]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # rtmlib announces its models
            yield
    finally:
        onnxruntime.InferenceSession = original  # type: ignore[misc]


class Contender(Protocol):
    """One program."""

    name: str

    def pose(self, image: np.ndarray) -> int:
        """Find the people in uint8 [H, W, 3] and return how many."""
        ...

    def draw(self, boxes: np.ndarray, image_hw: tuple[int, int]) -> Any:
        """Prepare the figures in these boxes; return a function that draws them once."""
        ...


class Ours:
    """This package, on ONNX Runtime as the others."""

    name = "dwpose-studio"

    def __init__(self, pose_path: Path, detector_path: Path) -> None:
        from dwpose import DWPose

        with measured():
            self.model = DWPose.from_pretrained(
                str(pose_path), str(detector_path), runtime="onnxruntime", device="cpu"
            )

    def pose(self, image: np.ndarray) -> int:
        """See `Contender`."""
        return len(self.model.pose(image))

    def draw(self, boxes: np.ndarray, image_hw: tuple[int, int]) -> Any:
        """See `Contender`."""
        from dwpose import draw_pose_map

        people = people_in(boxes, image_hw)
        return lambda: draw_pose_map(people)


class Rtmlib:
    """rtmlib's Wholebody and its openpose-style drawing."""

    name = "rtmlib"

    def __init__(self, pose_path: Path, detector_path: Path) -> None:
        from rtmlib import Wholebody  # pyright: ignore[reportMissingImports]

        with measured():
            model = Wholebody(det=str(detector_path), pose=str(pose_path), to_openpose=True)
            parts: list[Any] = [model.det_model, model.pose_model]
            for part in parts:
                height, width = part.session.get_inputs()[0].shape[2:]
                # rtmlib wants the detector's size as (h, w) and the pose network's as (w, h).
                part.model_input_size = (
                    (height, width) if part is model.det_model else (width, height)
                )
        self.model = model

    def pose(self, image: np.ndarray) -> int:
        """See `Contender`."""
        return len(self.model(image)[0])

    def draw(self, boxes: np.ndarray, image_hw: tuple[int, int]) -> Any:
        """See `Contender`."""
        from rtmlib import draw_skeleton  # pyright: ignore[reportMissingImports]

        keypoints, scores = _openpose(boxes, image_hw)

        def once() -> Any:
            canvas = np.zeros((*image_hw, 3), np.uint8)
            return draw_skeleton(
                canvas, keypoints, scores, openpose_skeleton=True, kpt_thr=POSE_THRESHOLD
            )

        return once


class EasyDWPose:
    """easy-dwpose as it comes: it works on a picture reduced to a shorter side of 512."""

    name = "easy-dwpose"

    def __init__(self, pose_path: Path, detector_path: Path) -> None:
        from easy_dwpose import DWposeDetector  # pyright: ignore[reportMissingImports]
        from easy_dwpose.body_estimation import Wholebody  # pyright: ignore[reportMissingImports]

        # Its constructor downloads the official models; everything else is done as there.
        self.model = DWposeDetector.__new__(DWposeDetector)
        with measured():
            self.model.pose_estimation = Wholebody(str(detector_path), str(pose_path))

    def pose(self, image: np.ndarray) -> int:
        """See `Contender`."""
        found: Any = self.model(image, draw_pose=None)
        return len(found["faces"])

    def draw(self, boxes: np.ndarray, image_hw: tuple[int, int]) -> Any:
        """See `Contender`."""
        from easy_dwpose.draw import draw_openpose  # pyright: ignore[reportMissingImports]

        keypoints, scores = _openpose(boxes, image_hw)
        height, width = image_hw
        pose = self.model._format_pose(keypoints, scores, width, height)
        return lambda: draw_openpose(pose, height=height, width=width)


def _openpose(boxes: np.ndarray, image_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    from dwpose.skeleton import to_openpose

    people = people_in(boxes, image_hw)
    keypoints, scores = to_openpose(people.keypoints, people.scores)
    return np.array(keypoints, np.float64), np.array(scores, np.float64)


class ControlnetAux:
    """controlnet_aux's drawing alone: its networks need mmpose."""

    name = "controlnet_aux"

    def __init__(self) -> None:
        # Its own __init__ imports every other detector, and what they need.
        spec = importlib.util.find_spec("controlnet_aux")
        assert spec is not None
        assert spec.submodule_search_locations is not None
        path = Path(spec.submodule_search_locations[0]) / "dwpose" / "util.py"
        own = importlib.util.spec_from_file_location("controlnet_aux_dwpose_util", path)
        assert own is not None
        assert own.loader is not None
        self.util: Any = importlib.util.module_from_spec(own)
        own.loader.exec_module(self.util)

    def draw(self, boxes: np.ndarray, image_hw: tuple[int, int]) -> Any:
        """See `Contender`; one person, as its `draw_pose` does it."""
        keypoints, _ = _openpose(boxes, image_hw)
        points = keypoints / np.array(image_hw[::-1])
        body, seen = points[:, :18].reshape(-1, 2), np.arange(18.0)[None]
        hands = np.vstack([points[:, 92:113], points[:, 113:]])

        def once() -> Any:
            canvas = np.zeros((*image_hw, 3), np.uint8)
            canvas = self.util.draw_bodypose(canvas, body, seen)
            canvas = self.util.draw_handpose(canvas, hands)
            return self.util.draw_facepose(canvas, points[:, 24:92])

        return once


CONTENDERS: dict[str, type] = {kind.name: kind for kind in (Ours, Rtmlib, EasyDWPose)}
IMPORTS = {
    Ours.name: "import dwpose",
    Rtmlib.name: "import rtmlib",
    EasyDWPose.name: "import easy_dwpose",
}
