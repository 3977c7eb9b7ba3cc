"""Running networks as ComfyUI's memory manager wants them: shared, offloaded, released.

A network is held by those who use it: the DWPOSE_MODEL that ComfyUI caches for a loader node,
or, for nodes without one, the single default model below. Nothing else keeps it, so that what
ComfyUI drops is gone. The default model lives as long as ComfyUI keeps one of our nodes among its
node objects: that ends when a workflow without them runs, and when memory is freed by hand.
"""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..dwpose.pipeline import DWPose
    from ..dwpose.runtimes.session import Session
    from ..dwpose.weights.catalogue import ModelEntry

logger = logging.getLogger("dwpose")

# Activations of one input, as a multiple of its own bytes: a few maps of 64 channels at half the
# resolution live at once. Rounded up from RTMPose-l, about 30 MB for 1.3 MB.
_ACTIVATIONS = 24
# What ONNX Runtime takes besides the weights, which it also keeps in its own layout: an estimate
# on the safe side, for it cannot be asked.
_ORT_WORKSPACE_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class ModelFile:
    """A model file that is here.

    Attributes:
        name: catalogue id, or the file's name in models/dwpose.
        path: where it lies.
        entry: its catalogue entry, or None for a file of the user's.
    """

    name: str
    path: Path
    entry: ModelEntry | None = None

    @property
    def stamp(self) -> tuple[str, int, int]:
        """What tells this file from one put in its place."""
        status = self.path.stat()
        return str(self.path), status.st_mtime_ns, status.st_size


class Network:
    """One running network, and what ComfyUI's memory manager knows of it.

    Attributes:
        session: the network.
        patcher: ComfyUI's ModelPatcher of a torch network; None for ONNX Runtime, whose memory
            ComfyUI cannot see.
        role: "estimator" or "detector".
    """

    def __init__(self, session: Session, role: str) -> None:
        self.session = session
        self.role = role
        self.patcher: Any = None
        if session.info.runtime != "torch":
            return
        from comfy import model_management, model_patcher  # pyright: ignore[reportMissingImports]

        module = session.module  # pyright: ignore[reportAttributeAccessIssue]
        device = session.device  # pyright: ignore[reportAttributeAccessIssue]
        offload = model_management.unet_offload_device()
        # The manager moves it to the device before it runs; until then it lies where it rests.
        module.to(offload)
        self.patcher = model_patcher.ModelPatcher(
            module, load_device=device, offload_device=offload
        )

    def settle(self) -> None:
        """Make sure that the network is on its device as a whole.

        The manager may leave parts behind where memory is short (--novram), which only networks
        made of its own layers can stand.
        """
        module = self.session.module  # pyright: ignore[reportAttributeAccessIssue]
        device = self.session.device  # pyright: ignore[reportAttributeAccessIssue]
        if any(p.device.type != device.type for p in module.parameters()):
            module.to(device)
        self.session.settle()  # pyright: ignore[reportAttributeAccessIssue]


_KIND = {"estimator": "an estimator", "detector": "a detector"}

# Every network that is held by somebody, by file, runtime, precision, mode and device.
_networks: weakref.WeakValueDictionary[tuple[Any, ...], Network] = weakref.WeakValueDictionary()


def open_network(
    file: ModelFile, role: str, runtime: str, precision: str, mode: str = "eager"
) -> Network:
    """Start a network on ComfyUI's device, or return the one that runs already.

    Raises:
        ValueError: the file holds the other kind of model.
        WeightsError: it is damaged or unknown.
        RuntimeUnavailable: what was asked does not run here.
    """
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    device = model_management.get_torch_device()
    key = (*file.stamp, runtime, precision, mode, str(device), role)
    found = _networks.get(key)
    if found is None:
        import torch

        # Weights made inside ComfyUI's inference mode could never be used outside of it.
        with torch.inference_mode(False):
            session = _open_session(file, role, runtime, precision, mode, device)
            found = Network(session, role)
        _networks[key] = found
        logger.info("%s runs with %s", file.name, found.session.info)
    return found


def _open_session(
    file: ModelFile, role: str, runtime: str, precision: str, mode: str, device: Any
) -> Session:
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    from ..dwpose.runtimes import RuntimeUnavailable, open_session
    from ..dwpose.weights.load import load_file
    from ..dwpose.weights.store import check

    if file.entry is not None:
        check(file.entry, file.path)
    model = load_file(file.path, file.entry)
    if model.role != role:
        raise ValueError(
            f"{role} must be {_KIND[role]}, but {file.name} is {_KIND[model.role]}; choose another"
        )
    if device.type != "cpu":
        size = file.path.stat().st_size
        model_management.free_memory(2 * size + _ORT_WORKSPACE_BYTES, device)
    try:
        return open_session(model, runtime, str(device), precision, mode=mode)
    except RuntimeUnavailable as error:
        if runtime != "auto" or device.type == "cpu":
            raise
        logger.warning("%s runs on the CPU: %s", file.name, error)
        return open_session(model, runtime, "cpu", precision, mode=mode)


