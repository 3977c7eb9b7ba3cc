"""Put a detector's scores on the scale that everybody's threshold of 0.3 expects."""

from __future__ import annotations

from typing import Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from ...models.yolox import YOLOX
from .recall import score_scenes
from .scenes import Composer

# Half of the boxes may be wrong: in the pipeline what has no body is left out afterwards, and
# nothing brings back who was not boxed.
PRECISION: Final = 0.5
_LARGEST: Final = 3.0
_STEPS: Final = 6


@torch.inference_mode()
def score_shift(
    model: YOLOX, scenes: Composer, side: int, precision: float = PRECISION, count: int = 192
) -> float:
    """Find what to add to the logits of objectness and class for a wanted precision.

    Args:
        model: a one-class network, in eval mode.
        scenes: held-out scenes.
        side: of the input in px.
        precision: of the boxes above the usual threshold, 0..1.
        count: scenes to look at.

    Returns:
        The largest shift, to about 0.1, with which that many boxes are right; 0 where too many
        are wrong already.
    """

    def is_enough(shift: float) -> bool:
        def answer(images: Tensor) -> np.ndarray:
            rows = model.head(model.backbone(images.float()), logits=True)
            rows[..., 4:] = torch.sigmoid(rows[..., 4:] + shift)
            return rows.numpy()

        scores = score_scenes(answer, scenes, side, count)
        return scores.precision >= precision or scores.false_per_picture == 0

    low, high = 0.0, _LARGEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_enough(middle) else (low, middle)
    return low


@torch.no_grad()
def shift_scores(model: YOLOX, shift: float) -> None:
    """Add a number to the logits of objectness and class, in place; boxes stay as they are."""
    for layers in (model.head.obj_preds, model.head.cls_preds):
        for layer in layers:
            cast(nn.Conv2d, layer).bias.add_(shift)  # pyright: ignore[reportOptionalMemberAccess]
