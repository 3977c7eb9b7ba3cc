"""Running a network: one small protocol, two runtimes, and the rules that choose between them."""

from __future__ import annotations

from .auto import choose, open_session
from .session import RuntimeInfo, RuntimeUnavailable, Session

__all__ = ["RuntimeInfo", "RuntimeUnavailable", "Session", "choose", "open_session"]