class PoseModel:
    """What goes through a DWPOSE_MODEL socket: a pose network and, where there is one, a detector.

    Attributes:
        pipeline: the library's facade around both.
        notice: one line that the user should see, or "".
    """

    def __init__(self, estimator: Network, detector: Network | None, notice: str = "") -> None:
        from ..dwpose.detector import PersonDetector
        from ..dwpose.estimator import Estimator
        from ..dwpose.pipeline import DWPose

        self.networks = [network for network in (estimator, detector) if network is not None]
        self.notice = notice
        self.pipeline: DWPose = DWPose(
            Estimator(estimator.session),
            None if detector is None else PersonDetector(detector.session),
            notice,
        )

    def prepare(self) -> None:
        """Bring the networks onto their device, making room as needed; call it before a run."""
        from comfy import model_management  # pyright: ignore[reportMissingImports]

        managed = [network for network in self.networks if network.patcher is not None]
        if not managed:
            return
        model_management.load_models_gpu(
            [network.patcher for network in managed],
            memory_required=max(self._activations(network) for network in managed),
            force_full_load=True,
        )
        for network in managed:
            network.settle()

    def _activations(self, network: Network) -> int:
        """Bytes that one batch needs besides the weights, roughly."""
        part = self.pipeline.estimator if network.role == "estimator" else self.pipeline.detector
        assert part is not None
        height, width = part.size_hw
        return _ACTIVATIONS * part.batch_size * 3 * height * width * 4

    def halve_batches(self) -> bool:
        """Halve the batches of both networks; False where they are single already."""
        parts = [part for part in (self.pipeline.estimator, self.pipeline.detector) if part]
        if all(part.batch_size == 1 for part in parts):
            return False
        for part in parts:
            part.batch_size = max(part.batch_size // 2, 1)
        return True

    def describe(self) -> str:
        """Which runtime, device and precision run each network, and why: a line each."""
        lines = [f"{role}: {info}" for role, info in self.pipeline.info.items()]
        if self.pipeline.detector is None:
            lines.append("detector: none; the whole picture is searched for one person")
        return "\n".join([*lines, *([self.notice] if self.notice else [])])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device ran out of memory, as torch or ONNX Runtime tell it."""
    from comfy import model_management  # pyright: ignore[reportMissingImports]

    if isinstance(error, model_management.OOM_EXCEPTION):
        return True
    if not type(error).__module__.startswith("onnxruntime"):
        return False
    text = str(error).lower()
    return "failed to allocate memory" in text or "out of memory" in text


# --- the default model -------------------------------------------------------------------------


class _Default:
    """The model of nodes that have none connected, and how many such nodes ComfyUI keeps."""

    def __init__(self) -> None:
        self.model: PoseModel | None = None
        self.key: Any = None
        self.users = 0

    def add_user(self) -> None:
        self.users += 1

    def drop_user(self) -> None:
        self.users -= 1
        if self.users < 1:
            self.model = None


_default = _Default()


def keep_default_model(user: object) -> None:
    """Count somebody who may want the default model, for as long as the object lives."""
    _default.add_user()
    weakref.finalize(user, _default.drop_user).atexit = False


def default_model(estimator: ModelFile, detector: ModelFile | None, notice: str) -> PoseModel:
    """Return the default model of these files, kept while nodes that use it are.

    Raises:
        WeightsError, RuntimeUnavailable: see `open_network`.
    """
    key = (estimator.stamp, detector.stamp if detector else None)
    if _default.model is not None and _default.key == key:
        return _default.model
    _default.model = None  # frees the old one first
    model = open_model(estimator, detector, "auto", "auto", notice)
    if _default.users > 0:
        _default.model, _default.key = model, key
    return model


def open_model(
    estimator: ModelFile,
    detector: ModelFile | None,
    runtime: str,
    precision: str,
    notice: str = "",
    mode: str = "eager",
) -> PoseModel:
    """Start both networks; see `open_network`."""
    return PoseModel(
        open_network(estimator, "estimator", runtime, precision, mode),
        None if detector is None else open_network(detector, "detector", runtime, precision, mode),
        notice,
    )
