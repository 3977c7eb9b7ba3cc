"""Which runtime, device and precision to use, by rules that were measured.

Milliseconds for one input, the numbers behind the rules:

    two cores, AVX-512 with BF16        onnxruntime   torch   channels-last   bf16 channels-last
    RTMPose-l 384x288                           131     250             161                   78
    RTMPose-m 256x192                            29      56              50                   34
    RTMPose-t 256x192                           9.2      27              22                 17.5

    two cores, AVX-512 without BF16     onnxruntime   torch   channels-last
    RTMPose-l 384x288                            78     111             106
    RTMPose-m 256x192                            22      41              34
    RTMPose-t 256x192                           6.9      14              10
    YOLOX-l 640x640                             555     738             599
    YOLOX-s 640x640                              99     144             117
    YOLOX-nano 416x416                          8.1      28              19

    one NVIDIA H200, torch, fp16        eager   CUDA graphs   compiled
    RTMPose-l 384x288                     9.0          1.46       0.88
    RTMPose-m 256x192                     6.9          1.12
    RTMPose-t 256x192                     5.6          0.68
    YOLOX-l 640x640                       8.3          2.25

So on a CPU onnxruntime wins in float32, everywhere, and torch in bfloat16 beats it only for
large networks on CPUs that have bfloat16 instructions. On NVIDIA GPUs torch is taken, because the
user has it; onnxruntime was not measured there, nor Intel's and Apple's GPUs at all.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import WeightsError
from .machine import Machine, inspect_machine
from .onnx_session import PROVIDERS, pick_provider
from .session import MODES, RuntimeInfo, RuntimeUnavailable, Session

if TYPE_CHECKING:
    from ..weights.load import LoadedModel
    from .onnx_session import OnnxSession
    from .torch_session import TorchSession

logger = logging.getLogger("dwpose")

RUNTIMES = ("auto", "torch", "onnxruntime")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")

# Sizes for which bfloat16 pays against onnxruntime, where the CPU computes it (first table).
_LARGE = ("l", "x")
# Without onnxruntime it pays from m up: 34 ms against 50.
_MEDIUM = ("m", "l", "x")
# Providers worth trying unasked where torch sees no accelerator, as the device names for them.
_ORT_ACCELERATORS = (
    ("CUDAExecutionProvider", "cuda"),
    ("ROCMExecutionProvider", "rocm"),
    ("MIGraphXExecutionProvider", "migraphx"),
    ("DmlExecutionProvider", "dml"),
    ("CoreMLExecutionProvider", "coreml"),
)


def candidates(
    machine: Machine,
    family: str = "rtmpose",
    size: str | None = None,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
) -> list[RuntimeInfo]:
    """Return everything that could run a network here, best first.

    Args:
        machine: what there is.
        family: "rtmpose", "yolox" or "onnx".
        size: the size letter, or None where unknown.
        runtime: "auto", "torch" or "onnxruntime".
        device: "auto" or a device; then nothing on another device is offered.
        precision: "auto", "fp32", "fp16" or "bf16".

    Raises:
        ValueError: runtime or precision is not one of the above.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {', '.join(RUNTIMES)}, got {runtime!r}")
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    found: list[RuntimeInfo] = []
    if device == "auto":
        for accelerator in machine.accelerators:
            found += _on_device(machine, accelerator, runtime, precision)
        if not machine.accelerators and runtime != "torch":
            for provider, name in _ORT_ACCELERATORS:
                if provider in machine.providers:
                    found += _onnx(
                        machine,
                        name,
                        precision,
                        f"torch sees no GPU, onnxruntime offers {provider}",
                    )
        found += _on_cpu(machine, family, size, runtime, precision)
    elif device == "cpu":
        found = _on_cpu(machine, family, size, runtime, precision)
    else:
        found = _on_device(machine, device, runtime, precision)
    return found


def choose(
    family: str = "rtmpose",
    size: str | None = None,
    *,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    machine: Machine | None = None,
) -> RuntimeInfo:
    """Say what `open_session` would try first, and why; opens nothing. See `candidates`.

    Raises:
        ValueError: an argument is unknown.
        RuntimeUnavailable: nothing here fits what was asked.
    """
    found = candidates(
        machine or inspect_machine(accelerators=device != "cpu"),
        family,
        size,
        runtime=runtime,
        device=device,
        precision=precision,
    )
    if not found:
        raise RuntimeUnavailable(_nothing(runtime, device, precision))
    return found[0]


