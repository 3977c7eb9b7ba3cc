"""Rings around necks: neck pillows, thick scarves, life vests, the rings that helmets sit on.

Their edges look like shoulders that are too narrow. Each is a stack of flat rings in the scene,
met by the z-buffer, and lit as the torus that it stands for.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .background import Photos, textures
from .camera import View
from .dice import Dice
from .table import lay_before

_SHOULDERS, _HIPS = (5, 6), (11, 12)
_LAYERS = 9
_TEXTURE = 96


def lay_collars(
    dice: Dice,
    view: View,
    points: Tensor,
    picture: Tensor,
    inverse_depth: Tensor,
    photos: Photos | None,
    share: float,
    cloth: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay a ring around the neck of some subjects.

    Args:
        dice: random numbers.
        view: the cameras.
        points: the subjects' points, world metres, [N,133,3].
        picture: [N,3,H,W].
        inverse_depth: 1/m, 0 where nothing is, [N,H,W].
        photos: what rings are cut from besides plain colours.
        share: of the subjects.
        cloth: how far the subjects' tops stand out, metres [N]; rings lie on them.

    Returns:
        pictures, inverse depths with the rings, and where a ring covers a person, bool [N,H,W].
    """
    images, _, height, width = picture.shape
    device = picture.device
    # All numbers are drawn for everybody, so that the share does not change the others.
    chosen = dice.chance(share, images)
    tube = dice.uniform(0.01, 0.04, images)
    ring = 0.065 + tube + dice.uniform(0.0, 0.05, images) + cloth / 2
    flat = dice.uniform(0.5, 1.0, images)
    lean = dice.uniform(-0.1, 0.9, images)
    lift = dice.uniform(0.0, 0.09, images) + cloth
    skin = textures(dice, images, _TEXTURE, photos)
    grain = dice.uniform(-0.5, 0.9, images).clamp_min(0)[:, None, None, None]
    colour = dice.uniform(0.02, 0.98, images, 3, 1, 1)
    colour = torch.where(
        dice.chance(0.6, images)[:, None, None, None], colour.mean(1, keepdim=True), colour
    )
    skin = (colour + grain * (skin - 0.5)).clamp(0, 1)
    gloss = dice.uniform(-0.6, 0.8, images).clamp_min(0)
    lining = dice.chance(0.5, images)
    dark = dice.uniform(0.0, 0.25, images)
    lamp = F.normalize(
        dice.normal(1.0, images, 3) + torch.tensor([0.0, 0.0, 1.5], device=device), dim=-1
    )
    ids = chosen.nonzero()[:, 0]
    if len(ids) == 0:
        return picture, inverse_depth, torch.zeros_like(inverse_depth, dtype=torch.bool)

    shoulders, hips = points[ids][:, _SHOULDERS], points[ids][:, _HIPS]
    up = F.normalize(shoulders.mean(1) - hips.mean(1), dim=-1)
    across = shoulders[:, 0] - shoulders[:, 1]  # towards the person's left
    ahead = F.normalize(torch.linalg.cross(across, up), dim=-1)
    axis = F.normalize(up + lean[ids, None] * ahead, dim=-1)
    centre = shoulders.mean(1) + lift[ids, None] * up + 0.02 * ahead
    side = F.normalize(torch.linalg.cross(axis, ahead), dim=-1)
    frame = torch.stack([torch.linalg.cross(side, axis), side, axis], 2)  # columns, world to ring

    ray = view.rays(ids, (height, width)) @ frame
    eye = ((view.position[ids] - centre)[:, None] @ frame).squeeze(1)
    light = (lamp[ids, None] @ frame).squeeze(1)
    ring, tube, flat, gloss, dark = (t[ids, None] for t in (ring, tube, flat, gloss, dark))

    nearness = torch.zeros(len(ids), height * width, device=device)
    painted = torch.zeros(len(ids), 3, height * width, device=device)
    for layer in range(-1, _LAYERS):
        # The lining, a disc at half the ring's height, then the rings from the lowest upwards.
        angle = math.pi * ((layer + 0.5) / _LAYERS - 0.5)
        level = torch.zeros_like(tube) if layer < 0 else tube * flat * math.sin(angle)
        depth = (level - eye[:, 2:]) / torch.where(ray[..., 2].abs() < 1e-6, 1e-6, ray[..., 2])
        place = eye[:, None] + depth[..., None] * ray
        radius = place[..., :2].norm(dim=-1)
        if layer < 0:
            hit = lining[ids, None] & (radius < ring)
            shade = dark[:, None].expand(-1, 3, height * width)
        else:
            out = (radius - ring) / tube
            hit = out.abs() <= math.cos(angle)
            normal = torch.cat(
                [
                    place[..., :2] / radius[..., None].clamp_min(1e-6) * out[..., None],
                    torch.full_like(out, math.sin(angle))[..., None],
                ],
                -1,
            )
            normal = F.normalize(normal, dim=-1)
            bright = (normal * light[:, None]).sum(-1)
            turn = torch.atan2(place[..., 1], place[..., 0]) / math.pi
            grid = torch.stack([turn, out], -1).view(len(ids), height, width, 2)
            shade = F.grid_sample(
                skin[ids], grid, padding_mode="reflection", align_corners=False
            ).flatten(2)
            shade = shade * (0.45 + 0.55 * bright.clamp_min(0))[:, None]
            shade = shade + (gloss * bright.clamp_min(0) ** 12)[:, None]
        near = torch.where(hit & (depth > 0.1), 1 / depth, 0.0)
        before = near > nearness
        nearness = torch.where(before, near, nearness)
        painted = torch.where(before[:, None], shade, painted)
    painted = painted.view(-1, 3, height, width).clamp(0, 1)
    return lay_before(picture, inverse_depth, ids, painted, nearness.view(-1, height, width))
