"""Fixed batch sizes: filling up, cutting off, and what happens where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dwpose.runtimes import graphs  # noqa: E402
from dwpose.runtimes.graphs import SIZES, FixedSizes, make_forward  # noqa: E402
from dwpose.runtimes.torch_session import TorchSession  # noqa: E402


class Recorder:
    """Stands in for recorded graphs: takes one batch alone, and keeps its outputs' memory."""

    def __init__(self):
        self.made = []

    def __call__(self, example):
        self.made.append(tuple(example.shape))
        sums, doubled = torch.zeros(len(example)), torch.zeros_like(example)

        def replay(batch):
            assert batch is example
            torch.sum(batch, dim=(1, 2, 3), out=sums)
            torch.mul(batch, 2, out=doubled)
            return sums, doubled

        return replay


def _images(count, shape=(3, 4, 2)):
    return torch.from_numpy(np.random.default_rng(count).random((count, *shape), np.float32))


def test_batches_of_any_size_run_at_few_sizes():
    recorder = Recorder()
    forward = FixedSizes(recorder, torch.device("cpu"))
    for count in (1, 3, 4, 2, 64, 3, 5, 0, 130):
        images = _images(count)
        sums, doubled = forward(images)
        torch.testing.assert_close(sums, images.sum(dim=(1, 2, 3)))
        torch.testing.assert_close(doubled, images * 2)
    assert [shape[0] for shape in recorder.made] == [1, 4, 2, 64, 8]
    assert set(SIZES) >= {shape[0] for shape in recorder.made}


def test_shapes_and_layouts_are_kept_apart():
    recorder = Recorder()
    forward = FixedSizes(recorder, torch.device("cpu"), (2,))
    forward(_images(2))
    forward(_images(2, (3, 2, 2)))
    wide = _images(2).to(memory_format=torch.channels_last)
    torch.testing.assert_close(forward(wide)[1], wide * 2)
    assert len(recorder.made) == 2


@pytest.mark.parametrize("mode", ["graph", "compile"])
def test_without_a_gpu_networks_run_eagerly_and_say_so(mode):
    network = torch.nn.Conv2d(3, 2, 1).eval()
    images = _images(3).numpy()
    session = TorchSession(network, mode=mode, reason="because")
    assert "eagerly on cpu" in session.info.reason
    assert session.info.reason.startswith("because; ")
    plain = TorchSession(network, reason="because")
    assert plain.info.reason == "because"
    np.testing.assert_array_equal(session(images)[0], plain(images)[0])
    session.move("cpu")
    assert session.info.reason.count("eagerly") == 1


def test_modes_are_checked():
    with pytest.raises(ValueError, match="mode must be one of eager, graph, compile"):
        TorchSession(torch.nn.Identity(), mode="fast")
    forward, note = make_forward(torch.nn.Identity(), "eager", torch.device("cpu"))
    assert note == ""
    assert len(forward(torch.zeros(1))) == 1


def test_a_gpu_runs_as_asked_or_says_why_not(monkeypatch):
    gpu = torch.device("cuda")
    network = torch.nn.Identity()
    monkeypatch.setattr(graphs, "find_spec", lambda name: object())
    assert make_forward(network, "graph", gpu)[1] == "as CUDA graphs"
    assert make_forward(network, "compile", gpu)[1] == "compiled, as CUDA graphs"
    monkeypatch.setattr(graphs, "find_spec", lambda name: None)
    forward, note = make_forward(network, "compile", gpu)
    assert isinstance(forward, FixedSizes)
    assert "Triton" in note


def test_every_size_of_every_network_is_compiled(monkeypatch):
    """The limit of torch.compile is eight, for all of them together."""
    compiled = []

    def backend(module, _):
        compiled.append(module)
        return module.forward

    def replayed(run, example):
        run(example)
        return run

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **_: real(f, dynamic=False, backend=backend))
    monkeypatch.setattr(graphs, "record", replayed)
    monkeypatch.setattr(graphs, "find_spec", lambda name: object())
    torch._dynamo.reset()
    for width in (2, 3):
        network = torch.nn.Conv2d(3, width, 1).eval()
        forward, _ = make_forward(network, "compile", torch.device("cuda"))
        assert isinstance(forward, FixedSizes)
        forward.device = torch.device("cpu")
        with torch.inference_mode():
            for count in SIZES:
                images = _images(count)
                torch.testing.assert_close(forward(images)[0], network(images))
    assert len(compiled) == 2 * len(SIZES) > 8


def test_graphs_are_recorded_anew_where_weights_have_moved():
    session = TorchSession(torch.nn.Conv2d(3, 2, 1), mode="graph")
    recorded = session._forward
    session.settle()
    assert session._forward is recorded
    held = [weight.data for weight in session.module.parameters()]  # so that others are taken
    session.module.to(torch.float64).to(torch.float32)  # as to another device and back
    assert held
    session.settle()
    assert session._forward is not recorded
    eager = TorchSession(torch.nn.Conv2d(3, 2, 1))
    recorded = eager._forward
    eager.module.to(torch.float64)
    eager.settle()
    assert eager._forward is recorded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("mode", ["graph", "compile"])
def test_graphs_answer_as_the_network_does(mode, monkeypatch):
    from dwpose.models.rtmpose import RTMPose, rtmpose_config

    torch.manual_seed(0)
    network = RTMPose(rtmpose_config("t", (256, 192)))
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    # Without statistics of its own a network of random numbers answers nothing but zeros; with
    # them it makes a rounding error 70 times larger, so fp16 says nothing about graphs either.
    network.train()(_images(4, (3, 256, 192)))
    network.eval()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    eager = TorchSession(network, device="cuda", precision="fp32")
    fast = TorchSession(network, device="cuda", precision="fp32", mode=mode)
    for count in (3,) if mode == "compile" else (1, 3, 70):  # each size compiles for long
        images = _images(count, (3, 256, 192)).numpy()
        for got, want in zip(fast(images), eager(images), strict=True):
            assert np.abs(got - want).max() < 1e-3 * want.std()
            assert want.std() > 0.01