def open_session(
    model: LoadedModel,
    runtime: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    *,
    mode: str = "eager",
    machine: Machine | None = None,
) -> Session:
    """Start a network on the best that is there, or on exactly what was asked.

    Args:
        model: what `weights.load.load_model` returns.
        runtime: "auto", "torch" or "onnxruntime".
        device: "auto", or "cpu", "cuda", "cuda:1", "mps", "dml", ...
        precision: "auto", "fp32", "fp16" or "bf16".
        mode: "eager", "graph" or "compile": how torch runs the network on an NVIDIA GPU. It does
            not take part in the choice; where something else is chosen, its `info` says that the
            mode is not used.
        machine: facts to go by instead of looking at this machine.

    Returns:
        the session. Its `info` says what runs, and in `reason` also what failed before.

    Raises:
        ValueError: an argument is unknown.
        RuntimeUnavailable: nothing that was asked could be started; names each failure.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    family, size = model.family, model_size(model)
    tried: list[str] = []
    for plan in candidates(
        machine or inspect_machine(accelerators=device != "cpu"),
        family,
        size,
        runtime=runtime,
        device=device,
        precision=precision,
    ):
        reason = "; ".join([plan.reason, *tried])
        try:
            session = _open(model, plan, reason, mode, exact=precision != "auto")
        except (RuntimeUnavailable, WeightsError) as error:
            tried.append(f"{plan.runtime} on {plan.device} failed: {error}")
            logger.debug("%s: %s", model, tried[-1])
            continue
        session.usage = model.usage
        logger.info("%s runs with %s", model, session.info)
        return session
    if not tried:
        raise RuntimeUnavailable(_nothing(runtime, device, precision))
    raise RuntimeUnavailable("; ".join(tried))


def model_size(model: LoadedModel) -> str | None:
    """Size letter of a model, or None where its file does not tell."""
    if model.entry is not None:
        return model.entry.size
    size = model.meta.get("size")
    return str(size) if size else None


def _open(
    model: LoadedModel, plan: RuntimeInfo, reason: str, mode: str, exact: bool
) -> TorchSession | OnnxSession:
    """Start one plan; `exact` when its precision was asked for and not only proposed."""
    if plan.runtime == "torch":
        from .torch_session import TorchSession

        return TorchSession(
            model.module, model.input_size_hw, plan.device, plan.precision, reason, mode
        )
    from .onnx_session import OnnxSession

    if mode != "eager":
        reason += f"; {mode} is torch's on an NVIDIA GPU and not used here"
    pick_provider(plan.device)  # before a costly export
    if model.onnx_path is not None:
        session = OnnxSession(model.onnx_path, plan.device, model.input_size_hw, reason)
        stored = session.info.precision
        if stored == plan.precision:
            return session
        if not exact:
            session.info = replace(session.info, reason=f"{reason}; the file itself is {stored}")
            return session
        if plan.precision == "fp32":
            raise RuntimeUnavailable(f"{model.onnx_path.name} is an fp16 graph; run it on torch")
    from .exported import export_once

    try:
        path = export_once(model.module, model.path, half=plan.precision == "fp16")
    except (OSError, RuntimeError, TypeError) as error:
        raise RuntimeUnavailable(f"no ONNX form of it could be made ({error})") from error
    return OnnxSession(path, plan.device, model.input_size_hw, reason)


def _on_cpu(
    machine: Machine, family: str, size: str | None, runtime: str, precision: str
) -> list[RuntimeInfo]:
    found: list[RuntimeInfo] = []
    fp32 = precision in ("auto", "fp32")
    reason = "the fastest on a CPU in fp32" if fp32 else f"{precision} was asked for"
    by_onnx = [] if runtime == "torch" else _onnx(machine, "cpu", precision, reason)
    if runtime == "onnxruntime":
        return by_onnx
    if precision != "auto":
        by_torch = [RuntimeInfo("torch", "cpu", precision, f"{precision} was asked for")]
        if precision == "bf16" and not machine.cpu_bf16:
            note = "bf16 was asked for, though this CPU lacks it and fp32 is faster"
            by_torch = [RuntimeInfo("torch", "cpu", "bf16", note)]
        return by_onnx + by_torch
    pays = family == "rtmpose" and machine.cpu_bf16 and size in (_LARGE if by_onnx else _MEDIUM)
    if pays:
        note = f"this CPU has bfloat16, which is faster than fp32 for size {size}"
        found.append(RuntimeInfo("torch", "cpu", "bf16", note))
    found += by_onnx
    note = "onnxruntime, which is faster on a CPU, is not installed"
    if runtime == "torch":
        note = "torch was asked for"
    elif by_onnx:
        note = "always there"
    return [*found, RuntimeInfo("torch", "cpu", "fp32", note)]


def _on_device(machine: Machine, device: str, runtime: str, precision: str) -> list[RuntimeInfo]:
    """Plans for an accelerator, by torch first."""
    kind = device.partition(":")[0]
    found: list[RuntimeInfo] = []
    served_by_onnx = kind.endswith("ExecutionProvider") or kind.lower() in PROVIDERS
    # "dml", "openvino" and the like are onnxruntime's words; torch would not know them.
    only_onnx = served_by_onnx and kind not in ("cuda", "mps", "xpu")
    if runtime != "onnxruntime" and not only_onnx:
        half = kind == "cuda" and (machine.fast_half or "cuda" not in machine.accelerators)
        best = "fp16" if half else "fp32"
        use = best if precision == "auto" else precision
        why = f"torch runs on {device} without anything more installed"
        found.append(RuntimeInfo("torch", device, use, why))
    if runtime != "torch" and served_by_onnx and (machine.providers or runtime != "auto"):
        found += _onnx(machine, device, precision, f"onnxruntime can run on {device}")
    if not found and runtime == "onnxruntime" and not (machine.providers and served_by_onnx):
        # Let onnxruntime's own error name what is missing.
        use = "fp32" if precision == "auto" else precision
        found.append(RuntimeInfo("onnxruntime", device, use, "asked for"))
    return found


def _onnx(machine: Machine, device: str, precision: str, reason: str) -> list[RuntimeInfo]:
    """The onnxruntime plan for a device; none in bf16, which its providers do not take."""
    if precision == "bf16" or not machine.providers:
        return []
    use = "fp32" if precision == "auto" else precision
    return [RuntimeInfo("onnxruntime", device, use, reason)]


def _nothing(runtime: str, device: str, precision: str) -> str:
    if runtime == "onnxruntime" and precision == "bf16":
        return "onnxruntime does not run in bf16; choose precision fp32 or fp16, or runtime torch"
    if runtime == "onnxruntime":
        return (
            "onnxruntime is not installed; pip install onnxruntime (or onnxruntime-gpu, "
            "onnxruntime-directml), or choose runtime torch"
        )
    return f"nothing here runs {runtime} on {device} in {precision}"
