"""Hostile checkpoints: every one is refused by name, and nothing in it runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dwpose.errors import WeightsError
from dwpose.weights.readers import read_checkpoint, read_state_dict, write_safetensors

DAMAGES = int(os.environ.get("DWPOSE_DAMAGES", "100"))


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    return {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.ones(4)}


MARK = "DWPOSE_TEST_RAN"


class Runs:
    """Calls a function when unpickled."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


class Sets:
    """Changes an object when unpickled."""

    def __init__(self, target, state):
        self.target, self.state = target, state

    def __reduce__(self):
        return (self.target, (), self.state)


def trap(*_: object) -> None:
    os.environ[MARK] = "1"


@pytest.fixture
def unharmed(monkeypatch):
    """Fails the test if a pickle managed to run something."""
    monkeypatch.delenv(MARK, raising=False)
    before = set(sys.modules)
    yield
    assert MARK not in os.environ
    assert "antigravity" not in set(sys.modules) - before


ATTACKS = {
    "os.system": (Runs(os.system, f"touch {MARK}"), r"(posix|nt)\.system"),
    "eval": (Runs(eval, f"__import__('os').mkdir('{MARK}')"), r"builtins\.eval"),
    "exec": (Runs(exec, f"import os; os.environ['{MARK}'] = '1'"), r"builtins\.exec"),
    "own function": (Runs(trap), r"[\w.]*test_hostile_pickles\.trap"),
    "import": (Runs(__import__, "antigravity"), r"builtins\.__import__"),
    "getattr": (Runs(getattr, "x", "upper"), r"builtins\.getattr"),
    "getattr of a tensor function": (
        Runs(getattr, torch._utils._rebuild_tensor_v2, "__globals__"), r"builtins\.getattr"),
    "nested": (Runs(list, [Runs(os.system, "true")]), r"builtins\.list"),
    "inside numpy": (np.array([Runs(os.system, "true")], dtype=object), r"(posix|nt)\.system"),
    "as a key": ({Runs(os.getcwd): torch.ones(1)}, r"(posix|nt)\.getcwd"),
    "io.open": (Runs(io.open, os.devnull), r"io\.open"),
    "torch.load": (Runs(torch.load, "x"), r"torch\.serialization\.load"),
    "a module": (torch.nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear"),
    "codecs": (Runs(__import__("codecs").decode, b"x", "zip"), r"_codecs\.decode"),
}  # fmt: skip


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_by_name_and_run_nothing(
    unharmed, tmp_path, monkeypatch, state, name, new_format
):
    monkeypatch.chdir(tmp_path)
    attack, named = ATTACKS[name]
    path = tmp_path / "evil.pth"
    torch.save(
        {"state_dict": state, "message_hub": attack},
        path,
        _use_new_zipfile_serialization=new_format,
    )
    with pytest.raises(WeightsError, match=rf"evil\.pth was refused, because it \w+ {named}"):
        read_checkpoint(path)
    assert not (tmp_path / MARK).exists()


def raw_zip(path: Path, program: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", program)
    return path


def opcode(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


CRAFTED = {
    # GLOBAL, INST and STACK_GLOBAL all lead to the same gate.
    "inst": opcode(b"(S'true'\nios\nsystem\n"),
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x1fOrderedDict.__init__.__globals__\x93.",
    "extension": opcode(b"\x82\x01"),
    "changes a stand-in": opcode(
        b"ctorch._utils\n_rebuild_tensor_v2\n", b"N}X\x04\x00\x00\x00_runNs\x86b"
    ),
    "changes a class": opcode(b"ccollections\nOrderedDict\n", b"N}X\x01\x00\x00\x00aNs\x86b"),
    "calls what it must not": opcode(b"cnumpy\nndarray\n", b")R", b")R"),
    "tensor of nothing": opcode(b"ctorch._utils\n_rebuild_tensor_v2\n", b"(NK\x00)))tR"),
    "odd persistent id": opcode(b"X\x01\x00\x00\x00aQ"),
    "no memory": opcode(b"\x8d" + struct.pack("<Q", 1 << 60)),
    "empty": b"",
    "cut": b"\x80\x02}q",
    "not a pickle": b"<html>not found</html>",
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_programs_end_in_a_sentence(unharmed, tmp_path, name):
    path = raw_zip(tmp_path / "crafted.pth", CRAFTED[name])
    with pytest.raises(WeightsError, match=r"crafted\.pth"):
        read_checkpoint(path)


def test_stand_ins_are_not_changed_by_a_hostile_file(tmp_path, state):
    for program in CRAFTED.values():
        with pytest.raises(WeightsError):
            read_checkpoint(raw_zip(tmp_path / "crafted.pth", program))
    torch.save(state, tmp_path / "good.pth")
    got = read_state_dict(tmp_path / "good.pth")
    assert all(torch.equal(got[key], value) for key, value in state.items())


def lying_tensor(tmp_path: Path, shape: tuple[int, ...], stride: tuple[int, ...]) -> Path:
    """A file whose tensor claims more numbers than there are."""

    class Liar:
        def __reduce__(self):
            return (torch._utils._rebuild_tensor_v2, (Storage(), 0, shape, stride, False, {}))

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "0", "cpu", 4) if type(obj) is Storage else None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"w": Liar()})
    path = raw_zip(tmp_path / "liar.pth", buffer.getvalue())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/data/0", bytes(16))
    return path


@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        ((5,), (1,)),
        ((2, 2), (3, 1)),
        ((1 << 40,), (1,)),
        ((1 << 40,), (0,)),
        ((-1,), (1,)),
        ((2,), (-1,)),
        ((2,), ()),
    ],
)
def test_a_tensor_that_reaches_past_its_numbers(tmp_path, shape, stride):
    with pytest.raises(WeightsError, match=r"liar\.pth"):
        read_state_dict(lying_tensor(tmp_path, shape, stride))


def test_a_tensor_within_its_numbers_is_read(tmp_path):
    assert read_state_dict(lying_tensor(tmp_path, (2, 2), (2, 1)))["w"].shape == (2, 2)


def test_torchscript_is_not_run(tmp_path):
    # The parts by which a TorchScript archive is known; torch.jit.save writes the same.
    path = raw_zip(tmp_path / "net.pt", opcode(b"c__torch__.net\nNet\n)\x81"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("net/constants.pkl", pickle.dumps(()))
        archive.writestr("net/code/__torch__/net.py", "raise SystemExit")
    with pytest.raises(WeightsError, match="TorchScript file carries code"):
        read_checkpoint(path)


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
def test_damaged_bytes_end_in_tensors_or_in_a_sentence(unharmed, tmp_path, state, form):
    path = tmp_path / ("net.safetensors" if form == "safetensors" else "net.pth")
    if form == "safetensors":
        write_safetensors(path, state, {"size": "t"})
    else:
        torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    rng = np.random.default_rng(11)
    for _ in range(DAMAGES):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 5)):
            damaged[at] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            got = read_checkpoint(path).state
        except WeightsError:
            continue
        assert all(isinstance(value, torch.Tensor) for value in got.values())
