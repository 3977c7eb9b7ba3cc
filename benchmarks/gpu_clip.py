"""A film with both networks on each frame, from frames in memory: the part of `gpu.py` that is one.

The networks know nothing, so their answers are replaced by those of a clip whose truth is known;
the time that this takes is subtracted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dwpose.batch_following import BatchFollower
from dwpose.detector import PersonDetector
from dwpose.estimator import Estimator
from dwpose.following import FollowOptions
from dwpose.io.frames import Pictures
from dwpose.runtimes.torch_session import TorchSession
from dwpose.training.synthetic.numeric_clips import Walker, walk
from dwpose.training.synthetic.oracle import Oracle, draw_clip


def measure_clip(
    poser: TorchSession,
    finder: TorchSession,
    people: int,
    batch: int,
    count: int,
    frame_hw: tuple[int, ...],
) -> dict[str, Any]:
    """Time of a clip of known truth with both networks on each frame, from frames in memory."""
    height, width = frame_hw
    walkers = [
        Walker(
            ((k + 0.3) * width / people, 0.55 * height),
            ((k + 0.7) * width / people, 0.55 * height),
            0.7 * height,
            phase=k,
        )
        for k in range(people)
    ]
    clip = walk(walkers, count / 25, image_hw=(height, width))
    frames = list(draw_clip(clip))
    detector = PersonDetector(finder, on_device=True)
    estimator = Estimator(poser, on_device=True)
    networks_s = 0.0

    def pay(what: str, images: Any, boxes: Any) -> None:
        nonlocal networks_s
        start = time.perf_counter()
        if what == "detect":
            detector(images)
        else:
            estimator(images, boxes)
        networks_s += time.perf_counter() - start

    oracle = Oracle(clip.truth, pay=pay)
    answers_s = 0.0

    def timed(answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            nonlocal answers_s
            start = time.perf_counter()
            found = answer(*given)
            answers_s += time.perf_counter() - start
            return found

        return call

    def run() -> float:
        nonlocal networks_s, answers_s
        networks_s = answers_s = 0.0
        follower = BatchFollower(
            timed(oracle.detect), timed(oracle.estimate), FollowOptions(batch=batch)
        )
        start = time.perf_counter()
        found = [len(p) for _, p in follower.follow(Pictures(frames, 25))]
        assert sum(found) > 0.9 * people * count, "people of the clip were lost"
        return time.perf_counter() - start - (answers_s - networks_s)

    run()  # graphs are recorded, buffers made
    spent = run()
    return {
        "frames": count,
        "ms_a_frame": spent / count * 1e3,
        "networks_ms_a_frame": networks_s / count * 1e3,
        "frames_per_s": count / spent,
    }
