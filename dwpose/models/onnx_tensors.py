"""ONNX operators that move, choose and shape numbers, in torch.

Same calling convention as `onnx_ops`, whose table lists them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import WeightsError

DTYPES: dict[int, torch.dtype] = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
    16: torch.bfloat16,
}
"""ONNX's TensorProto.DataType to torch."""


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        op: Operator name; ``domain.Name`` outside the standard domain.
        name: Name in the file, for messages.
        inputs: Value names; empty for an optional input left out.
        outputs: Value names; empty for an optional output left out.
        attributes: Attribute values: int, float, str, lists of them, tensors.
        opset: Version of the standard operator set the file uses.
        file: The file, for messages.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 17
    file: str = ""

    def get(self, name: str, default: Any = None) -> Any:
        """Value of an attribute."""
        return self.attributes.get(name, default)

    def unsupported(self, what: str) -> WeightsError:
        """The error for a form of this operator that is not here."""
        return WeightsError(
            f"{self.file or 'the graph'}: operator {self.op} ({self.name or 'unnamed'}) {what}, "
            "which the torch path does not support; use runtime='onnxruntime' for this file"
        )


def numbers(value: Tensor | None) -> list[Any] | None:
    """A small tensor as a list of Python numbers; None stays None."""
    return None if value is None else value.flatten().tolist()


def axes_of(node: Node, value: Tensor | None) -> list[int] | None:
    """Axes from the second input (newer opsets) or the attribute (older); None where absent."""
    return numbers(value) if value is not None else node.get("axes")


def shape(node: Node, x: Tensor) -> Tensor:
    """Shape."""
    return torch.tensor(x.shape, dtype=torch.int64)[node.get("start", 0) : node.get("end")]


def reshape(node: Node, x: Tensor, target: Tensor) -> Tensor:
    """Reshape; 0 copies the axis unless ``allowzero``."""
    sizes = target.tolist()
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return x.reshape(sizes)


def flatten(node: Node, x: Tensor) -> Tensor:
    """Flatten to two axes."""
    axis = node.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    rows = 1
    for size in x.shape[:axis]:
        rows *= size
    return x.reshape(rows, -1) if x.numel() else x.reshape(rows, 0)


def transpose(node: Node, x: Tensor) -> Tensor:
    """Transpose; reversed axes by default."""
    return x.permute(node.get("perm") or tuple(reversed(range(x.ndim))))


def squeeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Squeeze the given axes, or all of size one."""
    which = axes_of(node, axes)
    return x.squeeze() if which is None else x.squeeze(tuple(which))


def unsqueeze(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
    """Unsqueeze; axes count in the result."""
    which = axes_of(node, axes) or []
    for axis in sorted(a % (x.ndim + len(which)) for a in which):
        x = x.unsqueeze(axis)
    return x


def concat(node: Node, *values: Tensor) -> Tensor:
    """Concat."""
    return torch.cat(values, dim=node.get("axis", 0))


def split(node: Node, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Split into the given sizes, or into as many equal parts as there are outputs."""
    axis = node.get("axis", 0)
    parts = numbers(sizes) or node.get("split")
    if parts is None:
        count = node.get("num_outputs") or len(node.outputs)
        parts = -(-x.shape[axis] // count)
    return torch.split(x, parts, dim=axis)


def slice_(
    node: Node,
    x: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Slice; negative steps walk backwards."""
    begin = numbers(starts) or node.get("starts")
    end = numbers(ends) or node.get("ends")
    which = axes_of(node, axes) or list(range(len(begin)))
    strides = numbers(steps) or [1] * len(begin)
    for a, start, stop, step in zip(which, begin, end, strides, strict=True):
        size = x.shape[a]
        if step > 0:
            index = [slice(None)] * x.ndim
            index[a] = slice(*slice(start, stop, step).indices(size))
            x = x[tuple(index)]
        else:
            # Python reads a stop of -size-1 or less as "through the first element", as ONNX does.
            picked = range(*slice(start, stop, step).indices(size))
            x = x.index_select(a, torch.tensor(list(picked), dtype=torch.int64, device=x.device))
    return x


def gather(node: Node, x: Tensor, index: Tensor) -> Tensor:
    """Gather slices along one axis; negative indices count from the end."""
    axis = node.get("axis", 0) % x.ndim
    flat = index.reshape(-1).to(device=x.device, dtype=torch.int64)
    flat = torch.where(flat < 0, flat + x.shape[axis], flat)
    out = x.index_select(axis, flat)
    return out.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def gather_elements(node: Node, x: Tensor, index: Tensor) -> Tensor:
    """GatherElements."""
    axis = node.get("axis", 0)
    index = index.to(torch.int64)
    return x.gather(axis, torch.where(index < 0, index + x.shape[axis], index))


def _nd_index(x: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    return tuple(index.to(torch.int64).unbind(dim=-1))


def gather_nd(node: Node, x: Tensor, index: Tensor) -> Tensor:
    """GatherND without batch axes."""
    if node.get("batch_dims", 0):
        raise node.unsupported("has batch_dims")
    return x[_nd_index(x, index)]


def scatter_nd(node: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """ScatterND without reduction."""
    if node.get("reduction", "none") != "none":
        raise node.unsupported(f"has reduction {node.get('reduction')}")
    out = x.clone()
    out[_nd_index(x, index)] = updates.to(x.dtype)
    return out


def scatter_elements(node: Node, x: Tensor, index: Tensor, updates: Tensor) -> Tensor:
    """ScatterElements without reduction."""
    if node.get("reduction", "none") != "none":
        raise node.unsupported(f"has reduction {node.get('reduction')}")
    axis = node.get("axis", 0)
    index = index.to(torch.int64)
    return x.scatter(axis, torch.where(index < 0, index + x.shape[axis], index), updates)


def expand(node: Node, x: Tensor, target: Tensor) -> Tensor:
    """Expand; broadcasting both ways."""
    return x.expand(torch.broadcast_shapes(x.shape, tuple(target.tolist())))


def tile(node: Node, x: Tensor, repeats: Tensor) -> Tensor:
    """Tile."""
    return x.repeat(repeats.tolist())


def pad(
    node: Node,
    x: Tensor,
    pads: Tensor | None = None,
    value: Tensor | None = None,
    axes: Tensor | None = None,
) -> Tensor:
    """Pad; all begins come first in ONNX, the last axis comes first in torch."""
    amounts = numbers(pads) or node.get("pads")
    which = numbers(axes) or list(range(x.ndim))
    begins, ends = [0] * x.ndim, [0] * x.ndim
    for position, axis in enumerate(which):
        begins[axis], ends[axis] = amounts[position], amounts[position + len(which)]
    mode = {"edge": "replicate", "wrap": "circular"}.get(node.get("mode", "constant"))
    mode = mode or node.get("mode", "constant")
    reverse = [n for axis in reversed(range(x.ndim)) for n in (begins[axis], ends[axis])]
    if mode == "constant":
        fill = node.get("value", 0.0) if value is None else value.item()
        return F.pad(x, reverse, value=fill)
    # torch's other modes take trailing axes only, and need a batch axis before them.
    while reverse and reverse[-2:] == [0, 0]:
        reverse = reverse[:-2]
    return F.pad(x[None, None], reverse, mode=mode)[0, 0] if x.ndim < 4 else F.pad(x, reverse, mode)


def range_(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Range."""
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


def constant_of_shape(node: Node, sizes: Tensor) -> Tensor:
    """ConstantOfShape; float 0 by default."""
    value = node.get("value")
    if value is None:
        return torch.zeros(sizes.tolist())
    return torch.full(sizes.tolist(), value.item(), dtype=value.dtype)


def depth_to_space(node: Node, x: Tensor) -> Tensor:
    """DepthToSpace in both channel orders."""
    n, c, h, w = x.shape
    b = node.get("blocksize")
    if node.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(x, b)
    parts = x.reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, c // b**2, h * b, w * b)


def space_to_depth(node: Node, x: Tensor) -> Tensor:
    """SpaceToDepth."""
    n, c, h, w = x.shape
    b = node.get("blocksize")
    parts = x.reshape(n, c, h // b, b, w // b, b).permute(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * b**2, h // b, w // b)


def trilu(node: Node, x: Tensor, k: Tensor | None = None) -> Tensor:
    """Trilu."""
    diagonal = 0 if k is None else int(k.item())
    return x.triu(diagonal) if node.get("upper", 1) else x.tril(diagonal)


def one_hot(node: Node, index: Tensor, depth: Tensor, values: Tensor) -> Tensor:
    """OneHot with values (off, on)."""
    size = int(depth.item())
    hot = F.one_hot(index.to(torch.int64) % size, size).movedim(-1, node.get("axis", -1))
    return torch.where(hot.bool(), values[1], values[0])


def topk(node: Node, x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """TopK, always sorted; among equals the lower index comes first, as ONNX asks."""
    count = node.get("k") if k is None else int(k.item())
    axis = node.get("axis", -1)
    largest = bool(node.get("largest", 1))
    values, index = torch.sort(x, dim=axis, descending=largest, stable=True)
    return values.narrow(axis, 0, count), index.narrow(axis, 0, count)


def nonzero(node: Node, x: Tensor) -> Tensor:
    """NonZero, one column per element."""
    return x.nonzero().T


def non_max_suppression(
    node: Node,
    boxes: Tensor,
    scores: Tensor,
    max_per_class: Tensor | None = None,
    iou_threshold: Tensor | None = None,
    score_threshold: Tensor | None = None,
) -> Tensor:
    """NonMaxSuppression: rows (batch, class, box), best first within each class.

    boxes are [N,A,4] (two corners in any order, or centre and size), scores [N,C,A]. The greedy
    choice runs on the CPU in float32: it is a chain of decisions, and few boxes are left by then.
    """
    limit = 0 if max_per_class is None else int(max_per_class.item())
    overlap = 0.0 if iou_threshold is None else float(iou_threshold.item())
    device = boxes.device
    boxes, scores = boxes.float().cpu(), scores.float().cpu()
    if node.get("center_point_box", 0):
        centre, half = boxes[..., :2], boxes[..., 2:] / 2
        low, high = centre - half, centre + half
    else:
        low = torch.minimum(boxes[..., :2], boxes[..., 2:])
        high = torch.maximum(boxes[..., :2], boxes[..., 2:])
    rows: list[tuple[int, int, int]] = []
    for n in range(scores.shape[0]):
        for c in range(scores.shape[1]):
            order = torch.argsort(scores[n, c], descending=True, stable=True)
            if score_threshold is not None:
                order = order[scores[n, c, order] > float(score_threshold.item())]
            kept = 0
            while len(order) and kept < limit:
                best = order[0]
                rows.append((n, c, int(best)))
                kept += 1
                order = order[1:]
                joint = torch.minimum(high[n, best], high[n, order])
                joint = (joint - torch.maximum(low[n, best], low[n, order])).clamp(min=0).prod(-1)
                areas = (high[n, order] - low[n, order]).prod(-1)
                union = areas + (high[n, best] - low[n, best]).prod() - joint
                # Written without division: boxes without area overlap nothing.
                order = order[~((joint > overlap * union) & (joint > 0))]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).to(device)
