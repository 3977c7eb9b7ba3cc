"""The table of ONNX operators that the general path runs, in torch.

Every function takes the `Node` and the values of its inputs (None for one left out) and returns
one tensor or a tuple. Semantics are those of the ONNX operator specification, opset 11 to 21,
where versions differ read from ``node.opset``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from . import onnx_tensors as t
from .onnx_tensors import Node, axes_of, numbers

Operator = Callable[..., Any]


def _unary(function: Callable[[Tensor], Tensor]) -> Operator:
    return lambda node, x: function(x)


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda node, a, b: function(a, b)


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    def run(node: Node, first: Tensor, *others: Tensor) -> Tensor:
        for other in others:
            first = function(first, other)
        return first

    return run


def _divide(a: Tensor, b: Tensor) -> Tensor:
    # ONNX divides integers like C, towards zero.
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _mod(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.fmod(a, b) if node.get("fmod", 0) else torch.remainder(a, b)


def _pow(node: Node, a: Tensor, b: Tensor) -> Tensor:
    return torch.pow(a, b).to(a.dtype)


def _clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    bottom = node.get("min") if low is None else low.item()
    top = node.get("max") if high is None else high.item()
    return x if bottom is None and top is None else torch.clamp(x, bottom, top)


def _cast(node: Node, x: Tensor) -> Tensor:
    return x.to(node.get("to"))


def _gelu(node: Node, x: Tensor) -> Tensor:
    return F.gelu(x, approximate=node.get("approximate", "none"))


def _hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    return torch.clamp(x * node.get("alpha", 0.2) + node.get("beta", 0.5), 0, 1)


def _prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


def _dropout(node: Node, x: Tensor, *_: Tensor) -> tuple[Tensor, ...]:
    return (x, torch.ones_like(x, dtype=torch.bool))[: len(node.outputs)]


def _axes(node: Node, x: Tensor, axes: Tensor | None) -> tuple[int, ...]:
    which = axes_of(node, axes)
    if not which:
        return () if node.get("noop_with_empty_axes", 0) else tuple(range(x.ndim))
    return tuple(which)


def _reduce(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Operator:
    def run(node: Node, x: Tensor, axes: Tensor | None = None) -> Tensor:
        which = _axes(node, x, axes)
        return function(x, which, bool(node.get("keepdims", 1))) if which else x

    return run


def _product(x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _extremum(function: Callable[..., Tensor]) -> Operator:
    def run(node: Node, x: Tensor) -> Tensor:
        axis, keep = node.get("axis", 0), bool(node.get("keepdims", 1))
        if not node.get("select_last_index", 0):
            return function(x, dim=axis, keepdim=keep)
        return x.shape[axis] - 1 - function(x.flip(axis), dim=axis, keepdim=keep)

    return run


def _cumsum(node: Node, x: Tensor, axis: Tensor) -> Tensor:
    dim = int(axis.item())
    x = x.flip(dim) if node.get("reverse", 0) else x
    out = x.cumsum(dim).to(x.dtype)
    out = out - x if node.get("exclusive", 0) else out
    return out.flip(dim) if node.get("reverse", 0) else out


def _softmax(function: Callable[..., Tensor]) -> Operator:
    def run(node: Node, x: Tensor) -> Tensor:
        if node.opset >= 13:
            return function(x, dim=node.get("axis", -1))
        # Before opset 13 the axis divides the tensor into rows and columns.
        axis = node.get("axis", 1) % x.ndim
        return function(x.flatten(axis), dim=-1).reshape(x.shape)

    return run


def _gemm(node: Node, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    out = (a @ b) * node.get("alpha", 1.0)
    return out if c is None else out + c * node.get("beta", 1.0)


def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.get("equation"), *values)


def _begins_ends(node: Node, x: Tensor, kernel: list[int]) -> tuple[list[int], list[int]]:
    """Padding before and after each spatial axis of a convolution or pool."""
    count = len(kernel)
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = node.get("pads") or [0] * 2 * count
        return pads[:count], pads[count:]
    strides, dilations = node.get("strides") or [1] * count, node.get("dilations") or [1] * count
    begins, ends = [0] * count, [0] * count
    for axis in range(count if auto != "VALID" else 0):
        size, stride = x.shape[2 + axis], strides[axis]
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        begins[axis], ends[axis] = (small, large) if auto == "SAME_UPPER" else (large, small)
    return begins, ends


def _padded(x: Tensor, begins: list[int], ends: list[int], value: float = 0.0) -> Tensor:
    pairs = [n for begin, end in zip(reversed(begins), reversed(ends), strict=True)
             for n in (begin, end)]  # fmt: skip
    return F.pad(x, pairs, value=value) if any(pairs) else x


def _conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = weight.ndim - 2
    begins, ends = _begins_ends(node, x, list(weight.shape[2:]))
    if begins != ends:
        x, begins = _padded(x, begins, ends), [0] * count
    function: Callable[..., Tensor] = (F.conv1d, F.conv2d, F.conv3d)[count - 1]
    strides, dilations = node.get("strides") or [1] * count, node.get("dilations") or [1] * count
    return function(x, weight, bias, strides, begins, dilations, node.get("group", 1))


def _conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    count = weight.ndim - 2
    begins, ends = _begins_ends(node, x, list(weight.shape[2:]))
    if begins != ends or node.get("output_shape") or node.get("auto_pad", "NOTSET") != "NOTSET":
        raise node.unsupported("has uneven padding or an output shape")
    function: Callable[..., Tensor] = (
        F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d
    )[count - 1]  # fmt: skip
    extra = node.get("output_padding") or [0] * count
    strides, dilations = node.get("strides") or [1] * count, node.get("dilations") or [1] * count
    return function(x, weight, bias, strides, begins, extra, node.get("group", 1), dilations)


def _max_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    if len(node.outputs) > 1 or len(kernel) != 2:
        raise node.unsupported("returns indices or is not two-dimensional")
    begins, ends = _begins_ends(node, x, kernel)
    strides, dilations = node.get("strides") or [1, 1], node.get("dilations") or [1, 1]
    ceil = bool(node.get("ceil_mode", 0))
    if begins != ends or any(2 * pad > size for pad, size in zip(begins, kernel, strict=True)):
        x, begins = _padded(x, begins, ends, -torch.inf), [0, 0]
    return F.max_pool2d(x, kernel, strides, begins, dilations, ceil)


def _average_pool(node: Node, x: Tensor) -> Tensor:
    kernel = node.get("kernel_shape")
    begins, ends = _begins_ends(node, x, kernel)
    if begins != ends or len(kernel) != 2 or any(d != 1 for d in node.get("dilations") or []):
        raise node.unsupported("has uneven padding or dilation, or is not two-dimensional")
    strides = node.get("strides") or [1, 1]
    ceil, include = bool(node.get("ceil_mode", 0)), bool(node.get("count_include_pad", 0))
    return F.avg_pool2d(x, kernel, strides, begins, ceil, include)


def _spatial(function: Callable[..., Tensor]) -> Operator:
    return lambda node, x: function(x, dim=tuple(range(2, x.ndim)), keepdim=True)


def _batch_norm(
    node: Node, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    if node.get("training_mode", 0):
        raise node.unsupported("is in training mode")
    return F.batch_norm(x, mean, variance, scale, bias, eps=node.get("epsilon", 1e-5))


def _instance_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=bias, eps=node.get("epsilon", 1e-5))


def _layer_norm(node: Node, x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
    if len([name for name in node.outputs if name]) > 1:
        raise node.unsupported("returns mean and deviation")
    shape = x.shape[node.get("axis", -1) :]
    return F.layer_norm(x, shape, scale, bias, node.get("epsilon", 1e-5))


def _resize(
    node: Node,
    x: Tensor,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
) -> Tensor:
    mode = node.get("mode", "nearest")
    frame = node.get("coordinate_transformation_mode", "half_pixel")
    if node.op == "Upsample":
        # Upsample has its scales second, and pixels at their corners.
        scales, frame = roi if roi is not None else torch.tensor(node.get("scales")), "asymmetric"
    elif node.opset < 11:
        scales, frame = roi, "asymmetric"
    if frame == "tf_crop_and_resize" or node.get("antialias", 0) or node.get("exclude_outside", 0):
        raise node.unsupported(f"uses {frame} coordinates, antialias or exclude_outside")
    if node.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise node.unsupported("keeps the aspect ratio")
    which = node.get("axes") or list(range(x.ndim))
    wanted, factors = numbers(sizes) or [], numbers(scales) or []
    for position, axis in enumerate(which):
        size = x.shape[axis]
        if wanted:
            length = int(wanted[position])
            factor = length / size
        else:
            factor = factors[position]
            length = int(size * factor)
        if length != size or factor != 1:
            x = _resize_axis(node, x, axis, length, factor, mode, frame)
    return x


def _resize_axis(
    node: Node, x: Tensor, axis: int, length: int, factor: float, mode: str, frame: str
) -> Tensor:
    """Resize one axis: all of ONNX's modes are separable."""
    size = x.shape[axis]
    # Positions in float64: float32 rounds (i + 0.5) / factor the wrong way for some sizes.
    at = torch.arange(length, dtype=torch.float64)
    if frame == "align_corners":
        at = at * ((size - 1) / (length - 1)) if length > 1 else at * 0
    elif frame == "asymmetric":
        at = at / factor
    elif frame == "pytorch_half_pixel" and length == 1:
        at = at * 0
    else:
        at = (at + 0.5) / factor - 0.5

    def pick(index: Tensor) -> Tensor:
        return x.index_select(axis, index.clamp(0, size - 1).to(torch.int64).to(x.device))

    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor")
        if node.op == "Upsample" or node.opset < 11:
            rounding = "floor"
        pick_at = {
            "floor": torch.floor,
            "ceil": torch.ceil,
            "round_prefer_floor": lambda p: torch.ceil(p - 0.5),
            "round_prefer_ceil": lambda p: torch.floor(p + 0.5),
        }[rounding]
        return pick(pick_at(at))
    shape = [1] * x.ndim
    shape[axis] = length
    left = at.floor()
    t_ = at - left
    if mode == "linear":
        # Clamping the position, not only the index, repeats the border.
        inside = at.clamp(0, size - 1)
        left, t_ = inside.floor(), inside - inside.floor()
        taps = [(0, 1 - t_), (1, t_)]
    elif mode == "cubic":
        a = node.get("cubic_coeff_a", -0.75)

        def near(d: Tensor) -> Tensor:
            return ((a + 2) * d - (a + 3)) * d * d + 1

        def far(d: Tensor) -> Tensor:
            return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

        taps = [(-1, far(t_ + 1)), (0, near(t_)), (1, near(1 - t_)), (2, far(2 - t_))]
    else:
        raise node.unsupported(f"has mode {mode}")
    out = torch.zeros((), dtype=x.dtype, device=x.device)
    for offset, weight in taps:
        out = out + pick(left + offset) * weight.to(device=x.device, dtype=x.dtype).view(shape)
    return out


