"""Looks at this installation: versions, devices, models, what `auto` would choose, and faults.

`report` returns plain data, for the command line (`dwpose doctor`) and for programs. Nothing is
changed, nothing is downloaded, and no look at one part keeps the others from being looked at.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from . import __version__

LIBRARIES = ("torch", "numpy", "cv2", "onnxruntime", "onnx", "huggingface_hub", "safetensors")
"""Modules whose versions matter; the import name, not that of the wheel."""

_KINDS = ("gpu", "directml", "openvino", "rocm", "migraphx", "qnn", "silicon", "webgpu")
RUNTIME_WHEELS = ("onnxruntime", *(f"onnxruntime-{kind}" for kind in _KINDS), "ort-nightly")
"""Distributions that all install the module onnxruntime, each over the other."""

OPENCV_WHEELS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
"""Distributions that all install the module cv2, each over the other."""

LOW_SPACE_BYTES = 1_000_000_000
"""Free space below which a download of the official models (350 MB) may fail with other work."""


@dataclass(frozen=True)
class Finding:
    """Something worth knowing.

    Attributes:
        level: "fault" (something does not work), "warning" (it may not) or "hint" (it could be
            better).
        what: What is the matter, one sentence.
        mend: What to do, one sentence.
    """

    level: Literal["fault", "warning", "hint"]
    what: str
    mend: str


@dataclass
class Report:
    """What `report` found.

    Attributes:
        versions: Name -> version; None where it is not installed, a sentence where it is broken.
        system: Operating system, processor, cores and the Python in use.
        devices: What torch can compute on: {"name", "detail"} each, the CPU included.
        runtimes: Runtime -> {"version", "providers"}; providers of onnxruntime.
        choices: Role -> what `auto` would use: {"model", "runtime", "reason"}.
        folder: The models folder.
        models: Files that are here, or began to arrive: {"id", "state", "detail", "path"}.
        hub: {"endpoint", "reachable" (None: not asked), "detail"}.
        findings: Known faults, with what mends them.
    """

    versions: dict[str, str | None] = field(default_factory=dict)
    system: dict[str, str] = field(default_factory=dict)
    devices: list[dict[str, str]] = field(default_factory=list)
    runtimes: dict[str, dict[str, Any]] = field(default_factory=dict)
    choices: dict[str, dict[str, str]] = field(default_factory=dict)
    folder: str = ""
    models: list[dict[str, str | None]] = field(default_factory=list)
    hub: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, level: Literal["fault", "warning", "hint"], what: str, mend: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(level, what, mend))

    @property
    def healthy(self) -> bool:
        """Whether there is no fault; warnings and hints are none."""
        return not any(finding.level == "fault" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        return asdict(self) | {"healthy": self.healthy}


def report(
    folder: str | PathLike[str] | None = None, *, network: bool = True, timeout_s: float = 3.0
) -> Report:
    """Look at this installation.

    Args:
        folder: Models folder; None means the default one.
        network: Ask whether the hub answers (one small request).
        timeout_s: How long that may take, in s.
    """
    found = Report()
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("versions", lambda: _versions(found)),
        ("wheels", lambda: _wheels(found)),
        ("devices", lambda: _devices(found)),
        ("runtimes", lambda: _runtimes(found)),
        ("models", lambda: _models(found, folder)),
        ("choices", lambda: _choices(found, folder)),
        ("hub", lambda: _hub(found, network, timeout_s)),
    )
    for name, step in steps:
        try:
            step()
        except Exception as error:  # a broken part must not hide the others
            found.add(
                "fault",
                f"looking at {name} failed: {type(error).__name__}: {error}",
                "report this together with the output of `dwpose doctor --json`",
            )
    return found


def _versions(found: Report) -> None:
    found.versions["dwpose"] = __version__
    found.versions["python"] = platform.python_version()
    for name in LIBRARIES:
        found.versions[name] = _version(name, found)
    found.system = {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "python": sys.executable,
    }


def _version(name: str, found: Report) -> str | None:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # it is there, and lacks something else
            return _broken(name, error, found)
        if name != "onnxruntime":  # that one is optional, see _runtimes
            found.add("fault", f"{name} is not installed", f"pip install {_wheel_of(name)}")
        return None
    except Exception as error:  # libraries fail to import in every way there is
        return _broken(name, error, found)
    return str(getattr(module, "__version__", "unknown"))


def _broken(name: str, error: Exception, found: Report) -> str:
    wheel = _wheel_of(name)
    found.add(
        "fault",
        f"{name} is installed but cannot be imported: {error}",
        f"pip install --force-reinstall {wheel}",
    )
    return f"broken ({type(error).__name__})"


def _wheel_of(name: str) -> str:
    return "opencv-python" if name == "cv2" else name


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    """Distributions among these that are installed, with their versions."""
    there = {}
    for name in names:
        try:
            there[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return there


def _wheels(found: Report) -> None:
    runtimes = _installed(RUNTIME_WHEELS)
    if len(runtimes) > 1:
        names = " ".join(runtimes)
        keep = next((name for name in runtimes if name != "onnxruntime"), "onnxruntime")
        found.add(
            "fault",
            f"{' and '.join(runtimes)} are both installed and overwrite each other; this is the "
            "usual reason for a GPU that is not used",
            f"pip uninstall -y {names} && pip install {keep}",
        )
    opencv = _installed(OPENCV_WHEELS)
    if len(opencv) > 1:
        found.add(
            "warning",
            f"{' and '.join(opencv)} are installed and overwrite each other",
            f"pip uninstall -y {' '.join(opencv)} && pip install {next(iter(opencv))}",
        )
    if "dwpose" in _installed(("dwpose",)):
        found.add(
            "fault",
            "the distribution dwpose, another project's, is installed and uses the same folder",
            "pip uninstall -y dwpose && pip install --force-reinstall dwpose-studio",
        )


def _devices(found: Report) -> None:
    import torch

    cpu = f"{torch.get_num_threads()} threads"
    found.devices.append({"name": "cpu", "detail": cpu})
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            memory = f"{facts.total_memory / 1e9:.0f} GB"
            detail = f"{facts.name}, {memory}, compute capability {facts.major}.{facts.minor}"
            found.devices.append({"name": f"cuda:{index}", "detail": detail})
    elif torch.version.cuda is None and shutil.which("nvidia-smi"):
        found.add(
            "warning",
            "this machine has an NVIDIA driver, but the installed torch is built without CUDA",
            "install the CUDA build of torch that pytorch.org names for this system",
        )
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        for index in range(torch.xpu.device_count()):
            name = torch.xpu.get_device_name(index)
            found.devices.append({"name": f"xpu:{index}", "detail": name})
    if torch.backends.mps.is_available():
        found.devices.append({"name": "mps", "detail": "Apple GPU"})
    try:
        torch.zeros(1).numpy()
    except RuntimeError:
        found.add(
            "fault",
            f"torch {torch.__version__} was built for another numpy than the one installed",
            'pip install "numpy<2", or a newer torch',
        )


def _runtimes(found: Report) -> None:
    found.runtimes["torch"] = {
        "version": found.versions.get("torch"),
        "providers": [device["name"] for device in found.devices],
    }
    version = found.versions.get("onnxruntime")
    if version is None:
        found.runtimes["onnxruntime"] = {"version": None, "providers": []}
        if len(found.devices) == 1:
            found.add(
                "hint",
                "onnxruntime is not installed; on a CPU it is up to twice as fast as torch",
                "pip install onnxruntime",
            )
        return
    providers: list[str] = []
    if not version.startswith("broken"):
        import onnxruntime

        # A folder left by an uninstalled wheel imports as an empty module.
        ask = getattr(onnxruntime, "get_available_providers", None)
        if ask is None:
            found.add(
                "fault",
                "onnxruntime is an empty folder, left by a wheel that was uninstalled",
                "pip install --force-reinstall onnxruntime",
            )
        else:
            providers = list(ask())
    found.runtimes["onnxruntime"] = {"version": version, "providers": providers}
    gpu = _installed(("onnxruntime-gpu",))
    if gpu and providers and "CUDAExecutionProvider" not in providers:
        found.add(
            "fault",
            "onnxruntime-gpu is installed, but offers no CUDA provider",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
        )


def _models(found: Report, folder: str | PathLike[str] | None) -> None:
    from .weights.catalogue import CATALOGUE, DEFAULT_ESTIMATOR
    from .weights.store import models_folder, state

    home = models_folder(folder)
    found.folder = str(home)
    for entry in CATALOGUE.values():
        one = state(entry, folder)
        started = one.path is None and "arrived" in one.detail
        if one.path is not None or started:
            found.models.append(
                {
                    "id": entry.id,
                    "state": one.state,
                    "detail": one.detail,
                    "path": str(one.path) if one.path else None,
                }
            )
        if one.state == "wrong":
            found.add(
                "fault",
                f"{one.path} is not {entry.id}: {one.detail}",
                f"delete it and run `dwpose models fetch {entry.id}`",
            )
        if entry.builtin and one.path is None:
            found.add(
                "fault",
                f"the built-in {entry.role} {entry.id} is missing from this installation",
                "install the package again, or run `dwpose models fetch dw-ll-384 yolox-l`",
            )
        if entry.id == DEFAULT_ESTIMATOR and one.path is None:
            found.add(
                "hint",
                f"the official model {entry.id} is not here; the small built-in one is used",
                "dwpose models fetch dw-ll-384 yolox-l",
            )
    place = next((p for p in (home, *home.parents) if p.is_dir()), Path.home())
    free = shutil.disk_usage(place).free
    if free < LOW_SPACE_BYTES:
        found.add(
            "warning",
            f"only {free / 1e6:.0f} MB are free where models are kept ({home})",
            "free some space, or name another folder in DWPOSE_MODELS",
        )
    if not os.access(place, os.W_OK):
        found.add(
            "warning",
            f"models cannot be written to {home}",
            "name a folder of your own in DWPOSE_MODELS",
        )


def _choices(found: Report, folder: str | PathLike[str] | None) -> None:
    from .runtimes.auto import choose
    from .runtimes.pretrained import choose_detector, choose_estimator
    from .weights.catalogue import CATALOGUE

    for role, pick in (("estimator", choose_estimator), ("detector", choose_detector)):
        name, notice = pick(folder)
        entry = CATALOGUE.get(str(name))
        if entry is None:
            found.choices[role] = {"model": str(name), "runtime": "", "reason": notice}
            continue
        plan = choose(entry.family, entry.size)
        found.choices[role] = {
            "model": entry.id,
            "runtime": f"{plan.runtime} on {plan.device} in {plan.precision}",
            "reason": "; ".join(part for part in (plan.reason, notice) if part),
        }


def _hub(found: Report, network: bool, timeout_s: float) -> None:
    from .weights.catalogue import DWPOSE_REPO
    from .weights.hub import offline

    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
    found.hub = {"endpoint": endpoint, "reachable": None, "detail": "not asked"}
    if offline():
        found.hub["detail"] = "HF_HUB_OFFLINE is set"
        found.add("hint", "HF_HUB_OFFLINE forbids all downloads", "unset it to fetch models")
        return
    if not network:
        return
    start = time.monotonic()
    request = urllib.request.Request(f"{endpoint}/{DWPOSE_REPO}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        status = error.code
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        found.hub |= {"reachable": False, "detail": str(reason) or type(reason).__name__}
        found.add(
            "warning",
            f"the model hub {endpoint} does not answer ({found.hub['detail']})",
            "check the network and the proxy, or set HF_ENDPOINT to a mirror; models that are "
            "here work without it",
        )
        return
    taken = (time.monotonic() - start) * 1000
    well = status < 400
    found.hub |= {"reachable": well, "detail": f"status {status} after {taken:.0f} ms"}
    if not well:
        found.add(
            "warning",
            f"the model hub {endpoint} answers with status {status}",
            "check HF_ENDPOINT and the proxy",
        )
