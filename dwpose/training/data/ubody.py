"""UBody, once `dwpose data ubody-frames` has made the frames.

In its published folders::

UBody/annotations/SCENE/keypoint_annotation.json
UBody/splits/intra_scene_test_list.npy, inter_scene_test_list.npy
UBody/videos/SCENE/VIDEO/VIDEO.mp4
UBody/images/SCENE/VIDEO/VIDEO/000001.png ...     (made from the videos)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np

from .coco_wholebody import read_json, read_people
from .index import read_indexed
from .labels import LabelledPeople

# The 15 scenes, in the order of DWPose's configs.
SCENES: Final = (
    "Magic_show",
    "Entertainment",
    "ConductMusic",
    "Online_class",
    "TalkShow",
    "Speech",
    "Fitness",
    "Interview",
    "Olympic",
    "TVShow",
    "Singing",
    "SignLanguage",
    "Movie",
    "LiveVlog",
    "VideoConference",
)
# Neighbouring frames look alike: of all pictures those whose id this number divides are used.
EVERY: Final = 10


def annotation_file(root: Path, scene: str) -> Path:
    """Return where a scene's annotations belong."""
    return root / "annotations" / scene / "keypoint_annotation.json"


def split_file(root: Path) -> Path:
    """Return where the list of test videos belongs."""
    return root / "splits" / "intra_scene_test_list.npy"


def load_test_videos(root: Path) -> frozenset[str]:
    """Read the names of the videos that are kept for testing (the intra-scene list).

    Raises:
        FileNotFoundError: the list is not there.
        ValueError: it is no array of names.
    """
    path = split_file(root)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no list of test videos {path}; `dwpose data check` says how to get it"
        )
    try:
        # Without pickles, which could run anything; the published list is an array of texts.
        names = np.load(path, allow_pickle=False)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not an array of names ({error})") from None
    return frozenset(str(name) for name in names.ravel())


def video_of(file_name: str) -> str:
    """Return the name by which the lists of test videos know a frame's video.

    That is the frame's folder, cut at "_Trim": all pieces of one video stay together.
    """
    return Path(file_name).parent.name.split("_Trim")[0]


def load_ubody(
    root: str | os.PathLike[str],
    split: Literal["train", "test"] = "train",
    scenes: Sequence[str] = SCENES,
    every: int = EVERY,
) -> list[LabelledPeople]:
    """Read the people of UBody who are taught, one set a scene.

    Args:
        root: the folder `UBody`.
        split: "train" is everything but the test videos.
        scenes: which.
        every: use pictures whose id this divides; 1 uses all.

    Raises:
        FileNotFoundError: annotations or the list of test videos are not there.
        ValueError: an unknown scene, or a file is not what it should be.
    """
    unknown = [scene for scene in scenes if scene not in SCENES]
    if unknown:
        raise ValueError(f"scenes: UBody has no {unknown[0]!r}; it has {', '.join(SCENES)}")
    folder = Path(root)
    test = load_test_videos(folder)

    def keep(image_id: int, file_name: str) -> bool:
        return image_id % every == 0 and (video_of(file_name) in test) == (split == "test")

    found = []
    for scene in scenes:
        path, images = annotation_file(folder, scene), folder / "images" / scene

        def read(path: Path = path, scene: str = scene) -> LabelledPeople:
            name = f"UBody {scene} {split}"
            return read_people(read_json(path), name, f"UBody {scene}", Path, keep)

        found.append(
            read_indexed(
                path,
                split,
                [every, sorted(test)],
                read,
                lambda name, images=images: frame_file(images, name),
            )
        )
    return found


def frame_file(images: Path, file_name: str) -> Path:
    """Return a frame's file: as annotated (.png), or the .jpg that was made in its place."""
    path = images / file_name
    small = path.with_suffix(".jpg")
    return small if small.is_file() and not path.is_file() else path
