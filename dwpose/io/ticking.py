"""Long files item by item, with a word to the caller before each, who may stop the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

T = TypeVar("T")

Tick: TypeAlias = "Callable[[], None] | None"
"""Called once for each frame or so; what it raises ends the work and reaches the caller."""


def ticking(items: Iterable[T], tick: Tick) -> Iterator[T]:
    """Yield the items, calling `tick` (where there is one) before each."""
    if tick is None:
        yield from items
        return
    for item in items:
        tick()
        yield item
