"""Reading weights: every form of file, and nothing in it is ever run."""

from __future__ import annotations

import collections
import json
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
import torch

from dwpose.errors import WeightsError
from dwpose.weights.readers import (
    read_checkpoint,
    read_state_dict,
    rename,
    write_safetensors,
)


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "backbone.conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "backbone.bn.running_var": torch.rand(4, generator=generator),
        "backbone.bn.num_batches_tracked": torch.tensor(12),
        "head.fc.weight": torch.randn(5, 4, generator=generator).half(),
        "head.scale": torch.randn((), generator=generator).to(torch.bfloat16),
    }


def assert_same(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    assert list(got) == list(want)
    for key, value in want.items():
        assert got[key].dtype == value.dtype, key
        assert got[key].shape == value.shape, key
        assert torch.equal(got[key], value), key


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("container", ["state_dict", "model", None])
def test_torch_files_of_both_formats(state, tmp_path, new_format, container):
    path = tmp_path / "net.pth"
    contents = {container: state, "meta": {"epoch": 3}} if container else state
    torch.save(contents, path, _use_new_zipfile_serialization=new_format)
    assert_same(read_state_dict(path), state)


@pytest.mark.parametrize("new_format", [True, False])
def test_views_share_storage_and_keep_strides(tmp_path, new_format):
    base = torch.arange(24, dtype=torch.float32)
    views = {"a": base.view(4, 6).t(), "b": base[3:9], "c": base.view(2, 12)[:, ::2]}
    path = tmp_path / "net.pth"
    torch.save(views, path, _use_new_zipfile_serialization=new_format)
    got = read_state_dict(path)
    assert_same(got, views)
    got["b"].zero_()
    assert torch.equal(got["a"], views["a"])


def test_every_dtype_and_empty_tensors(tmp_path):
    names = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8")
    tensors = {name: torch.tensor([1, 0, 3]).to(getattr(torch, name)) for name in names}
    tensors |= {"uint8": torch.tensor([255], dtype=torch.uint8), "bool": torch.tensor([True])}
    tensors["empty"] = torch.zeros(0, 7)
    torch.save(tensors, tmp_path / "net.pt")
    assert_same(read_state_dict(tmp_path / "net.pt"), tensors)


def test_parameters_are_read_as_tensors(tmp_path):
    parameters = {"w": torch.nn.Parameter(torch.ones(2, 2))}
    torch.save(parameters, tmp_path / "net.pth")
    assert torch.equal(read_state_dict(tmp_path / "net.pth")["w"], torch.ones(2, 2))


def test_the_other_byte_order(tmp_path, state):
    little = tmp_path / "little.pth"
    torch.save(state, little)
    swapped = tmp_path / "big.pth"
    sizes = {"0": 4, "1": 4, "2": 8, "3": 2, "4": 2}
    with zipfile.ZipFile(little) as source, zipfile.ZipFile(swapped, "w") as target:
        for name in source.namelist():
            raw = source.read(name)
            if name.endswith("/byteorder"):
                raw = b"big"
            elif "/data/" in name:
                item = sizes[name.rsplit("/", 1)[-1]]
                raw = np.frombuffer(raw, f"V{item}").tobytes()
                raw = b"".join(raw[i : i + item][::-1] for i in range(0, len(raw), item))
            target.writestr(name, raw)
    if sys.byteorder == "little":
        assert_same(read_state_dict(swapped), state)


def fake_mmengine(monkeypatch: pytest.MonkeyPatch) -> type:
    """Make mmengine's log class importable, so that it can be pickled as it really is."""
    module = types.ModuleType("mmengine.logging.history_buffer")
    source = """
class HistoryBuffer:
    def __init__(self, values):
        self._log_history = values
        self.max_length = 1000000
        self._statistics_methods = {"mean": HistoryBuffer.mean}
    def mean(self, window_size=None):
        raise AssertionError("it ran")
    def __setstate__(self, state):
        raise AssertionError("it ran")
"""
    exec(source, module.__dict__)  # the class must live in that module
    module.HistoryBuffer.__module__ = module.__name__
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.HistoryBuffer


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("new_format", [True, False])
def test_a_training_checkpoint_of_mmengine(state, tmp_path, monkeypatch, protocol, new_format):
    buffer = fake_mmengine(monkeypatch)
    parameters = [torch.nn.Parameter(torch.randn(3, 3))]
    optimizer = torch.optim.AdamW(parameters)
    parameters[0].grad = torch.ones(3, 3)
    optimizer.step()
    ordered = collections.OrderedDict(state)
    ordered._metadata = collections.OrderedDict({"": {"version": 1}})  # as module.state_dict()
    checkpoint = {
        "meta": {"epoch": 420, "dataset_meta": {"sigmas": np.ones(17), "names": {1: "nose"}}},
        "state_dict": ordered,
        "ema_state_dict": {f"module.{key}": value + 1 for key, value in state.items()},
        "optimizer": optimizer.state_dict(),
        "message_hub": {
            "log_scalars": collections.OrderedDict(loss=buffer(np.arange(4.0))),
            "runtime_info": collections.OrderedDict(best=np.float64(0.5), seen={1, 2}),
        },
    }
    path = tmp_path / "epoch_420.pth"
    torch.save(
        checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=new_format
    )
    monkeypatch.undo()  # mmengine is not installed where the file is read
    assert_same(read_state_dict(path), state)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 3, 200, 2000])
