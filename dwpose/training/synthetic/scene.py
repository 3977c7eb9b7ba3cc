"""People in one picture: where neighbours stand, which triangles are drawn, the painted frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from . import body as B
from .camera import BUST, View
from .dice import Dice, about
from .looks import Looks
from .outfit import Dressing, Outfits
from .raster import Fragments, rasterize
from .shade import Lights, light_up, wrinkle
from .surface import albedo

_COARSE_BELOW = 200.0  # pixels per metre under which the coarse mesh is drawn
_SHADOW_SIDE = 128  # cells of the shadow map along each axis
_SHADOW_BIAS = 0.06  # metres; a cell is some 2 cm wide and looks one cell around


@dataclass(frozen=True)
class Drawn:
    """What the z-buffer found.

    Attributes:
        fragments: the nearest surface of every pixel of the supersampled frame.
        faces: int64 [F,3] that `fragments.face` counts in; part: int64 [F].
        inverse_depth: 1/m at crop resolution, 0 where nothing is, [N,H,W].
        used: bool [P,V], vertices of the triangles that were handed to the z-buffer.
    """

    fragments: Fragments
    faces: Tensor
    part: Tensor
    inverse_depth: Tensor
    used: Tensor


def gather_people(
    body: B.Body,
    dice: Dice,
    view: View,
    image_of: Tensor,
    rank: Tensor,
    posed: Tensor,
    normals: Tensor,
    joints: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Put neighbours beside and behind their subject, friends closer, mostly on the same floor.

    Args:
        body: the constants.
        dice: random numbers.
        view: the cameras; a neighbour seldom stands between the camera and the subject.
        image_of: int64 [P]; rank: int64 [P], 0 for the subject of each image.
        rank: see `image_of`.
        posed: vertices [P,V,3].
        normals: [P,V,3].
        joints: [P,104,3].

    Returns:
        posed, normals and joints in the scene.
    """
    people = len(rank)
    towards = view.position - joints[rank == 0][:, 0]
    bearing = torch.atan2(towards[:, 1], towards[:, 0])[image_of]
    side = torch.where(dice.chance(0.5, people), 1.57, -1.57)
    # 0 is towards the camera: mostly beside and behind, now and then a little in front.
    away = bearing + side + side.sign() * (dice.normal(0.55, people) + 0.25)
    gap = dice.uniform(0.35, 1.1, people)
    # Friends and families stand shoulder to shoulder, or head to head in a close-up, and look the
    # same way; strangers are turned anyhow.
    close_up = (view.framing >= BUST)[image_of]
    friends = dice.chance(0.5, people)
    heading = dice.uniform(-3.1416, 3.1416, people)
    heading = torch.where(friends, dice.normal(0.35, people), heading)
    near = torch.where(close_up, 0.17, 0.3) + dice.uniform(0.0, 0.25, people)
    gap = torch.where(friends, near, gap)
    away = torch.where(friends, bearing + side + dice.normal(0.2, people), away)
    other = rank > 0
    turn = about("z", torch.where(other, heading, 0.0)).transpose(1, 2)
    posed, normals, joints = posed @ turn, normals @ turn, joints @ turn
    first = joints[rank == 0][image_of]
    lift = (first[..., 2].amin(1) - joints[..., 2].amin(1)) * dice.chance(0.8, people)
    move = torch.stack([away.cos() * gap, away.sin() * gap, lift], -1)
    # In a close-up it is the heads that meet, whatever the bodies below them do.
    skull = body.bone("head")
    meet = (
        first[:, skull]
        - joints[:, skull]
        + dice.normal(0.06, people, 1) * move.new_tensor([0.0, 0.0, 1.0])
    )
    meet[:, :2] += move[:, :2]
    move = torch.where((friends & close_up)[:, None], meet, move) * other[:, None]
    return posed + move[:, None], normals, joints + move[:, None]


