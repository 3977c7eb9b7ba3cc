"""Retarget."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from . import options as shared
from .live import work_aside
from .render import check_one_size, poses_with_frames, shared_size
from .sockets import (
    Progress,
    advanced,
    check_choice,
    pose_input,
    pose_output,
    schema,
    write_poses,
    written_threshold,
)
from .track import has_ids

if TYPE_CHECKING:
    from ..dwpose.proportions import Proportions
    from ..dwpose.types import People

# dwpose.retarget.FRAMINGS, the everyday one first; a test keeps them equal.
FRAMINGS = ("keep", "reference", "fit")
EVERYBODY = -1


class Retarget(io.ComfyNode):
    """Keypoints of one who moves, in; those of another body that moves so, out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "Retarget",
            "Retarget",
            "Gives the person of a driving video the proportions of a reference: lengths of arms "
            "and legs, widths of shoulders and hips, sizes of head, hands and feet, with the feet "
            "on the ground. Every part gets one factor for the whole video, so nothing flickers, "
            "and arms that point at the camera stay short. Every frame gives a frame.",
            inputs=[
                pose_input(
                    tooltip="Who moves: keypoints of the driving video, best after Track & "
                    "Smooth. Several people need ids.",
                ),
                io.Combo.Input(
                    "framing",
                    options=list(FRAMINGS),
                    default=FRAMINGS[0],
                    tooltip="keep = in the driving video's picture, as tall, on the same ground. "
                    "reference = in the reference's picture, as tall as the reference and where "
                    "it stands. fit = as large as the whole video stays inside 'width' x "
                    "'height'.",
                ),
                *(
                    shared.side_input(
                        name.lower(),
                        0,
                        f"{name} of the new picture in pixels, for framing fit; 0 = the driving "
                        "video's.",
                        least=0,
                    )
                    for name in ("Width", "Height")
                ),
                io.Float.Input(
                    "margin",
                    default=0.05,
                    min=0.0,
                    max=0.45,
                    step=0.01,
                    tooltip="For framing fit: what stays free on each side, as a part of the "
                    "picture.",
                ),
                io.Float.Input(
                    "amount",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="0 = the driving person's proportions, 1 = the reference's.",
                ),
                shared.switch_input("limbs", "Adopt the lengths of torso, neck, arms and legs."),
                shared.switch_input("widths", "Adopt the widths of shoulders and hips."),
                shared.switch_input("head", "Adopt the size of head and face."),
                shared.switch_input("hands", "Adopt the size of the hands."),
                shared.switch_input("feet", "Adopt the size of the feet."),
                shared.switch_input(
                    "ground",
                    "Keep the feet on the ground where they stood; off: the shoulders stay "
                    "where they are.",
                ),
                io.Int.Input(
                    "track_id",
                    default=EVERYBODY,
                    min=EVERYBODY,
                    max=100_000,
                    tooltip="Whom of the driving video to retarget, by id; others are left out. "
                    "-1 = everybody, each measured by themselves.",
                ),
                io.Int.Input(
                    "reference_person",
                    default=0,
                    min=0,
                    max=99,
                    tooltip="Whom of a reference picture to measure, by number from 0; Select "
                    "People sorts.",
                ),
                io.String.Input(
                    "lengths",
                    default="",
                    tooltip="Lengths in place of measured ones, such as: arm 0.7, leg 0.95. In "
                    "the unit of the output 'lengths', about a torso; names: torso, shoulders, "
                    "hips, neck, head, arm, forearm, hand, leg, shin, foot. Without a reference "
                    "they are all there is.",
                ),
                advanced(
                    io.Float.Input(
                        "most",
                        default=3.0,
                        min=1.0,
                        max=20.0,
                        step=0.1,
                        tooltip="No part becomes longer or shorter than by this factor.",
                    )
                ),
                advanced(shared.counted_input()),
                pose_input(
                    "reference",
                    optional=True,
                    tooltip="Whose proportions to adopt: keypoints of a picture of them, standing "
                    "and seen whole if possible, or of several frames of one person.",
                ),
            ],
            outputs=[
                pose_output(
                    tooltip="The keypoints retargeted, one entry for each frame, in pixels of "
                    "the new picture.",
                ),
                io.String.Output(
                    "measured",
                    display_name="lengths",
                    tooltip="The reference's lengths as JSON, in about its torso; the input "
                    "'lengths' takes it.",
                ),
            ],
            search=("proportions", "scale", "wan animate", "transfer", "rig", "video", "align"),
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        framing: str = FRAMINGS[0],
        width: int = 0,
        height: int = 0,
        margin: float = 0.05,
        amount: float = 1.0,
        limbs: bool = True,
        widths: bool = True,
        head: bool = True,
        hands: bool = True,
        feet: bool = True,
        ground: bool = True,
        track_id: int = EVERYBODY,
        reference_person: int = 0,
        lengths: str = "",
        most: float = 3.0,
        threshold: float = shared.AS_KEPT,
        reference: Any = None,
    ) -> Any:
        """Measure the whole clip, then move frame by frame."""
        from ..dwpose.retarget import Retargeter, RetargetOptions
        from ..dwpose.types import People

        check_choice("framing", framing, FRAMINGS)
        poses = poses_with_frames(pose_keypoint)
        check_one_size(poses)
        if not all(len(people) < 2 or has_ids(people) for people in poses):
            raise ValueError(
                "pose_keypoint has several people without ids; put Track & Smooth before this, "
                "or pick one person with Select People"
            )
        proportions = read_proportions(reference, lengths, reference_person, threshold)
        if framing == FRAMINGS[1] and proportions.placement is None:
            raise ValueError("framing 'reference' needs a reference; connect one, or take 'keep'")
        image_hw = shared_size(poses)
        options = RetargetOptions(
            framing=framing,
            canvas_hw=(height or image_hw[0], width or image_hw[1]),
            margin=margin,
            limbs=limbs,
            widths=widths,
            head=head,
            hands=hands,
            feet=feet,
            ground=ground,
            amount=amount,
            most=most,
            threshold=shared.least_score(threshold, pose_keypoint),
        )
        retargeter = Retargeter(proportions, options)
        if any(map(len, poses)):
            retargeter = work_aside(
                lambda: retargeter.fit(poses, None if track_id == EVERYBODY else track_id)
            )
            moved = []
            progress = Progress(len(poses))
            for people in poses:
                moved.append(retargeter.apply(people))
                progress(len(moved))
        else:
            # Nobody moves, so nobody is measured; the picture is the new one all the same.
            moved = [People.empty(retargeter.canvas(people.image_hw)) for people in poses]
        keypoints = write_poses(moved, written_threshold(pose_keypoint))
        known = {n: round(v, 4) for n, v in proportions.to_dict().items() if v is not None}
        return io.NodeOutput(keypoints, json.dumps(known))


