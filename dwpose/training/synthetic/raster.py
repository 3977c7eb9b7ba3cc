"""A z-buffer for many small triangles in plain torch, no loop over images or triangles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_EMPTY = torch.iinfo(torch.int64).max
_DEPTH_STEPS = 2**30  # steps of 1/z between 0 and 1/NEAR
NEAR = 0.12  # metres; triangles that come nearer are left out


@dataclass(frozen=True)
class Fragments:
    """The nearest surface of every covered pixel; M pixels.

    Attributes:
        pixel: int64 [M], index into the flattened [N,H,W].
        person: int64 [M]; face: int64 [M], index into the faces given.
        weights: float32 [M,3], perspective-correct barycentrics.
        inverse_depth: float32 [N*H*W], 1/m, 0 where nothing is.
    """

    pixel: Tensor
    person: Tensor
    face: Tensor
    weights: Tensor
    inverse_depth: Tensor


def rasterize(
    screen: Tensor,
    image_of: Tensor,
    pairs: Tensor,
    faces: Tensor,
    two_sided: Tensor,
    size_nhw: tuple[int, int, int],
) -> Fragments:
    """Draw triangles.

    Args:
        screen: [P,V,3] x and y in pixels (centres at integers) and 1/z in 1/m, <= 0 behind.
        image_of: int64 [P], the image each person is in.
        pairs: int64 [K,2], person and face to draw.
        faces: int64 [F,3].
        two_sided: bool [F]; the others are culled when seen from behind.
        size_nhw: images, height, width.
    """
    images, height, width = size_nhw
    vertices = screen.shape[1]
    flat = screen.reshape(-1, 3)
    corner_ids = faces.index_select(0, pairs[:, 1]) + pairs[:, :1] * vertices  # [K,3]
    corners = corner_ids.reshape(-1)
    xs = flat[:, 0].contiguous().index_select(0, corners).view(-1, 3)
    ys = flat[:, 1].contiguous().index_select(0, corners).view(-1, 3)
    x0 = xs.amin(1).ceil().clamp_min(0)
    x1 = xs.amax(1).floor().clamp_max(width - 1)
    y0 = ys.amin(1).ceil().clamp_min(0)
    y1 = ys.amax(1).floor().clamp_max(height - 1)
    ax, ay, bx, by, cx, cy = xs[:, 0], ys[:, 0], xs[:, 1], ys[:, 1], xs[:, 2], ys[:, 2]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    # y points down on the screen, so outward faces run clockwise: their area is negative.
    front = (area < -1e-9) | (two_sided[pairs[:, 1]] & (area > 1e-9))
    keep = (front & (x1 >= x0) & (y1 >= y0)).nonzero()[:, 0]
    iz = flat[:, 2][corner_ids[keep]]
    near = ((iz > 0) & (iz < 1 / NEAR)).all(1)
    keep, iz = keep[near], iz[near]

    x0, y0 = x0[keep].long(), y0[keep].long()
    wide = x1[keep].long() - x0 + 1
    tall = y1[keep].long() - y0 + 1
    ax, ay, bx, by, cx, cy = (t[keep] for t in (ax, ay, bx, by, cx, cy))
    inverse_area = 1.0 / area[keep]
    # Barycentrics of corners b and c as planes over the screen: value = p + q*dx + r*dy, with dx
    # and dy counted from the first pixel of the box.
    qb, rb = (cy - ay) * inverse_area, -(cx - ax) * inverse_area
    qc, rc = -(by - ay) * inverse_area, (bx - ax) * inverse_area
    px, py = x0 - ax, y0 - ay
    pb, pc = qb * px + rb * py, qc * px + rc * py
    dzb, dzc = iz[:, 1] - iz[:, 0], iz[:, 2] - iz[:, 0]
    planes = torch.stack([pb, qb, rb, pc, qc, rc, iz[:, 0], dzb, dzc], 1)

    count = wide * tall
    owner = torch.repeat_interleave(count)
    start = torch.cumsum(count, 0) - count
    step = torch.arange(len(owner), device=flat.device) - start.index_select(0, owner)
    box_width = wide.index_select(0, owner)
    row = torch.div(step, box_width, rounding_mode="floor")
    col = step - row * box_width
    plane = planes.index_select(0, owner)
    fx, fy = col.to(plane.dtype), row.to(plane.dtype)
    wb = plane[:, 0] + plane[:, 1] * fx + plane[:, 2] * fy
    wc = plane[:, 3] + plane[:, 4] * fx + plane[:, 5] * fy
    inside = ((wb >= 0) & (wc >= 0) & (wb + wc <= 1)).nonzero()[:, 0]
    owner, row, col, wb, wc = (t[inside] for t in (owner, row, col, wb, wc))
    inv_z = plane[inside, 6] + wb * plane[inside, 7] + wc * plane[inside, 8]

    person = pairs[keep, 0]
    base = image_of[person] * (height * width) + y0 * width + x0
    pixel = base[owner] + row * width + col
    rank = _DEPTH_STEPS - (inv_z * (_DEPTH_STEPS * NEAR)).long()
    packed = (rank << 32) | torch.arange(len(owner), device=flat.device)
    buffer = torch.full((images * height * width,), _EMPTY, dtype=torch.int64, device=flat.device)
    buffer.scatter_reduce_(0, pixel, packed, "amin")

    covered = (buffer != _EMPTY).nonzero()[:, 0]
    winner = buffer[covered] & 0xFFFFFFFF
    triangle = owner[winner]
    wb, wc, inv_z = wb[winner], wc[winner], inv_z[winner]
    screen_weights = torch.stack([1 - wb - wc, wb, wc], 1)
    weights = screen_weights * iz[triangle]
    weights = weights / weights.sum(1, keepdim=True)
    depth = torch.zeros(images * height * width, device=flat.device)
    depth[covered] = inv_z
    return Fragments(
        pixel=covered,
        person=person[triangle],
        face=pairs[keep, 1][triangle],
        weights=weights,
        inverse_depth=depth,
    )
