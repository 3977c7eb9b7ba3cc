"""The camera and the crop: what part of a person the picture shows, and from where."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from . import body as B
from .dice import Dice
from .raster import NEAR

FULL, KNEES, WAIST, BUST, FACE, HAND = range(6)
FRAMING_NAMES = ("full", "knees", "waist", "bust", "face", "hand")

_LEFT_SHOULDER, _RIGHT_SHOULDER, _LEFT_HIP, _RIGHT_HIP = 5, 6, 11, 12
_NOSE, _LEFT_EAR, _RIGHT_EAR = 0, 3, 4


@dataclass(frozen=True)
class View:
    """One camera per image.

    Attributes:
        rotation: world to camera, rows right, down, forward, [N,3,3].
        position: metres, [N,3].
        scale: pixels per unit of the picture plane, [N].
        shift: crop pixel of the optical axis, [N,2].
        border: left, top, right, bottom of the picture in crop pixels, [N,4]; outside it a crop
            is black, as cv2.warpAffine fills it.
        box: the person's box before it was jittered and padded, xyxy crop pixels, [N,4].
        framing: int64 [N], FULL..HAND.
    """

    rotation: Tensor
    position: Tensor
    scale: Tensor
    shift: Tensor
    border: Tensor
    box: Tensor
    framing: Tensor

    def project(self, points: Tensor, image_of: Tensor) -> Tensor:
        """World points [P,K,3] to crop x, y in pixels and 1/z in 1/m, [P,K,3]; 1/z <= 0 behind."""
        local = points - self.position[image_of][:, None]
        local = local @ self.rotation[image_of].transpose(1, 2)
        depth = local[..., 2]
        inverse = torch.where(depth > 0.5 * NEAR, 1 / depth.clamp_min(0.5 * NEAR), -1.0)
        plane = local[..., :2] * inverse[..., None]
        plane = plane * self.scale[image_of][:, None, None] + self.shift[image_of][:, None]
        return torch.cat([plane, inverse[..., None]], -1)

    def rays(self, ids: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """World directions [n,H*W,3] of the pixels of images `ids` [n], metres a metre of depth."""
        height, width = size_hw
        y = torch.arange(height, device=ids.device)[:, None].expand(height, width)
        x = torch.arange(width, device=ids.device)[None].expand(height, width)
        plane = (torch.stack([x, y], -1) - self.shift[ids, None, None]) / self.scale[
            ids, None, None, None
        ]
        return F.pad(plane, (0, 1), value=1.0).flatten(1, 2) @ self.rotation[ids]


def facing(keypoints: Tensor, close_up: Tensor) -> Tensor:
    """Heading in radians about z of the torso, or of the head where `close_up`.

    Args:
        keypoints: world points [N,133,3].
        close_up: bool [N].
    """
    left = keypoints[:, _LEFT_SHOULDER] - keypoints[:, _RIGHT_SHOULDER]
    shoulders = keypoints[:, [_LEFT_SHOULDER, _RIGHT_SHOULDER]].mean(1)
    up = shoulders - keypoints[:, [_LEFT_HIP, _RIGHT_HIP]].mean(1)
    torso = torch.linalg.cross(left, up, dim=-1)
    head = keypoints[:, _NOSE] - keypoints[:, [_LEFT_EAR, _RIGHT_EAR]].mean(1)
    forward = torch.where(close_up[:, None], head, torso)
    return torch.atan2(forward[:, 1], forward[:, 0])


def _subset(attributes: Tensor, framing: Tensor, dice: Dice) -> Tensor:
    """Which of the sample points [S] the framing wants to show, bool [N,S]."""
    images = len(framing)

    def cut(low: float, high: float) -> Tensor:
        return dice.uniform(low, high, images)[:, None]

    arm, leg = attributes[:, B.ARM], attributes[:, B.LEG]
    torso, side = attributes[:, B.TORSO], attributes[:, B.X]
    arms_out = dice.chance(0.3, images)[:, None]
    arms = ~arms_out | (arm < cut(0.2, 0.8))
    left = dice.chance(0.5, images)[:, None]
    wanted = torch.stack(
        [
            torch.ones(images, len(arm), dtype=torch.bool, device=arm.device),
            leg < cut(0.35, 0.75),
            (leg < cut(-0.15, 0.3)) & arms,
            (torso > cut(0.3, 0.75)) & (arm < cut(0.05, 0.6)) & (leg < -0.2),
            (attributes[:, B.HEADNESS] > 0.5).expand(images, -1),
            (attributes[:, B.HANDNESS] > 0.5) & ((side > 0) == left),
        ]
    )
    return wanted[framing, torch.arange(images, device=framing.device)]


def _extent(values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    low = values.masked_fill(~mask[..., None], torch.inf).amin(1)
    high = values.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return low, high


def place_cameras(
    points: Tensor,
    attributes: Tensor,
    keypoints: Tensor,
    dice: Dice,
    framing: Tensor,
    size_hw: tuple[int, int],
    padding: float = 1.25,
    box_jitter: float = 0.14,
    box_shift: float = 0.05,
    whole_picture: float = 0.15,
) -> View:
    """Choose a camera and a crop for every subject.

    Args:
        points: sample points on the subjects, world metres, [N,S,3].
        attributes: of the sample points, [S,14].
        keypoints: the subjects' points [N,133,3].
        dice: random numbers.
        framing: int64 [N], FULL..HAND.
        size_hw: crop size in pixels.
        padding: the crop is the box enlarged by this, as in a top-down network's input.
        box_jitter: s.d. of the log of a further enlargement.
        box_shift: s.d. of the shift of the crop's centre as a share of its size.
        whole_picture: share of crops that show a whole picture instead of a person's box.
    """
    images = len(framing)
    height, width = size_hw
    wanted = _subset(attributes, framing, dice)
    low, high = _extent(points, wanted)
    centre = (low + high) / 2
    radius = (high - low).norm(dim=-1) / 2

    close_up = framing >= BUST
    # Most pictures of people are taken from about the front and held level.
    spread = torch.tensor([0.25, 0.8, 3.0], device=framing.device)
    turn = dice.normal(1.0, images) * spread[dice.choice((0.55, 0.28, 0.17), images)]
    azimuth = facing(keypoints, close_up) + turn
    wild = dice.chance(0.06, images)
    elevation = torch.where(wild, dice.normal(0.6, images), 0.06 + dice.normal(0.16, images))
    elevation = elevation.clamp(-1.3, 1.3)
    towards = torch.stack(
        [
            elevation.cos() * azimuth.cos(),
            elevation.cos() * azimuth.sin(),
            elevation.sin(),
        ],
        -1,
    )
    distance = (radius * torch.exp(dice.uniform(0.75, 2.2, images))).clamp_min(0.45)
    position = centre + towards * distance[:, None]
    forward = -towards
    zenith = torch.tensor([[0.0, 0.0, 1.0]], device=forward.device)
    right = torch.linalg.cross(forward, zenith.expand_as(forward), dim=-1)
    right = right / right.norm(dim=-1, keepdim=True)
    down = torch.linalg.cross(forward, right, dim=-1)
    roll = dice.normal(1.0, images) * torch.where(dice.chance(0.12, images), 0.35, 0.06)
    cos, sin = roll.cos()[:, None], roll.sin()[:, None]
    rotation = torch.stack([cos * right + sin * down, cos * down - sin * right, forward], 1)

    local = (points - position[:, None]) @ rotation.transpose(1, 2)
    ahead = local[..., 2] > NEAR
    plane = local[..., :2] / local[..., 2:].clamp_min(NEAR)
    low, high = _extent(plane, wanted & ahead)
    whole_low, whole_high = _extent(plane, ahead)
    stretch = dice.uniform(0.0, 1.0, images, 2)
    stretch = 1.02 + stretch * torch.where(close_up & (framing > BUST), 0.8, 0.06)[:, None]
    middle, half = (low + high) / 2, (high - low) / 2 * stretch
    half = half.clamp_min(1e-3)
    low, high = middle - half, middle + half
    border, goes_on = _borders(low, high, whole_low, whole_high, dice)
    person = torch.cat([low, high], 1)
    # Without a detector the network first sees the whole picture, with the person anywhere in it.
    whole = dice.chance(whole_picture, images)
    size = (high - low).amax(1, keepdim=True)
    slim = (high - low).flip(1).repeat(1, 2) / (high - low).repeat(1, 2)
    size = size * slim.clamp_max(1)  # no room above a tall figure that a wide picture lacks
    room = torch.where(goes_on, 0.02, 1.1 * dice.uniform(0, 1, images, 4) ** 1.5) * size
    picture = person + room * torch.tensor([-1.0, -1.0, 1.0, 1.0], device=size.device)
    border = torch.where(whole[:, None], picture, border)
    framed = torch.where(whole[:, None], picture, person)
    middle, size = (framed[:, :2] + framed[:, 2:]) / 2, framed[:, 2:] - framed[:, :2]
    aspect = width / height
    across = torch.maximum(size[:, 0], size[:, 1] * aspect) * padding
    loose = torch.where(whole, 0.0, 1.0)
    across = across * torch.exp(dice.normal(box_jitter, images) * loose)
    shift = dice.normal(box_shift, images, 2) * torch.stack([across, across / aspect], -1)
    shift = shift * loose[:, None]
    scale = width / across
    offset = torch.tensor([width / 2, height / 2], device=scale.device)
    offset = offset - (middle + shift) * scale[:, None]
    corner_scale, corner_shift = scale[:, None], torch.cat([offset, offset], 1)
    return View(
        rotation=rotation,
        position=position,
        scale=scale,
        shift=offset,
        border=border * corner_scale + corner_shift,
        box=person * corner_scale + corner_shift,
        framing=framing,
    )


def _borders(
    low: Tensor, high: Tensor, whole_low: Tensor, whole_high: Tensor, dice: Dice
) -> tuple[Tensor, Tensor]:
    """Where the picture ends, [N,4] in its plane, and on which sides it cuts the body, [N,4].

    Where the body goes on beyond the part that is shown, the picture mostly ends there; elsewhere
    it seldom ends near the person.
    """
    size = high - low
    images = len(low)
    box = torch.cat([-low, high], 1)  # outward distances: left, top, right, bottom
    whole = torch.cat([-whole_low, whole_high], 1)
    size = torch.cat([size, size], 1)
    goes_on = whole > box + 0.04 * size
    cut = dice.chance(0.68, images, 4)
    near = dice.chance(0.07, images, 4)
    at_cut = box + 0.03 * size * dice.uniform(0, 1, images, 4)
    at_side = box + 0.35 * size * dice.uniform(0, 1, images, 4) ** 1.5
    far = torch.full_like(box, 1e4)
    out = torch.where(goes_on, torch.where(cut, at_cut, far), torch.where(near, at_side, far))
    return torch.cat([-out[:, :2], out[:, 2:]], 1), goes_on
