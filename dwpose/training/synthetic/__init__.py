"""Synthetic people: rendered crops with 133 exactly known points per person."""

from __future__ import annotations

from .engine import SyntheticBatch, SyntheticConfig, SyntheticPeople

__all__ = ["SyntheticBatch", "SyntheticConfig", "SyntheticPeople"]