def test_truncated_files_end_in_a_sentence(tmp_path, state, suffix, keep):
    path = tmp_path / f"net{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        write_safetensors(path, state, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: min(keep, len(whole) - 1)])
    with pytest.raises(WeightsError, match=rf"net{suffix}"):
        read_checkpoint(path)


def test_a_truncated_old_file(tmp_path, state):
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for keep in (10, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:keep])
        with pytest.raises(WeightsError, match=r"old\.pth"):
            read_checkpoint(path)


def test_files_that_are_no_checkpoints(tmp_path):
    (tmp_path / "page.pth").write_text("<html>Not Found</html>")
    with pytest.raises(WeightsError, match="web page saved by mistake"):
        read_checkpoint(tmp_path / "page.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(WeightsError, match="no torch checkpoint"):
        read_checkpoint(tmp_path / "plain.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="holds no weights"):
        read_checkpoint(tmp_path / "empty.pth")
    (tmp_path / "net.tflite").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"unknown extension '\.tflite'"):
        read_checkpoint(tmp_path / "net.tflite")
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        read_checkpoint(tmp_path / "absent.pth")


def test_optimizer_copies_are_not_read(tmp_path, state, monkeypatch):
    copies = {key: torch.zeros(100_000) for key in "abc"}
    torch.save({"optimizer": copies, "state_dict": state}, tmp_path / "net.pth")
    read: list[str] = []
    original = zipfile.ZipFile.read
    monkeypatch.setattr(
        zipfile.ZipFile, "read", lambda self, name, *a: read.append(name) or original(self, name)
    )
    assert_same(read_state_dict(tmp_path / "net.pth"), state)
    assert len([name for name in read if "/data/" in name]) == len(state)


# Names.


@pytest.mark.parametrize(
    ("keys", "want"),
    [
        (["backbone.a", "head.b"], {"backbone.a": "backbone.a", "head.b": "head.b"}),
        (["module.backbone.a"], {"module.backbone.a": "backbone.a"}),
        (["module.model.head.b"], {"module.model.head.b": "head.b"}),
        (["_orig_mod.head.b"], {"_orig_mod.head.b": "head.b"}),
        (
            ["student.backbone.a", "teacher.backbone.a", "distill_losses.loss_fea.align.weight"],
            {"student.backbone.a": "backbone.a"},
        ),
        (["module.student.head.b", "module.teacher.head.b"], {"module.student.head.b": "head.b"}),
        (["data_preprocessor.mean", "head.b"], {"head.b": "head.b"}),
        # A prefix that only some keys have is part of a name.
        (["model.a", "head.b"], {"model.a": "model.a", "head.b": "head.b"}),
    ],
)
def test_names_are_mapped_to_those_of_the_bare_network(keys, want):
    assert rename(keys) == want


def test_a_distillation_checkpoint_gives_the_student(tmp_path, state):
    both = {f"student.{key}": value for key, value in state.items()}
    both |= {f"teacher.{key}": value + 1 for key, value in state.items()}
    torch.save({"state_dict": both}, tmp_path / "distilled.pth")
    assert_same(read_state_dict(tmp_path / "distilled.pth"), state)


# Safetensors.


def test_safetensors_keep_our_metadata(tmp_path, state):
    meta = {"family": "rtmpose", "size": "t", "input_size_hw": [256, 192], "note": "déjà vu"}
    path = write_safetensors(tmp_path / "new" / "net.safetensors", state, meta)
    checkpoint = read_checkpoint(path)
    assert checkpoint.meta == meta
    assert set(checkpoint.state) == set(state)
    assert all(torch.equal(checkpoint.state[key], value) for key, value in state.items())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_foreign_safetensors_have_no_metadata(tmp_path, state):
    from safetensors.torch import save_file

    save_file(state, tmp_path / "net.safetensors")
    assert read_checkpoint(tmp_path / "net.safetensors").meta == {}


def test_safetensors_with_broken_metadata(tmp_path, state):
    from safetensors.torch import save_file

    for text in ("{", json.dumps([1])):
        save_file(state, tmp_path / "net.safetensors", metadata={"dwpose": text})
        with pytest.raises(WeightsError, match="no JSON"):
            read_checkpoint(tmp_path / "net.safetensors")
