"""Networks at fixed batch sizes: as CUDA graphs, or compiled.

A network of many small kernels spends more time being started from Python than running, above all
for one person. A CUDA graph is started once for the whole network; a compiled network has fewer
kernels. Both hold for one shape, so batches are filled up to the next of a few sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

import torch
from torch import Tensor, nn

from .session import MODES

# Batches are filled up to the next of these, larger ones run in pieces of the last; a graph keeps
# its buffers, so each size costs memory.
SIZES: Final = (1, 2, 4, 8, 16, 32, 64)
# Runs before a graph is recorded: libraries choose their kernels and allocate in the first ones.
_WARM_UP: Final = 3
# Shapes of all networks together that may be compiled in a process.
_MOST_COMPILED: Final = 250

Forward = Callable[[Tensor], tuple[Tensor, ...]]


def make_forward(module: nn.Module, mode: str, device: torch.device) -> tuple[Forward, str]:
    """Return what runs a network on its device, and what there is to tell of that, or "".

    Args:
        module: maps a batch to a tensor or a tuple of tensors.
        mode: "eager"; "graph": CUDA graphs; "compile": `torch.compile`, then CUDA graphs; without
            Triton, which torch has on Linux, graphs alone.
        device: where the module is. On anything but CUDA it runs eagerly.

    Returns:
        a function of a batch [N, ...], on the device or not; what it returns may be overwritten
        by the next call.

    Raises:
        ValueError: an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")

    def eager(batch: Tensor) -> tuple[Tensor, ...]:
        outputs = module(batch)
        return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)

    def moved(batch: Tensor) -> tuple[Tensor, ...]:
        return eager(batch.to(device, non_blocking=batch.is_pinned()))

    if mode == "eager":
        return moved, ""
    if device.type != "cuda":
        return moved, f"{mode} needs an NVIDIA GPU, so it runs eagerly on {device.type}"
    graphs = FixedSizes(lambda example: record(eager, example), device)
    if mode == "graph":
        return graphs, "as CUDA graphs"
    if find_spec("triton") is None:
        return graphs, "compile needs Triton, which is not installed, so it runs as CUDA graphs"
    run = torch.compile(eager, dynamic=False, options={"triton.cudagraphs": False})
    graphs = FixedSizes(lambda example: record_compiled(run, example), device)
    return graphs, "compiled, as CUDA graphs"


class FixedSizes:
    """Run batches of any size through functions that take one size each.

    Args:
        make: makes such a function from an example batch.
        device: where that batch is; others are copied there.
        sizes: the sizes, rising.
    """

    def __init__(
        self,
        make: Callable[[Tensor], Forward],
        device: torch.device,
        sizes: tuple[int, ...] = SIZES,
    ) -> None:
        self.make, self.device, self.sizes = make, device, sizes
        self._made: dict[tuple[Any, ...], tuple[Tensor, Forward]] = {}

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Run a batch [N, ...]."""
        most = self.sizes[-1]
        if len(batch) <= most:
            return self._run(batch)
        pieces = [
            # The next piece overwrites what this one returns.
            [output.clone() for output in self._run(batch[start : start + most])]
            for start in range(0, len(batch), most)
        ]
        return tuple(torch.cat(parts) for parts in zip(*pieces, strict=True))

    def _run(self, batch: Tensor) -> tuple[Tensor, ...]:
        count = len(batch)
        if not count:
            one = self._run(batch.new_zeros((1, *batch.shape[1:])))
            return tuple(output[:0] for output in one)
        size = next(s for s in self.sizes if s >= count)
        key = (size, *batch.shape[1:], batch.dtype)
        if key not in self._made:
            example = torch.zeros(
                (size, *batch.shape[1:]), dtype=batch.dtype, device=self.device
            ).contiguous(memory_format=_layout(batch))
            self._made[key] = example, self.make(example)
        held, forward = self._made[key]
        held[:count].copy_(batch, non_blocking=batch.is_pinned())
        # What was there before in the rest is harmless: no network mixes the rows of a batch.
        return tuple(output[:count] for output in forward(held))


def record(run: Forward, example: Tensor) -> Forward:
    """Record a CUDA graph of a network for one shape.

    Args:
        run: the network.
        example: the batch whose memory later calls use.

    Returns:
        a function of that very batch, which writes into the same outputs each time.
    """
    with torch.cuda.device(example.device):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                run(example)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as those of a program around this one, may go on using the device.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = run(example)

    def replay(batch: Tensor) -> tuple[Tensor, ...]:
        graph.replay()
        return outputs

    return replay


def record_compiled(run: Forward, example: Tensor) -> Forward:
    """Compile a network for one shape and record its graph; see `record`."""
    # Beyond its limit of 8 torch.compile runs a function eagerly from then on, and says so only in
    # its log; all our networks and all sizes count as one function there.
    with torch._dynamo.config.patch(cache_size_limit=_MOST_COMPILED):
        return record(run, example)


def _layout(batch: Tensor) -> torch.memory_format:
    last = batch.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format