OPERATORS: dict[str, Operator] = {
    **{
        name: _unary(getattr(torch, name.lower()))
        for name in (
            "Abs", "Neg", "Exp", "Log", "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sign",
            "Erf", "Sigmoid", "Tanh", "Relu", "Sin", "Cos", "IsNaN", "IsInf",
        )
    },
    "Not": _unary(torch.logical_not), "Identity": _unary(lambda x: x),
    "Softplus": _unary(F.softplus), "HardSwish": _unary(F.hardswish), "Mish": _unary(F.mish),
    "LeakyRelu": lambda node, x: F.leaky_relu(x, node.get("alpha", 0.01)),
    "Elu": lambda node, x: F.elu(x, node.get("alpha", 1.0)),
    "Gelu": _gelu, "HardSigmoid": _hard_sigmoid, "PRelu": _prelu, "Dropout": _dropout,
    "Clip": _clip, "Cast": _cast, "CastLike": lambda node, x, like: x.to(like.dtype),
    "Add": _binary(torch.add), "Sub": _binary(torch.sub), "Mul": _binary(torch.mul),
    "Div": _binary(_divide), "Mod": _mod, "Pow": _pow,
    "Min": _variadic(torch.minimum), "Max": _variadic(torch.maximum), "Sum": _variadic(torch.add),
    "Equal": _binary(torch.eq), "Greater": _binary(torch.gt), "Less": _binary(torch.lt),
    "GreaterOrEqual": _binary(torch.ge), "LessOrEqual": _binary(torch.le),
    "And": _binary(torch.logical_and), "Or": _binary(torch.logical_or),
    "Xor": _binary(torch.logical_xor),
    "Where": lambda node, condition, a, b: torch.where(condition, a, b),
    "ReduceMean": _reduce(torch.mean),
    "ReduceSum": _reduce(lambda x, a, k: x.sum(a, k).to(x.dtype)),
    "ReduceMax": _reduce(torch.amax), "ReduceMin": _reduce(torch.amin),
    "ReduceProd": _reduce(_product),
    "ReduceL1": _reduce(lambda x, a, k: x.abs().sum(a, k)),
    "ReduceL2": _reduce(lambda x, a, k: torch.linalg.vector_norm(x, dim=a, keepdim=k)),
    "ReduceSumSquare": _reduce(lambda x, a, k: x.square().sum(a, k)),
    "ReduceLogSumExp": _reduce(torch.logsumexp),
    "ArgMax": _extremum(torch.argmax), "ArgMin": _extremum(torch.argmin), "CumSum": _cumsum,
    "Softmax": _softmax(F.softmax), "LogSoftmax": _softmax(F.log_softmax),
    "MatMul": _binary(torch.matmul), "Gemm": _gemm, "Einsum": _einsum,
    "Conv": _conv, "ConvTranspose": _conv_transpose,
    "MaxPool": _max_pool, "AveragePool": _average_pool,
    "GlobalAveragePool": _spatial(torch.mean), "GlobalMaxPool": _spatial(torch.amax),
    "BatchNormalization": _batch_norm, "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm, "Resize": _resize, "Upsample": _resize,
    "Shape": t.shape, "Size": lambda node, x: torch.tensor(x.numel()),
    "Reshape": t.reshape, "Flatten": t.flatten, "Transpose": t.transpose, "Squeeze": t.squeeze,
    "Unsqueeze": t.unsqueeze, "Concat": t.concat, "Split": t.split, "Slice": t.slice_,
    "Gather": t.gather, "GatherElements": t.gather_elements, "GatherND": t.gather_nd,
    "ScatterND": t.scatter_nd, "ScatterElements": t.scatter_elements, "Expand": t.expand,
    "Tile": t.tile, "Pad": t.pad, "Range": t.range_, "ConstantOfShape": t.constant_of_shape,
    "DepthToSpace": t.depth_to_space, "SpaceToDepth": t.space_to_depth, "Trilu": t.trilu,
    "OneHot": t.one_hot, "TopK": t.topk, "NonZero": t.nonzero,
    "NonMaxSuppression": t.non_max_suppression,
}  # fmt: skip
"""Operator name of the standard domain -> function."""

PARAMETERS: dict[str, tuple[int, ...]] = {
    "Clip": (1, 2), "CumSum": (1,), "ConstantOfShape": (0,), "Expand": (1,),
    "NonMaxSuppression": (2, 3, 4), "OneHot": (1,), "Pad": (1, 2, 3), "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (1, 2, 3), "Upsample": (1,), "Slice": (1, 2, 3, 4), "Split": (1,), "Squeeze": (1,),
    "Unsqueeze": (1,), "Tile": (1,), "TopK": (1,), "Trilu": (1,),
    **dict.fromkeys((name for name in OPERATORS if name.startswith("Reduce")), (1,)),
}  # fmt: skip
"""Positions of inputs that are read as Python numbers, and so are wanted in host memory."""
