"""How far the inference forms of each network are from its float32 form.

    python benchmarks/precision.py [--device cuda] [--networks rtmpose-t ...] [--out FILE]

Every network is filled from the names of its parameters (``weights_by_name.py`` of the reference
material), so the numbers can be repeated anywhere without a checkpoint; such weights are a harder
case than trained ones, whose curves have one clear maximum. Recorded per form: the largest and
the mean difference of the outputs, also relative to their standard deviation; for RTMPose how
many of the keypoints move and by how much, and the change of the score; for YOLOX the
differences of box numbers, objectness and classes apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from dwpose import simcc  # noqa: E402
from dwpose.models.fold import fold_batchnorm  # noqa: E402
from dwpose.models.rtmpose import RTMPose, rtmpose_config  # noqa: E402
from dwpose.models.yolox import YOLOX, yolox_config  # noqa: E402

NETWORKS: dict[str, tuple[str, str, tuple[int, int]]] = {
    "rtmpose-t": ("rtmpose", "t", (256, 192)),
    "rtmpose-s": ("rtmpose", "s", (256, 192)),
    "rtmpose-m": ("rtmpose", "m", (256, 192)),
    "rtmpose-l-384": ("rtmpose", "l", (384, 288)),
    "yolox-nano-416": ("yolox", "nano", (416, 416)),
    "yolox-s-640": ("yolox", "s", (640, 640)),
}

# Form -> (dtype, channels-last); all of them folded.
FORMS: dict[str, tuple[torch.dtype, bool]] = {
    "folded": (torch.float32, False),
    "folded channels-last": (torch.float32, True),
    "folded channels-last fp16": (torch.float16, True),
    "folded channels-last bf16": (torch.bfloat16, True),
}


def load_weights_by_name() -> ModuleType:
    """The module that makes weights from names, from the tests or the shared folder."""
    shared = Path(os.environ.get("DWPOSE_SHARED", ROOT.parent / "shared"))
    for folder in (ROOT / "tests" / "data" / "reference", shared / "reference"):
        spec = importlib.util.spec_from_file_location("names", folder / "weights_by_name.py")
        if (folder / "weights_by_name.py").exists() and spec is not None and spec.loader:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise FileNotFoundError("weights_by_name.py is missing; restore tests/data/reference")


def difference(got: torch.Tensor, expected: torch.Tensor) -> dict[str, float]:
    """Largest and mean difference, and both relative to the deviation of what is expected."""
    apart = (got.double() - expected.double()).abs()
    spread = float(expected.double().std())
    largest, mean = float(apart.max()), float(apart.mean())
    return {
        "max": largest, "mean": mean,
        "max_relative": largest / spread, "mean_relative": mean / spread,
    }  # fmt: skip


def compare_pose(
    got: tuple[torch.Tensor, ...], expected: tuple[torch.Tensor, ...]
) -> dict[str, Any]:
    """Differences of SimCC vectors and of what is decoded from them."""
    (keypoints, scores), (wanted, wanted_scores) = (
        simcc.decode(values[0].float().cpu().numpy(), values[1].float().cpu().numpy())
        for values in (got, expected)
    )
    moved = np.abs(keypoints - wanted).max(axis=-1)
    return {
        "simcc": difference(torch.cat([v.float() for v in got], -1), torch.cat(expected, -1)),
        "keypoints_moved_percent": 100 * float((moved > 0).mean()),
        "keypoints_moved_over_1px_percent": 100 * float((moved > 1).mean()),
        "score_max": float(np.abs(scores - wanted_scores).max()),
    }


def compare_rows(got: torch.Tensor, expected: torch.Tensor) -> dict[str, Any]:
    """Differences of raw rows by kind of number."""
    got = got.float()
    return {
        "rows": difference(got, expected),
        "box": difference(got[..., :4], expected[..., :4]),
        "objectness": difference(got[..., 4], expected[..., 4]),
        "classes": difference(got[..., 5:], expected[..., 5:]),
    }


@torch.no_grad()
def measure(name: str, names: ModuleType, device: torch.device) -> dict[str, Any]:
    """All forms of one network on one input batch of two."""
    kind, size, size_hw = NETWORKS[name]
    if kind == "rtmpose":
        network: torch.nn.Module = RTMPose(rtmpose_config(size, size_hw))
    else:
        network = YOLOX(yolox_config(size, 80, size_hw))
    network = names.fill_module(network, torch.from_numpy).eval().to(device)
    images = torch.from_numpy(names.input_for(f"precision_{name}", (2, 3, *size_hw))).to(device)
    expected = network(images)
    forms: dict[str, Any] = {}
    for form, (dtype, channels_last) in FORMS.items():
        layout = torch.channels_last if channels_last else torch.contiguous_format
        module = fold_batchnorm(network).to(dtype)
        module = module.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        got = module(images.to(dtype).contiguous(memory_format=layout))
        compare = compare_pose if kind == "rtmpose" else compare_rows
        forms[form] = compare(got, expected)
    return forms


def main() -> int:
    """Measure, print a table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # pyright: ignore
    parser.add_argument("--device", default="cpu", help="torch device (default cpu)")
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/precision.json")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    # TF32 would be a form of its own; here float32 means float32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    names = load_weights_by_name()
    results: dict[str, Any] = {}
    print(f"{'network':16}{'form':28}{'max':>10}{'mean':>10}{'max/std':>10}  moved % / class max")
    for name in arguments.networks:
        results[name] = measure(name, names, device)
        for form, row in results[name].items():
            whole = row.get("simcc") or row["rows"]
            last = (
                f"{row['keypoints_moved_percent']:.1f}"
                if "simcc" in row
                else f"{row['classes']['max']:.1e}"
            )
            print(f"{name:16}{form:28}{whole['max']:10.1e}{whole['mean']:10.1e}"
                  f"{whole['max_relative']:10.1e}  {last}")  # fmt: skip
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    facts = {
        "command": "python benchmarks/precision.py",
        "against": "the unfolded float32 network on the same device, name-seeded weights",
        "commit": commit or None,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "machine": platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "networks": results,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(f"written: {arguments.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
