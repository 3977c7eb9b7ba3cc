"""The one table of model files: id to source, checksum, input size, licence and purpose.

Where a checksum comes from: the files of ``yzd-v/DWPose`` carry the sha256 of their own large
file pointers; the others were published, identically, by several independent users of the same
files. ``sha256=None`` means nobody published one: the file is then trusted on first download,
its checksum is written beside it, and every later use is checked against that record.

AP is that on COCO-WholeBody val as the publishers state it.

Not in the table, and why:

* TorchScript files (``hr16/DWPose-TorchScript-BatchSize5`` and ``*.torchscript.pt`` elsewhere):
  they carry code, which this package never runs, and a batch size fixed at 5.
* The fp32 files of ``hr16/UnJIT-DWPose``: the same networks as dw-ll, dw-mm and dw-ss here. A
  file one already has loads by its path.
* YOLO-NAS: its weights carry a licence of their own that forbids commercial use.
* RTMW as ``.pth``: its neck is not one of our networks; the ONNX files are here.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

Role = Literal["estimator", "detector"]
Family = Literal["rtmpose", "yolox", "onnx"]

DEFAULT_ESTIMATOR = "dw-ll-384"
"""The official DWPose network, used when the caller asks for the official one."""

DEFAULT_DETECTOR = "yolox-l"
"""The detector that DWPose ships with."""

BUILTIN_ESTIMATOR = "builtin-lite"
"""The network inside this package, used when nothing else is present."""

BUILTIN_DETECTOR = "builtin-det"
"""The person detector inside this package, likewise."""

APACHE = "Apache-2.0"
SEE_SOURCE = "see source"
"""Licence of files whose publisher states none; read the source's page before using them."""

HUMANART_LICENCE = "Apache-2.0 (as published; the HumanArt dataset itself is non-commercial)"


@dataclass(frozen=True)
class ModelEntry:
    """One model file and everything needed to get, check and build it.

    Attributes:
        id: Short name, unique; what users type.
        role: What the network does.
        family: ``rtmpose`` and ``yolox`` are our own torch networks, ``onnx`` any other graph.
        size: Size letter or name within the family.
        input_size_hw: Input height and width in px.
        repo: Hub repository, or None for a plain ``url`` and for built-in files.
        revision: Commit of ``repo``; "main" where none could be pinned (never with a sha256
            missing from the record: the checksum pins it from the first download on).
        filename: Path inside ``repo``, or the last part of ``url``.
        bytes: Size of the file as it lies on disk (after unpacking), if known.
        sha256: Its checksum, if known.
        licence: Licence of the weights as their publisher states it.
        about: What it is good for, one line.
        builtin: Whether the file ships inside this package.
        url: Address used when there is no ``repo``, or when ``repo`` cannot be reached.
        member: File name inside a zip archive, when the source is one.
        archive_sha256: Checksum of that archive, if known.
        local_name: File name on disk; None means the last part of ``filename``.
    """

    id: str
    role: Role
    family: Family
    size: str
    input_size_hw: tuple[int, int]
    repo: str | None
    revision: str | None
    filename: str
    bytes: int | None
    sha256: str | None
    licence: str
    about: str
    builtin: bool = False
    url: str | None = None
    member: str | None = None
    archive_sha256: str | None = None
    local_name: str | None = None

    @property
    def name(self) -> str:
        """File name on disk."""
        return self.local_name or self.filename.rsplit("/", 1)[-1]

    @property
    def suffix(self) -> str:
        """Lower-case extension of the file on disk, with its dot."""
        return "." + self.name.rsplit(".", 1)[-1].lower()

    @property
    def source(self) -> str:
        """Where it comes from, for people."""
        if self.builtin:
            return "inside the package"
        return f"{self.repo}/{self.filename}" if self.repo else str(self.url)


DWPOSE_REPO = "yzd-v/DWPose"
DWPOSE_REVISION = "f7c16a3d45ad3783db41471848c80fbc281cabac"

