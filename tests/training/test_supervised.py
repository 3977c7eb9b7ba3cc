"""Labels that teach a network alone."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from dwpose.models.rtmpose import LITE, RTMPose, rtmpose_config  # noqa: E402
from dwpose.skeleton import PARTS  # noqa: E402
from dwpose.training.batch import encode_labels  # noqa: E402
from dwpose.training.supervised import (  # noqa: E402
    EMPHASIS,
    StudentAlone,
    mean_network,
    part_emphasis,
)

SIZE_HW = (64, 64)
POINTS = 133


def labelled(count: int = 2) -> tuple[torch.Tensor, ...]:
    dice = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, *SIZE_HW, generator=dice)
    places = torch.rand(count, POINTS, 2, generator=dice) * 63
    weights = torch.rand(count, POINTS, generator=dice)
    return images, *encode_labels(places, weights, SIZE_HW)


def network(size: str = "t") -> RTMPose:
    torch.manual_seed(0)
    return RTMPose(rtmpose_config(size, SIZE_HW)).eval()


def test_emphasis_multiplies_the_weights_of_points():
    images, x, y, weights = labelled()
    emphasis = torch.linspace(0.5, 3, POINTS)
    model = network()
    stressed = StudentAlone(model, coarse=0.05, emphasis=emphasis).eval()
    plain = StudentAlone(model, coarse=0.05).eval()
    plain.load_state_dict(stressed.state_dict())
    expected = plain(images, x, y, weights * emphasis)
    assert stressed(images, x, y, weights) == expected
    assert (
        stressed(images, x, y)["loss_kpt"]
        == plain(images, x, y, emphasis.expand(2, -1))["loss_kpt"]
    )
    assert plain(images, x, y, weights)["loss_kpt"] != expected["loss_kpt"]


@pytest.mark.parametrize(("size", "strides"), [("t", (8, 16, 32)), (LITE, (16,))])
def test_coarse_maps_are_named_by_their_stride_and_fade(size, strides):
    images, x, y, weights = labelled()
    student = StudentAlone(network(size), 10, coarse=0.05, coarse_until=0.5)
    names = {f"loss_coarse_{stride}" for stride in strides}
    first = student(images, x, y, weights, epoch=0)
    assert first.keys() == {"loss_kpt", *names}
    later = student(images, x, y, weights, epoch=2.5)
    for name in names:
        assert later[name].item() < first[name].item()
    assert student(images, x, y, weights, epoch=5).keys() == {"loss_kpt"}


def test_parts_are_stressed_by_factors_of_mean_one():
    emphasis = part_emphasis()
    assert emphasis.shape == (POINTS,)
    assert emphasis.mean().item() == pytest.approx(1)
    ratio = emphasis[PARTS["body"]].unique() / emphasis[PARTS["face"]].unique()
    assert ratio.tolist() == pytest.approx([EMPHASIS["body"] / EMPHASIS["face"]])
    flat = part_emphasis({"feet": 1.0})
    assert flat.unique().tolist() == [1]


def test_networks_have_a_mean():
    torch.manual_seed(1)
    first, second = network(), network()
    with torch.no_grad():
        for value in second.state_dict().values():
            value.add_(2)
    mean = mean_network([first, second])
    state = first.state_dict()
    for name, value in mean.state_dict().items():
        assert value.dtype == state[name].dtype
        torch.testing.assert_close(value, state[name] + 1)
    assert not mean.training
    assert all(parameter.requires_grad for parameter in mean.parameters())
    for name, value in mean_network([first]).state_dict().items():
        assert torch.equal(value, state[name])
    with pytest.raises(ValueError, match="one shape"):
        mean_network([first, network("s")])
