"""Exported files of real size: torch, matched and node by node, against onnxruntime."""

from __future__ import annotations

import copy

import onnx
import pytest
import torch
from torch.nn import functional as F

from dwpose.errors import WeightsError
from dwpose.models.export import export_onnx
from dwpose.models.fold import fold_batchnorm
from dwpose.models.onnx_graph import OnnxModule, load_onnx
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.models.yolox import YOLOX

CASES = {
    "t": ("rtmpose", "t", (256, 192), 133),
    "nano": ("yolox", "nano", (416, 416), 80),
    "tiny": ("yolox", "tiny", (416, 416), 1),
}
# Largest difference to onnxruntime in float32: the reference's tolerance for another
# implementation. In fp16, on outputs with a deviation of 3.2 and 0.2: twice what was measured.
ATOL = {"rtmpose": 1e-3, "yolox": 2e-4}
HALF_ATOL = {"rtmpose": 0.25, "yolox": 0.04}


@pytest.fixture(scope="module")
def exported(name_seeded, tmp_path_factory):
    """A function (case, opset, half) -> file, each written once."""
    folder, done = tmp_path_factory.mktemp("onnx"), {}

    def make(name, opset, half):
        key = (name, opset, half)
        if key not in done:
            with torch.no_grad():
                path = folder / f"{name}_{opset}_{'fp16' if half else 'fp32'}.onnx"
                done[key] = export_onnx(name_seeded(*CASES[name]), path, opset, half)
        return done[key]

    return make


def close(values, expected, atol):
    for value, wanted in zip(values, expected, strict=True):
        assert tuple(value.shape) == wanted.shape
        assert (value.float() - torch.from_numpy(wanted).float()).abs().max() <= atol


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", CASES)
def test_fp32_files(name, opset, batch, exported, run_onnxruntime, named_input, tuple_of):
    path = exported(name, opset, False)
    kind, size, size_hw, _ = CASES[name]
    matched, general = load_onnx(path), load_onnx(path, match=False)
    assert isinstance(matched, RTMPose if kind == "rtmpose" else YOLOX)
    assert matched.config.size == size
    assert matched.config.input_size_hw == size_hw
    assert isinstance(general, OnnxModule)
    images = named_input(f"onnx_{name}", (batch, 3, *size_hw))
    expected = run_onnxruntime(path, images)
    close(tuple_of(matched(images)), expected, ATOL[kind])
    close(tuple_of(general(images)), expected, ATOL[kind])


@pytest.mark.parametrize(("name", "opset"), [("t", 11), ("t", 17), ("nano", 17)])
def test_fp16_files(name, opset, exported, name_seeded, run_onnxruntime, named_input, tuple_of):
    """Three fp16 runs (onnxruntime's in float32 between its nodes) round differently."""
    path = exported(name, opset, True)
    matched, general = load_onnx(path), load_onnx(path, match=False)
    assert isinstance(matched, RTMPose | YOLOX)
    assert isinstance(general, OnnxModule)
    images = named_input(f"onnx_{name}", (1, 3, *CASES[name][2]))
    expected = tuple_of(name_seeded(*CASES[name])(images))
    theirs = run_onnxruntime(path, images.half())
    atol = HALF_ATOL[CASES[name][0]]
    for module in (matched, general):
        got = tuple_of(module(images.half()))
        assert all(value.dtype == torch.float16 for value in got)
        close(got, theirs, atol)
        close(got, [value.numpy() for value in expected], atol)


