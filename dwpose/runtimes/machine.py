"""What this machine can run networks on; asked for when needed, never at import."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

from .onnx_session import available_providers


@dataclass(frozen=True)
class Machine:
    """Facts that the rules of `auto` depend on.

    Attributes:
        accelerators: torch devices besides the CPU, best first: "cuda", "xpu", "mps".
        fast_half: whether the first of them computes in float16 faster than in float32.
        providers: what the installed onnxruntime offers; empty where there is none.
        cpu_bf16: the CPU has bfloat16 instructions (AVX512_BF16, AMX or ARM's BF16).
        cpu_name: for messages.
    """

    accelerators: tuple[str, ...] = ()
    fast_half: bool = False
    providers: tuple[str, ...] = ()
    cpu_bf16: bool = False
    cpu_name: str = "cpu"


def inspect_machine(accelerators: bool = True) -> Machine:
    """Look at this machine.

    Args:
        accelerators: ask torch for GPUs; without it torch is not imported.
    """
    found, fast_half = _torch_accelerators() if accelerators else ((), False)
    return Machine(
        found,
        fast_half,
        available_providers(),
        has_bf16(_cpu_flags()),
        platform.processor() or platform.machine(),
    )


def _torch_accelerators() -> tuple[tuple[str, ...], bool]:
    import torch

    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        found.append("xpu")
    if torch.backends.mps.is_available():
        found.append("mps")
    # Half precision is slow on NVIDIA's cards before Volta (compute capability 7.0).
    fast_half = "cuda" in found and torch.cuda.get_device_capability() >= (7, 0)
    return tuple(found), fast_half


def has_bf16(flags: set[str]) -> bool:
    """Tell from Linux's CPU flags whether bfloat16 is computed in hardware.

    torch runs bfloat16 on any CPU, slower than float32 where it has to emulate it; its own test
    does not tell the two apart in all releases, so the flags are read.
    """
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def _cpu_flags() -> set[str]:
    """Flags of the first core; empty on systems without /proc, which are then taken as plain."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return set()
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return set(value.split())
    return set()
