"""Torch sessions: precisions, layouts, devices, and clear words where one is missing."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dwpose.models.rtmpose import RTMPose, RTMPoseConfig  # noqa: E402
from dwpose.runtimes.session import RuntimeUnavailable, Session  # noqa: E402
from dwpose.runtimes.torch_session import TorchSession, check_device  # noqa: E402


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    config = RTMPoseConfig("tiny", 0.1, 0.125, (64, 32), num_keypoints=5, dim=32, attention_dim=16)
    network = RTMPose(config)
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).standard_normal((3, 3, 64, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(network, images):
    with torch.inference_mode():
        return tuple(t.numpy() for t in network(torch.from_numpy(images)))


# Relative to the spread of the outputs: rounding is 2**-24, 2**-11 and 2**-8.
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 0.02), ("bf16", 0.15)])
def test_precisions_stay_near_the_network(network, images, expected, precision, limit):
    session = TorchSession(network, (64, 32), "cpu", precision, "because")
    assert isinstance(session, Session)
    assert (session.info.runtime, session.info.device) == ("torch", "cpu")
    assert (session.info.precision, session.info.reason) == (precision, "because")
    outputs = session(images)
    for got, want in zip(outputs, expected, strict=True):
        assert got.dtype == np.float32
        assert np.abs(got - want).max() < limit * want.std()


def test_the_network_itself_is_left_alone(network, images, expected):
    before = {k: v.clone() for k, v in network.state_dict().items()}
    TorchSession(network, precision="bf16")(images)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


def test_batches_do_not_matter(network, images, expected):
    session = TorchSession(network)
    one_by_one = [session(images[i : i + 1]) for i in range(3)]
    together = session(images)
    for i in range(2):
        np.testing.assert_allclose(
            np.concatenate([o[i] for o in one_by_one]), together[i], atol=1e-4
        )
    views = session(np.flip(images, axis=3))  # not contiguous, negative strides
    assert views[0].shape == expected[0].shape


def test_a_single_tensor_and_whole_numbers_are_outputs_too(images):
    class Count(torch.nn.Module):
        def forward(self, x):
            return x.sum(dim=(1, 2, 3)).to(torch.int64)

    (counts,) = TorchSession(Count())(images)
    assert counts.dtype == np.int64
    assert counts.shape == (3,)


def test_unknown_precisions_and_devices_are_named(network):
    with pytest.raises(ValueError, match="precision"):
        TorchSession(network, precision="fp8")
    with pytest.raises(ValueError, match="device must be"):
        TorchSession(network, device="toaster")
    assert check_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps", "xpu"])
def test_absent_devices_are_named(network, device):
    kind = device.split(":")[0]
    if kind == "mps":
        present = torch.backends.mps.is_available()
    else:
        present = getattr(torch, kind).is_available() and device != "cuda:7"
    if present:
        pytest.skip(f"this machine has {device}")
    with pytest.raises(RuntimeUnavailable, match=f"no '{device}'"):
        TorchSession(network, device=device)


def test_sessions_move(network, images, expected):
    session = TorchSession(network)
    session.move("cpu")
    np.testing.assert_allclose(session(images)[0], expected[0], atol=1e-4)
    with pytest.raises(ValueError, match="device must be"):
        session.move("toaster")


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-2), ("fp16", 0.02), ("bf16", 0.15)])
def test_cuda_agrees_with_the_cpu(network, images, expected, precision, limit):
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    session = TorchSession(network, device="cuda", precision=precision)
    for got, want in zip(session(images), expected, strict=True):
        assert np.abs(got - want).max() < limit * want.std()
