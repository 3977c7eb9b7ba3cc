"""What is missing of COCO-WholeBody and UBody, and how to get it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from . import coco_wholebody, ubody
from .frames import find_videos
from .labels import LabelledPeople
from .own_folder import load_own_folder
from .photos import read_photo

COCO_PAGE: Final = "https://cocodataset.org/#download"
WHOLEBODY_PAGE: Final = "https://github.com/jin-s13/COCO-WholeBody"
UBODY_PAGE: Final = "https://osx-ubody.github.io"
# Pictures of COCO 2017.
COCO_PICTURES: Final = {"train": 118_287, "val": 5_000}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: what.
        fine: whether it is all there.
        detail: what was found, in a few words.
        advice: how to get it, where it is not fine.
    """

    name: str
    fine: bool
    detail: str
    advice: str = ""


def check_coco(root: Path, opened: int = 100) -> list[Finding]:
    """Look at the folder `coco`; opens `opened` of the pictures to see whether they are whole."""
    findings = []
    for split, count in COCO_PICTURES.items():
        path = coco_wholebody.annotation_file(root, split)
        archive = f"http://images.cocodataset.org/zips/{split}2017.zip"
        advice = f"unpack {archive} in {root} (terms: {COCO_PAGE})"
        try:
            people = coco_wholebody.load_coco_wholebody(root, split)  # pyright: ignore[reportArgumentType]
        except (OSError, ValueError) as error:
            findings.append(
                Finding(
                    f"COCO-WholeBody {split} labels",
                    False,
                    str(error).partition(";")[0],
                    f"get {path.name} from {WHOLEBODY_PAGE} (it asks for your consent to its "
                    f"terms) and put it into {path.parent}",
                )
            )
            folder = coco_wholebody.image_folder(root, split)
            present = sum(1 for _ in folder.glob("*.jpg")) if folder.is_dir() else 0
            detail = f"{present} of {count} in {folder}"
            findings.append(Finding(f"COCO {split} pictures", present >= count, detail, advice))
            continue
        findings.append(_labels(f"COCO-WholeBody {split} labels", [people]))
        findings.append(_pictures(f"COCO {split} pictures", [people], opened, advice))
    name = "COCO_val2017_detections_AP_H_56_person.json"
    boxes = root / "person_detection_results" / name
    findings.append(
        Finding(
            "person boxes of COCO val",
            boxes.is_file(),
            str(boxes)
            if boxes.is_file()
            else f"no {boxes} (the paper's evaluation alone needs it)",
            "mmpose's page on whole-body data sets links it: "
            "https://mmpose.readthedocs.io/en/latest/dataset_zoo/2d_wholebody_keypoint.html",
        )
    )
    return findings


def check_ubody(
    root: Path, scenes: Sequence[str] = ubody.SCENES, opened: int = 100
) -> list[Finding]:
    """Look at the folder `UBody`; opens `opened` frames to see whether they are whole."""
    advice = f"get UBody where {UBODY_PAGE} says (its link Data) and unpack it into {root}"
    findings = []
    absent = [scene for scene in scenes if not ubody.annotation_file(root, scene).is_file()]
    detail = f"{len(scenes) - len(absent)} of {len(scenes)} scenes"
    if absent:
        detail += f"; missing: {', '.join(absent)}"
    findings.append(Finding("UBody labels", not absent, detail, advice))
    try:
        test = ubody.load_test_videos(root)
        findings.append(Finding("UBody list of test videos", True, f"{len(test)} videos"))
    except (OSError, ValueError) as error:
        findings.append(Finding("UBody list of test videos", False, str(error), advice))
        return findings
    videos = find_videos(root, scenes)
    found: list[LabelledPeople] = []
    for scene in (scene for scene in scenes if scene not in absent):
        try:
            for split in ("train", "test"):
                found += ubody.load_ubody(root, split, [scene])
        except (OSError, ValueError) as error:
            findings.append(Finding(f"UBody {scene} labels", False, str(error), advice))
    if not found:
        return findings
    findings.append(_labels("UBody people", found))
    make = f"dwpose data ubody-frames {root}"
    frames = _pictures("UBody frames", found, opened, make)
    folders = {file.parent for part in found for file in part.files if not file.is_file()}
    lost = sorted(folder for folder in folders if folder not in videos)
    detail = f"{len(videos)} videos"
    if lost:
        detail += f"; none for {len(lost)} folders of frames, such as {lost[0]}"
    findings += [Finding("UBody videos", frames.fine or not lost, detail, advice), frames]
    return findings


def check_own(root: Path, labels: str | None = None, opened: int = 100) -> list[Finding]:
    """Look at a folder of one's own photos and keypoint files."""
    try:
        people = load_own_folder(root, labels)
    except (OSError, ValueError) as error:
        return [Finding(f"labels in {root}", False, str(error), "see docs/training.md")]
    advice = "take the photos out of the labels, or put them in their place"
    return [
        _labels(f"labels in {root}", [people]),
        _pictures(f"photos in {root}", [people], opened, advice),
    ]


def _labels(name: str, parts: Sequence[LabelledPeople]) -> Finding:
    dropped: dict[str, int] = {}
    for part in parts:
        for reason, count in part.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + count
    people, pictures = sum(map(len, parts)), sum(len(part.files) for part in parts)
    detail = f"{people} people on {pictures} pictures"
    if dropped:
        detail += "; not taught: " + ", ".join(f"{n} {reason}" for reason, n in dropped.items())
    return Finding(name, people > 0, detail, "" if people else "they label nobody")


def _pictures(name: str, parts: Sequence[LabelledPeople], opened: int, advice: str) -> Finding:
    files = [file for part in parts for file in part.files]
    names: dict[Path, set[str]] = {}
    missing = []
    for file in files:
        if file.parent not in names:
            names[file.parent] = _listing(file.parent)
        if file.name not in names[file.parent]:
            missing.append(file)
    detail = f"{len(files) - len(missing)} of {len(files)}"
    if missing:
        return Finding(name, False, f"{detail}; missing: {missing[0]}, ...", advice)
    damaged = find_damaged(files, opened)
    detail += f"; opened {min(opened, len(files))}"
    if damaged:
        path, reason = next(iter(damaged.items()))
        advice = "get these files again; training skips them"
        return Finding(name, False, f"{detail}, {len(damaged)} damaged: {path} ({reason})", advice)
    return Finding(name, True, detail)


def _listing(folder: Path) -> set[str]:
    # One look at the folder: asking for each of 100,000 files takes minutes on a network disk.
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def find_damaged(files: Sequence[Path], count: int, seed: int = 0) -> dict[str, str]:
    """Open pictures chosen at random; those that cannot be read, with the reasons."""
    chosen: Iterable[int] = range(len(files))
    if count < len(files):
        chosen = np.random.default_rng(seed).choice(len(files), count, replace=False)
    damaged = {}
    for i in chosen:
        try:
            read_photo(files[i])
        except (OSError, ValueError) as error:
            damaged[str(files[i])] = str(error)
    return damaged