def read_proportions(reference: Any, lengths: str, person: int, threshold: float) -> Proportions:
    """Measure a reference, and put lengths that are given in place of measured ones.

    Raises:
        ValueError: there is neither, nobody can be measured, or a length cannot be read.
    """
    from dataclasses import replace

    from ..dwpose.proportions import Proportions

    given = Proportions.from_dict(read_lengths(lengths))
    if reference is None:
        if not any(given.to_dict().values()):
            raise ValueError("reference is missing; connect keypoints of one, or write lengths")
        return given
    found = [people for people in poses_with_frames(reference) if len(people)]
    if not found:
        raise ValueError("reference has nobody; connect keypoints of a picture with a person")
    measured = _measure(found, person, shared.least_score(threshold, reference))
    return replace(measured, **{n: v for n, v in given.to_dict().items() if v is not None})


def _measure(found: list[People], person: int, threshold: float) -> Proportions:
    from ..dwpose.proportions import Proportions

    if len(found) > 1 and any(len(people) > 1 for people in found):
        raise ValueError(
            "reference has several frames with several people; pick one with Select People"
        )
    if len(found) == 1 and person >= len(found[0]):
        raise ValueError(
            f"reference_person {person} does not exist; there are {len(found[0])} people, from 0"
        )
    try:
        return Proportions.from_people(
            found[0] if len(found) == 1 else found, person=person, threshold=threshold
        )
    except ValueError as error:
        raise ValueError(
            f"reference cannot be measured ({error}); take a picture that shows shoulders and hips"
        ) from error


def read_lengths(text: str) -> dict[str, float]:
    """Read lengths: JSON, or names and numbers such as ``arm 0.7, leg: 0.95``.

    Raises:
        ValueError: it cannot be read.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            raise ValueError(f"lengths is no JSON: {text!r}; write names and numbers") from None
    found: dict[str, float] = {}
    for piece in text.replace("\n", ",").replace(";", ",").split(","):
        words = piece.replace(":", " ").replace("=", " ").split()
        if not words:
            continue
        try:
            name, number = words
            found[name.lower()] = float(number)
        except ValueError:
            raise ValueError(
                f"lengths must be names and numbers such as arm 0.7, leg 0.95; got {piece!r}"
            ) from None
    return found
