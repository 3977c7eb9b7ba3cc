"""Networks on torch: any device it knows, three precisions, folded and channels-last."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..models.fold import fold_batchnorm
from ..models.usage import Usage
from .graphs import Forward, make_forward
from .session import Outputs, RuntimeInfo, RuntimeUnavailable, run_split

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# Where channels-last was measured faster: on two CPU cores RTMPose-l 161 ms against 250, -t 10.5
# against 13.6, YOLOX-l 599 against 738; NVIDIA's half precision kernels want it too. Apple's
# backend copies to its own layout anyway.
_CHANNELS_LAST = ("cpu", "cuda", "xpu")


class TorchSession:
    """A torch network as a session.

    Args:
        module: any module that maps [N, 3, H, W] to a tensor or tuple of tensors. Batch norms of
            our own networks are folded; the module itself is left as it is.
        input_size_hw: height and width in pixels, or None where any size will do.
        device: a torch device string: "cpu", "cuda", "cuda:1", "mps", "xpu", ...
        precision: "fp32", "fp16" or "bf16".
        reason: why this was chosen; goes into `info`.
        mode: "eager", or on an NVIDIA GPU "graph" (CUDA graphs at a few batch sizes) or "compile"
            (the same of the network that `torch.compile` makes; minutes at first). Elsewhere they
            run eagerly, and `info` says so.

    Attributes:
        info, input_size_hw, max_batch, input_dtype: see `session.Session`.
        output_shapes, usage: see `session.output_shapes` and `session.usage_of`.
        module: the folded network, on the device. `move` puts it elsewhere; whoever moves it
            otherwise calls `settle` before the next run.
        layout: the memory format that the network runs in.
        version: another number wherever functions of `forward_of` are out of date.

    Raises:
        ValueError: the precision, the mode or the device string is unknown.
        RuntimeUnavailable: the device is not there, or the network does not fit.
    """

    def __init__(
        self,
        module: nn.Module,
        input_size_hw: tuple[int, int] | None = None,
        device: str = "cpu",
        precision: str = "fp32",
        reason: str = "asked for",
        mode: str = "eager",
    ) -> None:
        if precision not in DTYPES:
            raise ValueError(f"precision must be one of {', '.join(DTYPES)}, got {precision!r}")
        self.device = check_device(device)
        self.dtype = DTYPES[precision]
        self.input_size_hw = input_size_hw
        # Graphs that are none of our networks know their ends; see `onnx_graph.OnnxModule`.
        inputs = getattr(module, "inputs", ())
        self.max_batch: int | None = inputs[0].shape[0] if inputs and inputs[0].shape else None
        self.input_dtype = "uint8" if [i.dtype for i in inputs] == [torch.uint8] else "float32"
        self.usage: Usage = getattr(getattr(module, "config", None), "usage", Usage())
        self.output_shapes = tuple(port.shape for port in getattr(module, "outputs", ()))
        self._precision, self._reason, self._mode = precision, reason, mode
        layout = (
            torch.channels_last if self.device.type in _CHANNELS_LAST else torch.contiguous_format
        )
        self.layout = layout
        self.version = 0
        try:
            folded = fold_batchnorm(module).to(self.device, self.dtype)
            self.module: nn.Module = folded.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise RuntimeUnavailable(
                f"torch cannot put the network on device {device!r} in {precision} "
                f"({_first_line(error)}); try another device or precision"
            ) from error
        self._prepare()

    def _prepare(self) -> None:
        """Choose what runs the network where it is now."""
        self.version += 1
        self._place = self._weights_place()
        self._forward, note = make_forward(self.module, self._mode, self.device)
        reason = f"{self._reason}; {note}" if note else self._reason
        self.info = RuntimeInfo("torch", str(self.device), self._precision, reason)

    def __call__(self, images: npt.NDArray[np.float32]) -> Outputs:
        """Run the network; see `session.Session`."""
        return run_split(self._run, images, self.max_batch)

    def _run(self, images: npt.NDArray[np.float32]) -> Outputs:
        with torch.inference_mode():
            batch = torch.from_numpy(np.ascontiguousarray(images))
            batch = batch.to(self.device, self.dtype, memory_format=self.layout)
            return tuple(_to_numpy(output) for output in self._forward(batch))

    def forward_of(self, module: nn.Module) -> Forward:
        """Return what runs a module made around the network, in this session's mode."""
        return make_forward(module, self._mode, self.device)[0]

    def settle(self) -> None:
        """Take notice that the network may have been moved away and back since the last run.

        Recorded graphs read the weights where they once were; if they lie elsewhere now, graphs
        are recorded anew.
        """
        if self._mode != "eager" and self._place != self._weights_place():
            self._prepare()

    def _weights_place(self) -> tuple[int, ...]:
        return tuple(weight.data_ptr() for weight in self.module.parameters())

    def move(self, device: str) -> None:
        """Put the network on another device, for instance to free a GPU's memory meanwhile.

        Raises:
            ValueError: the device string is unknown.
            RuntimeUnavailable: the device is not there.
        """
        self.device = check_device(device)
        self.module.to(self.device)
        self._prepare()


def check_device(device: str) -> torch.device:
    """Return the torch device of that name.

    Raises:
        ValueError: torch knows no such name.
        RuntimeUnavailable: torch knows it, but this machine or this build of torch has none.
    """
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device must be a torch device such as cpu, cuda, cuda:1, mps or xpu, got {device!r}"
        ) from None
    if found.type == "cpu":
        return found
    if found.type == "mps":
        count = int(torch.backends.mps.is_available())
    else:
        backend: Any = getattr(torch, found.type, None)
        count = backend.device_count() if hasattr(backend, "device_count") else None
        if count and hasattr(backend, "is_available") and not backend.is_available():
            count = 0
    if count is not None and (found.index or 0) >= count:
        raise RuntimeUnavailable(
            f"torch {torch.__version__} sees {count} devices of type {found.type}, so there is no "
            f"{device!r}; install a torch build for it, or choose another device such as cpu"
        )
    return found


def _to_numpy(output: Tensor) -> npt.NDArray[Any]:
    if output.is_floating_point():
        output = output.float()
    return output.cpu().numpy()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
