"""Long work on many frames: pictures while it runs, and Cancel where a step cannot be cut short."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .sockets import Progress, check_interrupt

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

T = TypeVar("T")

# A picture so often, and so large at most, is seen to move and costs next to nothing.
_PREVIEW_S = 0.5
_PREVIEW_PX = 512
# Cancel is asked for so often while other work runs beside.
_ASK_S = 0.05


class LiveProgress(Progress):
    """A progress bar that shows what is being worked on, now and then."""

    _shown = float("-inf")

    def show(
        self, done: int, picture: Callable[[], npt.NDArray[np.uint8]], total: int | None = None
    ) -> None:
        """Show that `done` steps are done, and a picture where it is time for one.

        Args:
            done: steps.
            picture: makes it, uint8 [H, W, 3] RGB.
            total: steps in all, where that changed.

        Raises:
            InterruptProcessingException: the user cancelled.
        """
        now = time.monotonic()
        if now - self._shown < _PREVIEW_S:
            self(done, total)
            return
        from PIL import Image

        check_interrupt()
        self._shown = now
        image = Image.fromarray(picture())
        # ComfyUI shrinks it, a thin one to nothing; its server would end on such a picture.
        thin = min(image.size) * _PREVIEW_PX < max(image.size)
        preview = None if thin else ("JPEG", image, _PREVIEW_PX)
        self._bar.update_absolute(done, total or self.total, preview)


def work_aside(work: Callable[[], T]) -> T:
    """Return what `work` returns, and stop waiting for it at once when the user cancels.

    It runs in a thread, which is left to finish for nothing then: for sums that take seconds at
    most and cannot be stopped half way.

    Raises:
        InterruptProcessingException: the user cancelled.
    """
    from concurrent.futures import ThreadPoolExecutor, wait

    pool = ThreadPoolExecutor(1)
    try:
        future: Any = pool.submit(work)
        while not wait([future], timeout=_ASK_S).done:
            check_interrupt()
        return future.result()
    finally:
        pool.shutdown(wait=False)
