"""From a file to a network: every size, every form, and clear sentences for the rest."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dwpose.errors import WeightsError
from dwpose.models.rtmpose import SIZES as RTMPOSE_SIZES
from dwpose.models.rtmpose import RTMPose, RTMPoseConfig, rtmpose_config
from dwpose.models.yolox import SIZES as YOLOX_SIZES
from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.weights import catalogue, load_model, store
from dwpose.weights.load import build, infer_rtmpose, infer_yolox
from dwpose.weights.readers import write_safetensors

TINY = RTMPoseConfig("custom", 0.167, 0.125, (64, 64), num_keypoints=7, dim=32, attention_dim=16)


@pytest.fixture(scope="module")
def tiny() -> RTMPose:
    """A small network with weights of its own; its configuration is no published one."""
    torch.manual_seed(0)
    return RTMPose(TINY).eval()


def shapes(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return module.state_dict()


@pytest.mark.parametrize("size", RTMPOSE_SIZES)
@pytest.mark.parametrize("hw", [(256, 192), (384, 288)])
def test_rtmpose_is_recognised_by_its_shapes(size, hw):
    config = rtmpose_config(size, hw)
    with torch.device("meta"):
        module = RTMPose(config)
    assert infer_rtmpose(shapes(module)) == config


@pytest.mark.parametrize("size", YOLOX_SIZES)
@pytest.mark.parametrize("classes", [1, 80])
def test_yolox_is_recognised_by_its_shapes(size, classes):
    side = 416 if size in ("nano", "tiny") else 640
    config = yolox_config(size, classes, (side, side))
    with torch.device("meta"):
        module = YOLOX(config)
    assert infer_yolox(shapes(module)) == config
    assert infer_yolox(shapes(module), (320, 320)).input_size_hw == (320, 320)


def test_an_unpublished_rtmpose_is_recognised(tiny):
    got = infer_rtmpose(tiny.state_dict())
    assert dataclasses.replace(got, deepen=TINY.deepen) == TINY
    assert got.size == "custom"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_gives_the_same_network_back(tiny, tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": tiny.state_dict(), "optimizer": {}}, path)
    else:
        write_safetensors(path, tiny.state_dict(), {"family": "rtmpose", "size": "custom"})
    model = load_model(path)
    assert (model.role, model.family, model.input_size_hw) == ("estimator", "rtmpose", (64, 64))
    assert model.onnx_path is None
    assert model.entry is None
    assert model.path == path
    assert not model.module.training
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for got, want in zip(model.module(images), tiny(images), strict=True):
            assert torch.equal(got, want)


def test_half_precision_files_become_float32(tiny, tmp_path):
    half = {k: v.half() if v.is_floating_point() else v for k, v in tiny.state_dict().items()}
    model = load_model(write_safetensors(tmp_path / "net.safetensors", half, {}))
    for key, value in model.module.state_dict().items():
        assert torch.equal(value, half[key].to(value.dtype)), key
        assert value.dtype in (torch.float32, torch.int64)


@pytest.mark.parametrize("module", [RTMPose(TINY), YOLOX(yolox_config("nano", 1, (64, 64)))])
def test_weights_of_the_inference_form(module, tmp_path):
    from dwpose.models.fold import fold_batchnorm

    folded = fold_batchnorm(module)
    loaded = load_model(write_safetensors(tmp_path / "net.safetensors", folded.state_dict(), {}))
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got, want = loaded.module(images), folded(images)
    pairs = zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]
    assert all(torch.equal(a, b) for a, b in pairs)


def test_counters_may_be_missing(tiny, tmp_path):
    state = {k: v for k, v in tiny.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert load_model(write_safetensors(tmp_path / "net.safetensors", state, {})).module


def test_metadata_tells_a_detectors_input_size(tmp_path):
    config = yolox_config("nano", 1, (416, 416))
    meta = {"family": "yolox", "size": "nano", "input_size_hw": [320, 256]}
    path = write_safetensors(tmp_path / "det.safetensors", YOLOX(config).state_dict(), meta)
    model = load_model(path)
    assert (model.role, model.family, model.input_size_hw) == ("detector", "yolox", (320, 256))
    assert model.meta["size"] == "nano"


@pytest.mark.parametrize(
    ("fixture", "prefix", "container"),
    [("rtmpose_t_256x192.npz", "", "state_dict"), ("yolox.npz", "nano_", "model")],
)
def test_a_checkpoint_with_the_originals_keys_fits_strictly(
    weights_by_name, load_reference, tmp_path, fixture, prefix, container
):
    # Keys and shapes are the original programs' own, not those of our modules.
    keys = weights_by_name.shapes_from(load_reference(fixture), prefix)
    state = {key: torch.from_numpy(weights_by_name.value_for(key, shape)) for key, shape in keys}
    torch.save({container: state, "optimizer": {}}, tmp_path / "net.pth")
    loaded = load_model(tmp_path / "net.pth").module.state_dict()
    assert set(loaded) == set(state)
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


# What does not fit.


def test_a_missing_unknown_or_misshapen_tensor_is_named(tiny):
    state = dict(tiny.state_dict())
    key = "backbone.stem.0.conv.weight"
    with pytest.raises(WeightsError, match=r"net lacks backbone\.stem\.0\.conv\.weight; "):
        build({k: v for k, v in state.items() if k != key}, "net")
    with pytest.raises(WeightsError, match=r"net has the unknown head\.extra"):
        build({**state, "head.extra": torch.zeros(1)}, "net")
    with pytest.raises(WeightsError, match=r"net misshapes backbone\.stem\.0\.conv\.weight"):
        build({**state, key: torch.zeros(1)}, "net")


def test_many_missing_tensors_are_counted(tiny):
    state = {k: v for k, v in tiny.state_dict().items() if "stage3" not in k}
    with pytest.raises(WeightsError, match=r"and \d+ more"):
        build(state, "net")


def test_another_architecture_is_one_sentence(tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "net.pth")
    with pytest.raises(WeightsError, match=r"neither an RTMPose nor a YOLOX .*\.onnx") as caught:
        load_model(tmp_path / "net.pth")
    assert str(caught.value).count("\n") == 0


def test_an_rtmw_checkpoint_is_sent_to_its_onnx_form(tiny):
    with pytest.raises(WeightsError, match="rtmw-x-l-384"):
        build({**tiny.state_dict(), "neck.conv.weight": torch.zeros(1)}, "net")


def test_bins_that_do_not_fit_the_map(tiny):
    state = {**tiny.state_dict(), "head.cls_x.weight": torch.zeros(64, 32)}
    with pytest.raises(WeightsError, match="unknown shape"):
        build(state, "net")


@pytest.mark.parametrize("name", ["net.tflite", "net", "net.zip"])
def test_an_unknown_extension(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(WeightsError, match="unknown extension"):
        load_model(tmp_path / name)


def test_names_that_lead_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.onnx"):
        load_model(tmp_path / "absent.onnx")
    with pytest.raises(ValueError, match=r"did you mean .*dw-ll-384"):
        load_model("dw-ll-348")
    with pytest.raises(FileNotFoundError, match="dwpose models list"):
        load_model("folder/dw-ll-348")


def test_an_absent_catalogue_file_is_not_fetched_unless_allowed(tmp_path):
    with pytest.raises(WeightsError, match="dwpose models fetch dw-ll-384"):
        load_model("dw-ll-384", download=False, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


# By id.


def test_an_id_is_found_checked_and_loaded(tiny, hub, entry, quick, tmp_path, monkeypatch):
    source = write_safetensors(tmp_path / "a" / "net.safetensors", tiny.state_dict(), {})
    hub.put("net.safetensors", source.read_bytes())
    ours = entry(
        id="test-tiny", filename="net.safetensors", bytes=source.stat().st_size,
        sha256=store.sha256_of(source), input_size_hw=(64, 64),
    )  # fmt: skip
    monkeypatch.setitem(catalogue.CATALOGUE, "test-tiny", ours)
    model = load_model("test-tiny", folder=tmp_path / "models")
    assert model.entry is ours
    assert model.path == tmp_path / "models" / "net.safetensors"
    assert model.name == "test-tiny"
    asked = len(hub.seen)
    assert load_model("test-tiny", folder=tmp_path / "models", download=False).module
    assert len(hub.seen) == asked
    changed = bytearray(source.read_bytes())
    changed[-1] ^= 1
    model.path.write_bytes(changed)
    with pytest.raises(WeightsError, match="is not test-tiny"):
        load_model("test-tiny", folder=tmp_path / "models")


def test_the_builtin_model_loads():
    entry = catalogue.find(catalogue.BUILTIN_ESTIMATOR)
    if store.locate(entry) is None:
        with pytest.raises(WeightsError, match="missing from this installation"):
            load_model(entry.id)
        pytest.skip("the built-in weights are not in this tree")
    assert entry.sha256 == store.sha256_of(store.builtin_path(entry)), "tell the catalogue"
    assert entry.bytes == store.builtin_path(entry).stat().st_size
    assert store.verify(entry).state == "ok"
    model = load_model(entry.id)
    assert (model.role, model.family, model.input_size_hw) == ("estimator", "rtmpose", (256, 192))
    assert model.module.config.num_keypoints == 133


# ONNX.


@pytest.fixture(scope="module")
def tiny_onnx(tiny, tmp_path_factory) -> Path:
    from dwpose.models.export import export_onnx

    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(tiny, path)
    return path


def test_an_onnx_file_is_described_at_once_and_built_on_demand(tiny, tiny_onnx):
    model = load_model(tiny_onnx)
    assert (model.role, model.input_size_hw) == ("estimator", (64, 64))
    assert model.onnx_path == tiny_onnx
    assert model._module is None
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got, want = model.module(images), tiny(images)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))
    assert model.module is model.module


def test_a_detectors_graph_is_a_detector(tmp_path):
    from dwpose.models.export import export_onnx

    path = tmp_path / "det.onnx"
    export_onnx(YOLOX(yolox_config("nano", 1, (64, 64))).eval(), path)
    model = load_model(path)
    assert (model.role, model.input_size_hw) == ("detector", (64, 64))


def test_an_official_file_given_by_its_path_is_known(tiny_onnx, tmp_path, monkeypatch):
    entry = dataclasses.replace(
        catalogue.find("dw-ll-384"), bytes=tiny_onnx.stat().st_size, input_size_hw=(64, 64)
    )
    monkeypatch.setitem(catalogue.CATALOGUE, "dw-ll-384", entry)
    path = tmp_path / entry.name
    path.write_bytes(tiny_onnx.read_bytes())
    model = load_model(path)
    assert (model.family, model.meta["size"], model.entry) == ("rtmpose", "l", None)
    path.write_bytes(tiny_onnx.read_bytes() + b" ")
    with pytest.raises(WeightsError):  # another file of the same name is looked into
        load_model(path)


def test_a_damaged_graph_is_one_sentence(tiny_onnx, tmp_path):
    import onnx

    noted = onnx.load(str(tiny_onnx))
    noted.metadata_props.add(key="dwpose.padding", value="wide")
    cut_off = tiny_onnx.read_bytes()[:1000]
    for contents in (b"", b"<html>Not Found</html>", cut_off, noted.SerializeToString()):
        path = tmp_path / "net.onnx"
        path.write_bytes(contents)
        with pytest.raises(WeightsError, match=r"net\.onnx"):
            load_model(path)


def test_importing_costs_neither_torch_nor_the_hub():
    root = str(Path(store.__file__).parents[2])
    code = (
        f"import sys; sys.path.insert(0, {root!r}); import dwpose.weights; "
        "print([m for m in ('torch','onnx','onnxruntime','huggingface_hub','safetensors','tqdm') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_files_may_be_read_by_whom_the_umask_says(tmp_path):
    path = write_safetensors(tmp_path / "net.safetensors", {"a": torch.zeros(2)}, {})
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("name", ["builtin-lite", "builtin-det"])
def test_no_number_of_the_built_in_files_is_lost(name):
    # In half precision a variance of pixels 0..255 had become infinity, and its channel silent.
    for key, value in load_model(name).module.state_dict().items():
        assert torch.isfinite(value).all(), key
