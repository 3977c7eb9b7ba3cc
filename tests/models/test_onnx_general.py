"""Graphs of other families, node by node: a YOLO-NAS-like one with NMS, a ViTPose-like one."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

from dwpose.models.onnx_graph import OnnxModule, load_onnx


def export(module, example, path, opset, inputs, outputs, dynamic=True):
    axes = {name: {0: "batch"} for name in inputs + outputs} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (example,), str(path), dynamo=False, opset_version=opset,
            input_names=inputs, output_names=outputs, dynamic_axes=axes,
        )  # fmt: skip
    return onnx.load(str(path))


class SmallDetector(nn.Module):
    """uint8 picture to boxes in px [N,A,4] and class scores [N,A,C], as YOLO-NAS: DFL boxes,
    transposed convolutions in the neck, two strides, 4 classes."""

    BINS = 8

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 6, 4, 1)
        self.down = nn.Conv2d(16, 16, 3, 2, 1)
        self.deep = nn.Conv2d(16, 16, 3, 2, 1)
        self.up = nn.ConvTranspose2d(16, 16, 2, 2)
        self.box = nn.ModuleList(nn.Conv2d(c, 4 * self.BINS, 1) for c in (32, 16))
        self.cls = nn.ModuleList(nn.Conv2d(c, 4, 1) for c in (32, 16))
        self.register_buffer("bins", torch.linspace(0, self.BINS - 1, self.BINS))

    def forward(self, images):
        x = images.to(self.bins.dtype) / 255.0
        shallow = F.silu(self.down(F.relu(self.stem(x))))
        deep = F.silu(self.deep(shallow))
        boxes, scores = [], []
        for i, x in enumerate((torch.cat((self.up(deep), shallow), 1), deep)):
            n, _, h, w = x.shape
            grid = torch.stack(
                torch.meshgrid(torch.arange(w), torch.arange(h), indexing="xy"), dim=-1
            ).reshape(1, -1, 2).to(x.dtype) + 0.5  # fmt: skip
            distances = self.box[i](x).reshape(n, 4, self.BINS, h * w).permute(0, 3, 1, 2)
            distances = (distances.softmax(-1) * self.bins).sum(-1)
            corners = torch.cat((grid - distances[..., :2], grid + distances[..., 2:]), -1)
            boxes.append(corners * 8 * 2**i)
            scores.append(self.cls[i](x).flatten(2).permute(0, 2, 1).sigmoid())
        return torch.cat(boxes, 1), torch.cat(scores, 1)


def with_nms(model, half):
    """Append what such exports hold: NMS in float32 and flat rows (batch, box, score, class)."""
    graph = model.graph
    constants = {
        "max_boxes": np.array([20], np.int64), "iou": np.array([0.5], np.float32),
        "threshold": np.array([0.3], np.float32), "zero": np.array([0], np.int64),
        "one": np.array([1], np.int64), "two": np.array([2], np.int64),
        "box_columns": np.array([0, 2], np.int64), "minus": np.array([-1], np.int64),
    }  # fmt: skip
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    to_float = "Cast" if half else "Identity"
    options = {"to": TensorProto.FLOAT} if half else {}
    node = helper.make_node
    graph.node.extend([
        node(to_float, ["boxes"], ["boxes32"], **options),
        node(to_float, ["scores"], ["scores32"], **options),
        node("Transpose", ["scores32"], ["by_class"], perm=[0, 2, 1]),
        node("NonMaxSuppression",
             ["boxes32", "by_class", "max_boxes", "iou", "threshold"], ["kept"]),
        node("Gather", ["kept", "box_columns"], ["box_index"], axis=1),
        node("GatherND", ["boxes32", "box_index"], ["kept_boxes"]),
        node("GatherND", ["by_class", "kept"], ["kept_scores"]),
        node("Unsqueeze", ["kept_scores", "minus"], ["score_column"]),
        node("Cast", ["kept"], ["kept32"], to=TensorProto.FLOAT),
        node("Slice", ["kept32", "zero", "one", "one"], ["batch_column"]),
        node("Slice", ["kept32", "one", "two", "one"], ["class_column"]),
        node("Concat", ["batch_column", "kept_boxes", "score_column", "class_column"], ["flat"],
             axis=1),
    ])  # fmt: skip
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("flat", TensorProto.FLOAT, [None, 7]))
    return model


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("opset", [13, 17])
def test_yolo_nas_like(opset, half, tmp_path, run_onnxruntime):
    torch.manual_seed(3)
    module = SmallDetector().eval()
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    path = tmp_path / "nas.onnx"
    model = export(
        module.half() if half else module, images, path, opset, ["images"], ["boxes", "scores"]
    )
    onnx.save(with_nms(model, half), str(path))
    loaded = load_onnx(path)
    assert isinstance(loaded, OnnxModule)
    assert loaded.inputs[0].dtype == torch.uint8
    rows = loaded(images)
    expected = run_onnxruntime(path, images)[0]
    assert len(expected) > 50
    assert set(expected[:, 0]) == {0, 1}
    if not half:
        np.testing.assert_allclose(rows.numpy(), expected, atol=1e-3)
        return
    # Rounding may swap two equally good boxes: the sums over each picture agree.
    assert abs(len(rows) - len(expected)) <= 4
    for picture in (0, 1):
        ours, theirs = rows[rows[:, 0] == picture][:, 5], expected[expected[:, 0] == picture][:, 5]
        assert float(ours.max()) == pytest.approx(theirs.max(), abs=2e-3)


class SmallViTPose(nn.Module):
    """Patches, two transformer blocks with LayerNorm and GELU, deconvolution head."""

    def __init__(self, dim=48, heads=4):
        super().__init__()
        self.heads = heads
        self.patch = nn.Conv2d(3, dim, 16, 16, 2)
        self.position = nn.Parameter(torch.randn(1, 8 * 6 + 1, dim) * 0.1)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "norm1": nn.LayerNorm(dim, eps=1e-6), "qkv": nn.Linear(dim, 3 * dim),
                "out": nn.Linear(dim, dim), "norm2": nn.LayerNorm(dim, eps=1e-6),
                "up": nn.Linear(dim, 4 * dim), "down": nn.Linear(4 * dim, dim),
            }) for _ in range(2)
        )  # fmt: skip
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.deconv = nn.ConvTranspose2d(dim, 32, 4, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(32)
        self.final = nn.Conv2d(32, 133, 1)

    def forward(self, images):
        x = self.patch(images)
        n, _, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        x = x + self.position[:, 1:] + self.position[:, :1]
        for block in self.blocks:
            y = block["qkv"](block["norm1"](x))
            y = y.reshape(n, x.shape[1], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = y[0], y[1], y[2]
            attention = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(dim=-1)
            x = x + block["out"]((attention @ v).transpose(1, 2).reshape(n, x.shape[1], -1))
            x = x + block["down"](F.gelu(block["up"](block["norm2"](x))))
        x = self.norm(x).permute(0, 2, 1).reshape(n, -1, h, w)
        x = F.relu(self.bn(self.deconv(x)))
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.final(x)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("opset", [11, 14, 17])
def test_vitpose_like(opset, batch, tmp_path, run_onnxruntime):
    torch.manual_seed(0)
    module = SmallViTPose().eval()
    images = torch.randn(batch, 3, 128, 96)
    path = tmp_path / "vit.onnx"
    model = export(module, torch.randn(1, 3, 128, 96), path, opset, ["input_0"], ["output_0"])
    operators = {node.op_type for node in model.graph.node}
    assert "Softmax" in operators
    assert ("LayerNormalization" in operators) == (opset >= 17)
    loaded = load_onnx(path)
    assert isinstance(loaded, OnnxModule)
    got = loaded(images)
    assert got.shape == (batch, 133, 32, 24)
    np.testing.assert_allclose(got.numpy(), run_onnxruntime(path, images)[0], atol=2e-4)
    np.testing.assert_allclose(got.numpy(), module(images).numpy(), atol=2e-4)


@pytest.mark.parametrize("opset", [11, 17])
def test_vitpose_like_in_fp16(opset, tmp_path, run_onnxruntime):
    torch.manual_seed(0)
    module = SmallViTPose().eval()
    images = torch.randn(2, 3, 128, 96)
    wanted = module(images)
    path = tmp_path / "vit.onnx"
    example = torch.randn(1, 3, 128, 96).half()
    export(module.half(), example, path, opset, ["input_0"], ["output_0"])
    got = load_onnx(path)(images)  # float32 in, converted to what the file wants
    assert got.dtype == torch.float16
    theirs = torch.from_numpy(run_onnxruntime(path, images.half())[0]).float()
    limit = 0.05 * float(wanted.std())
    assert (got.float() - theirs).abs().max() <= limit
    assert (got.float() - wanted).abs().max() <= limit
    assert (load_onnx(path).float()(images) - wanted).abs().max() <= limit


def test_sizes_from_shapes_survive_low_precision(tmp_path):
    """8405 is no bfloat16 number; what is computed from a shape must not be rounded to one."""
    node = helper.make_node
    constants = {
        "part": np.array([0.8, 1.0], np.float32), "columns": np.array([2.0], np.float32),
        "first2": np.array([0, 0], np.int64), "both": np.array([0, 1], np.int64),
    }  # fmt: skip
    graph = helper.make_graph(
        [
            node("Shape", ["x"], ["size"]),
            node("Cast", ["size"], ["size32"], to=TensorProto.FLOAT),
            node("Mul", ["size32", "part"], ["less"]),
            node("Floor", ["less"], ["whole"]),
            node("Cast", ["whole"], ["target"], to=TensorProto.INT64),
            node("Slice", ["x", "first2", "target", "both"], ["cut"]),
            node("Mul", ["cut", "columns"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, None])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    path = tmp_path / "sized.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    got = load_onnx(path).bfloat16()(torch.ones(8405, 3))
    assert got.dtype == torch.bfloat16
    assert tuple(got.shape) == (6724, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(tmp_path):
    torch.manual_seed(3)
    path = tmp_path / "nas.onnx"
    images = torch.randint(0, 256, (2, 3, 96, 128), dtype=torch.uint8)
    model = export(SmallDetector().eval(), images, path, 17, ["images"], ["boxes", "scores"])
    onnx.save(with_nms(model, False), str(path))
    torch.backends.cudnn.allow_tf32 = False
    expected = load_onnx(path)(images)
    got = load_onnx(path).cuda()(images.cuda())
    assert got.is_cuda
    torch.testing.assert_close(got.cpu(), expected, atol=1e-2, rtol=1e-3)
