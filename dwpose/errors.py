"""The one exception of our own; bad arguments raise Python's ValueError and TypeError."""

from __future__ import annotations


class WeightsError(RuntimeError):
    """A model file that is missing, damaged, refused or not of a known architecture."""