RTMPOSE_REPO = "Tau-J/RTMPose"
"""The RTMPose author's hub copy of OpenMMLab's archives, under the same paths."""
RTMPOSE_REVISION = "cd4d7095f5cfc9cfc4f46289bee91ea4a1e1d9fd"

OPENMMLAB = "https://download.openmmlab.com/mmpose/v1"
MEGVII = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"

_SMALL, _LARGE = (256, 192), (384, 288)


def _dwpose(
    id: str, size: str, hw: tuple[int, int], file: str, size_bytes: int | None, sha: str, about: str
) -> ModelEntry:
    return ModelEntry(
        id, "estimator", "rtmpose", size, hw, DWPOSE_REPO, DWPOSE_REVISION, file, size_bytes, sha,
        APACHE, about,
    )  # fmt: skip


def _archive(
    id: str,
    role: Role,
    family: Family,
    size: str,
    hw: tuple[int, int],
    path: str,
    about: str,
    *,
    size_bytes: int | None = None,
    sha: str | None = None,
    archive_sha: str | None = None,
    licence: str = APACHE,
) -> ModelEntry:
    """One of OpenMMLab's zip archives, each holding a single ``end2end.onnx``."""
    stem = path.rsplit("/", 1)[-1].removesuffix(".zip")
    return ModelEntry(
        id, role, family, size, hw, RTMPOSE_REPO, RTMPOSE_REVISION, path, size_bytes, sha, licence,
        about, url=f"{OPENMMLAB}/projects/{path}", member="end2end.onnx",
        archive_sha256=archive_sha, local_name=f"{stem}.onnx",
    )  # fmt: skip


def _half(id: str, size: str, hw: tuple[int, int], file: str, about: str) -> ModelEntry:
    # The commit of this repository and its files' checksums are published nowhere.
    return ModelEntry(
        id, "estimator", "rtmpose", size, hw, "hr16/UnJIT-DWPose", "main", file, None, None,
        SEE_SOURCE, about,
    )  # fmt: skip


def _teacher(id: str, size: str, hw: tuple[int, int], tag: str, about: str) -> ModelEntry:
    text = f"{hw[0]}x{hw[1]}"
    file = f"rtmpose-{size}_simcc-ucoco_pt-aic-coco_270e-{text}-{tag}_20230822.pth"
    url = f"{OPENMMLAB}/wholebody_2d_keypoint/rtmpose/ubody/{file}"
    return ModelEntry(
        id, "estimator", "rtmpose", size, hw, None, None, file, None, None, APACHE, about, url=url
    )  # fmt: skip


def _vitpose(size: str, about: str) -> ModelEntry:
    # Its commit and its files' checksums are published nowhere.
    return ModelEntry(
        f"vitpose-{size}", "estimator", "onnx", size, _SMALL, "JunkyByte/easy_ViTPose", "main",
        f"onnx/wholebody/vitpose-{size}-wholebody.onnx", None, None, APACHE, about,
    )  # fmt: skip


def _megvii(
    id: str, size: str, side: int, file: str, about: str, size_bytes: int | None = None,
    sha: str | None = None,
) -> ModelEntry:  # fmt: skip
    return ModelEntry(
        id, "detector", "yolox", size, (side, side), None, None, file, size_bytes, sha, APACHE,
        about, url=f"{MEGVII}/{file}",
    )  # fmt: skip


