"""`dwpose data check` and `preview`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dwpose.cli import main
from dwpose.io.images import load_image, save_image
from dwpose.training.data import SCENES

from .conftest import document, picture, write_json


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_everything_missing_is_listed_with_the_way_to_get_it(tmp_path: Path, capsys):
    assert main(["data", "check", str(tmp_path / "coco"), str(tmp_path / "UBody")]) == 1
    said = lines(capsys)
    missing = [line for line in said if line.startswith("MISS")]
    advice = [line for line in said if line.strip().startswith("->")]
    assert len(missing) == len(advice) == 7
    text = "\n".join(said)
    for name in ("train2017.zip", "val2017.zip", "COCO-WholeBody", "osx-ubody", "56_person.json"):
        assert name in text


def test_a_complete_coco_is_fine(make_coco, capsys):
    make_coco(3, "val", first=10)
    root = make_coco(4, "train")
    boxes = root / "person_detection_results" / "COCO_val2017_detections_AP_H_56_person.json"
    write_json(boxes, [])
    assert main(["data", "check", str(root)]) == 0
    said = lines(capsys)
    assert len(said) == 5
    assert "4 people on 4 pictures" in said[0]
    assert "4 of 4; opened 4" in said[1]


def test_missing_and_damaged_pictures_are_told_apart(make_coco, capsys):
    make_coco(3, "val", first=10)
    root = make_coco(4, "train")
    (root / "train2017" / "000000000002.jpg").unlink()
    (root / "val2017" / "000000000011.jpg").write_bytes(b"spoiled")
    assert main(["data", "check", str(root)]) == 1
    text = "\n".join(lines(capsys))
    assert "3 of 4; missing: " in text
    assert "000000000002.jpg" in text
    assert "1 damaged: " in text
    assert "000000000011.jpg" in text


def test_ubody_without_its_frames(tmp_path: Path, capsys, make_coco):
    root = tmp_path / "UBody"
    labels = json.dumps(document(["V_S1/V_S1/000001.png"], [0]))
    for scene in SCENES[:-1]:
        path = root / "annotations" / scene / "keypoint_annotation.json"
        path.parent.mkdir(parents=True)
        path.write_text(labels)
    (root / "splits").mkdir()
    np.save(root / "splits" / "intra_scene_test_list.npy", np.array(["Other"]))
    assert main(["data", "check", str(make_coco(1)), str(root)]) == 1
    text = "\n".join(lines(capsys))
    assert "14 of 15 scenes; missing: VideoConference" in text
    assert "14 people on 14 pictures" in text
    assert "0 of 14; missing" in text
    assert f"dwpose data ubody-frames {root}" in text
    assert "none for 14 folders of frames" in text


def test_ones_own_folder(tmp_path: Path, capsys):
    write_json(tmp_path / "labels.json", document(["a.png", "b.png"]))
    save_image(tmp_path / "a.png", picture(1))
    assert main(["data", "check", "--own", str(tmp_path)]) == 1
    text = "\n".join(lines(capsys))
    assert "2 people on 2 pictures" in text
    assert "1 of 2; missing" in text


def test_a_sheet_of_crops(make_coco, tmp_path: Path, capsys):
    root = make_coco(5)
    sheets = {}
    for pipeline in ("strong", "plain"):
        for bare in ([], ["--bare"]):
            path = tmp_path / f"{pipeline}{len(bare)}.png"
            command = ["data", "preview", "-o", str(path), "--coco", str(root), "--count", "10"]
            assert main([*command, "--pipeline", pipeline, "--size", "64x48", *bare]) == 0
            sheets[pipeline, len(bare)] = load_image(path)
    assert "10 crops of 5 people" in capsys.readouterr().out
    for sheet in sheets.values():
        assert sheet.shape == (128, 8 * 48, 3)  # eight in the first row, two in the second
        assert (sheet[64:, 96:] == 32).all()
    assert (sheets["plain", 0] != sheets["plain", 1]).any()
    assert (sheets["plain", 1] != sheets["strong", 1]).any()


@pytest.mark.parametrize(
    "wrong",
    [
        ["check"],
        ["preview", "-o", "x.png"],
        ["preview", "-o", "x.png", "--own", ".", "--size", "big"],
    ],
)
def test_wrong_calls_are_one_sentence(wrong: list[str], capsys):
    assert main(["data", *wrong]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dwpose data: ")
    assert error.count("\n") == 1
