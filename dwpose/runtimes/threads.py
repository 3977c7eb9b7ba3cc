"""Preparing several inputs at once, while the networks wait."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count as count_from
from typing import TypeVar

Result = TypeVar("Result")

# More threads than this fight over memory bandwidth.
_MOST = 8
# By process: a fork inherits the object but not its threads, and would wait for them forever.
_pools: dict[int, ThreadPoolExecutor] = {}


def in_parallel(work: Callable[[int], None], count: int) -> None:
    """Call ``work(0)`` to ``work(count - 1)`` on several threads and wait for all of them.

    It pays for work that OpenCV and NumPy do outside the interpreter's lock, such as crops. The
    calling thread works too, so nothing waits for helpers that a busy machine has not started.

    Args:
        work: must not depend on the order of calls.
        count: how many calls.

    Raises:
        Exception: what `work` raised first, in the order of calls.
    """
    helpers = min(cores(), _MOST, count) - 1
    if helpers < 1:
        for i in range(count):
            work(i)
        return
    turns = count_from()
    errors: dict[int, Exception] = {}

    def take_turns() -> None:
        while (i := next(turns)) < count:
            try:
                work(i)
            except Exception as error:
                errors[i] = error

    pool = _pools.get(os.getpid())
    if pool is None:
        workers = min(cores(), _MOST) - 1
        pool = _pools[os.getpid()] = ThreadPoolExecutor(workers, thread_name_prefix="dwpose")
    waiting = [pool.submit(take_turns) for _ in range(helpers)]
    take_turns()
    for helper in waiting:
        if not helper.cancel():
            helper.result()
    if errors:
        raise errors[min(errors)]


def overlap(started: Iterable[Callable[[], Result]], ahead: int) -> Iterator[Result]:
    """Finish pieces of work in their order, each when `ahead` more of them have been started.

    Args:
        started: starts a piece each time it is asked for one; what it gives waits for the result.
        ahead: 0 finishes each before the next is started.

    Yields:
        the results.
    """
    waiting: deque[Callable[[], Result]] = deque()
    for finish in started:
        waiting.append(finish)
        if len(waiting) > ahead:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
