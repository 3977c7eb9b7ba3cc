"""Networks on ONNX Runtime, on every provider that the installed wheel offers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..models.usage import Usage
from .session import Outputs, RuntimeInfo, RuntimeUnavailable, run_split

# Device names people use, and the providers that serve them, best first. TensorRT compiles for
# minutes, so it is used only when named.
PROVIDERS: dict[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider"),
    "rocm": ("ROCMExecutionProvider", "MIGraphXExecutionProvider"),
    "migraphx": ("MIGraphXExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"),
    "dml": ("DmlExecutionProvider",),
    "directml": ("DmlExecutionProvider",),
    "coreml": ("CoreMLExecutionProvider",),
    "mps": ("CoreMLExecutionProvider",),
    "openvino": ("OpenVINOExecutionProvider",),
    "xpu": ("OpenVINOExecutionProvider",),
    "xnnpack": ("XnnpackExecutionProvider",),
    "qnn": ("QNNExecutionProvider",),
    "webgpu": ("WebGpuExecutionProvider",),
}
_WITH_DEVICE_ID = (
    "CUDAExecutionProvider",
    "ROCMExecutionProvider",
    "MIGraphXExecutionProvider",
    "TensorrtExecutionProvider",
    "DmlExecutionProvider",
)
_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
}


class OnnxSession:
    """An ONNX file as a session.

    Args:
        path: the .onnx file. It must have one image input [N, 3, H, W] of float32, float16 or
            uint8; inputs are converted.
        device: "cpu", "cuda", "cuda:1", "dml", "coreml", "openvino", "tensorrt", ... or the full
            name of a provider.
        input_size_hw: where the graph leaves height and width open.
        reason: why this was chosen; goes into `info`.

    Attributes:
        info, input_size_hw, max_batch, input_dtype: see `session.Session`. `max_batch` is 1
            for a graph whose batch is fixed at one.
        output_shapes, usage: see `session.output_shapes` and `session.usage_of`.

    Raises:
        ValueError: the device name is unknown.
        RuntimeUnavailable: onnxruntime is not installed, offers no provider for the device, or
            fails to start on it; it never falls back to the CPU unnoticed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        device: str = "cpu",
        input_size_hw: tuple[int, int] | None = None,
        reason: str = "asked for",
    ) -> None:
        provider, options = pick_provider(device)
        self._session = _start(Path(path), provider, options)
        given = self._session.get_inputs()
        if len(given) != 1 or given[0].type not in _DTYPES or len(given[0].shape) != 4:
            layout = [(i.name, i.type, i.shape) for i in given]
            raise RuntimeUnavailable(
                f"{Path(path).name} takes {layout}, not one picture [N, 3, H, W]; "
                "it is no detector or pose network that this package can run"
            )
        self._name: str = given[0].name
        self._dtype = _DTYPES[given[0].type]
        batch, _, height, width = given[0].shape
        if isinstance(height, int) and isinstance(width, int):
            input_size_hw = (height, width)
        self.input_size_hw = input_size_hw
        self.max_batch = batch if isinstance(batch, int) else None
        self.input_dtype = np.dtype(self._dtype).name
        self.output_shapes = tuple(
            tuple(n if isinstance(n, int) else None for n in output.shape)
            for output in self._session.get_outputs()
        )
        precision = "fp16" if self._dtype is np.float16 else "fp32"
        self.info = RuntimeInfo("onnxruntime", device, precision, reason)
        self.usage = Usage()

    def __call__(self, images: npt.NDArray[np.float32]) -> Outputs:
        """Run the network; see `session.Session`."""
        return run_split(self._run, images, self.max_batch)

    def _run(self, images: npt.NDArray[np.float32]) -> Outputs:
        outputs = self._session.run(None, {self._name: images.astype(self._dtype, copy=False)})
        return tuple(
            output.astype(np.float32) if output.dtype == np.float16 else output
            for output in outputs
        )


def available_providers() -> tuple[str, ...]:
    """Providers of the installed onnxruntime; empty where there is none."""
    try:
        import onnxruntime
    except ImportError:
        return ()
    return tuple(onnxruntime.get_available_providers())


def pick_provider(device: str) -> tuple[str, dict[str, Any]]:
    """Return the provider for a device name, and its options.

    Raises:
        ValueError: the name is unknown.
        RuntimeUnavailable: onnxruntime is missing or was built without such a provider.
    """
    offered = available_providers()
    kind, _, index = device.partition(":")
    wanted = (kind,) if kind.endswith("ExecutionProvider") else PROVIDERS.get(kind.lower(), ())
    if not wanted or (index and not index.isdigit()):
        raise ValueError(
            f"device must be one of {', '.join(PROVIDERS)}, optionally with :number, or the full "
            f"name of an onnxruntime provider; got {device!r}"
        )
    if not offered:
        raise RuntimeUnavailable(
            "onnxruntime is not installed; pip install onnxruntime (or onnxruntime-gpu, "
            "onnxruntime-directml), or choose runtime torch"
        )
    for provider in wanted:
        if provider in offered:
            takes_id = provider in _WITH_DEVICE_ID
            return provider, {"device_id": int(index)} if index and takes_id else {}
    raise RuntimeUnavailable(
        f"this onnxruntime offers {', '.join(offered)}, none of which runs on {device!r}; "
        "install the wheel for it (onnxruntime-gpu for cuda, onnxruntime-directml for dml), "
        "or choose runtime torch"
    )


def _start(path: Path, provider: str, options: dict[str, Any]) -> Any:
    """Open an InferenceSession that truly runs on the provider."""
    import onnxruntime

    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {str(path)!r}")
    if provider in ("CUDAExecutionProvider", "TensorrtExecutionProvider"):
        # Finds the CUDA libraries that torch or NVIDIA's wheels brought along.
        getattr(onnxruntime, "preload_dlls", lambda: None)()
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors only; what matters is raised below
    chain: list[Any] = [(provider, options)]
    if provider != "CPUExecutionProvider":
        chain.append("CPUExecutionProvider")  # for the odd operator that the provider lacks
    try:
        session = onnxruntime.InferenceSession(str(path), sess_options=settings, providers=chain)
    except Exception as error:  # onnxruntime raises a dozen types without a common base
        raise RuntimeUnavailable(
            f"onnxruntime {onnxruntime.__version__} cannot open {path.name} on {provider} "
            f"({str(error).strip().splitlines()[0][:300]}); fetch the file again if it is "
            "damaged, or choose another device or runtime torch"
        ) from error
    session.disable_fallback()
    running = session.get_providers()
    if not running or running[0] != provider:
        # The wheel offers the provider, but its libraries do not load: onnxruntime only warns.
        raise RuntimeUnavailable(
            f"onnxruntime {onnxruntime.__version__} could not start {provider} and would have "
            f"used {', '.join(running)} instead; install the CUDA and cuDNN versions it was built "
            "for, or choose another device or runtime torch"
        )
    return session