def draw_people(
    body: B.Body,
    screen: Tensor,
    image_of: Tensor,
    clothes: Dressing,
    view: View,
    size_hw: tuple[int, int],
    supersample: int,
) -> Drawn:
    """Choose the triangles of everybody and rasterise them.

    Args:
        body: the constants.
        screen: [P,V,3], from `View.project`.
        image_of: int64 [P].
        clothes: what is worn and what it hides.
        view: the cameras.
        size_hw: of the crops.
        supersample: the frame is this many times larger.
    """
    height, width = size_hw
    if supersample > 1:
        screen = screen.clone()
        screen[..., :2] = screen[..., :2] * supersample + (supersample - 1) / 2
    detail = supersample * view.scale[image_of] * screen[:, :, 2].amax(1).clamp(0, 3)
    coarse = detail < _COARSE_BELOW
    faces = torch.cat([body.faces, body.faces_coarse])
    part = torch.cat([body.face_part, body.coarse_part])
    is_coarse = torch.arange(len(faces), device=screen.device) >= len(body.faces)
    draw = is_coarse[None] == coarse[:, None]
    # Hidden skin and clothes that are not worn stop being drawn, unless a corner still shows: the
    # hem is found per pixel. Skirts and hair end where their first corner ends.
    dropped = clothes.hidden | ~clothes.shown
    a, b, c = (dropped.index_select(1, faces[:, k]) for k in range(3))
    any_corner = part >= B.SKIRT
    draw &= ~torch.where(any_corner, a | b | c, a & b & c)
    pairs = draw.nonzero()
    size = (len(view.scale), height * supersample, width * supersample)
    found = rasterize(screen, image_of, pairs, faces, part >= B.SKIRT, size)
    middle = supersample // 2
    depth = found.inverse_depth.view(size)[:, middle::supersample, middle::supersample]
    corners = faces.index_select(0, pairs[:, 1]) + pairs[:, :1] * screen.shape[1]
    used = torch.zeros(screen.shape[:2], dtype=torch.bool, device=screen.device)
    used.view(-1)[corners.view(-1)] = True
    return Drawn(found, faces, part, depth, used)


