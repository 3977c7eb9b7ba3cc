"""Waits that can be ended: the caller is asked several times a second whether to go on.

What blocks (finding an address, connecting, the first byte, a stalled connection) cannot be ended
from outside, so it is done by a helping thread while the caller's own thread looks round.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

Ask = Callable[[], object]
"""Called while waiting; what it raises ends the wait."""

ASK_EVERY_S = 0.25


def pause(seconds: float, ask: Ask) -> None:
    """Wait so long.

    Args:
        seconds: How long, in s.
        ask: Called several times a second; what it raises ends the wait.
    """
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, ASK_EVERY_S))
        ask()


class Helper:
    """A thread that makes calls which may block, one after the other.

    It is a daemon: a call that is still blocked keeps no program from ending.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], bool]] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        threading.Thread(target=self._serve, name="dwpose download", daemon=True).start()

    def __call__(self, call: Callable[[], T], ask: Ask) -> T:
        """Have a call made; returns what it returns and raises what it raises.

        Args:
            call: What may block.
            ask: Called several times a second meanwhile; what it raises leaves the call to
                itself, and then only `end` may follow.
        """
        self._calls.put((call, False))
        while True:
            try:
                result, error = self._results.get(timeout=ASK_EVERY_S)
            except queue.Empty:
                ask()
                continue
            if error is not None:
                raise error
            return result

    def end(self, last: Callable[[], object]) -> None:
        """Have one last call made when the present one is over; returns at once."""
        self._calls.put((last, True))

    def _serve(self) -> None:
        while True:
            call, last = self._calls.get()
            if last:
                with contextlib.suppress(Exception):  # nobody waits for it any more
                    call()
                return
            try:
                self._results.put((call(), None))
            except BaseException as error:
                self._results.put((None, error))
