"""A student alone: labels teach one network, with coarse maps as a crutch where it needs one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..models.rtmpose import RTMPose
from ..simcc import SPLIT
from ..skeleton import NUM_KEYPOINTS, PARTS
from .losses import coarse_map_loss, kl_discrete_loss

# 68 of 133 points are the face's and 17 the body's. Counted alike, the face had half of the labels'
# loss and the body an eighth.
EMPHASIS = {"body": 4.0, "feet": 2.0, "face": 0.5, "left_hand": 1.0, "right_hand": 1.0}


class CoarseHeads(nn.Module):
    """Deep supervision: coarse maps of all points from within the backbone and from its end.

    They are thrown away after training; `coarse_map_loss` says why they are there.

    Args:
        model: the network that is taught.
    """

    def __init__(self, model: RTMPose) -> None:
        super().__init__()
        points = model.config.num_keypoints
        widths = model.backbone.inner_channels
        self.maps = nn.ModuleList(nn.Conv2d(width, points, 1) for width in widths)

    def forward(self, model: RTMPose, images: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Run the network; coarse maps (the last are the head's own), SimCC x and y."""
        inner, last = model.backbone.inner_maps(images)
        own = model.head.final_layer(last)
        coarse = [head(part) for head, part in zip(self.maps, inner, strict=True)]
        return [*coarse, own], *model.head.from_maps(own)


class StudentAlone(nn.Module):
    """Labels teach a network; called like `distill.StageOne` and `distill.StageTwo`.

    Args:
        student: the network to teach.
        max_epochs: length of the run, in the unit of `forward`'s epoch.
        coarse: weight of the coarse maps' loss at the start; 0 leaves `CoarseHeads` out.
        coarse_until: share of the run over which that loss fades out.
        emphasis: float [K], factor on the weight of each point; None counts all alike.
    """

    def __init__(
        self,
        student: RTMPose,
        max_epochs: float = 1,
        *,
        coarse: float = 0.0,
        coarse_until: float = 0.5,
        emphasis: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.max_epochs = max_epochs
        self.coarse_weight = coarse
        self.coarse_until = coarse_until
        self.coarse = CoarseHeads(student) if coarse else None
        self.label_loss = kl_discrete_loss
        self.emphasis: Tensor | None
        # Part of no state: whoever goes on with a run says it again.
        self.register_buffer("emphasis", emphasis, persistent=False)

    def forward(
        self,
        images: Tensor,
        labels_x: Tensor,
        labels_y: Tensor,
        weights: Tensor | None = None,
        epoch: float = 0,
        taught: object = None,
    ) -> dict[str, Tensor]:
        """Compute the losses of a batch; their sum is what to go down on.

        Args:
            images: float [N, 3, H, W], normalised RGB.
            labels_x: float [N, K, 2W] as `simcc.encode` makes them.
            labels_y: float [N, K, 2H].
            weights: float [N, K]; None counts all points alike.
            epoch: zero-based, for the fading of the coarse maps.
            taught: not used; so that all are called alike.

        Returns:
            "loss_kpt", and "loss_coarse_S" of each stride S while they last.
        """
        if self.emphasis is not None:
            # Not before: the labels of points that count little are flat.
            given = labels_x.new_ones(labels_x.shape[:2]) if weights is None else weights
            weights = given * self.emphasis
        fade = 1 - epoch / max(self.coarse_until * self.max_epochs, 1e-9)
        if self.coarse is None or fade <= 0:
            simcc_x, simcc_y = self.student(images)
            maps: list[Tensor] = []
        else:
            maps, simcc_x, simcc_y = self.coarse(self.student, images)
        losses = {
            "loss_kpt": self.label_loss(
                simcc_x.float(), simcc_y.float(), labels_x, labels_y, weights
            )
        }
        if maps:
            # The labels know where the points are, to half a pixel, and which are there.
            places = torch.stack([labels_x.argmax(-1), labels_y.argmax(-1)], dim=-1) / SPLIT
            there = (labels_x.amax(-1) > 0).float()
            there = there if weights is None else there * weights
            size_hw = (images.shape[2], images.shape[3])
            for part in maps:
                stride = size_hw[0] // part.shape[2]
                extra = coarse_map_loss(part.float(), places, size_hw, there)
                losses[f"loss_coarse_{stride}"] = self.coarse_weight * fade * extra
        return losses

    def plain_model(self, student: nn.Module | None = None) -> RTMPose:
        """Return the network alone, a copy in eval mode.

        Args:
            student: an averaged copy of `self.student` to take instead.
        """
        return copy_network(self.student if student is None else student, self.student)


def part_emphasis(factors: Mapping[str, float] = EMPHASIS) -> Tensor:
    """Return a factor on the weight of each point, float [133], of mean 1.

    Args:
        factors: relative factor by part of `skeleton.PARTS`; 1 for parts that are left out.
    """
    emphasis = torch.ones(NUM_KEYPOINTS)
    for part, factor in factors.items():
        emphasis[PARTS[part]] = factor
    return emphasis / emphasis.mean()


def copy_network(source: nn.Module, like: RTMPose) -> RTMPose:
    """Return a fresh network in eval mode with the weights of `source`, on the device of `like`."""
    model = RTMPose(like.config).to(next(like.parameters()).device)
    model.load_state_dict(source.state_dict())
    return model.eval()


def mean_network(networks: Sequence[RTMPose]) -> RTMPose:
    """Return a network of the mean weights and statistics of several, in eval mode.

    A "model soup" (Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models
    improves accuracy without increasing inference time", ICML 2022): it does about what the mean
    of their answers does, if one began where another was.

    Args:
        networks: at least one, all of one configuration.

    Raises:
        ValueError: they are of different shapes.
    """
    first = networks[0]
    if any(network.config != first.config for network in networks):
        kinds = ", ".join(f"{n.config.size} of {n.config.input_size_hw}" for n in networks)
        raise ValueError(f"only networks of one shape have a mean, got {kinds}")
    model = RTMPose(first.config).to(next(first.parameters()).device)
    states = [network.state_dict() for network in networks]
    for name, value in model.state_dict().items():
        mean = torch.stack([state[name].double() for state in states]).mean(0)
        value.copy_(mean.to(value.dtype))
    return model.eval()
