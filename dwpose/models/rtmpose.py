"""RTMPose: CSPNeXt backbone and RTMCC head, the pose network of DWPose.

State dict keys and shapes are mmpose's, so an official checkpoint's ``state_dict`` loads
strictly. Configurations follow DWPose's own files ``rtmpose-{t,s,m,l,x}_*-ubody-*.py``. One more
size, ``lite``, is ours: the same head on EfficientNet-Lite0, for the built-in network.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .cspnext import CSPNeXt
from .efficientnet import EfficientNetLite
from .rtmcc import RTMCCHead
from .usage import Usage

SIZES: dict[str, tuple[float, float]] = {
    "t": (0.167, 0.375),
    "s": (0.33, 0.5),
    "m": (0.67, 0.75),
    "l": (1.0, 1.0),
    "x": (1.33, 1.25),
}
"""Size letter -> (deepen, widen), from RTMPose's configuration files."""

LITE = "lite"
"""The size whose backbone is `EfficientNetLite`."""

_LITE_KERNEL = 5
# Lite sees photos better through tighter crops than those of the official networks, see
# weights/builtin/README.md, and has learned from such. The mirror image helps it, and costs little.
_LITE_USAGE = Usage(padding=1.1, flip_test=True)


@dataclass(frozen=True)
class RTMPoseConfig:
    """Everything that shapes an RTMPose.

    Attributes:
        size: Letter, t to x; a label only, the factors below decide. With `LITE` the backbone is
            another, of one depth and width.
        deepen: Depth factor of the backbone.
        widen: Width factor of the backbone.
        input_size_hw: Input height and width in px, multiples of 32.
        num_keypoints: Keypoints K.
        split: SimCC bins per pixel.
        dim: Token width of the head.
        attention_dim: Query and key width of the gated attention unit.
        expansion: Gate and value width as a multiple of ``dim``.
        kernel: Kernel size of the head's convolution.
    """

    size: str
    deepen: float
    widen: float
    input_size_hw: tuple[int, int] = (256, 192)
    num_keypoints: int = 133
    split: float = 2.0
    dim: int = 256
    attention_dim: int = 128
    expansion: int = 2
    kernel: int = 7

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: A size that is no multiple of 32, or no keypoints.
        """
        height, width = self.input_size_hw
        if height <= 0 or width <= 0 or height % 32 or width % 32:
            raise ValueError(
                f"input_size_hw must be two positive multiples of 32, got {self.input_size_hw}"
            )
        if self.num_keypoints < 1:
            raise ValueError(f"num_keypoints must be at least 1, got {self.num_keypoints}")

    @property
    def map_hw(self) -> tuple[int, int]:
        """Height and width of the last feature map."""
        stride = EfficientNetLite.stride if self.size == LITE else 32
        return self.input_size_hw[0] // stride, self.input_size_hw[1] // stride

    @property
    def usage(self) -> Usage:
        """How this network is to be used."""
        return _LITE_USAGE if self.size == LITE else Usage()

    @property
    def bins_wh(self) -> tuple[int, int]:
        """Length of the SimCC vectors for x and y."""
        return int(self.input_size_hw[1] * self.split), int(self.input_size_hw[0] * self.split)


def rtmpose_config(
    size: str, input_size_hw: tuple[int, int] = (256, 192), num_keypoints: int = 133
) -> RTMPoseConfig:
    """Configuration of one of the sizes.

    Args:
        size: One of t, s, m, l, x, lite.
        input_size_hw: Input height and width in px; (256, 192) and (384, 288) are usual.
        num_keypoints: Keypoints; 133 for COCO-WholeBody.

    Raises:
        ValueError: Unknown size, or an input size that is no multiple of 32.
    """
    height, width = input_size_hw
    if size == LITE:
        return RTMPoseConfig(
            LITE, 1.0, 1.0, (int(height), int(width)), num_keypoints, kernel=_LITE_KERNEL
        )
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join((*SIZES, LITE))}, got {size!r}")
    deepen, widen = SIZES[size]
    return RTMPoseConfig(size, deepen, widen, (int(height), int(width)), num_keypoints)


class RTMPose(nn.Module):
    """Pose network: normalised RGB crops in, raw SimCC vectors out.

    Args:
        config: What to build; see `rtmpose_config`.
    """

    def __init__(self, config: RTMPoseConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone: CSPNeXt | EfficientNetLite = (
            EfficientNetLite() if config.size == LITE else CSPNeXt(config.deepen, config.widen)
        )
        self.head = RTMCCHead(
            self.backbone.out_channels,
            config.map_hw,
            config.num_keypoints,
            config.bins_wh,
            config.dim,
            config.attention_dim,
            config.expansion,
            config.kernel,
        )

    def features(self, images: Tensor) -> Tensor:
        """Map normalised RGB [N,3,H,W] to the last feature map [N,C,h,w], `map_hw` of config."""
        return self.backbone(images)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Predict keypoint coordinates as two one-dimensional classifications.

        Args:
            images: Float [N,3,H,W], RGB with ImageNet mean and deviation removed
                (`dwpose.crop.normalize`), H and W as in ``config.input_size_hw``.

        Returns:
            Raw (unnormalised) vectors x [N,K,2W] and y [N,K,2H]; `dwpose.simcc.decode`
            turns them into keypoints.
        """
        return self.head(self.backbone(images))
