"""What a running network looks like to the rest of the library: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..models.usage import Usage

Outputs = tuple[npt.NDArray[Any], ...]

# How torch runs a network on an NVIDIA GPU; see `graphs`.
MODES: Final = ("eager", "graph", "compile")


class RuntimeUnavailable(RuntimeError):
    """The asked runtime, device or precision cannot be had here; the message says what to do."""


@dataclass(frozen=True)
class RuntimeInfo:
    """What runs a network, and why; reported, so that nobody has to guess.

    Attributes:
        runtime: "torch" or "onnxruntime".
        device: "cpu", "cuda:0", "mps", "dml", ... or an ONNX Runtime provider's full name.
        precision: "fp32", "fp16" or "bf16".
        reason: one sentence on why this was chosen, including what was tried and failed.
    """

    runtime: str
    device: str
    precision: str
    reason: str

    def __str__(self) -> str:
        return f"{self.runtime} on {self.device} in {self.precision} ({self.reason})"


@runtime_checkable
class Session(Protocol):
    """A network that is ready to run.

    Attributes:
        info: what runs it and why.
        input_size_hw: height and width of the input in pixels, or None where any size will do.
        max_batch: the largest N that one call takes at once, or None where there is no limit.
            Larger batches are split by the session itself; the number says that batching does
            not pay.
        input_dtype: what the network itself takes; "uint8" for graphs that normalise inside.
    """

    info: RuntimeInfo
    input_size_hw: tuple[int, int] | None
    max_batch: int | None
    input_dtype: str

    def __call__(self, images: npt.NDArray[np.float32]) -> Outputs:
        """Run the network.

        Args:
            images: float32 [N, 3, H, W], prepared as the network expects.

        Returns:
            the network's outputs, in its own order; floating outputs are float32.
        """
        ...


def output_shapes(session: Session) -> tuple[tuple[int | None, ...], ...]:
    """Sizes of a network's outputs as its file states them, None where it leaves one open.

    Nothing where the session does not know them: only ONNX files state them.
    """
    return tuple(getattr(session, "output_shapes", ()))


def usage_of(session: Session) -> Usage:
    """How a network is to be used, which its file says; as the official ones unless it does."""
    return getattr(session, "usage", Usage())


def run_split(
    run: Callable[[npt.NDArray[np.float32]], Outputs],
    images: npt.NDArray[np.float32],
    fixed: int | None,
) -> Outputs:
    """Run images through a graph that takes exactly so many at once, or any number (None).

    Args:
        run: the network.
        images: float32 [N, 3, H, W].
        fixed: the graph's batch; the last part is filled up with black.
    """
    if fixed is None or len(images) == fixed:
        return run(images)
    parts = []
    for start in range(0, len(images), fixed):
        part = images[start : start + fixed]
        missing = fixed - len(part)
        if missing:
            part = np.concatenate((part, np.zeros((missing, *part.shape[1:]), part.dtype)))
        parts.append(tuple(output[: fixed - missing] for output in run(part)))
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def runs_on_gpu(session: Session) -> bool:
    """Tell whether a session runs on torch's "cuda", which is AMD's name too."""
    return session.info.runtime == "torch" and session.info.device.startswith("cuda")


def pick_batch_size(session: Session, asked: int | None, on_cpu: int, elsewhere: int) -> int:
    """Return how many inputs go through a session at once.

    Raises:
        ValueError: the asked number is below one.
    """
    if asked is not None and asked < 1:
        raise ValueError(f"batch_size must be at least 1, got {asked}")
    size = asked or (on_cpu if session.info.device == "cpu" else elsewhere)
    return min(size, session.max_batch or size)
