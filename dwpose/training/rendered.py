"""Rendered people as training batches, made while a GPU trains on them.

Rendering a crop costs more than learning from it once, so crops wait in a ring on the device and
are shown several times, varied each time; new ones keep replacing the oldest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ..skeleton import FLIP_INDICES
from .batch import RawBatch
from .pool import HIDDEN, OUTSIDE, SEEN, CropPool, PoolSource, VariationConfig
from .synthetic import SyntheticConfig, SyntheticPeople


@dataclass(frozen=True)
class RingConfig:
    """How many crops are rendered, kept and shown.

    Attributes:
        batch: crops a batch.
        reuse: times that a crop is shown on average.
        at_once: crops that are rendered together. An H100 takes about as long for 256 as for 1024
            (0.26 and 0.42 s), since both are thousands of small steps; 1024 take 13 GB. At most
            `capacity`.
        capacity: crops that the ring keeps; taken down to a multiple of `at_once`.
        head_start: crops that are rendered before the first step, at most `capacity`.
        epoch_length: batches that are called an epoch.
    """

    batch: int = 256
    reuse: int = 4
    at_once: int = 1024
    capacity: int = 16384
    head_start: int = 4096
    epoch_length: int = 100

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: naming the one that is below 1, or below 0 for `head_start`.
        """
        for name, value in vars(self).items():
            if value < (name != "head_start"):
                raise ValueError(f"{name} must be at least 1, got {value}")


