"""Recognises RTMPose and YOLOX in ONNX graphs and loads their weights into our modules.

Names of values and the order of nodes are an exporter's choice, so neither is used. The
convolutions and matrix products are listed by walking back from the outputs through the inputs
of each node in argument order; that order follows from the concatenations, which the weights
themselves depend on, and so is the same in every export of one network. Our modules list their
layers in the same order (``_rtmpose_layers``, ``_yolox_layers``). Where all shapes agree the
weights are taken over; `onnx_graph.load_onnx` trusts the result only after both forms gave the
same numbers on a random input.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from . import rtmpose, yolox
from .cspnext import STAGE_CHANNELS, CSPNeXt, CSPNeXtLayer
from .efficientnet import STEM_CHANNELS
from .fold import fold_batchnorm
from .layers import scaled_width
from .onnx_file import Graph
from .onnx_tensors import Node
from .rtmpose import LITE, RTMPose, RTMPoseConfig
from .yolox import YOLOX, CSPLayer, YOLOXConfig

Layer = nn.Conv2d | nn.Linear
Shapes = list[tuple[int, ...]]


def match_graph(graph: Graph) -> RTMPose | YOLOX | None:
    """Turn a graph into one of our modules if its layers are those of one.

    Args:
        graph: From `read_graph`.

    Returns:
        The module, folded, in eval mode and in the graph's precision, not yet compared with the
        graph; None for a graph of another kind.
    """
    if len(graph.inputs) != 1:
        return None
    nodes = _canonical_order(graph)
    layers = [node for node in nodes if _is_layer(node, graph)]
    shapes = [tuple(_weight(node, graph).shape) for node in layers]
    if not layers or len(shapes[0]) != 4:
        return None
    if len(graph.outputs) == 2 and (pose := _rtmpose_like(shapes)):
        module, order, state = pose, _rtmpose_layers(pose), _head_constants(pose, nodes, graph)
    elif len(graph.outputs) == 1 and (detector := _yolox_like(shapes, graph)):
        module, order, state = detector, _yolox_layers(detector), {}
    else:
        return None
    if state is None:
        return None
    names = {layer: name for name, layer in module.named_modules()}
    for layer, node in zip(order, layers, strict=True):
        state[f"{names[layer]}.weight"] = _weight(node, graph)
        if layer.bias is not None:
            state[f"{names[layer]}.bias"] = (
                graph.constants[node.inputs[2]]
                if len(node.inputs) > 2
                else torch.zeros(len(_weight(node, graph)))
            )
    dtype = _weight(layers[0], graph).dtype
    state = {name: value.to(dtype).contiguous() for name, value in state.items()}
    module.load_state_dict(state, strict=True, assign=True)
    return module.eval().requires_grad_(False)


def _canonical_order(graph: Graph) -> list[Node]:
    """Nodes in post-order of a depth-first walk from the outputs."""
    producers = {name: node for node in graph.nodes for name in node.outputs}
    done: set[int] = set()
    order: list[Node] = []
    # An explicit stack: the chains are longer than Python's own.
    stack = [(producers[p.name], False) for p in reversed(graph.outputs) if p.name in producers]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
        elif id(node) not in done:
            done.add(id(node))
            stack.append((node, True))
            stack.extend((producers[n], False) for n in reversed(node.inputs) if n in producers)
    return order


def _is_layer(node: Node, graph: Graph) -> bool:
    return node.op in ("Conv", "MatMul", "Gemm") and node.inputs[1] in graph.constants


def _weight(node: Node, graph: Graph) -> Tensor:
    """A layer's weight as torch has it: [out,in,k,k], or [out,in] of a product."""
    weight = graph.constants[node.inputs[1]]
    if node.op == "MatMul" or (node.op == "Gemm" and not node.get("transB", 0)):
        return weight.transpose(-1, -2) if weight.ndim > 1 else weight
    return weight


def _shapes(layers: Iterator[Layer]) -> Shapes:
    return [tuple(layer.weight.shape) for layer in layers]


def _rtmpose_like(shapes: Shapes) -> RTMPose | None:
    """The RTMPose, without weights, whose layers have these shapes."""
    if len(shapes) < 6 or any(len(shape) != 2 for shape in shapes[-5:]) or len(shapes[-6]) != 4:
        return None
    final, mlp, uv, o, cls_x, cls_y = shapes[-6:]
    dim, inner = o
    split = 2.0
    input_size_hw = (int(cls_y[0] / split), int(cls_x[0] / split))
    attention_dim = uv[0] - 2 * inner
    if any(n % 32 for n in input_size_hw) or attention_dim < 1 or inner % dim:
        return None
    for size, (deepen, widen) in {**rtmpose.SIZES, LITE: (1.0, 1.0)}.items():
        stem = STEM_CHANNELS if size == LITE else scaled_width(STAGE_CHANNELS[0], widen) // 2
        if shapes[0][0] != stem:
            continue  # quicker than building each size
        config = RTMPoseConfig(
            size, deepen, widen, input_size_hw, final[0], split,
            dim, attention_dim, inner // dim, final[-1],
        )  # fmt: skip
        if mlp[1] != config.map_hw[0] * config.map_hw[1]:
            continue
        with torch.device("meta"):
            module = fold_batchnorm(RTMPose(config))
        if _shapes(_rtmpose_layers(module)) == shapes:
            return module
    return None


