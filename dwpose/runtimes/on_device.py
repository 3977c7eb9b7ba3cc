"""Networks with both ends on their device: bytes in, few numbers out.

A session takes float32 planes and gives back all that the network answers: of 32 crops of 384x288
that is 42 MB in and 23 MB of curves out. Here 11 MB of bytes go in and 51 KB of points come back;
normalising, mirror images and the search for the maxima are part of what runs on the device, also
inside a CUDA graph.

Copies go through pinned memory and nothing waits for them, so that the next inputs can be prepared
while the network runs.

Shapes: N inputs of a batch, h and w the input's size, K = 133 keypoints, A anchors of a detector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..crop import LEVELS
from ..models.rtmpose import RTMPose
from ..models.yolox import YOLOX
from ..skeleton import FLIP_INDICES, NUM_KEYPOINTS
from .session import Session
from .torch_session import TorchSession

# Columns of a YOLOX row that a person detector reads: box, objectness, and the first class, which
# is "person". What comes back so looks like the answer of a network that knows this class alone.
_COLUMNS: Final = 6


class DeviceRun:
    """A session's network between two ends.

    Args:
        session: the network; moved or told to settle, what is made here follows.
        make: makes the network with its ends: uint8 [N, h, w, 3] to one float32 tensor.
    """

    def __init__(self, session: TorchSession, make: Callable[[TorchSession], nn.Module]) -> None:
        self.session, self.make = session, make
        self._version = -1

    def new_buffer(self, count: int, size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return room for a batch, uint8 [N, h, w, 3], from where copies to the device are fast."""
        pinned = self.session.device.type == "cuda"
        return torch.empty((count, *size_hw, 3), dtype=torch.uint8, pin_memory=pinned).numpy()

    def start(self, batch: npt.NDArray[np.uint8]) -> Callable[[], npt.NDArray[np.float32]]:
        """Start the network.

        Args:
            batch: uint8 [N, h, w, 3] RGB, all or the beginning of a buffer of `new_buffer`, which
                must stay as it is until the answer is there.

        Returns:
            a function that waits for the answer and returns it.
        """
        if self._version != self.session.version:
            self._forward = self.session.forward_of(self.make(self.session))
            self._version = self.session.version
        with torch.inference_mode():
            (answer,) = self._forward(torch.from_numpy(batch))
            if answer.device.type != "cuda":
                found = answer.cpu().numpy()
                return lambda: found
            there = torch.empty(answer.shape, dtype=answer.dtype, pin_memory=True)
            there.copy_(answer, non_blocking=True)
            done = torch.cuda.Event()
            done.record(torch.cuda.current_stream(answer.device))

        def wait() -> npt.NDArray[np.float32]:
            done.synchronize()
            return there.numpy()

        return wait


class CropsToPoints(nn.Module):
    """An RTMPose from crops as bytes to keypoints and scores.

    The same numbers as `estimator.Estimator` makes on the host, bit for bit where the network
    answers the same: normalised values come from the same table, means and maxima are taken alike.

    Args:
        session: the network.
        flip_test: also look at the mirror images and average.
    """

    def __init__(self, session: TorchSession, flip_test: bool) -> None:
        super().__init__()
        self.module, self.layout, self.flip_test = session.module, session.layout, flip_test
        config: Any = session.module.config
        self.split: float = config.split
        levels = torch.from_numpy(np.concatenate(LEVELS))
        self.levels = levels.to(session.device, session.dtype)
        self.channel = 256 * torch.arange(3, dtype=torch.int32, device=session.device)
        self.mirrored = torch.as_tensor(FLIP_INDICES, device=session.device)

    def forward(self, crops: Tensor) -> Tensor:
        """Map uint8 [N, h, w, 3] RGB to float32 [N, K, 3]: x and y in crop pixels, and score."""
        index = crops.to(torch.int32) + self.channel
        images = self.levels.index_select(0, index.flatten()).view(index.shape)
        images = images.permute(0, 3, 1, 2)  # already channels-last
        if self.flip_test:
            images = torch.cat((images, images.flip(3)))
        x, y = self.module(images.contiguous(memory_format=self.layout))
        if self.flip_test:
            count = len(crops)
            x, y = x.float(), y.float()
            x = (x[:count] + x[count:, self.mirrored].flip(2)) * 0.5
            y = (y[:count] + y[count:, self.mirrored]) * 0.5
        (top_x, at_x), (top_y, at_y) = x.max(dim=-1), y.max(dim=-1)
        scores = torch.minimum(top_x, top_y).float()
        points = torch.stack((at_x, at_y), dim=-1).float()
        # `where` would copy its number to the device, which a graph cannot record.
        points = points.masked_fill(scores[..., None] <= 0, -1.0) / self.split
        return torch.cat((points, scores[..., None]), dim=-1)


class PicturesToRows(nn.Module):
    """A YOLOX from letterboxed pictures as bytes to the columns that matter for people.

    Args:
        session: the network.
        bgr: it wants blue first.
    """

    def __init__(self, session: TorchSession, bgr: bool) -> None:
        super().__init__()
        self.module, self.layout, self.dtype = session.module, session.layout, session.dtype
        self.bgr = bgr

    def forward(self, pictures: Tensor) -> Tensor:
        """Map uint8 [N, h, w, 3] RGB to float32 [N, A, 6]: box, objectness, class 0."""
        pictures = pictures.flip(3) if self.bgr else pictures
        images = pictures.permute(0, 3, 1, 2).to(self.dtype, memory_format=self.layout)
        return self.module(images)[..., :_COLUMNS].float().contiguous()


def crops_to_points(session: Session, flip_test: bool, split: float) -> DeviceRun | None:
    """Return an RTMPose between its ends, or None where the session is something else."""
    if not isinstance(session, TorchSession) or not isinstance(session.module, RTMPose):
        return None
    config: Any = session.module.config
    known = (config.num_keypoints, config.split, config.input_size_hw)
    if known != (NUM_KEYPOINTS, split, session.input_size_hw):
        return None
    return DeviceRun(session, lambda s: CropsToPoints(s, flip_test))


def pictures_to_rows(session: Session, bgr: bool) -> DeviceRun | None:
    """Return a YOLOX between its ends, or None where the session is something else."""
    if not isinstance(session, TorchSession) or not isinstance(session.module, YOLOX):
        return None
    return DeviceRun(session, lambda s: PicturesToRows(s, bgr))
