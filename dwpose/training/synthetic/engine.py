"""Synthetic people with 133 labelled points: `SyntheticPeople(config).sample(batch, seed)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import body as B
from .background import Photos, backdrops
from .camera import View, place_cameras
from .collars import lay_collars
from .dice import Dice
from .faults import camera_faults, occluders, soften_background
from .looks import sample_looks
from .outfit import dress, sample_outfits
from .poses import PoseLibrary, sample_actions, sample_poses
from .raster import NEAR
from .reach import free_arms
from .scene import draw_people, gather_people, paint, rank_map
from .shade import sample_lights
from .table import lay_tables


@dataclass(frozen=True)
class SyntheticConfig:
    """What to render.

    Attributes:
        size_hw: crop height and width in pixels, divisible by 16.
        supersample: the frame is rendered this many times larger and averaged.
        poses: a motion library (.npz); made-up poses when None.
        backgrounds: a folder of photos without people; made-up pictures when None.
        split: "all", "train" or "val" of poses, backgrounds and body shapes.
        framing: odds of full, knees-up, waist-up, bust, face and one hand.
        neighbours: odds of 0, 1 and 2 further people near the subject.
        padding, box_jitter, box_shift, whole_picture: see `camera.place_cameras`.
        photo_share: share of backgrounds that are photos, where there are any.
        collars: share of the subjects that have a ring around the neck, see `collars`.
        padded: share of people in thick coats and suits, see `outfit.sample_outfits`.
        tables: share of the pictures a table fits into that get one before the subject.
        occluders: share of crops with something in front of the people.
        faults: whether blur, noise, JPEG and colour faults are added.

    Raises:
        ValueError: naming the field that makes no sense.
    """

    size_hw: tuple[int, int] = (256, 192)
    supersample: int = 1
    poses: Path | str | None = None
    backgrounds: Path | str | None = None
    split: str = "all"
    framing: tuple[float, ...] = (0.33, 0.15, 0.28, 0.16, 0.04, 0.04)
    neighbours: tuple[float, ...] = (0.6, 0.28, 0.12)
    padding: float = 1.25
    box_jitter: float = 0.14
    box_shift: float = 0.05
    whole_picture: float = 0.13
    photo_share: float = 0.8
    collars: float = 0.05
    padded: float = 0.04
    tables: float = 0.25
    occluders: float = 0.22
    faults: bool = True

    def __post_init__(self) -> None:
        height, width = self.size_hw
        if min(height, width) < 16 or height % 16 or width % 16:
            raise ValueError(f"size_hw must be divisible by 16, got {self.size_hw}")
        if self.split not in ("all", "train", "val"):
            raise ValueError(f'split must be "all", "train" or "val", got {self.split!r}')
        if len(self.framing) != 6 or min(self.framing) < 0 or sum(self.framing) <= 0:
            raise ValueError(f"framing must be six odds, not all zero, got {self.framing}")
        for name in ("whole_picture", "photo_share", "collars", "padded", "tables", "occluders"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if self.supersample < 1:
            raise ValueError(f"supersample must be at least 1, got {self.supersample}")
        if not self.padding > 0:
            raise ValueError(f"padding must be above 0, got {self.padding}")


@dataclass(frozen=True)
class SyntheticBatch:
    """Rendered crops and their labels; coordinates in crop pixels, pixel centres at integers.

    Attributes:
        images: uint8 RGB [N,3,H,W].
        keypoints: float32 [N,133,2] of the subject.
        visibility: int64 [N,133]: 0 outside the crop or the picture, 1 hidden, 2 seen.
        weights: float32 [N,133]: 1 seen, 0.5 hidden, 0 otherwise and for a face or hand of which
            fewer than 5 % of the points are seen.
        boxes: float32 [N,4] xyxy, the subject's box before padding and jitter.
        people_boxes: float32 [N,M,4] xyxy of everybody's visible surface, the subject first, the
            rest padded with zeros; people_keypoints: float32 [N,M,133,2];
            people_visibility: int64 [N,M,133].
        framing: int64 [N], index into `camera.FRAMING_NAMES`.
        owner: int64 [N,H,W], whose surface is seen, counted as in people_boxes; -1 nobody's.
    """

    images: Tensor
    keypoints: Tensor
    visibility: Tensor
    weights: Tensor
    boxes: Tensor
    people_boxes: Tensor
    people_keypoints: Tensor
    people_visibility: Tensor
    framing: Tensor
    owner: Tensor


# Metres by which a point may lie behind the visible surface and still count as seen, by depth
# inside the body: face points are on the skin, hips lie deep in the flesh.
_SLACK = (
    (slice(0, 3), 0.020),
    (slice(3, 5), 0.030),
    (slice(5, 9), 0.090),
    (slice(9, 11), 0.050),
    (slice(11, 15), 0.090),
    (slice(15, 23), 0.050),
    (slice(23, 91), 0.012),
    (slice(91, 133), 0.022),
)


# Things that cover people are often held: at a palm or a fingertip.
_HELD_AT = tuple(float(k in (100, 103, 121, 124)) for k in range(133))


class SyntheticPeople:
    """Renders people and knows where their points are.

    Args:
        config: what to render.
        device: where to render.

    Example:
        >>> engine = SyntheticPeople(SyntheticConfig())
        >>> batch = engine.sample(8, seed=1)
        >>> batch.images.shape
        torch.Size([8, 3, 256, 192])
    """

    def __init__(
        self, config: SyntheticConfig | None = None, device: torch.device | str = "cpu"
    ) -> None:
        self.config = config = config or SyntheticConfig()
        self.device = torch.device(device)
        body = B.load_body()
        self.pose_library = PoseLibrary(config.poses, body, config.split) if config.poses else None
        self.photos = (
            Photos(config.backgrounds, config.split, device) if config.backgrounds else None
        )
        shapes = body.shape_samples
        held_out = torch.arange(len(shapes)) % 10 == 0
        keep = {"all": held_out | True, "train": ~held_out, "val": held_out}[config.split]
        self.body = body = body.to(self.device)
        self.shapes = shapes[keep].to(self.device)
        self.slack = torch.zeros(133, device=self.device)
        for part, metres in _SLACK:
            self.slack[part] = metres
        points = B.keypoints_of(body, body.template[None], body.joint_template[None])[0]
        self.brow_lines = points[40:50].view(2, 5, 3)
        eyes = body.template[body.part == B.EYE]
        self.eye_centres = torch.stack(
            [
                (eyes[eyes[:, 0] > 0].amin(0) + eyes[eyes[:, 0] > 0].amax(0)) / 2,
                (eyes[eyes[:, 0] < 0].amin(0) + eyes[eyes[:, 0] < 0].amax(0)) / 2,
            ]
        )
        skin = (body.part == B.SKIN).nonzero()[:, 0]
        self.sample_points = skin[::7]

    @torch.no_grad()
    def sample(self, batch: int, seed: int) -> SyntheticBatch:
        """Render `batch` crops; the same seed on the same device gives the same result.

        Args:
            batch: number of crops; 8 to 32 are quickest on a CPU, 256 and more on a GPU.
            seed: any integer.
        """
        body, config, device = self.body, self.config, self.device
        dice = Dice(seed, device)
        extra = dice.choice(config.neighbours, batch).cpu()
        image_of = torch.repeat_interleave(torch.arange(batch), 1 + extra)
        rank = torch.arange(len(image_of)) - (torch.cumsum(1 + extra, 0) - 1 - extra)[image_of]
        image_of, rank = image_of.to(device), rank.to(device)
        subject = (rank == 0).nonzero()[:, 0]
        people = len(image_of)

        shape = self.shapes[dice.integers(len(self.shapes), people)]
        shape = torch.cat([shape[:, :6], shape[:, 6:] + dice.normal(0.15, people, 58)], 1)
        wear = sample_outfits(dice, people, config.padded)
        clothes = dress(body, wear)
        actions = sample_actions(body, dice, people)
        rest, heads = B.shape_body(body, shape, actions, clothes.push)
        rotations = sample_poses(body, dice, people, self.pose_library)
        free_arms(body, rest, heads, rotations)
        posed, normals, joints = B.pose_body(body, rest, heads, rotations)
        points = B.keypoints_of(body, posed, joints)

        framing = dice.choice(config.framing, batch)
        view = place_cameras(
            posed[subject][:, self.sample_points],
            body.attributes[self.sample_points],
            points[subject],
            dice,
            framing,
            config.size_hw,
            config.padding,
            config.box_jitter,
            config.box_shift,
            config.whole_picture,
        )
        posed, normals, joints = gather_people(
            body, dice, view, image_of, rank, posed, normals, joints
        )
        points = B.keypoints_of(body, posed, joints)
        screen = view.project(posed, image_of)
        ss = config.supersample
        drawn = draw_people(body, screen, image_of, clothes, view, config.size_hw, ss)
        looks, lights = sample_looks(dice, people, self.photos), sample_lights(dice, batch)
        behind = backdrops(dice, batch, config.size_hw, self.photos, config.photo_share)
        behind = soften_background(dice, behind)
        picture = paint(
            body,
            drawn,
            posed,
            normals,
            image_of,
            view,
            wear,
            looks,
            lights,
            (self.brow_lines, self.eye_centres),
            behind,
            ss,
        )
        inverse_depth = drawn.inverse_depth
        drawn_by = owner = rank_map(drawn, rank)
        if config.collars > 0:
            picture, inverse_depth, covered = lay_collars(
                dice,
                view,
                points[subject],
                picture,
                inverse_depth,
                self.photos,
                config.collars,
                wear.loose_top[subject],
            )
            owner = owner.masked_fill(covered, -1)
        if config.tables > 0:
            picture, inverse_depth, covered = lay_tables(
                dice, view, points[subject], picture, inverse_depth, self.photos, config.tables
            )
            owner = owner.masked_fill(covered, -1)
        if config.occluders > 0:
            chosen = dice.chance(config.occluders, batch).nonzero()[:, 0]
            covered = torch.zeros_like(inverse_depth, dtype=torch.bool)
            if len(chosen):
                texture = backdrops(dice, len(chosen), config.size_hw, self.photos, 0.5)
                hands = view.project(points[subject], torch.arange(batch, device=device))
                hands = hands[chosen, dice.choice(_HELD_AT, len(chosen)), :2]
                parts = occluders(dice, picture[chosen], texture, hands)
                picture[chosen], covered[chosen] = parts
            inverse_depth = inverse_depth.masked_fill(covered, 1e3)
            owner = owner.masked_fill(covered, -1)
        if config.faults:
            picture = camera_faults(dice, picture)
        inside = self._within_picture(view.border)
        picture, owner = picture * inside[:, None], owner.masked_fill(~inside, -1)
        labelled = view.project(points, image_of)
        seen = self._visibility(labelled, image_of, inverse_depth, view)
        boxes = self._people_boxes(screen, drawn.used, image_of, view)
        drawn_by = drawn_by.masked_fill(~inside, -1)
        boxes = _with_pixels(boxes, drawn_by[image_of] == rank[:, None, None])
        return self._pack(picture, owner, labelled, seen, boxes, image_of, rank, view)

    def _within_picture(self, border: Tensor) -> Tensor:
        height, width = self.config.size_hw
        y = torch.arange(height, device=self.device)[:, None]
        x = torch.arange(width, device=self.device)
        left, top, right, bottom = border[..., None, None].unbind(1)
        return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)

    def _visibility(
        self, labelled: Tensor, image_of: Tensor, inverse_depth: Tensor, view: View
    ) -> Tensor:
        height, width = self.config.size_hw
        x, y, iz = labelled.unbind(-1)
        left, top, right, bottom = view.border[image_of][..., None].unbind(1)
        inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5) & (iz > 0)
        inside &= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        column = x.round().clamp(0, width - 1).long()
        row = y.round().clamp(0, height - 1).long()
        surface = inverse_depth[image_of[:, None], row, column]
        depth = 1 / iz.clamp_min(1e-3)
        front = 1 / surface.clamp_min(1e-3)
        seen = depth - self.slack < front
        return inside.long() * (1 + seen.long())

    def _people_boxes(self, screen: Tensor, used: Tensor, image_of: Tensor, view: View) -> Tensor:
        """Boxes [P,4] of the part of everybody that lies within the crop and the picture."""
        height, width = self.config.size_hw
        limit = torch.tensor([0.0, 0.0, width - 1.0, height - 1.0], device=self.device)
        border = view.border[image_of]
        low_edge = torch.maximum(border[:, :2], limit[:2])[:, None]
        high_edge = torch.minimum(border[:, 2:], limit[2:])[:, None]
        place, inverse = screen[..., :2], screen[..., 2:]
        # A limb outside must not widen the box, but a triangle across an edge (3 cm) reaches it.
        reach = 0.03 * inverse * view.scale[image_of][:, None, None]
        near = (place > low_edge - reach) & (place < high_edge + reach)
        within = (place >= low_edge) & (place <= high_edge)
        valid = used & (inverse[..., 0] > 0) & (inverse[..., 0] < 1 / NEAR)
        valid = valid[..., None] & near & within.flip(-1)
        low = place.masked_fill(~valid, torch.inf).amin(1)
        high = place.masked_fill(~valid, -torch.inf).amax(1)
        low, high = torch.maximum(low, low_edge[:, 0]), torch.minimum(high, high_edge[:, 0])
        box = torch.cat([low, high], 1)
        return torch.where((high > low).all(1)[:, None], box, 0.0)

    def _pack(
        self,
        picture: Tensor,
        owner: Tensor,
        labelled: Tensor,
        seen: Tensor,
        boxes: Tensor,
        image_of: Tensor,
        rank: Tensor,
        view: View,
    ) -> SyntheticBatch:
        images = len(picture)
        most = int(rank.max()) + 1
        all_boxes = torch.zeros(images, most, 4, device=self.device)
        all_points = torch.zeros(images, most, 133, 2, device=self.device)
        all_seen = torch.zeros(images, most, 133, dtype=torch.int64, device=self.device)
        all_boxes[image_of, rank] = boxes
        all_points[image_of, rank] = labelled[..., :2]
        all_seen[image_of, rank] = seen
        visibility = all_seen[:, 0]
        weights = torch.tensor([0.0, 0.5, 1.0], device=self.device)[visibility]
        for part in (slice(23, 91), slice(91, 112), slice(112, 133)):
            unseen = (visibility[:, part] == 2).float().mean(1) < 0.05
            weights[:, part] *= ~unseen[:, None]
        return SyntheticBatch(
            images=(picture * 255 + 0.5).clamp(0, 255).to(torch.uint8),
            keypoints=all_points[:, 0],
            visibility=visibility,
            weights=weights,
            boxes=view.box,
            people_boxes=all_boxes,
            people_keypoints=all_points,
            people_visibility=all_seen,
            framing=view.framing,
            owner=owner,
        )


def _with_pixels(boxes: Tensor, drawn: Tensor) -> Tensor:
    """Boxes [P,4] that reach all pixels, bool [P,H,W], of their people; zeros are no box yet.

    Where somebody is cut off, vertices beyond the edge tell only roughly where the edge is met.
    """
    x, y = drawn.any(1).float(), drawn.any(2).float()
    first = torch.stack([x.argmax(1), y.argmax(1)], 1)
    last = torch.stack([x.flip(1).argmax(1), y.flip(1).argmax(1)], 1)
    size = torch.tensor([x.shape[1], y.shape[1]], device=drawn.device)
    pixels = torch.cat([first, size - 1 - last], 1).to(boxes.dtype)
    both = torch.cat([torch.minimum(boxes, pixels)[:, :2], torch.maximum(boxes, pixels)[:, 2:]], 1)
    some = (boxes[:, 2:] > boxes[:, :2]).all(1, keepdim=True)
    seen = x.any(1, keepdim=True)
    return torch.where(seen, torch.where(some, both, pixels), boxes)