_ENTRIES = (
    ModelEntry(
        BUILTIN_ESTIMATOR, "estimator", "rtmpose", "lite", _SMALL, None, None,
        "builtin-lite.safetensors", 8309718,
        "c9a1aff405ac1d564ce8cedfe194bba9a291d69e5112840a0666d00ac175bcb3", APACHE,
        "ships with the package; learned poses from synthetic people alone; a start, not the best",
        builtin=True,
    ),
    ModelEntry(
        BUILTIN_DETECTOR, "detector", "yolox", "nano", (288, 288), None, None,
        "builtin-det.safetensors", 1893196,
        "2a9885f3dc24a56f89baabf33b5471bb14184067e6ef0b61199d1f22563e9e6f", APACHE,
        "ships with the package, trained on synthetic people alone; misses people and finds some "
        "who are not there",
        builtin=True,
    ),
    # Official DWPose.
    _dwpose(
        "dw-ll-384", "l", _LARGE, "dw-ll_ucoco_384.onnx", 134399116,
        "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
        "the official DWPose and the usual choice for pose maps; whole-body AP 66.5",
    ),
    _dwpose(
        "dw-ll-384-pth", "l", _LARGE, "dw-ll_ucoco_384.pth", 406878486,
        "0d9408b13cd863c4e95a149dd31232f88f2a12aa6cf8964ed74d7d97748c7a07",
        "dw-ll-384 as a training checkpoint: fine-tuning and teaching",
    ),
    _dwpose(
        "dw-ll-pth", "l", _SMALL, "dw-ll_ucoco.pth", 404734742,
        "e9600664e7927229ed594197d552023e3be213f810beb38847a959ec8261e0f7",
        "DWPose-l at 256x192 as a training checkpoint",
    ),
    _dwpose(
        "dw-mm-pth", "m", _SMALL, "dw-mm_ucoco.pth", 216812378,
        "b24f27f57d18d8bb7abc3af8e09bcc5f77ee9ecae13439f70a8f7d1b885413cf",
        "DWPose-m as a training checkpoint",
    ),
    _dwpose(
        "dw-ss-pth", "s", _SMALL, "dw-ss_ucoco.pth", 102933707,
        "c13dfb1dc63aac2d794ac130bb89734330b3c74a1aff921a40fcde1d87361ffc",
        "DWPose-s as a training checkpoint",
    ),
    _dwpose(
        "dw-tt-pth", "t", _SMALL, "dw-tt_ucoco.pth", None,
        "7097f5af7f100609acffe58eb01734f02ffbfe22794fe029c2ea0a4d68d0f42d",
        "DWPose-t as a training checkpoint",
    ),
    # The same networks as OpenMMLab exported them.
    _archive(
        "dw-ll-384-mm", "estimator", "rtmpose", "l", _LARGE,
        "rtmposev1/onnx_sdk/rtmpose-l_simcc-ucoco_dw-ucoco_270e-384x288-2438fd99_20230728.zip",
        "dw-ll-384 as OpenMMLab exported it", size_bytes=134399323,
        sha="8cfecfc2226d8e14b510c2fd28442226c518b4d60690535753187877411d4005",
        archive_sha="b06f1bc598ddbdb5008a61f4a411aa11ed331370b4f7f438126d6d99e168d147",
    ),
    _archive(
        "dw-ll", "estimator", "rtmpose", "l", _SMALL,
        "rtmposev1/onnx_sdk/rtmpose-l_simcc-ucoco_dw-ucoco_270e-256x192-4d6dfc62_20230728.zip",
        "DWPose-l at 256x192: less than half the work of dw-ll-384; AP 63.1",
    ),
    _archive(
        "dw-mm", "estimator", "rtmpose", "m", _SMALL,
        "rtmposev1/onnx_sdk/rtmpose-m_simcc-ucoco_dw-ucoco_270e-256x192-c8b76419_20230728.zip",
        "DWPose-m: a good balance on a CPU; AP 60.6",
        sha="94ca58fa2d6c4530b6957ac9548084ebc2fa27ed71e4e01f0b73844306ed01a6",
        archive_sha="a4e4d56e9dc043e2171c73f5918f334509a47fde60182c1961370c7160334ac0",
    ),
    _archive(
        "dw-ss", "estimator", "rtmpose", "s", _SMALL,
        "rtmposev1/onnx_sdk/rtmpose-s_simcc-ucoco_dw-ucoco_270e-256x192-3fd922c8_20230728.zip",
        "DWPose-s: fast on a CPU; AP 53.8",
    ),
    _archive(
        "dw-tt", "estimator", "rtmpose", "t", _SMALL,
        "rtmposev1/onnx_sdk/rtmpose-t_simcc-ucoco_dw-ucoco_270e-256x192-dcf277bf_20230728.zip",
        "DWPose-t: the fastest; AP 48.5",
    ),
    # Half precision.
    _half("dw-ll-384-fp16", "l", _LARGE, "dw-ll_ucoco_384_fp16.onnx",
          "dw-ll-384 at half the size"),
    _half("dw-ll-fp16", "l", _SMALL, "dw-ll_ucoco_fp16.onnx", "dw-ll at half the size"),
    _half("dw-mm-fp16", "m", _SMALL, "dw-mm_ucoco_fp16.onnx", "dw-mm at half the size"),
    _half("dw-ss-fp16", "s", _SMALL, "dw-ss_ucoco_fp16.onnx", "dw-ss at half the size"),
    # Teachers and later 133-point networks.
    _teacher("rtmpose-x-384", "x", _LARGE, "f5b50679", "RTMPose-x, the teacher of DWPose"),
    _teacher("rtmpose-x", "x", _SMALL, "05f5bcb7", "RTMPose-x at 256x192, a teacher"),
    _teacher("rtmpose-l", "l", _SMALL, "95bb32f5", "RTMPose-l at 256x192, a teacher"),
    _archive(
        "rtmw-x-384", "estimator", "onnx", "x", _LARGE,
        "rtmw/onnx_sdk/rtmw-x_simcc-cocktail13_pt-ucoco_270e-384x288-0949e3a9_20230925.zip",
        "RTMW-x, trained on 13 datasets: the most accurate here; AP 70.2",
        sha="b2dd00cce207d3c1503e35cc77a82ecd7092dcbdfe4a3c692ec4cdc3cf40c804",
        archive_sha="e2635599f6d14152af4bb3e97f90881a782b003857514c76cc341794364ffbdd",
    ),
    _archive(
        "rtmw-x-l-384", "estimator", "onnx", "l", _LARGE,
        "rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-384x288_20231122.zip",
        "RTMW-l taught by RTMW-x on 14 datasets, drawn people among them; AP 70.1",
        size_bytes=229320930,
        sha="bd033156e5104c4f5d2edfe0453e02661e30a2f3da453ec93c8764d561b83054",
        archive_sha="a87e1af41a0a067776dba7d46e1c21c8f6e9f18e247e0e606718dd1f31e96ffd",
    ),
    _archive(
        "rtmw-x-l", "estimator", "onnx", "l", _SMALL,
        "rtmw/onnx_sdk/rtmw-dw-x-l_simcc-cocktail14_270e-256x192_20231122.zip",
        "RTMW-l at 256x192; AP 66.0", size_bytes=228708578,
        sha="9a9bc17c13ff0a1e37507f45a037a21bc410cd08374b0e664c57d0080843aa58",
        archive_sha="1e3e77558dfc199129bfff1c583e51b4ee190914de6ae30688243c20163c148c",
    ),
    _archive(
        "rtmw-l-m", "estimator", "onnx", "m", _SMALL,
        "rtmw/onnx_sdk/rtmw-dw-l-m_simcc-cocktail14_270e-256x192_20231122.zip",
        "RTMW-m taught by RTMW-l: smaller and faster",
        archive_sha="a6d08a575c9d8b8da7ce6c13e1c7341047fca35594a6d35de04b739eba51139c",
    ),
    # What Wan-Animate's nodes use; the huge one is two files, so it loads by its path.
    _vitpose("s", "ViTPose++-S, a transformer with heatmaps; AP 54.4"),
    _vitpose("b", "ViTPose++-B; AP 57.4"),
    _vitpose("l", "ViTPose++-L, the usual network of Wan-Animate's nodes; AP 60.6"),
    # Detectors. yolox_l.onnx of DWPose is Megvii's own release, byte for byte.
    ModelEntry(
        DEFAULT_DETECTOR, "detector", "yolox", "l", (640, 640), DWPOSE_REPO, DWPOSE_REVISION,
        "yolox_l.onnx", 216746733,
        "7860ae79de6c89a3c1eb72ae9a2756c0ccfbe04b7791bb5880afabd97855a411", APACHE,
        "the detector of DWPose: people in photos", url=f"{MEGVII}/yolox_l.onnx",
    ),
    _megvii("yolox-m", "m", 640, "yolox_m.onnx", "half the work of yolox-l",
            sha="21ff6cfdeb53b013bac2249599e55f00bff3cfdfdab37ed7a4620818c1d15b3f"),
    _megvii("yolox-s", "s", 640, "yolox_s.onnx", "fast, misses small people", 35858002,
            "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063"),
    _megvii("yolox-tiny", "tiny", 416, "yolox_tiny.onnx", "faster still, large people",
            sha="427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7"),
    _megvii("yolox-nano", "nano", 416, "yolox_nano.onnx", "the smallest: a few MB", 3659407,
            "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d"),
    _megvii("yolox-x", "x", 640, "yolox_x.onnx", "the largest"),
    _megvii("yolox-x-pth", "x", 640, "yolox_x.pth", "yolox-x as a training checkpoint"),
    _megvii("yolox-l-pth", "l", 640, "yolox_l.pth", "yolox-l as a training checkpoint"),
    _megvii("yolox-m-pth", "m", 640, "yolox_m.pth", "yolox-m as a training checkpoint"),
    _megvii("yolox-s-pth", "s", 640, "yolox_s.pth", "yolox-s as a training checkpoint"),
    _megvii("yolox-tiny-pth", "tiny", 416, "yolox_tiny.pth", "yolox-tiny as a checkpoint"),
    _megvii("yolox-nano-pth", "nano", 416, "yolox_nano.pth", "yolox-nano as a checkpoint",
            sha="cd28f55fbbc1829f99d9ac9b38a16d259a22889739c8728ea877610201feff7b"),
    _archive(
        "yolox-m-humanart", "detector", "onnx", "m", (640, 640),
        "rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip",
        "people in photos, drawings, paintings and sculpture", size_bytes=101400344,
        sha="3dea6513388889f0fff4b77bf7a26013600321b9eb9ceb0e9a400a82572f5f23",
        archive_sha="a000224fd8ba283202bc62d4a5fcdfe353adb9f468777dbac1ea2ada2093adde",
        licence=HUMANART_LICENCE,
    ),
    _archive(
        "yolox-tiny-humanart", "detector", "onnx", "tiny", (416, 416),
        "rtmposev1/onnx_sdk/yolox_tiny_8xb8-300e_humanart-6f3252f9.zip",
        "as yolox-m-humanart, small and fast",
        sha="ceb11c07298f95c50d7c5abeb906d03340c85f23aa79e3e66966e7fb6c307250",
        archive_sha="36e09ca555916253fa1b5d51bec01e48e98e1f0af966c51ce3e844d8c8fc4cfc",
        licence=HUMANART_LICENCE,
    ),
    ModelEntry(
        "yolov10-m", "detector", "onnx", "m", (640, 640), "Wan-AI/Wan2.2-Animate-14B", "main",
        "process_checkpoint/det/yolov10m.onnx", None, None, "AGPL-3.0 (that of YOLOv10)",
        "the detector of Wan-Animate's own program",
    ),
)  # fmt: skip

CATALOGUE: dict[str, ModelEntry] = {entry.id: entry for entry in _ENTRIES}
"""Every known model file by id."""


def find(id: str) -> ModelEntry:
    """Look an id up.

    Args:
        id: A key of `CATALOGUE`.

    Raises:
        TypeError: ``id`` is no text.
        ValueError: Unknown id; the message names the nearest ones.
    """
    if not isinstance(id, str):
        raise TypeError(f"id must be a model id (text), got {type(id).__name__}")
    if id in CATALOGUE:
        return CATALOGUE[id]
    near = difflib.get_close_matches(id.lower(), CATALOGUE, n=4, cutoff=0.4)
    hint = f"did you mean {', '.join(near)}?" if near else "`dwpose models list` shows all."
    raise ValueError(f"there is no model {id!r}; {hint}")