@pytest.mark.parametrize("name", ["t", "nano"])
def test_fp16_files_in_float32(name, exported, named_input, tuple_of):
    """On a CPU an fp16 file is best run in float32; both forms then agree closely."""
    path = exported(name, 17, True)
    images = named_input(f"onnx_{name}", (2, 3, *CASES[name][2]))
    matched, general = load_onnx(path).float(), load_onnx(path, match=False).float()
    expected = [out.numpy() for out in tuple_of(matched(images))]
    # RTMPose's file holds constants such as 1 / sqrt(128) rounded to fp16; the module has them
    # exactly. Hence 5e-3 on outputs up to 12; YOLOX has no such constants.
    close(tuple_of(general(images)), expected, 1e-2 if name == "t" else ATOL["yolox"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_fp32_file_node_by_node_in_another_type(dtype, exported, named_input, tuple_of):
    path = exported("t", 17, False)
    images = named_input("onnx_t", (1, 3, 256, 192))
    expected = tuple_of(load_onnx(path)(images))
    limit = {torch.float16: 0.12, torch.bfloat16: 1.0, torch.float64: 1e-4}[dtype]
    general = load_onnx(path, match=False).to(dtype).to(memory_format=torch.channels_last)
    for got, wanted in zip(tuple_of(general(images)), expected, strict=True):
        assert got.dtype == dtype
        assert (got.to(wanted.dtype) - wanted).abs().max() <= limit * wanted.std()


def test_the_matched_form_has_the_folded_weights(exported, name_seeded):
    for name in ("t", "nano"):
        matched = load_onnx(exported(name, 11, False)).state_dict()
        folded = fold_batchnorm(name_seeded(*CASES[name])).state_dict()
        assert matched.keys() == folded.keys()
        assert all(torch.equal(matched[key], value) for key, value in folded.items())


@pytest.mark.parametrize(("opset", "half"), [(11, False), (17, False), (17, True)])
def test_the_built_in_kind_is_matched_too(opset, half, tmp_path):
    torch.manual_seed(0)
    module = RTMPose(rtmpose_config("lite", (64, 96))).eval()
    matched = load_onnx(export_onnx(module, tmp_path / "lite.onnx", opset, half))
    assert isinstance(matched, RTMPose)
    assert matched.config == module.config
    wanted = module.half().state_dict() if half else module.state_dict()
    assert matched.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in matched.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "size", "size_hw"), [("rtmpose", "l", (384, 288)), ("yolox", "l", (640, 640))]
)
def test_the_default_models_sizes(
    kind, size, size_hw, name_seeded, tmp_path, run_onnxruntime, named_input, tuple_of
):
    """The sizes of dw-ll_ucoco_384.onnx and yolox_l.onnx."""
    module = name_seeded(kind, size, size_hw, 133 if kind == "rtmpose" else 80)
    path = export_onnx(module, tmp_path / "l.onnx", 11)
    matched = load_onnx(path)
    assert isinstance(matched, RTMPose | YOLOX)
    assert matched.config.size == "l"
    images = named_input("onnx_l", (1, 3, *size_hw))
    close(tuple_of(matched(images)), run_onnxruntime(path, images), ATOL[kind])


class OfficialRTMPose(torch.nn.Module):
    """The graph that the original classes export: other order, other operators, same numbers."""

    def __init__(self, folded):
        super().__init__()
        self.net = folded

    @staticmethod
    def norm(layer, x):
        length = torch.linalg.norm(x, dim=-1, keepdim=True) * layer.scale
        return x / length.clamp(min=1e-5) * layer.g

    @staticmethod
    def csp(layer, x):
        short = layer.short_conv(x)
        joined = torch.cat((layer.blocks(layer.main_conv(x)), short), dim=1)
        gate = layer.attention.fc(F.adaptive_avg_pool2d(joined, 1))
        return layer.final_conv(joined * F.hardsigmoid(gate))

    @staticmethod
    def spp(layer, x):
        x = layer.conv1(x)
        pools = [F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)]
        return layer.conv2(torch.cat([x, *pools], dim=1))

    def forward(self, x):
        backbone, head = self.net.backbone, self.net.head
        x = backbone.stem(x)
        for stage in (backbone.stage1, backbone.stage2, backbone.stage3, backbone.stage4):
            for part in stage:
                name = type(part).__name__
                x = {"CSPNeXtLayer": self.csp, "SPP": self.spp}.get(name, lambda p, v: p(v))(
                    part, x
                )
        x = head.final_layer(x)
        x = torch.flatten(x, 2)
        x = head.mlp[1](self.norm(head.mlp[0], x))
        gau, shortcut = head.gau, x
        u, v, base = torch.split(F.silu(gau.uv(self.norm(gau.ln, x))), [512, 512, 128], dim=2)
        base = base.unsqueeze(2) * gau.gamma[None, None, :] + gau.beta
        q, k = torch.unbind(base, dim=2)
        kernel = torch.square(F.relu(torch.bmm(q, k.permute(0, 2, 1)) / 128**0.5))
        x = u * torch.bmm(kernel, v)
        x = gau.o(x) + shortcut * gau.res_scale.scale
        return head.cls_x(x), head.cls_y(x)


class OfficialYOLOX(torch.nn.Module):
    """Classes before boxes, parallel pools, one batch."""

    def __init__(self, folded):
        super().__init__()
        self.net = folded

    def forward(self, x):
        neck, head = self.net.backbone, self.net.head
        spp = neck.backbone.dark5[1]
        spp.forward = lambda v: OfficialRTMPose.spp(spp, v)
        rows = []
        for i, features in enumerate(neck(x)):
            x = head.stems[i](features)
            classes = head.cls_preds[i](head.cls_convs[i](x))
            boxes = head.reg_convs[i](x)
            regression, objectness = head.reg_preds[i](boxes), head.obj_preds[i](boxes)
            rows.append(torch.cat([regression, objectness.sigmoid(), classes.sigmoid()], 1))
        return torch.cat([row.flatten(start_dim=2) for row in rows], dim=2).permute(0, 2, 1)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", ["t", "nano"])
