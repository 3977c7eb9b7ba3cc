"""Preparing several inputs at once, while the networks wait."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

# More threads than this fight over memory bandwidth.
_MOST = 8
# By process: a fork inherits the object but not its threads, and would wait for them forever.
_pools: dict[int, ThreadPoolExecutor] = {}


def in_parallel(work: Callable[[int], None], count: int) -> None:
    """Call ``work(0)`` to ``work(count - 1)`` on several threads and wait for all of them.

    It pays for work that OpenCV and NumPy do outside the interpreter's lock, such as crops.

    Args:
        work: must not depend on the order of calls.
        count: how many calls.

    Raises:
        Exception: what `work` raised first, in the order of calls.
    """
    if count < 2:
        for i in range(count):
            work(i)
        return
    pool = _pools.get(os.getpid())
    if pool is None:
        workers = min(os.cpu_count() or 1, _MOST)
        pool = _pools[os.getpid()] = ThreadPoolExecutor(workers, thread_name_prefix="dwpose")
    for _ in pool.map(work, range(count)):
        pass