def _yolox_like(shapes: Shapes, graph: Graph) -> YOLOX | None:
    """The YOLOX, without weights, whose layers have these shapes."""
    known = graph.inputs[0].shape[-2:]
    for size, (deepen, widen, depthwise) in yolox.SIZES.items():
        if shapes[0][0] != scaled_width(64, widen):
            continue  # quicker than building each size
        usual = (416, 416) if size in ("nano", "tiny") else (640, 640)
        height, width = (n or usual[0] for n in known) if len(known) == 2 else usual
        if height % 32 or width % 32 or shapes[-1][0] < 1:
            return None
        config = YOLOXConfig(
            size, deepen, widen, depthwise, shapes[-1][0], (height, width),
            graph.usage.rough_boxes,
        )  # fmt: skip
        with torch.device("meta"):
            module = fold_batchnorm(YOLOX(config))
        if _shapes(_yolox_layers(module)) == shapes:
            return module
    return None


def _head_constants(module: RTMPose, nodes: list[Node], graph: Graph) -> dict[str, Tensor] | None:
    """The parameters of RTMPose's head that are no layers: g, gamma, beta and the residual scale.

    They are told by the operator that uses them and by their shape. A ScaleNorm's ``g`` is the
    one number that multiplies a quotient.
    """
    config = module.config
    producers = {name: node for node in nodes for name in node.outputs}
    norms: list[Tensor] = []
    gammas: list[Tensor] = []
    betas: list[Tensor] = []
    scales: list[Tensor] = []
    for node in nodes:
        constant = next((graph.constants[n] for n in node.inputs if n in graph.constants), None)
        variable = next((n for n in node.inputs if n in producers), None)
        if node.op not in ("Mul", "Add") or constant is None or variable is None:
            continue
        last = constant.shape[-1] if constant.ndim else 1
        if node.op == "Add" and last == config.attention_dim:
            betas.append(constant.reshape(-1, last))
        elif node.op == "Mul" and last == config.attention_dim:
            gammas.append(constant.reshape(-1, last))
        elif node.op == "Mul" and last == constant.numel() == config.dim:
            scales.append(constant.reshape(-1))
        elif node.op == "Mul" and constant.numel() == 1 and producers[variable].op == "Div":
            norms.append(constant.reshape(1))
    if len(norms) != 2 or len(scales) != 1 or not gammas or not betas:
        return None
    gamma, beta = torch.cat(gammas), torch.cat(betas)
    if len(gamma) != 2 or len(beta) != 2:
        return None
    return {
        "head.mlp.0.g": norms[0],
        "head.gau.ln.g": norms[1],
        "head.gau.gamma": gamma,
        "head.gau.beta": beta,
        "head.gau.res_scale.scale": scales[0],
    }


def _convs(*modules: nn.Module) -> Iterator[Layer]:
    """Layers of modules that run in the order they are written."""
    for module in modules:
        yield from (part for part in module.modules() if isinstance(part, nn.Conv2d))


def _cspnext_layers(backbone: CSPNeXt) -> Iterator[Layer]:
    yield from _convs(backbone.stem)
    for stage in (backbone.stage1, backbone.stage2, backbone.stage3, backbone.stage4):
        for part in stage:
            if isinstance(part, CSPNeXtLayer):
                yield from _convs(part.main_conv, part.blocks, part.short_conv)
                yield from _convs(part.attention, part.final_conv)
            else:
                yield from _convs(part)


def _rtmpose_layers(model: RTMPose) -> Iterator[Layer]:
    backbone, head = model.backbone, model.head
    if isinstance(backbone, CSPNeXt):
        yield from _cspnext_layers(backbone)
    else:  # the pyramid asks for its coarsest map first, behind which all blocks lie
        yield from _convs(backbone.stem, backbone.blocks, *reversed(backbone.lateral), backbone.mix)
    yield head.final_layer
    for part in (head.mlp, head.gau.uv, head.gau.o, head.cls_x, head.cls_y):
        yield from (layer for layer in part.modules() if isinstance(layer, nn.Linear))


def _csp_layers(part: CSPLayer) -> Iterator[Layer]:
    yield from _convs(part.conv1, part.m, part.conv2, part.conv3)


def _yolox_layers(model: YOLOX) -> Iterator[Layer]:
    neck, head = model.backbone, model.head
    trunk = neck.backbone
    yield from _convs(trunk.stem)
    for stage in (trunk.dark2, trunk.dark3, trunk.dark4, trunk.dark5):
        for part in stage:
            yield from _csp_layers(part) if isinstance(part, CSPLayer) else _convs(part)
    yield from _convs(neck.lateral_conv0)
    yield from _csp_layers(neck.C3_p4)
    yield from _convs(neck.reduce_conv1)
    yield from _csp_layers(neck.C3_p3)
    # The walk meets a level's head before the neck goes on to the next level.
    for level in range(len(yolox.STRIDES)):
        if level == 1:
            yield from _convs(neck.bu_conv2)
            yield from _csp_layers(neck.C3_n3)
        elif level == 2:
            yield from _convs(neck.bu_conv1)
            yield from _csp_layers(neck.C3_n4)
        yield from _convs(head.stems[level], head.reg_convs[level], head.reg_preds[level])
        yield from _convs(head.obj_preds[level], head.cls_convs[level], head.cls_preds[level])
