"""Reads .onnx files: protobuf in, nodes and CPU tensors out. The ``onnx`` package only parses."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import WeightsError
from .onnx_ops import OPERATORS
from .onnx_tensors import DTYPES, Node
from .usage import Usage


@dataclass(frozen=True)
class Port:
    """An input or output of a graph.

    Attributes:
        name: Its name.
        dtype: Its type.
        shape: Its sizes; None where the file leaves one open.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Graph:
    """A parsed ONNX file.

    Attributes:
        file: Name of the file, for messages.
        nodes: Operators in the order of the file (topological, as ONNX demands), without those
            that depend on no input.
        constants: Initialisers, Constant nodes and what follows from them alone.
        inputs: What the caller gives.
        outputs: What the caller gets.
        usage: What the file says of its network's use.
    """

    file: str
    nodes: tuple[Node, ...]
    constants: dict[str, Tensor]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    usage: Usage


def read_graph(path: str | os.PathLike[str]) -> Graph:
    """Parse an .onnx file, with its external data file where it has one.

    Args:
        path: The file.

    Returns:
        The graph, its numbers as CPU tensors.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: Not an ONNX file, its external data is missing, or it has operators or
            types that are not supported.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"no ONNX file at {file}; fetch it or correct the path")
    import onnx

    try:
        model = onnx.load(str(file))
        usage = Usage.of_notes({entry.key: entry.value for entry in model.metadata_props})
        if model.functions:  # torch's newer exporter writes some operators as functions
            import onnx.inliner

            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # protobuf and onnx raise a dozen kinds here
        raise WeightsError(
            f"{file} cannot be read as an ONNX file ({error}); fetch it again, with its external "
            "data file beside it if it has one"
        ) from error
    if not model.graph.node:
        raise WeightsError(f"{file} holds no graph; fetch it again")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    opset = versions.get("", versions.get("ai.onnx", 1))
    constants = {tensor.name: _tensor(tensor, file.name) for tensor in model.graph.initializer}
    nodes: list[Node] = []
    for proto in model.graph.node:
        attributes = {a.name: _attribute(a, file.name) for a in proto.attribute}
        node = Node(
            op=proto.op_type
            if proto.domain in ("", "ai.onnx")
            else f"{proto.domain}.{proto.op_type}",
            name=proto.name,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes=attributes,
            opset=opset,
            file=file.name,
        )
        if node.op == "Constant":
            constants[node.outputs[0]] = _constant(node)
        elif node.op == "Cast":
            to = attributes.get("to")
            if to not in DTYPES:
                raise node.unsupported(f"casts to ONNX type {to}")
            nodes.append(replace(node, attributes={"to": DTYPES[to]}))
        else:
            nodes.append(node)
    unknown = sorted({node.op for node in nodes} - set(OPERATORS))
    if unknown:
        raise WeightsError(
            f"{file}: operator {', '.join(unknown)} is not in the torch path's table "
            "(dwpose/models/onnx_ops.py); use runtime='onnxruntime' for this file"
        )
    nodes = [node for node in nodes if not _fold(node, constants)]
    return Graph(
        file.name,
        tuple(nodes),
        constants,
        tuple(_port(v) for v in model.graph.input if v.name not in constants),
        tuple(_port(v) for v in model.graph.output),
        usage,
    )


def _tensor(proto: Any, file: str) -> Tensor:
    from onnx import numpy_helper

    if proto.data_type not in DTYPES:
        raise WeightsError(
            f"{file}: {proto.name} has ONNX type {proto.data_type}, which the torch path does not "
            "support; use runtime='onnxruntime' for this file"
        )
    array = numpy_helper.to_array(proto)
    if proto.data_type == 16:  # numpy has no bfloat16 that torch reads
        return torch.from_numpy(array.astype("float32")).to(torch.bfloat16)
    # A view of the file's bytes is read-only; anything else is ours already.
    array = array if array.flags.writeable and array.flags.c_contiguous else array.copy()
    return torch.from_numpy(array).reshape(tuple(proto.dims))


def _attribute(proto: Any, file: str) -> Any:
    from onnx import AttributeProto, helper

    if proto.type == AttributeProto.TENSOR:
        return _tensor(proto.t, file)
    if proto.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
        return None  # If and Loop: refused by name, they are not in the table
    value = helper.get_attribute_value(proto)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return (
        list(value) if proto.type != AttributeProto.STRING and hasattr(value, "__len__") else value
    )


def _constant(node: Node) -> Tensor:
    for name in ("value_int", "value_ints", "value_float", "value_floats"):
        if name in node.attributes:
            dtype = torch.int64 if "int" in name else torch.float32
            return torch.tensor(node.attributes[name], dtype=dtype)
    if not isinstance(node.get("value"), Tensor):
        raise node.unsupported("holds no numbers")
    return node.get("value")


def _port(proto: Any) -> Port:
    kind = proto.type.tensor_type
    dims = (d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
    # Some exporters leave an output's type open; nothing depends on it.
    dtype = DTYPES.get(kind.elem_type, torch.float32)
    return Port(proto.name, dtype, tuple(d or None for d in dims))


def _fold(node: Node, constants: dict[str, Tensor]) -> bool:
    """Compute a node whose inputs are all constant; True where it was one."""
    given = [name for name in node.inputs if name]
    if not given or not all(name in constants for name in given):
        return False
    results = run_node(node, [constants[name] if name else None for name in node.inputs])
    constants.update(zip(node.outputs, results, strict=False))
    return True


def run_node(node: Node, arguments: list[Tensor | None]) -> tuple[Tensor, ...]:
    """Run one operator.

    Args:
        node: The operator; its name is in `OPERATORS`.
        arguments: Its inputs, None for one left out.

    Returns:
        Its outputs.

    Raises:
        WeightsError: Its form is not supported, or it failed.
    """
    try:
        result = OPERATORS[node.op](node, *arguments)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        if isinstance(error, (WeightsError, torch.cuda.OutOfMemoryError)):
            raise
        raise WeightsError(
            f"{node.file}: operator {node.op} ({node.name or 'unnamed'}) failed on torch: {error}; "
            "check the input's shape, or use runtime='onnxruntime' for this file"
        ) from error
    return result if isinstance(result, tuple) else (result,)
