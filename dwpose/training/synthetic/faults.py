"""What a camera, a phone and a web site do to a picture: blur, scaling, colour, noise, JPEG."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .dice import Dice

# Example quantisation tables of the JPEG standard, ITU-T T.81 annex K.
_LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
_YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def blur(picture: Tensor, sigma_xy: Tensor, reach: int = 3) -> Tensor:
    """Gaussian blur with its own width and height per picture.

    Args:
        picture: [N,C,H,W].
        sigma_xy: pixels, [N,2]; different values imitate motion.
        reach: taps on either side.
    """
    offsets = torch.arange(-reach, reach + 1, device=picture.device)
    taps = torch.exp(-0.5 * (offsets / sigma_xy[..., None].clamp_min(0.05)) ** 2)
    taps = taps / taps.sum(-1, keepdim=True)  # [N,2,2*reach+1]
    for axis, pad in ((0, (reach, reach, 0, 0)), (1, (0, 0, reach, reach))):
        padded = F.pad(picture, pad, mode="replicate")
        size = picture.shape[3 - axis]
        out = torch.zeros_like(picture)
        for k in range(2 * reach + 1):
            out.addcmul_(padded.narrow(3 - axis, k, size), taps[:, axis, k, None, None, None])
        picture = out
    return picture


def soften_background(dice: Dice, picture: Tensor, share: float = 0.45) -> Tensor:
    """Throw a share of backgrounds out of focus, [N,3,H,W]."""
    count, _, height, width = picture.shape
    amount = dice.chance(share, count) * dice.uniform(0.3, 1.0, count)
    chosen = amount.nonzero()[:, 0]
    if len(chosen) == 0:
        return picture
    factor = float(dice.uniform(2.0, 9.0, 1))
    small = F.interpolate(
        picture[chosen], size=(math.ceil(height / factor), math.ceil(width / factor)), mode="area"
    )
    soft = F.interpolate(small, size=(height, width), mode="bicubic", align_corners=False)
    picture[chosen] += amount[chosen, None, None, None] * (soft - picture[chosen])
    return picture.clamp(0, 1)


def camera_faults(dice: Dice, picture: Tensor) -> Tensor:
    """Degrade pictures [N,3,H,W] in 0..1; every fault touches a share of them."""
    count, _, height, width = picture.shape

    def maybe(share: float, low: float, high: float, none: float) -> Tensor:
        value = torch.where(dice.chance(share, count), dice.uniform(low, high, count), none)
        return value[:, None, None, None]

    # A little blur always: renders have harder edges than lenses give.
    picture = blur(picture, dice.uniform(0.3, 0.6, count, 1).expand(count, 2), reach=1)
    soft = dice.chance(0.22, count).nonzero()[:, 0]
    if len(soft):
        sigma = dice.uniform(0.3, 1.5, len(soft), 1).expand(-1, 2)
        way = dice.integers(2, len(soft))[:, None] == torch.arange(2, device=picture.device)
        moving = dice.chance(0.35, len(soft))[:, None] & way
        sigma = sigma + moving * dice.uniform(0.5, 1.8, len(soft), 1)
        picture[soft] = blur(picture[soft], sigma, reach=4)
    shrunk = dice.chance(0.22, count).nonzero()[:, 0]
    factor = float(dice.uniform(0.3, 0.85, 1))
    if len(shrunk):
        size = (round(height * factor), round(width * factor))
        small = F.interpolate(picture[shrunk], size=size, mode="area")
        small = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
        picture[shrunk] = small

    gamma = torch.exp(dice.normal(0.22, count, 1, 1, 1))
    picture = picture.clamp(1e-4, 1) ** gamma
    grey = maybe(0.08, 0.9, 1.0, 0.0) + maybe(0.2, -0.3, 0.5, 0.0)
    luma = (picture * torch.tensor(_YCBCR[0], device=picture.device).view(3, 1, 1)).sum(1, True)
    picture = picture + grey.clamp(-0.4, 1) * (luma - picture)
    contrast = torch.exp(dice.normal(0.16, count, 1, 1, 1))
    cast = 1 + dice.normal(0.05, count, 3, 1, 1)
    picture = (picture - 0.45) * contrast * cast + 0.45 + dice.normal(0.04, count, 1, 1, 1)

    grainy = dice.chance(0.5, count).nonzero()[:, 0]
    if len(grainy):
        grain = dice.uniform(0.004, 0.045, len(grainy), 1, 1, 1)
        picture[grainy] += grain * dice.noise(len(grainy), 3, height, width)
    picture = picture.clamp(0, 1)
    pressed = dice.chance(0.6, count).nonzero()[:, 0]
    if len(pressed):
        quality = dice.uniform(25.0, 95.0, len(pressed))
        picture[pressed] = jpeg(picture[pressed], quality)
    return picture


def jpeg(picture: Tensor, quality: Tensor) -> Tensor:
    """The loss of a JPEG file: quantised 8x8 cosine transforms, chroma at half resolution.

    Args:
        picture: [N,3,H,W] in 0..1, sides divisible by 16.
        quality: 1..100 as libjpeg counts it, [N].
    """
    device = picture.device
    matrix = torch.tensor(_YCBCR, device=device)
    colour = torch.einsum("ij,njhw->nihw", matrix, picture) * 255.0
    luma = colour[:, :1] - 128.0
    chroma = F.avg_pool2d(colour[:, 1:], 2)
    scale = torch.where(quality < 50, 50.0 / quality, 2.0 - quality / 50.0)
    luma = _press(luma, torch.tensor(_LUMINANCE, device=device), scale) + 128.0
    chroma = _press(chroma, torch.tensor(_CHROMINANCE, device=device), scale)
    # Smooth upsampling with weights 3/4 and 1/4, as libjpeg does by default.
    chroma = F.interpolate(chroma, scale_factor=2, mode="bilinear", align_corners=False)
    colour = torch.cat([luma, chroma], 1) / 255.0
    back = torch.linalg.inv(matrix)
    return torch.einsum("ij,njhw->nihw", back, colour).clamp(0, 1)


def _press(planes: Tensor, table: Tensor, scale: Tensor) -> Tensor:
    count, channels, height, width = planes.shape
    k = torch.arange(8, device=planes.device, dtype=planes.dtype)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8).transpose(3, 4)
    steps = (table * scale[:, None, None]).clamp(1, 255)[:, None, None, None]
    spectrum = basis @ blocks @ basis.T
    spectrum = torch.round(spectrum / steps) * steps
    blocks = basis.T @ spectrum @ basis
    return blocks.transpose(3, 4).reshape(count, channels, height, width)


def occluders(dice: Dice, picture: Tensor, texture: Tensor, hands: Tensor) -> tuple[Tensor, Tensor]:
    """Put a thing in front of every picture, and a second one before a third of them.

    Args:
        dice: random numbers.
        picture: [N,3,H,W].
        texture: what the things look like, [N,3,H,W].
        hands: pixels near which a third of the things are, as if held, [N,2].

    Returns:
        the pictures, and where they are covered, bool [N,H,W].
    """
    count, _, height, width = picture.shape
    y = torch.arange(height, device=picture.device)[:, None] / height
    x = torch.arange(width, device=picture.device)[None] / width
    covered = torch.zeros(count, height, width, dtype=torch.bool, device=picture.device)
    for turn in range(2):
        centre = dice.uniform(0.0, 1.0, count, 2, 1, 1)
        half = 0.04 + 0.2 * dice.uniform(0, 1, count, 2, 1, 1) ** 1.5
        held = dice.chance(0.33, count)[:, None, None, None]
        spot = hands / hands.new_tensor([width, height])
        spot = (spot + dice.normal(0.03, count, 2)).clamp(-0.2, 1.2)
        centre = torch.where(held, spot[:, :, None, None], centre)
        half = half * torch.where(held, 0.6, 1.0)
        # Some are tables and counters: wide, at the bottom.
        table = dice.chance(0.4, count)[:, None, None] & ~held[:, 0]
        middle_x = torch.where(table, 0.5, centre[:, 0])
        middle_y = torch.where(table, 1.0, centre[:, 1])
        half_x = torch.where(table, 1.0, half[:, 0])
        angle = dice.normal(0.3, count, 1, 1) * torch.where(table, 0.2, 1.0)
        dx, dy = x - middle_x, y - middle_y
        u = (dx * angle.cos() + dy * angle.sin()) / half_x
        v = (dy * angle.cos() - dx * angle.sin()) / half[:, 1]
        inside = torch.where(
            dice.chance(0.6, count)[:, None, None] | table,
            (u.abs() < 1) & (v.abs() < 1),
            u**2 + v**2 < 1,
        )
        again = dice.chance(0.33, count)[:, None, None] if turn else True
        covered |= inside & again
    return torch.where(covered[:, None], texture, picture), covered
