"""Seeded random numbers for the engine: drawn on the CPU, so that every device gets the same."""

from __future__ import annotations

import torch
from torch import Tensor


class Dice:
    """One stream of random numbers; every draw advances it, so the order of calls matters.

    Args:
        seed: any integer.
        device: where the results go; all but `noise` are drawn on the CPU.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self.device = torch.device(device)
        self._fast: torch.Generator | None = None

    def uniform(self, low: float, high: float, *size: int) -> Tensor:
        """Float32 in [low, high)."""
        drawn = torch.rand(size, generator=self._generator)
        return (low + (high - low) * drawn).to(self.device)

    def normal(self, sigma: float, *size: int) -> Tensor:
        """Float32, mean 0."""
        return (sigma * torch.randn(size, generator=self._generator)).to(self.device)

    def chance(self, probability: float, *size: int) -> Tensor:
        """Bool, True with this probability."""
        return (torch.rand(size, generator=self._generator) < probability).to(self.device)

    def integers(self, high: int, *size: int) -> Tensor:
        """Int64 in [0, high)."""
        return torch.randint(high, size, generator=self._generator).to(self.device)

    def choice(self, weights: Tensor | tuple[float, ...], size: int) -> Tensor:
        """Int64 [size], index i with a probability in proportion to weights[i]."""
        if size == 0:
            return torch.empty(0, dtype=torch.int64, device=self.device)
        table = torch.as_tensor(weights, dtype=torch.float64).cpu()
        drawn = torch.multinomial(table, size, replacement=True, generator=self._generator)
        return drawn.to(self.device)

    def noise(self, *size: int) -> Tensor:
        """Unit normal noise drawn on the device itself: quick, but not the same on all devices."""
        if self._fast is None:
            self._fast = torch.Generator(self.device).manual_seed(self.seed())
        return torch.randn(size, generator=self._fast, device=self.device)

    def seed(self) -> int:
        """A new seed for another stream."""
        return int(torch.randint(2**31 - 1, (1,), generator=self._generator))


def axis_angle(axis: Tensor, angle: Tensor) -> Tensor:
    """Rotation matrices [...,3,3] about unit axes [...,3] by radians [...]."""
    x, y, z = axis.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = torch.sin(angle)[..., None, None], torch.cos(angle)[..., None, None]
    eye = torch.eye(3, device=axis.device, dtype=axis.dtype)
    return eye + sine * skew + (1 - cosine) * (skew @ skew)


def rotation_vector(vector: Tensor) -> Tensor:
    """Rotation matrices [...,3,3] of rotation vectors [...,3] in radians."""
    angle = vector.norm(dim=-1).clamp_min(1e-8)
    return axis_angle(vector / angle[..., None], angle)


def about(axis: str, angle: Tensor) -> Tensor:
    """Rotation about "x", "y" or "z" by radians [...]."""
    unit = torch.zeros(*angle.shape, 3, device=angle.device)
    unit[..., "xyz".index(axis)] = 1.0
    return axis_angle(unit, angle)
