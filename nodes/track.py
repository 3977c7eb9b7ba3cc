"""Track & Smooth."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .live import work_aside
from .render import check_one_size, match_frames, poses_with_frames
from .sockets import (
    Frames,
    Progress,
    advanced,
    check_choice,
    check_number,
    pose_input,
    pose_output,
    schema,
    write_poses,
    written_threshold,
)

if TYPE_CHECKING:
    import torch

    from ..dwpose.refine import Refined
    from ..dwpose.types import People

IDS = ("keep", "new")
FPS_LIMITS = (0.1, 1000.0)


class TrackAndSmooth(io.ComfyNode):
    """Keypoints of a clip in, the same with ids, mended, steadied and filled out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "TrackAndSmooth",
            "Track & Smooth",
            "Makes keypoints of a video calm: gives everybody an id that they keep, mends what "
            "cannot be (left and right exchanged, hands on the wrong wrist, faces on the back of "
            "a head, limbs too long), takes the jitter away without lag, and fills short gaps. "
            "Every frame gives a frame.",
            inputs=[
                pose_input(),
                fps_input(),
                _strength_input("body", "the body, and hands and heads as a whole"),
                _strength_input("hands", "hands and fingers"),
                _strength_input("face", "the face"),
                _strength_input("feet", "toes and heels"),
                io.Float.Input(
                    "fill_gaps",
                    default=0.4,
                    min=0.0,
                    max=10.0,
                    step=0.1,
                    tooltip="Points, and people, who are not seen for up to so many seconds are "
                    "filled in between; 0 = nothing is filled.",
                ),
                shared.switch_input(
                    "mend_sides", "Exchange left and right back where movement says so."
                ),
                shared.switch_input(
                    "mend_hands",
                    "Leave out hands that are not at their wrist, and exchange two that are on "
                    "each other's.",
                ),
                shared.switch_input("mend_faces", "Leave out faces drawn on the back of a head."),
                shared.switch_input(
                    "mend_limbs", "Leave out points that make a limb impossibly long."
                ),
                io.Combo.Input(
                    "ids",
                    options=list(IDS),
                    default=IDS[0],
                    tooltip="keep = ids that the keypoints have stay, as those of Video to "
                    "Keypoints; people without are tracked. new = everybody is tracked anew.",
                ),
                advanced(
                    shared.unit_input(
                        "min_similarity",
                        0.15,
                        "When tracking: how alike, 0..1, place and pose must be to where "
                        "somebody ought to be by now. Lower for fast movement.",
                    )
                ),
                advanced(
                    io.Float.Input(
                        "wait",
                        default=1.0,
                        min=0.0,
                        max=60.0,
                        step=0.1,
                        tooltip="When tracking: seconds that somebody unseen is waited for. With "
                        "the frames connected, clothes tell who it is for up to 10 seconds.",
                    )
                ),
                advanced(shared.counted_input()),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="The frames that the keypoints are of. With them scene cuts are "
                    "found, across which nothing is smoothed, and people who were away are known "
                    "again by their clothes. Video to Keypoints has done both already.",
                ),
            ],
            outputs=[
                pose_output(
                    tooltip="The keypoints, one entry for each frame; everybody has an id, which "
                    "Select People can choose by.",
                ),
                io.Int.Output(
                    "people_count",
                    display_name="people",
                    tooltip="Number of different people in the clip.",
                ),
                io.String.Output(
                    "report",
                    display_name="report",
                    tooltip="Who is there by id, from which to which frame, and how many points "
                    "were mended and filled. Preview as Text shows it.",
                ),
            ],
            search=("video", "jitter", "stabilize", "temporal", "filter", "id", "one euro"),
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        fps: float = 24.0,
        body: float = 1.0,
        hands: float = 1.0,
        face: float = 1.0,
        feet: float = 1.0,
        fill_gaps: float = 0.4,
        mend_sides: bool = True,
        mend_hands: bool = True,
        mend_faces: bool = True,
        mend_limbs: bool = True,
        ids: str = IDS[0],
        min_similarity: float = 0.15,
        wait: float = 1.0,
        threshold: float = shared.AS_KEPT,
        image: torch.Tensor | None = None,
    ) -> Any:
        """Track frame by frame, then mend and smooth the whole."""
        from ..dwpose.refine import refine
        from ..dwpose.sanity import SanityOptions
        from ..dwpose.smoothing import SmoothingOptions, with_strength
        from ..dwpose.tracking import TrackOptions

        check_choice("ids", ids, IDS)
        check_number("fps", fps, *FPS_LIMITS)
        frames = None if image is None else Frames(image)
        poses = poses_with_frames(pose_keypoint, frames)
        check_one_size(poses)
        threshold = shared.least_score(threshold, pose_keypoint)
        if frames is not None and len(frames) != len(poses):
            match_frames(len(poses), len(frames))
            frames = None  # a single picture of many frames says nothing about movement
        progress = Progress(2 * len(poses))
        cuts = [] if frames is None else find_cuts(frames, progress)
        if ids == IDS[1] or not all(map(has_ids, poses)):
            options = TrackOptions(min_similarity=min_similarity, keep_s=wait, threshold=threshold)
            tracked = track(poses, fps, options, frames, cuts, progress)
            poses = tracked if ids == IDS[1] else keep_known(poses, tracked)
        strengths = {"body": body, "hands": hands, "face": face, "feet": feet}
        done = work_aside(
            lambda: refine(
                poses,
                fps=fps,
                cuts=cuts,
                sanity=SanityOptions(
                    swaps=mend_sides,
                    hands=mend_hands,
                    faces=mend_faces,
                    limbs=mend_limbs,
                    threshold=threshold,
                ),
                smoothing=with_strength(
                    SmoothingOptions(threshold=threshold, max_gap_s=fill_gaps), strengths
                ),
            )
        )
        progress(2 * len(poses))
        # So that "the first person" is the same one in all frames, whatever the order before.
        people = [by_id(frame) for frame in done.people]
        seen = who_is_where(people)
        keypoints = write_poses(people, written_threshold(pose_keypoint))
        return io.NodeOutput(keypoints, len(seen), write_report(done, seen, cuts))