class RenderedSource:
    """A ring of rendered crops as a `batch.BatchSource`.

    What a batch holds depends on the seed and its number alone, also after a stop: what lay in the
    ring is rendered again then, at most `RingConfig.capacity` crops.

    Args:
        engine: what renders, and where the ring is.
        config: how much.
        seed: of pictures, draws and variation.
        variation: how crops are varied.

    Raises:
        ValueError: their manner is to change (`VariationConfig.style`), which only a pool can do.
    """

    def __init__(
        self,
        engine: SyntheticPeople,
        config: RingConfig,
        seed: int = 0,
        variation: VariationConfig | None = None,
    ) -> None:
        self.engine, self.config, self.seed = engine, config, seed
        self.variation = variation or VariationConfig()
        if self.variation.style > 0:
            raise ValueError("style is for crops of a pool: give pool, or leave style at 0")
        self.batch = config.batch
        self._ring: dict[str, Tensor] = {}
        # Renderings that the ring holds.
        self._at_once = min(config.at_once, config.capacity)
        self._slots = config.capacity // self._at_once
        self._rendered = range(0)

    def __len__(self) -> int:
        return self.config.epoch_length

    @property
    def crops(self) -> int:
        """Different crops that were rendered for the run up to its present step."""
        return self._rendered.stop * self._at_once

    def batches(self, epoch: int, start: int = 0) -> Iterator[RawBatch]:
        """Yield the batches of an epoch from the `start`-th on; tensors lie on the device."""
        first = epoch * len(self)
        for step in range(first + start, first + len(self)):
            yield self.at(step)

    def at(self, step: int) -> RawBatch:
        """Return the batch of a step, counted from the run's beginning."""
        self.render(step)
        dice = torch.Generator(self.engine.device)
        dice.manual_seed((self.seed + 1) * 10_000_000 + step)
        filled = len(self._rendered) * self._at_once
        rows = torch.randint(filled, (self.batch,), generator=dice, device=self.engine.device)
        chosen = {name: column[rows] for name, column in self._ring.items()}
        return vary_on_device(chosen, dice, self.variation)

    def render(self, step: int) -> None:
        """Put into the ring what belongs there at a step."""
        config = self.config
        at_first = min(config.head_start // self._at_once, self._slots)
        stop = at_first + 1 + step * config.batch // (config.reuse * self._at_once)
        wanted = range(max(0, stop - self._slots), stop)
        for number in wanted:
            if number not in self._rendered:
                # Rendering's seeds and those of draws are apart by sign.
                count = self._at_once
                crops = render_crops(self.engine, count, -1 - self.seed * 10_000_000 - number)
                slot = number % self._slots * count
                for name, column in crops.items():
                    if name not in self._ring:
                        size = (self._slots * count, *column.shape[1:])
                        self._ring[name] = column.new_zeros(size)
                    self._ring[name][slot : slot + count] = column
        self._rendered = wanted


def crop_sources(
    pool: str | None,
    scenes: SyntheticConfig,
    ring: RingConfig,
    device: torch.device,
    variation: VariationConfig | None = None,
) -> Callable[[int], PoolSource | RenderedSource]:
    """Return what makes the crops of a run from its seed; processes of one run take several seeds.

    Args:
        pool: folder of rendered crops; without one they are rendered on the way.
        scenes: what is rendered then.
        ring: crops a batch and batches an epoch, and how rendered crops are kept.
        device: where they are rendered.
        variation: how crops are varied each time they are shown.

    Raises:
        FileNotFoundError: the folder holds no crops.
        ValueError: it holds crops of another padding than that of `scenes`.
    """
    if pool:
        crops = CropPool(Path(pool), scenes.padding)
        return lambda seed: PoolSource(crops, ring.batch, ring.epoch_length, seed, variation)
    engine = SyntheticPeople(scenes, device)
    return lambda seed: RenderedSource(engine, ring, seed, variation)


def render_crops(engine: SyntheticPeople, count: int, seed: int) -> dict[str, Tensor]:
    """Render crops: `image` uint8 [N, H, W, 3], `keypoints` [N, K, 2], `visibility` uint8 [N, K].

    A face or hand of which next to nothing is seen counts as absent, see `render_pool`.
    """
    made = engine.sample(count, seed)
    absent = (made.visibility == HIDDEN) & (made.weights == 0)
    visibility = made.visibility.masked_fill(absent, OUTSIDE).to(torch.uint8)
    image = made.images.permute(0, 2, 3, 1).contiguous()
    return {"image": image, "keypoints": made.keypoints, "visibility": visibility}


def as_labels(crops: dict[str, Tensor], settings: VariationConfig) -> RawBatch:
    """Turn crops with visibility into a batch with weights."""
    strength = (settings.outside_weight, settings.hidden_weight, 1.0)
    weights = torch.tensor(strength, device=crops["image"].device)[crops["visibility"].long()]
    return {"image": crops["image"], "keypoints": crops["keypoints"], "weights": weights}


def vary_on_device(
    crops: dict[str, Tensor], dice: torch.Generator, settings: VariationConfig
) -> RawBatch:
    """Do to all crops at once what `pool.vary` does to one.

    Args:
        crops: as of `render_crops`.
        dice: decides; on the device of the crops.
        settings: how.
    """
    image, keypoints, visibility = (crops[k] for k in ("image", "keypoints", "visibility"))
    device = image.device
    count, height, width, _ = image.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        numbers = torch.rand(count, *shape, generator=dice, device=device)
        return low + (high - low) * numbers

    flip = uniform(0, 1) < settings.flip
    order = torch.as_tensor(FLIP_INDICES, device=device)
    size = torch.tensor((width, height), device=device, dtype=torch.float32)
    mirrored = keypoints[:, order] * keypoints.new_tensor((-1, 1))
    mirrored = mirrored + keypoints.new_tensor((width - 1, 0))
    keypoints = torch.where(flip[:, None, None], mirrored, keypoints)
    visibility = torch.where(flip[:, None], visibility[:, order], visibility)

    turn = torch.deg2rad(uniform(-settings.rotation_deg, settings.rotation_deg))
    turn = turn * (uniform(0, 1) < settings.rotate)
    zoom = uniform(*settings.zoom)
    middle = (size - 1) / 2 + uniform(-settings.shift, settings.shift, 2) * size
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    # From a place in the new crop, relative to its middle, to one in the old crop.
    matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    rows = torch.arange(height, device=device) - (height - 1) / 2
    columns = torch.arange(width, device=device) - (width - 1) / 2
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)
    places = torch.einsum("nij,hwj->nhwi", matrix, grid) + middle[:, None, None]
    places[..., 0] = torch.where(flip[:, None, None], width - 1 - places[..., 0], places[..., 0])
    warped = F.grid_sample(
        image.permute(0, 3, 1, 2).float(), places * 2 / (size - 1) - 1, align_corners=True
    )
    apart = (keypoints - middle[:, None])[..., None]
    keypoints = (torch.linalg.inv(matrix)[:, None] @ apart)[..., 0] + (size - 1) / 2
    inside = ((keypoints >= 0) & (keypoints < size)).all(-1)
    visibility = visibility.masked_fill(~inside, OUTSIDE)

    bright = 1 + uniform(-settings.colour, settings.colour, 3) * image.new_tensor(
        (1, 0.4, 0.4), dtype=torch.float32
    )
    tint = bright[:, :1] * torch.stack(
        [bright[:, 1], torch.ones_like(bright[:, 1]), bright[:, 2]], 1
    )
    offset = 255 * uniform(-settings.colour, settings.colour) / 2
    warped = warped * tint[:, :, None, None] + offset[:, None, None, None]

    extent = size * uniform(0.15, 0.35, 2)
    corner = uniform(0, 1, 2) * (size - extent)
    dropped = uniform(0, 1) < settings.drop
    x, y = torch.arange(width, device=device), torch.arange(height, device=device)
    left, top = corner.unbind(1)
    right, bottom = (corner + extent).unbind(1)
    across = (x >= left[:, None]) & (x < right[:, None])
    down = (y >= top[:, None]) & (y < bottom[:, None])
    cover = down[:, None, :, None] & across[:, None, None, :] & dropped[:, None, None, None]
    paint = uniform(0, 255, 3)[:, :, None, None]
    warped = torch.where(cover, paint, warped)
    low, high = corner[:, None], (corner + extent)[:, None]
    covered = ((keypoints >= low) & (keypoints < high)).all(-1) & dropped[:, None]
    visibility = visibility.masked_fill(covered & (visibility == SEEN), HIDDEN)
    pixels = warped.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    return as_labels({"image": pixels, "keypoints": keypoints, "visibility": visibility}, settings)
