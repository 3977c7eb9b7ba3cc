"""Official .onnx files on torch, on any device, without onnxruntime.

`load_onnx` prefers our own modules: a graph that is an RTMPose or a YOLOX becomes one
(`onnx_match`), in any dtype and memory format. Any other graph runs node by node (`OnnxModule`).

Why a table of operators of our own (`onnx_ops`) and not a kept library: we read onnx2torch, whose
last release (1.5.15) is of August 2024. It imports torchvision,
and has no Resize, Pad, Split, Clip or reduction newer than opset 13, so opset 18 files are refused.
What this family needs is about a hundred short functions, each tested against onnxruntime.
"""

from __future__ import annotations

import copy
import logging
import os
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import WeightsError
from .onnx_file import Graph, read_graph, run_node
from .onnx_match import match_graph
from .onnx_ops import PARAMETERS
from .onnx_tensors import Node
from .rtmpose import RTMPose
from .yolox import YOLOX

_log = logging.getLogger("dwpose")

SMALL = 4096
"""Constants up to this many numbers have a copy in host memory, for shapes, axes and the like."""

TOLERANCES = {torch.float32: 1e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""Largest difference of two forms of a graph, relative to the largest output, by its precision.

Usual are 1e-5 for float32 and 4e-4 for float16, whose files hold constants such as 1 / sqrt(128)
rounded to float16 while our modules have them exactly. Swapped weights give 0.1 and more.
"""


class OnnxModule(nn.Module):
    """Runs an ONNX graph node by node.

    The graph's own types are kept: an fp16 file computes in fp16. After ``.to(dtype)``,
    ``.half()``, ``.float()`` or ``.bfloat16()`` every floating point number in it has that type,
    the targets of Cast nodes included. Shapes and what is computed from them stay in host memory
    in their own types, so a GPU is not waited for and bfloat16 cannot spoil a size.

    Args:
        graph: From `read_graph`.

    Attributes:
        file: Name of the file.
        inputs: What to give, in order.
        outputs: What is returned, in order.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.file = graph.file
        self.inputs = graph.inputs
        self.outputs = graph.outputs
        constants, nodes = graph.constants, graph.nodes
        used = {name for node in nodes for name in node.inputs} | {p.name for p in graph.outputs}
        self._buffer: dict[str, str] = {}
        self._small: dict[str, Tensor] = {}
        for name in sorted(used & set(constants)):
            value = constants[name]
            self._buffer[name] = f"constant_{len(self._buffer)}"
            self.register_buffer(self._buffer[name], value)
            if value.numel() <= SMALL:
                self._small[name] = value
        floats = [v.dtype for v in constants.values() if v.is_floating_point() and v.numel() > 1]
        self._own = max(set(floats), key=floats.count) if floats else torch.float32
        # Follows .half() and friends, and so tells what the module has been converted to.
        self.register_buffer("_probe", torch.zeros((), dtype=self._own), persistent=False)
        self._host: set[str] = set()
        for node in nodes:
            given = [name for name in node.inputs if name]
            on_host = node.op in ("Shape", "Size") or (
                any(name in self._host for name in given)
                and all(name in self._host or name in self._small for name in given)
            )
            if on_host:
                self._host.update(node.outputs)
        self._steps = _plan(nodes, {port.name for port in graph.outputs})

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(port.name for port in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return tuple(port.name for port in self.outputs)

    def forward(self, *values: Tensor) -> Any:
        """Run the graph.

        Args:
            *values: One tensor per input, on the module's device. Floating point and integer
                types are converted to what the graph wants (uint8 for a uint8 input).

        Returns:
            The one output, or the tuple of outputs.

        Raises:
            ValueError: Wrong number of inputs.
            WeightsError: A node uses a form that is not supported, or fails.
        """
        if len(values) != len(self.inputs):
            raise ValueError(f"{self.file} has inputs {self.input_names}, got {len(values)} values")
        probe: Tensor = self._probe  # pyright: ignore[reportAssignmentType]
        dtype = None if probe.dtype == self._own else probe.dtype
        env: dict[str, Tensor] = {}
        for port, value in zip(self.inputs, values, strict=True):
            wanted = dtype if dtype is not None and port.dtype.is_floating_point else port.dtype
            env[port.name] = value.to(wanted)
        for node, finished in self._steps:
            results = self._step(node, env, probe.device, dtype)
            for name, result in zip(node.outputs, results, strict=False):
                env[name] = result
            for name in finished:
                env.pop(name, None)
        results = tuple(self._device_value(p.name, env, probe.device, dtype) for p in self.outputs)
        return results[0] if len(results) == 1 else results

    def _step(
        self,
        node: Node,
        env: dict[str, Tensor],
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, ...]:
        on_host = node.outputs[0] in self._host and node.op not in ("Shape", "Size")
        wanted_here = PARAMETERS.get(node.op, ())
        arguments: list[Tensor | None] = []
        for position, name in enumerate(node.inputs):
            if not name:
                arguments.append(None)
            elif node.op in ("Shape", "Size"):
                arguments.append(env[name] if name in env else self._constant(name))
            elif on_host or position in wanted_here:
                arguments.append(self._host_value(name, env))
            else:
                arguments.append(self._device_value(name, env, device, dtype))
        if node.op == "Cast" and not on_host and dtype and node.get("to").is_floating_point:
            node = replace(node, attributes={"to": dtype})
        results = run_node(node, arguments)
        if on_host or node.op in ("Shape", "Size"):
            return results
        # Range and ConstantOfShape make new tensors, in host memory and the file's types.
        return tuple(_converted(r, device, dtype) for r in results)

    def _constant(self, name: str) -> Tensor:
        return getattr(self, self._buffer[name])

    def _host_value(self, name: str, env: dict[str, Tensor]) -> Tensor:
        if name in env:
            return env[name].cpu()
        return self._small[name] if name in self._small else self._constant(name).cpu()

    def _device_value(
        self, name: str, env: dict[str, Tensor], device: torch.device, dtype: torch.dtype | None
    ) -> Tensor:
        if name not in env:
            return self._constant(name)
        return _converted(env[name], device, dtype) if name in self._host else env[name]


def _converted(value: Tensor, device: torch.device, dtype: torch.dtype | None) -> Tensor:
    return value.to(device=device, dtype=dtype if value.is_floating_point() else None)


def _plan(nodes: tuple[Node, ...], kept: set[str]) -> list[tuple[Node, tuple[str, ...]]]:
    """Nodes, each with the values nobody needs after it."""
    last: dict[str, int] = {}
    for index, node in enumerate(nodes):
        last.update(dict.fromkeys((*node.inputs, *node.outputs), index))
    ended: list[list[str]] = [[] for _ in nodes]
    for name, index in last.items():
        if name and name not in kept:
            ended[index].append(name)
    return [(node, tuple(ended[index])) for index, node in enumerate(nodes)]


def load_onnx(path: str | os.PathLike[str], match: bool = True) -> nn.Module:
    """Load an .onnx file as a torch module.

    Args:
        path: The file. External data lies beside it, as ONNX has it.
        match: Make a `RTMPose` or `YOLOX` (folded, eval mode) of graphs that are one, after a
            comparison of both forms on a random input; False always runs the graph itself.

    Returns:
        A module in eval mode on the CPU, in the file's precision, that takes the graph's input
        and returns its output or the tuple of its outputs.

    Raises:
        FileNotFoundError: No such file.
        WeightsError: Not an ONNX file, or one that the torch path cannot run.
    """
    graph = read_graph(path)
    matched = match_graph(graph) if match else None
    if matched is not None and _agree(graph, matched):
        return matched
    return OnnxModule(graph).eval()


@torch.no_grad()
def _agree(graph: Graph, module: RTMPose | YOLOX) -> bool:
    """Whether the graph, run node by node, and the module made of it give the same numbers."""
    general = OnnxModule(graph).float().eval()
    dtype = next(module.parameters()).dtype
    ours = module if dtype == torch.float32 else copy.deepcopy(module).float()
    generator = torch.Generator().manual_seed(0)
    tolerance = TOLERANCES.get(dtype, 1e-3)
    sizes = [module.config.input_size_hw]
    if isinstance(module, YOLOX):
        # It takes any size; a small one makes the check quick, where the graph allows it.
        sizes.insert(0, (64, 64))
    for size in sizes:
        images = torch.randn(1, 3, *size, generator=generator)
        try:
            expected = general(images if isinstance(module, RTMPose) else images * 60 + 114)
        except WeightsError as error:
            _log.debug("%s does not run at %s: %s", graph.file, size, error)
            continue
        results = ours(images if isinstance(module, RTMPose) else images * 60 + 114)
        pairs = zip(_tuple(expected), _tuple(results), strict=True)
        return all(
            a.shape == b.shape and bool((a - b).abs().max() <= tolerance * a.abs().max())
            for a, b in pairs
        )
    return False


def _tuple(values: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return values if isinstance(values, tuple) else (values,)
