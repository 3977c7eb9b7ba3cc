"""What is behind (and in front of) the people: crops of photos, or calm procedural pictures."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .dice import Dice

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
_SIDE = 320  # photos are kept as squares of this size in memory


class Photos:
    """Photos without people, kept in memory as uint8 [B,3,320,320].

    Args:
        folder: a folder of pictures.
        split: "all", "train" or "val", by a hash of the stem without its last number, so that
            views of one place stay on one side.
        device: where they are kept.

    Raises:
        FileNotFoundError: if the folder does not exist or holds no picture.
    """

    def __init__(
        self, folder: Path | str, split: str = "all", device: torch.device | str = "cpu"
    ) -> None:
        import cv2

        pictures = []
        for path in photo_paths(folder, split):
            picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            if picture is None:
                continue
            picture = cv2.resize(picture[..., ::-1], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            aspect = max(0.5, min(2.0, picture.shape[1] / picture.shape[0]))
            pictures.append((picture.transpose(2, 0, 1), aspect))
        stack = np.stack([picture for picture, _ in pictures])
        self.images = torch.from_numpy(np.ascontiguousarray(stack)).to(device)

    def sample(self, dice: Dice, count: int, size_hw: tuple[int, int]) -> Tensor:
        """Random crops, mirrored half of the time, float32 [count,3,H,W] in 0..1."""
        height, width = size_hw
        picked = self.images[dice.integers(len(self.images), count)].float() / 255
        zoom = dice.uniform(0.35, 1.0, count)
        reach = torch.stack([zoom * min(1, width / height), zoom * min(1, height / width)], -1)
        middle = (1 - reach) * dice.uniform(-1, 1, count, 2)
        reach[:, 0] = reach[:, 0] * torch.where(dice.chance(0.5, count), 1.0, -1.0)
        theta = torch.zeros(count, 2, 3, device=picked.device)
        theta[:, 0, 0], theta[:, 1, 1] = reach[:, 0], reach[:, 1]
        theta[:, :, 2] = middle
        grid = F.affine_grid(theta, [count, 3, height, width], align_corners=False)
        return F.grid_sample(picked, grid, align_corners=False, padding_mode="reflection")

    def pieces(self, dice: Dice, count: int, side: int) -> Tensor:
        """Square pieces as they are, for cloth and wood, float32 [count,3,side,side] in 0..1."""
        picked = dice.integers(len(self.images), count)[:, None, None]
        steps = torch.arange(side, device=self.images.device)
        top, left = (dice.integers(_SIDE - side + 1, count)[:, None] for _ in range(2))
        rows, columns = (top + steps)[:, :, None], (left + steps)[:, None]
        return self.images[picked, :, rows, columns].permute(0, 3, 1, 2).float() / 255


def photo_paths(folder: Path | str, split: str = "all") -> list[Path]:
    """The pictures of a folder that belong to a split, sorted; see `Photos`."""
    folder = Path(folder)
    paths = sorted(p for p in folder.glob("*") if p.suffix.lower() in _SUFFIXES)
    if split != "all":
        paths = [p for p in paths if _held_out(p) == (split == "val")]
    if not paths:
        raise FileNotFoundError(f"no pictures in {folder}; leave it out for made-up ones")
    return paths


def _held_out(path: Path) -> bool:
    stem = path.stem
    place = stem.rsplit("_", 1)[0] if stem.startswith("hdri_") else stem
    return zlib.crc32(place.encode()) % 10 == 0


def made_up(dice: Dice, count: int, size_hw: tuple[int, int]) -> Tensor:
    """Walls, gradients and soft clutter of calm colours, float32 [count,3,H,W] in 0..1."""
    height, width = size_hw
    grey = dice.uniform(0.1, 0.9, count, 1, 1, 1)
    tint = grey + dice.normal(0.06, count, 3, 1, 1)
    picture = tint.expand(count, 3, height, width).clone()
    studio = dice.chance(0.3, count)[:, None, None, None]  # plain backdrops, some quite white
    white = torch.where(dice.chance(0.5, count)[:, None, None, None], 0.97, tint)
    for cells, amount in ((2, 0.12), (5, 0.08), (12, 0.06), (40, 0.04)):
        noise = dice.normal(amount, count, 3, cells, cells)
        noise = noise * 0.15 + noise.mean(1, keepdim=True)
        on = dice.chance(0.7, count)[:, None, None, None]
        soft = F.interpolate(noise, size=size_hw, mode="bilinear", align_corners=False)
        picture += soft * on
    y = torch.arange(height, device=picture.device)[:, None] / height
    x = torch.arange(width, device=picture.device)[None] / width
    for _ in range(6):  # furniture: rectangles and ellipses, turned
        centre = dice.uniform(-0.1, 1.1, count, 2, 1, 1)
        half = dice.uniform(0.03, 0.4, count, 2, 1, 1)
        angle = dice.normal(0.25, count, 1, 1)
        dx, dy = x - centre[:, 0], y - centre[:, 1]
        u = (dx * angle.cos() + dy * angle.sin()) / half[:, 0]
        v = (dy * angle.cos() - dx * angle.sin()) / half[:, 1]
        square = (u.abs() < 1) & (v.abs() < 1)
        round_ = u**2 + v**2 < 1
        shape = torch.where(dice.chance(0.7, count)[:, None, None], square, round_)
        shape &= dice.chance(0.5, count)[:, None, None]
        colour = tint + dice.normal(0.12, count, 3, 1, 1)
        picture = torch.where(shape[:, None], 0.8 * colour + 0.2 * picture, picture)
    picture = torch.where(studio, white + 0.1 * (picture - tint), picture)
    return picture.clamp(0, 1)


def backdrops(
    dice: Dice, count: int, size_hw: tuple[int, int], photos: Photos | None, share: float = 0.8
) -> Tensor:
    """Backgrounds, a share of them photos where there are any, float32 [count,3,H,W] in 0..1."""
    if photos is None:
        return made_up(dice, count, size_hw)
    chosen = dice.chance(share, count)
    picture = torch.empty(count, 3, *size_hw, device=dice.device)
    for source, where in ((photos.sample, chosen), (made_up, ~chosen)):
        ids = where.nonzero()[:, 0]
        if len(ids):
            picture[ids] = source(dice, len(ids), size_hw)
    return picture


def textures(dice: Dice, count: int, side: int, photos: Photos | None) -> Tensor:
    """What cloth and wood are cut from, float32 [count,3,side,side] in 0..1."""
    if photos is None:
        return made_up(dice, count, (side, side))
    return photos.pieces(dice, count, side)
