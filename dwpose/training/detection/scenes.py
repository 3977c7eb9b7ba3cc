"""Scenes for a person detector, put together anew for every step from rendered people and photos.

Shapes: H and W of a scene, P people.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...detector import FILL
from ...io.images import load_image
from ..synthetic.background import made_up, photo_paths
from ..synthetic.dice import Dice
from .cutouts import FRAMED, WHOLE, Cutouts
from .spoil import colour_change, spoil

Array = npt.NDArray[Any]

_MADE_UP: Final = 24
_FEWEST_PIXELS: Final = 24


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like.

    Attributes:
        backgrounds: a folder of photos without people; made-up pictures when None.
        split: "all", "train" or "val" of the photos.
        nobody: share of scenes without a person.
        framed: share of the others that are built on a `FRAMED` piece.
        people: odds of 1, 2, ... whole people where there is no framed piece.
        behind: odds of 0, 1, ... whole people behind a framed piece.
        height: smallest and largest height of a whole person as a share of the scene's.
        clutter: odds of 0, 1, ... things that are nobody, each behind or before the people.
        aspect: largest ratio of the sides.
        least_seen: people of whose pixels in the scene a smaller share is seen are not labelled.
    """

    backgrounds: Path | str | None = None
    split: str = "all"
    nobody: float = 0.15
    framed: float = 0.45
    people: tuple[float, ...] = (0.4, 0.24, 0.15, 0.1, 0.06, 0.05)
    behind: tuple[float, ...] = (0.6, 0.2, 0.12, 0.08)
    height: tuple[float, float] = (0.12, 1.7)
    clutter: tuple[float, ...] = (0.3, 0.25, 0.2, 0.15, 0.1)
    aspect: float = 1.9
    least_seen: float = 0.12


@dataclass(frozen=True)
class SceneBatch:
    """Pictures as a YOLOX takes them, and who is in them.

    Attributes:
        images: uint8 [N, 3, S, S], BGR, letterboxed into the top left corner; tensors, because
            loader processes hand those over without a copy.
        boxes: float32 [N, G, 4] xyxy px of what is seen of everybody, padded with zeros.
        count: int64 [N], people of each picture.
    """

    images: Tensor
    boxes: Tensor
    count: Tensor


