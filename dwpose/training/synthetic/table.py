"""Tables, desks and counters before people: real planes in the scene, met by the z-buffer."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .background import Photos, textures
from .camera import FACE, View, facing
from .dice import Dice

_SHOULDERS, _HIPS = (5, 6), (11, 12)
_HANDS = (slice(91, 112), slice(112, 133))
_TEXTURE = 96  # texels along the edge of what a top repeats
_PALM = 0.012  # metres from the points inside a finger to its skin


def lay_tables(
    dice: Dice,
    view: View,
    points: Tensor,
    picture: Tensor,
    inverse_depth: Tensor,
    photos: Photos | None,
    share: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Put a table in front of upright subjects, just under the hands that are held over it.

    Args:
        dice: random numbers.
        view: the cameras.
        points: the subjects' points, world metres, [N,133,3].
        picture: [N,3,H,W].
        inverse_depth: 1/m, 0 where nothing is, [N,H,W].
        photos: what tops are cut from besides plain colours.
        share: of the subjects that sit or stand upright, seen from above the table's height.

    Returns:
        pictures, inverse depths with the tables, and where a table covers a person, bool [N,H,W].
    """
    images, _, height, width = picture.shape
    shoulders, hips = points[:, _SHOULDERS].mean(1), points[:, _HIPS].mean(1)
    up = F.normalize(shoulders - hips, dim=-1)[:, 2]
    heading = facing(points, torch.zeros(images, dtype=torch.bool, device=points.device))
    forward = torch.stack([heading.cos(), heading.sin()], -1)
    anywhere = hips[:, 2] + dice.uniform(0.05, 0.28, images)
    top = torch.full_like(anywhere, torch.inf)
    far = torch.zeros_like(top)
    for hand in _HANDS:
        own = points[:, hand]
        ahead = ((own.mean(1) - hips)[:, :2] * forward).sum(-1)
        low = own[..., 2].amin(1) - _PALM
        over = (ahead > 0.15) & (low > hips[:, 2]) & (low < shoulders[:, 2] - 0.15)
        top = torch.where(over, torch.minimum(top, low), top)
        far = torch.where(over, torch.maximum(far, ahead + 0.15), far)
    top = torch.where(top.isinf(), anywhere, top)
    near = dice.uniform(0.08, 0.24, images)
    far = torch.maximum(far, near + dice.uniform(0.3, 1.2, images))
    left, right = -dice.uniform(0.3, 1.4, images), dice.uniform(0.3, 1.4, images)
    thick = torch.where(dice.chance(0.6, images), 0.04, 1.2)
    wood = textures(dice, images, _TEXTURE, photos)
    grain = dice.uniform(-0.3, 0.8, images).clamp_min(0)[:, None, None, None]
    tint = wood.mean((2, 3), keepdim=True) + dice.normal(0.08, images, 3, 1, 1)
    light = dice.uniform(0.7, 1.3, images)[:, None, None, None]
    wood = ((tint + grain * (wood - tint)) * light).clamp(0, 1)
    chosen = dice.chance(share, images) & (up > 0.75) & (view.framing < FACE)
    chosen &= view.position[:, 2] > top + 0.06
    ids = chosen.nonzero()[:, 0]
    if len(ids) == 0:
        return picture, inverse_depth, torch.zeros_like(inverse_depth, dtype=torch.bool)

    ray = view.rays(ids, (height, width))
    eye = view.position[ids] - torch.cat([hips[ids, :2], top[ids, None]], 1)
    ahead, aside = forward[ids], forward[ids].flip(1) * forward.new_tensor([1.0, -1.0])
    axes = F.pad(torch.stack([ahead, aside], 2), (0, 0, 0, 1))  # [n,3,2]
    axes = torch.cat([axes, axes.new_tensor([0.0, 0.0, 1.0]).expand(len(ids), 3)[..., None]], 2)
    ray, eye = ray @ axes, (eye[:, None] @ axes)  # ahead, aside, up of the table
    near, far, left, right, thick = (t[ids, None] for t in (near, far, left, right, thick))

    def meet(axis: int, level: Tensor) -> tuple[Tensor, Tensor]:
        depth = (level - eye[..., axis]) / torch.where(
            ray[..., axis].abs() < 1e-6, 1e-6, ray[..., axis]
        )
        return depth, eye + depth[..., None] * ray

    depth_top, place = meet(2, torch.zeros_like(far))
    on_top = (place[..., 0] > near) & (place[..., 0] < far) & (depth_top > 0.1)
    on_top &= (place[..., 1] > left) & (place[..., 1] < right)
    depth_front, front = meet(0, far)
    on_front = (front[..., 2] < 0) & (front[..., 2] > -thick) & (depth_front > 0.1)
    on_front &= (front[..., 1] > left) & (front[..., 1] < right) & (eye[..., 0] > far)
    on_front &= ~on_top | (depth_front < depth_top)
    depth = torch.where(on_front, depth_front, depth_top)
    spot = torch.where(on_front[..., None], front[..., 1:], place[..., :2])
    nearness = torch.where(on_top | on_front, 1 / depth, 0.0).view(len(ids), height, width)

    grid = (spot / 0.6).view(len(ids), height, width, 2)
    colour = F.grid_sample(wood[ids], grid, padding_mode="reflection", align_corners=False)
    colour = colour * torch.where(on_front, 0.65, 1.0).view(-1, 1, height, width)
    return lay_before(picture, inverse_depth, ids, colour, nearness)


def lay_before(
    picture: Tensor, inverse_depth: Tensor, ids: Tensor, colour: Tensor, nearness: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay things into pictures where they are nearer than what is there.

    Args:
        picture: [N,3,H,W].
        inverse_depth: 1/m, 0 where nothing is, [N,H,W].
        ids: the pictures that get something, [n].
        colour: of the things, [n,3,H,W].
        nearness: their inverse depth, 0 where they are not, [n,H,W].

    Returns:
        new pictures and inverse depths, and where a thing covers a person, bool [N,H,W].
    """
    before = nearness > inverse_depth[ids]
    covered = torch.zeros_like(inverse_depth, dtype=torch.bool)
    covered[ids] = before & (inverse_depth[ids] > 0)
    picture, inverse_depth = picture.clone(), inverse_depth.clone()
    picture[ids] = torch.where(before[:, None], colour, picture[ids])
    inverse_depth[ids] = torch.where(before, nearness, inverse_depth[ids])
    return picture, inverse_depth, covered