def rank_map(drawn: Drawn, rank: Tensor) -> Tensor:
    """Whose surface each pixel of the crop shows, int64 [N,H,W]; -1 where nobody is.

    Args:
        drawn: from `draw_people`.
        rank: int64 [P], the number of each person within their image.
    """
    images, height, width = drawn.inverse_depth.shape
    found = drawn.fragments
    supersample = math.isqrt(found.inverse_depth.numel() // drawn.inverse_depth.numel())
    owner = torch.full_like(found.inverse_depth, -1, dtype=torch.int64)
    owner[found.pixel] = rank[found.person]
    owner = owner.view(images, height * supersample, width * supersample)
    middle = supersample // 2  # as for the depth
    return owner[:, middle::supersample, middle::supersample]


def paint(
    body: B.Body,
    drawn: Drawn,
    posed: Tensor,
    normals: Tensor,
    image_of: Tensor,
    view: View,
    wear: Outfits,
    looks: Looks,
    lights: Lights,
    landmarks: tuple[Tensor, Tensor],
    behind: Tensor,
    supersample: int,
) -> Tensor:
    """Colour the frame and lay it over the background.

    Args:
        body: the constants.
        drawn: from `draw_people`.
        posed: world vertices [P,V,3].
        normals: world normals [P,V,3], any length.
        image_of: int64 [P].
        view: the cameras.
        wear: outfits of everybody.
        looks: colours of everybody.
        lights: lights of the images.
        landmarks: brow lines and eye centres of the template, for `albedo`.
        behind: backgrounds [N,3,H,W] in 0..1.
        supersample: as for `draw_people`.

    Returns:
        [N,3,H,W] in 0..1.
    """
    found = drawn.fragments
    images, _, height, width = behind.shape
    corners = drawn.faces.index_select(0, found.face)
    part = drawn.part.index_select(0, found.face)
    base = found.person * len(body.part)
    flat = normals.reshape(-1, 3)
    places = body.attributes.new_zeros(len(corners), body.attributes.shape[1])
    normal = places.new_zeros(len(corners), 3)
    for k in range(3):
        share = found.weights[:, k : k + 1]
        places.addcmul_(body.attributes.index_select(0, corners[:, k]), share)
        normal.addcmul_(flat.index_select(0, corners[:, k] + base), share)
    image = image_of.index_select(0, found.person)
    normal = (view.rotation.index_select(0, image) * normal[:, None]).sum(-1)
    normal = F.normalize(normal, dim=-1)
    away = (part >= B.SKIRT) & (normal[:, 2] > 0)
    normal = torch.where(away[:, None], -normal, normal)
    colour, label = albedo(places, part, found.person, wear, looks, *landmarks)
    normal = wrinkle(normal, places, label, found.person, looks)
    shadow = _shadows(found, posed, image_of, image, view, lights, width, supersample)
    colour = light_up(colour, normal, image, lights, shadow)
    if supersample == 1:
        picture = behind.permute(0, 2, 3, 1).reshape(-1, 3).contiguous()
        picture[found.pixel] = colour
        return picture.view(images, height, width, 3).permute(0, 3, 1, 2).contiguous()
    layer = torch.zeros(images * height * width * supersample**2, 4, device=behind.device)
    layer[found.pixel] = F.pad(colour, (0, 1), value=1.0)
    layer = layer.view(images, height, supersample, width, supersample, 4).mean((2, 4))
    layer = layer.permute(0, 3, 1, 2)
    return behind * (1 - layer[:, 3:]) + layer[:, :3]


def _shadows(
    found: Fragments,
    posed: Tensor,
    image_of: Tensor,
    image: Tensor,
    view: View,
    lights: Lights,
    width: int,
    supersample: int,
) -> Tensor:
    """How much of the main light reaches each pixel, [M] in 0..1, from splatted vertices."""
    images, side, frame_width = len(view.scale), _SHADOW_SIDE, width * supersample
    helper = torch.tensor([0.31, 0.87, 0.38], device=posed.device).expand_as(lights.key)
    first = F.normalize(torch.linalg.cross(lights.key, helper, dim=-1), dim=-1)
    second = torch.linalg.cross(lights.key, first, dim=-1)
    axes = torch.stack([first, second, lights.key], 1)  # camera axes to light axes
    world = axes @ view.rotation
    points = posed - view.position[image_of][:, None]
    points = points @ world[image_of].transpose(1, 2)
    centre = torch.zeros(images, 3, device=posed.device)
    centre.index_copy_(0, image_of.flip(0), points.mean(1).flip(0))  # the subject wins
    # The map is as wide as the picture needs, but its cells stay wider than the mesh's.
    distance = (centre[:, None] @ axes)[:, 0, 2]
    span = (1.5 * frame_width / supersample / view.scale * distance).clamp(1.1, 2.8)
    cell = side / span  # cells per metre, [N]
    flat = points - centre[image_of][:, None]
    spots = flat[..., :2] * cell[image_of][:, None, None] + side / 2
    on_map = ((spots >= 0) & (spots < side)).all(-1)
    grid = spots.long().clamp(0, side - 1)
    index = image_of[:, None] * side * side + grid[..., 1] * side + grid[..., 0]
    height = torch.where(on_map, flat[..., 2], -1e3)
    top = torch.full((images * side * side,), -1e3, device=posed.device)
    top.scatter_reduce_(0, index.reshape(-1), height.reshape(-1), "amax")
    top = F.max_pool2d(top.view(images, 1, side, side), 3, 1, 1).view(-1)

    depth = 1 / found.inverse_depth.index_select(0, found.pixel)
    within = found.pixel - image * (found.inverse_depth.numel() // images)
    row = torch.div(within, frame_width, rounding_mode="floor")
    spot = torch.stack([within - row * frame_width, row], -1) / supersample
    spot = (spot - view.shift[image]) / view.scale[image][:, None] * depth[:, None]
    local = torch.cat([spot, depth[:, None]], -1)
    local = (axes[image] * local[:, None]).sum(-1) - centre[image]
    place = local[:, :2] * cell[image][:, None] + side / 2 - 0.5
    corner = place.floor()
    share = place - corner
    lit = torch.zeros_like(depth)
    for dx in (0, 1):
        for dy in (0, 1):
            at = (corner + place.new_tensor([dx, dy])).long().clamp(0, side - 1)
            near = top.index_select(0, image * side * side + at[:, 1] * side + at[:, 0])
            clear = ((_SHADOW_BIAS - (near - local[:, 2])) / 0.02 + 0.5).clamp(0, 1)
            x = share[:, 0] if dx else 1 - share[:, 0]
            y = share[:, 1] if dy else 1 - share[:, 1]
            lit += clear * x * y
    return 1 - lights.shadow[image] * (1 - lit)