def fps_input() -> Any:
    """How many frames a second has."""
    return io.Float.Input(
        "fps",
        default=24.0,
        min=FPS_LIMITS[0],
        max=FPS_LIMITS[1],
        step=0.01,
        tooltip="Frames per second of the video. Video to Keypoints and Get Video Components "
        "have it as an output.",
    )


def _strength_input(name: str, what: str) -> Any:
    return io.Float.Input(
        name,
        default=1.0,
        min=0.0,
        max=10.0,
        step=0.1,
        tooltip=f"How strongly to steady {what}: 0 = not at all, 1 = usual, 2 = movements that "
        "last twice as long are taken for jitter.",
    )


def by_id(people: People) -> People:
    """Everybody of a frame in the order of their ids."""
    return people if people.track_ids is None else people[people.track_ids.argsort(kind="stable")]


def has_ids(people: People) -> bool:
    """Whether everybody of a frame has an id of their own; nobody has."""
    return None not in _own_ids(people)


def find_cuts(frames: Frames, progress: Progress) -> list[int]:
    """Numbers of the frames that begin a new scene."""
    from ..dwpose.watching import Watch

    watch = Watch()
    cuts = []
    for index in range(len(frames)):
        if watch.is_cut(frames[index]):
            cuts.append(index)
        progress((index + 1) // 2)
    return cuts


def track(
    poses: Sequence[People],
    fps: float,
    options: Any,
    frames: Frames | None,
    cuts: Sequence[int],
    progress: Progress,
) -> list[People]:
    """Give everybody an id; see `dwpose.tracking`."""
    from ..dwpose.tracking import Tracker

    tracker = Tracker(options)
    found = []
    for index, people in enumerate(poses):
        if index in cuts:
            tracker.forget()
        picture = None if frames is None else frames[index]
        found.append(tracker.update(people, index / fps, picture))
        progress((len(poses) + index + 1) // 2)
    return found


def keep_known(poses: Sequence[People], tracked: Sequence[People]) -> list[People]:
    """Ids that people have stay; the others get theirs by tracking.

    Who has none is given the id that the same person, as tracked, has in another frame, or else a
    number that nobody has. Of two with one id in a frame, the second counts as having none.

    Args:
        poses: of each frame, with ids or without.
        tracked: the same people, each with an id by tracking.
    """
    import numpy as np

    own = [_own_ids(people) for people in poses]
    known: dict[int, int] = {}
    for ids, people in zip(own, tracked, strict=True):
        for one, number in zip(ids, _own_ids(people), strict=True):
            if one is not None and number is not None:
                known.setdefault(number, one)
    unused = itertools.count(1 + max((i for ids in own for i in ids if i is not None), default=-1))
    others: dict[int | None, int] = defaultdict(lambda: next(unused))
    found = []
    for ids, people in zip(own, tracked, strict=True):
        for i, number in enumerate(_own_ids(people)):
            if ids[i] is None:
                one = known.get(number) if number is not None else None
                ids[i] = others[number] if one is None or one in ids else one
        found.append(replace(people, track_ids=np.array(ids, np.int64)))
    return found


def _own_ids(people: People) -> list[int | None]:
    """The id of each; None where there is none, or where somebody before has the same."""
    if people.track_ids is None:
        return [None] * len(people)
    ids = people.track_ids.tolist()
    return [one if one >= 0 and one not in ids[:i] else None for i, one in enumerate(ids)]


def who_is_where(poses: Sequence[People]) -> dict[int, list[int]]:
    """The numbers of the frames that each id is in, by id."""
    found: dict[int, list[int]] = {}
    for index, people in enumerate(poses):
        for number in [] if people.track_ids is None else people.track_ids.tolist():
            found.setdefault(number, []).append(index)
    return dict(sorted(found.items()))


def write_report(done: Refined, seen: dict[int, list[int]], cuts: Sequence[int]) -> str:
    """A line for the clip and one for each person."""
    removed, filled = (sum(int(m.sum()) for m in marks) for marks in (done.removed, done.filled))
    lines = [
        f"{len(done.people)} frames, {len(seen)} people, {len(cuts)} cuts; {removed} points left "
        f"out, {filled} filled in"
    ]
    lines += [
        f"id {number}: {len(frames)} frames, from {frames[0]} to {frames[-1]}"
        for number, frames in seen.items()
    ]
    return "\n".join(lines)