class Composer:
    """Puts scenes together.

    Args:
        cutouts: rendered people.
        config: what scenes look like.
    """

    def __init__(self, cutouts: Cutouts, config: SceneConfig | None = None) -> None:
        self.cutouts = cutouts
        self.config = config or SceneConfig()
        self._whole = np.flatnonzero(cutouts.kind == WHOLE)
        self._framed = np.flatnonzero(cutouts.kind == FRAMED)
        plain = made_up(Dice(7), _MADE_UP, (240, 240)).permute(0, 2, 3, 1).numpy()
        self._plain = list((plain * 255).astype(np.uint8))
        folder = self.config.backgrounds
        paths = photo_paths(folder, self.config.split) if folder else []
        self._photos = [load_image(path) for path in paths]

    def batch(self, size: int, side: int, rng: np.random.Generator) -> SceneBatch:
        """Make `size` scenes, each letterboxed into a square of `side` px."""
        images = np.full((size, 3, side, side), FILL, np.uint8)
        found = []
        for i in range(size):
            image, boxes = self.scene(side, rng)
            height, width = image.shape[:2]
            images[i, :, :height, :width] = image[..., ::-1].transpose(2, 0, 1)
            found.append(boxes)
        count = np.array([len(boxes) for boxes in found], np.int64)
        padded = np.zeros((size, max(int(count.max()), 1), 4), np.float32)
        for row, boxes in zip(padded, found, strict=True):
            row[: len(boxes)] = boxes
        return SceneBatch(*(torch.from_numpy(array) for array in (images, padded, count)))

    def scene(
        self, side: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Make one scene whose longer side is `side` px.

        Returns:
            uint8 [H, W, 3] RGB and the boxes of what is seen of everybody, xyxy px [P, 4].
        """
        config = self.config
        inhabited = rng.random() >= config.nobody
        piece = None
        if inhabited and len(self._framed) and rng.random() < config.framed:
            piece = _window(self.cutouts.piece(_pick(self._framed, rng)), config.aspect, rng)
            aspect = piece.shape[1] / piece.shape[0] * np.exp(rng.normal(0, 0.06))
        else:
            aspect = np.exp(rng.uniform(-1, 1) * np.log(config.aspect))
        width, height = side * min(1.0, aspect), side * min(1.0, 1 / aspect)
        canvas = Canvas(self._backdrop((round(height), round(width)), rng))
        things = _draw(config.clutter, rng)
        before = int(rng.binomial(things, 0.35))
        for _ in range(things - before):
            self._add_thing(canvas, rng)
        if inhabited:
            odds = config.behind if piece is not None else (0.0, *config.people)
            self._add_people(canvas, _draw(odds, rng), 0.8 if piece is not None else 1.0, rng)
        if piece is not None:
            size = (canvas.image.shape[1], canvas.image.shape[0])
            canvas.paste(piece, (0, 0), size, colour_change(rng))
        for _ in range(before):
            self._add_thing(canvas, rng)
        return spoil(canvas.image, rng), canvas.boxes(config.least_seen)

    def _add_people(
        self, canvas: Canvas, number: int, largest: float, rng: np.random.Generator
    ) -> None:
        rows, columns = canvas.image.shape[:2]
        low, high = np.log(self.config.height)
        # One scale for a group half of the time; nearer people are drawn over farther ones.
        common, spread = rng.uniform(low, high), rng.choice((0.15, 1.0))
        heights = np.exp(common + spread * (rng.uniform(low, high, number) - common))
        for share in np.sort(np.minimum(heights, largest * self.config.height[1])):
            piece = self.cutouts.piece(_pick(self._whole, rng))
            if rng.random() < 0.5:
                piece = piece[:, ::-1]
            height = max(share * rows, 8.0)
            width = max(height * piece.shape[1] / piece.shape[0], 2.0)
            if piece.shape[1] > piece.shape[0]:  # lying and leaping people are as large
                width, height = height, height * piece.shape[0] / piece.shape[1]
            # At least a good third of the piece's height and width stays in the scene.
            x = rng.uniform(-0.6 * width, columns - 0.4 * width)
            y = rng.uniform(-0.35 * height, rows - 0.4 * height)
            if height < rows and rng.random() < 0.6:
                y = rng.uniform(0.3 * (rows - height), rows - height)
            size = (round(width), round(height))
            canvas.paste(piece, (round(x), round(y)), size, colour_change(rng))

    def _backdrop(self, size_hw: tuple[int, int], rng: np.random.Generator) -> Array:
        source = self._texture(rng, 0.12)
        rows, columns = source.shape[:2]
        zoom = rng.uniform(0.45, 1.0)
        aspect = size_hw[1] / size_hw[0] * np.exp(rng.normal(0, 0.15))
        width = min(columns, rows * aspect) * zoom
        height = min(rows, width / aspect)
        x, y = rng.uniform(0, columns - width), rng.uniform(0, rows - height)
        part = source[int(y) : int(y + height) + 1, int(x) : int(x + width) + 1]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        picture = _resize(part, (size_hw[1], size_hw[0]))
        if rng.random() < 0.25:  # out of focus
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1.0, 6.0))
        return picture

    def _texture(self, rng: np.random.Generator, plain: float) -> Array:
        source = self._plain if not self._photos or rng.random() < plain else self._photos
        return source[int(rng.integers(len(source)))]

    def _add_thing(self, canvas: Canvas, rng: np.random.Generator) -> None:
        """Put something that is nobody into the scene, with edges as hard as a person's."""
        rows, columns = canvas.image.shape[:2]
        extent = np.exp(rng.uniform(np.log(0.06), np.log(0.7), 2)) * min(rows, columns)
        width, height = (max(int(v), 4) for v in extent)
        x, y = rng.uniform(-width / 2, columns - width / 2), rng.uniform(-height / 2, rows)
        texture = _resize(self._texture(rng, 0.3), (width, height))
        if rng.random() < 0.5:  # plain, lit from one side
            left, right = rng.uniform(0.5, 1.1, 2)
            shade = np.linspace(left, right, width)[None, :, None]
            texture = np.clip(rng.uniform(20, 240, 3) * shade + 0.15 * texture, 0, 255)
        mask = _shape(height, width, rng)
        piece = np.dstack((texture.astype(np.uint8), mask))
        canvas.paste(piece, (round(x), round(y)), (width, height), person=False)


class Canvas:
    """A picture into which pieces are pasted, and whose pixels know whom they show.

    Args:
        image: uint8 [H, W, 3], the background; written into.
    """

    def __init__(self, image: npt.NDArray[np.uint8]) -> None:
        self.image = np.ascontiguousarray(image)
        self._owner = np.zeros(image.shape[:2], np.int16)
        self._pixels = [0]  # of each person in the scene, before others hid them

    def paste(
        self,
        piece: npt.NDArray[np.uint8],
        corner_xy: tuple[int, int],
        size_wh: tuple[int, int],
        colour: npt.NDArray[np.float32] | None = None,
        person: bool = True,
    ) -> None:
        """Paste a piece; what lies beyond the border is lost.

        Args:
            piece: uint8 [h, w, 4], RGB and owner (0 is not drawn).
            corner_xy: its top left corner in px of the scene.
            size_wh: its width and height there.
            colour: a change of its colours, see `spoil.colour_change`.
            person: whether its owners are people.
        """
        rows, columns = self.image.shape[:2]
        left, top = max(corner_xy[0], 0), max(corner_xy[1], 0)
        right = min(corner_xy[0] + size_wh[0], columns)
        bottom = min(corner_xy[1] + size_wh[1], rows)
        if right <= left or bottom <= top:
            return
        ratio_x, ratio_y = piece.shape[1] / size_wh[0], piece.shape[0] / size_wh[1]
        # Only the part that shows is scaled: a close-up may be far larger than the scene.
        x0, x1 = (int((v - corner_xy[0]) * ratio_x) for v in (left, right))
        y0, y1 = (int((v - corner_xy[1]) * ratio_y) for v in (top, bottom))
        part = piece[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        size = (right - left, bottom - top)
        owner = np.ascontiguousarray(part[..., 3])
        pixels = np.ascontiguousarray(part[..., :3])
        if colour is not None:
            pixels = cv2.transform(pixels, colour)
        solid = np.where(owner > 0, np.uint8(255), np.uint8(0))
        # Black where nothing is drawn, so that scaling mixes no hidden colour into the edge.
        layer = _resize(cv2.bitwise_and(pixels, pixels, mask=solid), size)
        clear = cv2.bitwise_not(_resize(solid, size))
        place = self.image[top:bottom, left:right]
        behind = cv2.multiply(place, cv2.merge([clear] * 3), scale=1 / 255)
        place[:] = cv2.add(behind, layer)
        spot = self._owner[top:bottom, left:right]
        near = cv2.resize(owner, size, interpolation=cv2.INTER_NEAREST)
        if not person:
            spot[near > 0] = 0
            return
        for number in np.unique(near[near > 0]):
            mine = near == number
            spot[mine] = len(self._pixels)
            self._pixels.append(int(mine.sum()))

    def boxes(self, least_seen: float) -> npt.NDArray[np.float32]:
        """Boxes of what is seen of everybody, xyxy px [P, 4]; hardly seen people are left out."""
        found = []
        for person, whole in enumerate(self._pixels):
            if person == 0:
                continue
            mine = self._owner == person
            seen = int(mine.sum())
            if seen < max(_FEWEST_PIXELS, least_seen * whole):
                continue
            x, y = np.flatnonzero(mine.any(0)), np.flatnonzero(mine.any(1))
            found.append((x[0], y[0], x[-1] + 1, y[-1] + 1))
        return np.array(found, np.float32).reshape(-1, 4)


def _draw(odds: tuple[float, ...], rng: np.random.Generator) -> int:
    return int(np.searchsorted(np.cumsum(odds), rng.random() * sum(odds), side="right"))


def _pick(among: npt.NDArray[np.int64], rng: np.random.Generator) -> int:
    return int(among[rng.integers(len(among))])


def _window(piece: Array, most_aspect: float, rng: np.random.Generator) -> Array:
    """A part of a framed piece, mostly nearly all of it, and not too slim."""
    rows, columns = piece.shape[:2]
    height, width = (
        float(side) * (1.0 if rng.random() < 0.5 else rng.uniform(0.6, 1.0))
        for side in (rows, columns)
    )
    height, width = min(height, width * most_aspect), min(width, height * most_aspect)
    y, x = int(rng.uniform(0, rows - height)), int(rng.uniform(0, columns - width))
    part = piece[y : y + max(int(height), 1), x : x + max(int(width), 1)]
    return part[:, ::-1] if rng.random() < 0.5 else part


def _resize(picture: Array, size_wh: tuple[int, int]) -> Array:
    shrinks = size_wh[0] < picture.shape[1] or size_wh[1] < picture.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(picture), size_wh, interpolation=way)


def _shape(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A mask: rectangle, ellipse, polygon or a few thick strokes."""
    mask = np.zeros((height, width), np.uint8)
    kind = rng.integers(4)
    if kind == 0:
        mask[:] = 1
    elif kind == 1:
        cv2.ellipse(mask, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, -1)
    else:
        number = int(rng.integers(3, 8))
        points = (rng.random((number, 2)) * (width, height)).astype(np.int32)
        if kind == 2:
            cv2.fillPoly(mask, [points], 1)
        else:
            thick = max(int(min(width, height) * rng.uniform(0.08, 0.3)), 1)
            cv2.polylines(mask, [points], False, 1, thick)
    return mask
