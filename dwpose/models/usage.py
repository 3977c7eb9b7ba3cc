"""What a network's file says of its use. No torch in here: files that need none are read too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from ..geometry import BOX_PADDING

_PREFIX = "dwpose."


@dataclass(frozen=True)
class Usage:
    """How a network is to be used; the defaults are the official networks'.

    Attributes:
        padding: Factor on people's boxes that makes the crops a pose network is for.
        flip_test: Whether a pose network's curves are averaged with those of the mirror image.
        rough_boxes: Whether a detector's boxes are no more than where a search for poses starts.
    """

    padding: float = BOX_PADDING
    flip_test: bool = False
    rough_boxes: bool = False

    def notes(self) -> dict[str, str]:
        """Entries for an ONNX file's metadata: what is not as usual, as JSON."""
        usual = Usage()
        return {
            _PREFIX + name: json.dumps(value)
            for name, value in asdict(self).items()
            if value != getattr(usual, name)
        }

    @classmethod
    def of_notes(cls, notes: Mapping[str, str]) -> Usage:
        """Read what `notes` wrote; other entries do no harm.

        Raises:
            ValueError: An entry of ours is damaged.
        """
        names = [field.name for field in fields(cls) if _PREFIX + field.name in notes]
        return cls(**{name: json.loads(notes[_PREFIX + name]) for name in names})