def test_graphs_of_the_original_classes_are_recognised(
    name, opset, name_seeded, tmp_path, named_input, tuple_of
):
    folded = fold_batchnorm(name_seeded(*CASES[name]))
    wrap = OfficialRTMPose if name == "t" else OfficialYOLOX
    images = named_input(f"onnx_{name}", (1, 3, *CASES[name][2]))
    path = tmp_path / "official.onnx"
    with pytest.warns(DeprecationWarning, match="legacy"):
        torch.onnx.export(
            wrap(copy.deepcopy(folded)), (images,), str(path), dynamo=False, opset_version=opset
        )
    matched = load_onnx(path)
    assert isinstance(matched, type(folded))
    state = matched.state_dict()
    assert all(torch.equal(state[key], value) for key, value in folded.state_dict().items())
    # The file's batch is 1; the module made of it takes any.
    for got, wanted in zip(
        tuple_of(matched(images.repeat(2, 1, 1, 1))), tuple_of(folded(images)), strict=True
    ):
        assert torch.allclose(got[1], wanted[0], atol=1e-4)


def test_a_graph_that_only_looks_like_ours_is_not_taken_for_it(exported, tmp_path, named_input):
    """Same layers, one activation changed: the comparison refuses it, the graph still runs."""
    model = onnx.load(str(exported("t", 17, False)))
    next(n for n in model.graph.node if n.op_type == "HardSigmoid").attribute[0].f = 0.3
    path = tmp_path / "changed.onnx"
    onnx.save(model, str(path))
    assert isinstance(load_onnx(path), OnnxModule)


def test_fp16_file_with_float32_ports(exported, tmp_path, run_onnxruntime, named_input, tuple_of):
    """What fp16 converters write by default: Cast nodes at both ends."""
    model = onnx.load(str(exported("t", 17, True)))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [
                {"input": "in16"}.get(n, f"{n}16" if n[:5] == "simcc" else n) for n in names
            ]
    float32, float16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["input"], ["in16"], to=float16))
    for port in model.graph.output:
        cast = onnx.helper.make_node("Cast", [f"{port.name}16"], [port.name], to=float32)
        model.graph.node.append(cast)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = float32
    path = tmp_path / "ports.onnx"
    onnx.save(model, str(path))
    images = named_input("onnx_t", (1, 3, 256, 192))
    expected = run_onnxruntime(path, images)
    matched, general = load_onnx(path), load_onnx(path, match=False)
    assert isinstance(matched, RTMPose)
    got = tuple_of(general(images))
    assert all(value.dtype == torch.float32 for value in got)
    close(got, expected, HALF_ATOL["rtmpose"])
    close(tuple_of(matched(images.half())), expected, HALF_ATOL["rtmpose"])


def test_external_data(exported, tmp_path, named_input, tuple_of):
    model = onnx.load(str(exported("t", 17, False)))
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="data.bin", size_threshold=64)
    assert (tmp_path / "data.bin").stat().st_size > 10_000_000
    images = named_input("onnx_t", (1, 3, 256, 192))
    expected = tuple_of(load_onnx(exported("t", 17, False))(images))
    for got, wanted in zip(tuple_of(load_onnx(path)(images)), expected, strict=True):
        assert torch.equal(got, wanted)
    (tmp_path / "data.bin").unlink()
    with pytest.raises(WeightsError, match=r"model\.onnx cannot be read.*external"):
        load_onnx(path)


def test_export_names_its_ports_and_leaves_no_half_file(exported, name_seeded, tmp_path):
    model = onnx.load(str(exported("t", 11, False)))
    assert [p.name for p in model.graph.input] == ["input"]
    assert [p.name for p in model.graph.output] == ["simcc_x", "simcc_y"]
    assert model.opset_import[0].version == 11
    model = onnx.load(str(exported("nano", 17, False)))
    assert [p.name for p in model.graph.input] == ["images"]
    assert [p.name for p in model.graph.output] == ["output"]
    assert not any(n.op_type == "BatchNormalization" for n in model.graph.node)
    with pytest.raises(ValueError, match="opset must be 11 to 17"):
        export_onnx(name_seeded(*CASES["t"]), tmp_path / "x.onnx", 9)
    with pytest.raises(TypeError, match="module must be an RTMPose or a YOLOX"):
        export_onnx(torch.nn.ReLU(), tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())
