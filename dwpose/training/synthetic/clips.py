"""Rendered films of moving people with exact truth: `render_clip(ClipConfig(), seed)`.

Everybody wears the same clothes throughout, goes from pose to pose of the sampler or the motion
library, and walks along a line on the floor, so that people enter, leave, cross and hide each
other; the camera pans and sways. Apart from `numeric_clips` and `motion`, which make points in
milliseconds, because a picture needs each joint of the mesh turned and the poses of a library.

Shapes: P people, V vertices, K = 133 keypoints, H and W the frame's size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...skeleton import BODY
from ...types import Boxes, People
from . import body as B
from .background import backdrops
from .camera import View
from .dice import Dice, about, rotation_vector
from .engine import SyntheticConfig, SyntheticPeople
from .looks import sample_looks
from .numeric_clips import FEWEST_BODY_POINTS
from .outfit import dress, sample_outfits
from .poses import sample_actions, sample_poses
from .scene import draw_people, paint
from .shade import sample_lights


@dataclass(frozen=True)
class ClipConfig:
    """What to render.

    Attributes:
        size_hw: frame height and width in pixels, divisible by 16; 480x848 is 480p.
        people: how many there are in all.
        seconds: length.
        fps: frames a second.
        hold_s: seconds from one pose to the next.
        walk_m: how far people walk to the side, metres; 0 stays in place. Every other one goes
            the other way, so that they cross, and starts outside the picture if this is large.
        spread_m: how far apart they stand in depth.
        distance_m: of the camera from the first person.
        pan_deg_s: the camera's even turn, degrees a second.
        sway_deg: of a hand-held camera.
        poses: a motion library (.npz); made-up poses when None.

    Raises:
        ValueError: naming the field that makes no sense.
    """

    size_hw: tuple[int, int] = (480, 848)
    people: int = 1
    seconds: float = 4.0
    fps: float = 25.0
    hold_s: float = 0.8
    walk_m: float = 0.0
    spread_m: float = 0.9
    distance_m: float = 5.0
    pan_deg_s: float = 0.0
    sway_deg: float = 0.0
    poses: Path | str | None = None

    def __post_init__(self) -> None:
        """Check the numbers; `SyntheticConfig` checks the size."""
        if self.people < 1:
            raise ValueError(f"people must be at least 1, got {self.people}")
        for name in ("seconds", "fps", "hold_s", "distance_m"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")


@torch.no_grad()
def render_clip(
    config: ClipConfig, seed: int, device: torch.device | str = "cpu"
) -> Iterator[tuple[npt.NDArray[np.uint8], People]]:
    """Render a clip frame by frame.

    Args:
        config: what.
        seed: any integer; the same gives the same clip.
        device: where to render.

    Yields:
        uint8 [H, W, 3] RGB, and everybody of whom at least four body points are seen, with ids;
        scores are 1 for points that are seen, else 0; hidden points have their true places.
    """
    engine = SyntheticPeople(SyntheticConfig(size_hw=config.size_hw, poses=config.poses), device)
    body, people = engine.body, config.people
    dice = Dice(seed, device)
    shape = engine.shapes[dice.integers(len(engine.shapes), people)]
    wear = sample_outfits(dice, people)
    clothes = dress(body, wear)
    rest, heads = B.shape_body(body, shape, sample_actions(body, dice, people), clothes.push)
    frames = round(config.seconds * config.fps)
    keys = int(config.seconds / config.hold_s) + 3
    poses = sample_poses(body, dice, people * keys, engine.pose_library).unflatten(
        0, (keys, people)
    )
    # The root's heading would jump between poses of different recordings.
    poses[:, :, 0] = rotation_vector(dice.normal(0.1, keys * people, 3)).unflatten(
        0, (keys, people)
    )
    steps = _log(poses[:-1].transpose(-1, -2) @ poses[1:])
    looks, lights = sample_looks(dice, people), sample_lights(dice, 1)
    height, width = config.size_hw
    wide = (height + height // 2, 2 * width)
    behind = backdrops(dice, 1, wide, engine.photos, 0.5)
    heading = dice.normal(0.5, people)
    waves = dice.uniform(0.2, 0.9, 4), dice.uniform(0.0, 6.28, 4)
    image_of = torch.zeros(people, dtype=torch.int64, device=engine.device)
    for frame in range(frames):
        time = frame / config.fps
        key = int(time / config.hold_s)
        share = time / config.hold_s - key
        share = share * share * (3 - 2 * share)
        local = poses[key] @ rotation_vector(steps[key] * share)
        posed, normals, joints = B.pose_body(body, rest, heads, local)
        turn = about("z", heading).transpose(1, 2)
        place = _places(config, time / config.seconds).to(joints)
        posed, normals, joints = posed @ turn, normals @ turn, joints @ turn
        place[:, 2] = -joints[..., 2].amin(1)  # feet on the floor
        posed, joints = posed + place[:, None], joints + place[:, None]
        points = B.keypoints_of(body, posed, joints)
        sway = torch.sin(6.28 * waves[0] * time + waves[1]) * config.sway_deg
        pan = config.pan_deg_s * (time - config.seconds / 2) + float(sway[0] + sway[1])
        tilt = float(sway[2] + sway[3])
        view = _camera(config, pan, tilt, engine.device)
        screen = view.project(posed, image_of)
        drawn = draw_people(body, screen, image_of, clothes, view, config.size_hw, 1)
        # The background is far away: it moves as the camera turns.
        scale = float(view.scale[0]) * np.pi / 180
        left = int(np.clip(width / 2 + pan * scale, 0, width))
        top = int(np.clip(height / 4 - tilt * scale, 0, height // 2))
        back = behind[:, :, top : top + height, left : left + width].contiguous()
        picture = paint(
            body,
            drawn,
            posed,
            normals,
            image_of,
            view,
            wear,
            looks,
            lights,
            (engine.brow_lines, engine.eye_centres),
            back,
            1,
        )
        image = (picture[0] * 255 + 0.5).clamp(0, 255).to(torch.uint8)
        labelled = view.project(points, image_of)
        seen = engine._visibility(labelled, image_of, drawn.inverse_depth, view)
        boxes = engine._people_boxes(screen, drawn.used, image_of, view)
        yield (
            image.permute(1, 2, 0).contiguous().cpu().numpy(),
            _truth(labelled, seen, boxes, config.size_hw),
        )


def _places(config: ClipConfig, share: float) -> Tensor:
    """Where everybody is on the floor, metres [P,3]; the camera looks along +y."""
    places = torch.zeros(config.people, 3)
    for i in range(config.people):
        way = config.walk_m * (share - 0.5) * (1 if i % 2 == 0 else -1)
        aside = (i - (config.people - 1) / 2) * 0.9 if config.walk_m == 0 else 0.35 * (i // 2)
        places[i, 0], places[i, 1] = aside + way, config.spread_m * i
    return places


def _camera(config: ClipConfig, pan_deg: float, tilt_deg: float, device: torch.device) -> View:
    height, width = config.size_hw
    pan, tilt = np.deg2rad(pan_deg), np.deg2rad(tilt_deg)
    forward = np.array((np.sin(pan) * np.cos(tilt), np.cos(pan) * np.cos(tilt), np.sin(tilt)))
    right = np.array((np.cos(pan), -np.sin(pan), 0.0))
    rotation = np.stack((right, np.cross(forward, right), forward))
    # A standing adult of 1.75 m fills 70 % of the height at the first person's distance.
    scale = 0.7 * height * config.distance_m / 1.75

    def tensor(values: object) -> Tensor:
        return torch.tensor(np.array(values, np.float32), device=device)[None]

    return View(
        rotation=tensor(rotation),
        position=tensor((0.0, -config.distance_m, 0.95)),
        scale=tensor(scale),
        shift=tensor((width / 2, height / 2)),
        border=tensor((0.0, 0.0, width - 1.0, height - 1.0)),
        box=tensor((0.0, 0.0, 0.0, 0.0)),
        framing=torch.zeros(1, dtype=torch.int64, device=device),
    )


def _log(rotation: Tensor) -> Tensor:
    """Rotation vectors [...,3] of rotation matrices [...,3,3]; the inverse of `rotation_vector`."""
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    angle = torch.acos(((trace - 1) / 2).clamp(-0.9999, 1))
    odd = rotation - rotation.transpose(-1, -2)
    vector = torch.stack([odd[..., 2, 1], odd[..., 0, 2], odd[..., 1, 0]], -1) / 2
    return vector * (angle / torch.sin(angle).clamp_min(1e-6)).clamp_min(1.0)[..., None]


def _truth(labelled: Tensor, seen: Tensor, boxes: Tensor, size_hw: tuple[int, int]) -> People:
    visible = (seen == 2).cpu().numpy()
    kept = np.flatnonzero(visible[:, BODY].sum(axis=1) >= FEWEST_BODY_POINTS)
    if not len(kept):
        return People.empty(size_hw)
    points = labelled[..., :2].cpu().numpy()[kept]
    return People(points, visible[kept], Boxes(boxes.cpu().numpy()[kept]), size_hw, kept)
