"""Who is taught: the originals' rules, on the published layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dwpose.io.coco import load_annotations
from dwpose.skeleton import PARTS
from dwpose.training.data import (
    SCENES,
    LabelledPeople,
    check_disjoint,
    load_coco_wholebody,
    load_ubody,
)
from dwpose.training.data.coco_wholebody import read_json, read_people
from dwpose.training.data.ubody import video_of

from .conftest import annotation, document


def people_of(labels: dict, name: str = "set", source: str = "source") -> LabelledPeople:
    return read_people(labels, name, source, lambda file: Path("photos") / file)


def test_points_are_joined_in_the_order_of_the_parts():
    labels = document(["a.jpg"])
    entry = labels["annotations"][0]
    for number, key in enumerate(
        ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"), start=1
    ):
        entry[key] = [10 * number, 5 * number, number % 3] * (len(entry[key]) // 3)
    people = people_of(labels)
    for number, part in enumerate(PARTS.values(), start=1):
        # v of 1 (hidden) and 2 (seen) count alike; 0 is not taught and has no place.
        labelled = number % 3 > 0
        assert (people.visible[0, part] == labelled).all()
        assert (people.keypoints[0, part] == (np.array((10, 5)) * number * labelled)).all()


def test_boxes_are_clipped_to_the_last_pixel():
    labels = document(["a.jpg"])
    labels["annotations"][0]["bbox"] = [-10, -5, 500, 40]
    np.testing.assert_array_equal(people_of(labels).boxes, [[0, 0, 127, 35]])


def test_people_who_teach_nothing_are_left_out_and_counted():
    labels = document(["a.jpg", "b.jpg"])
    bad = [
        annotation(1, 1, iscrowd=1),
        annotation(2, 1, num_keypoints=0),  # the count of BODY points, whatever the face has
        annotation(3, 1, bbox=[300, 10, 20, 20]),
        annotation(4, 1, bbox=[20, 10, 0, 20]),
        annotation(5, 1, keypoints=[0.0] * 50),
        annotation(6, 9),
        annotation(7, 1, bbox=[float("nan"), 1, 2, 3]),
        annotation(8, 1, **{key: [0.0, 0.0, 2.0] * 17 for key in ["keypoints"]}),
        {"id": 9, "image_id": 1},
    ]
    for key in ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts"):
        bad[7].pop(key)
    labels["annotations"] = [*bad, annotation(10, 2)]
    people = people_of(labels)
    assert people.ids.tolist() == [10]
    assert people.files == (Path("photos/b.jpg"),)  # a picture of nobody is not kept
    assert people.image_ids.tolist() == [2]
    assert dict(people.dropped) == {
        "crowd": 1,
        "no labelled body point": 1,
        "box without area": 2,
        "annotation that cannot be read": 3,
        "annotation of an unknown picture": 1,
        "no coordinates": 1,
    }


def test_other_categories_are_left_out():
    labels = document(["a.jpg", "b.jpg"])
    labels["categories"] = [{"id": 1, "name": "person"}, {"id": 17, "name": "cat"}]
    labels["annotations"][0]["category_id"] = 17
    assert people_of(labels).image_ids.tolist() == [2]


@pytest.mark.parametrize("categories", [[{"id": 1}], [3], {"id": 1}, "person"])
def test_categories_without_names_leave_nobody_out(categories):
    assert len(people_of({**document(["a.jpg", "b.jpg"]), "categories": categories})) == 2


@pytest.mark.parametrize("change", [5, {"image_id": [1]}, {"category_id": [1]}])
def test_annotations_of_another_kind_are_counted(change):
    labels = document(["a.jpg", "b.jpg"])
    labels["categories"] = [{"id": 1, "name": "person"}]
    old = labels["annotations"][0]
    labels["annotations"][0] = change if isinstance(change, int) else {**old, **change}
    people = people_of(labels)
    assert people.image_ids.tolist() == [2]
    assert dict(people.dropped) == {"annotation that cannot be read": 1}


def test_ids_written_as_texts_are_read():
    labels = document(["a.jpg", "b.jpg", "c.jpg"])
    labels["categories"] = [{"id": "1", "name": "person"}, {"id": "17", "name": "cat"}]
    labels["images"][0]["id"] = "1"
    labels["annotations"][0].update(id="101", image_id="1", category_id="1")
    labels["annotations"][2]["category_id"] = "17"
    people = people_of(labels)
    assert people.ids.tolist() == [101, 102]
    assert people.image_ids.tolist() == [1, 2]
    assert not people.dropped


def test_people_without_a_category_are_counted():
    labels = document(["a.jpg", "b.jpg"])
    labels["categories"] = [{"id": 1, "name": "person"}]
    del labels["annotations"][0]["category_id"]
    people = people_of(labels)
    assert people.image_ids.tolist() == [2]
    assert dict(people.dropped) == {"annotation without category": 1}


def test_a_file_without_categories_is_read_all_the_same():
    # add_cat.py of DWPose writes the category into 14 of UBody's 15 files.
    assert len(people_of(document(["a.jpg", "b.jpg"]))) == 2


def test_the_tiny_set_is_what_the_evaluation_reads(shared_dir):
    path = shared_dir / "data/mmpose-tiny/coco/test_coco_wholebody.json"
    people = people_of(dict(read_json(path)))
    whole = {entry.id: entry for entry in load_annotations(path).instances}
    assert len(people) == 12
    assert dict(people.dropped) == {"no labelled body point": 2}
    for row, number in enumerate(people.ids):
        entry = whole[number]
        np.testing.assert_array_equal(people.keypoints[row], entry.keypoints)
        np.testing.assert_array_equal(people.visible[row], entry.visible > 0)
        assert np.abs(people.boxes[row] - entry.xyxy).max() <= 1


def test_published_layout_of_coco(make_coco):
    people = load_coco_wholebody(make_coco(4), "train")
    assert [file.name for file in people.files] == [f"{i:012d}.jpg" for i in range(1, 5)]
    assert all(file.is_file() for file in people.files)
    with pytest.raises(FileNotFoundError, match="data check"):
        load_coco_wholebody(make_coco(4), "val")


def test_damaged_labels_name_the_file(make_coco):
    root = make_coco(1)
    path = root / "annotations" / "coco_wholebody_train_v1.0.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match=r"train_v1\.0\.json"):
        load_coco_wholebody(root)


@pytest.fixture
def ubody(tmp_path: Path) -> Path:
    root = tmp_path / "UBody"
    names, ids = [], []
    for video in ("A_S1_Trim1", "A_S1_Trim2", "A_S2"):
        for frame in range(1, 31, 5):
            ids.append(len(ids) * 5)
            names.append(f"{video}/{video}/{frame:06d}.png")
    text = json.dumps(document(names, ids))
    for scene in SCENES:
        path = root / "annotations" / scene / "keypoint_annotation.json"
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (root / "splits").mkdir()
    np.save(root / "splits" / "intra_scene_test_list.npy", np.array(["A_S1", "Other"]))
    return root


def test_every_tenth_id_and_the_test_videos(ubody: Path):
    train = load_ubody(ubody, "train")
    assert [people.name for people in train] == [f"UBody {scene} train" for scene in SCENES]
    # A_S2 has the ids 60..89; the rest belongs to the pieces of a test video.
    assert all(people.image_ids.tolist() == [60, 70, 80] for people in train)
    first = ubody / "images" / SCENES[0]
    assert train[0].files[0] == first / "A_S2" / "A_S2" / "000001.png"
    test = load_ubody(ubody, "test", [SCENES[3]])
    assert [people.image_ids.tolist() for people in test] == [[0, 10, 20, 30, 40, 50]]
    both = load_ubody(ubody, "train", SCENES[:1], every=1)[0]
    assert len(both) == 6
    check_disjoint(train, test)


def test_scenes_are_those_of_the_configs(reference):
    block = json.loads(reference("train_hparams.json").read_text())["base_training"]["t_256x192"]
    sets = block["train_dataset"]["datasets"]
    assert "coco_wholebody_train_v1.0.json" in sets[0]["ann_file"]
    assert tuple(part["ann_file"].split("/")[2] for part in sets[1:]) == SCENES


def test_videos_are_named_without_their_piece():
    assert video_of("Magic_show_S1_Trim1/Magic_show_S1_Trim1/000016.png") == "Magic_show_S1"
    assert video_of("Speech_S12/Speech_S12/000016.png") == "Speech_S12"


def test_jpegs_stand_in_for_frames(ubody: Path):
    folder = ubody / "images" / SCENES[0] / "A_S2" / "A_S2"
    folder.mkdir(parents=True)
    (folder / "000001.jpg").touch()
    (folder / "000011.jpg").touch()
    (folder / "000011.png").touch()
    files = load_ubody(ubody, "train", SCENES[:1])[0].files
    assert [file.name for file in files] == ["000001.jpg", "000011.png", "000021.png"]


def test_an_unknown_scene_or_split_list_is_refused(ubody: Path):
    with pytest.raises(ValueError, match="Olympics"):
        load_ubody(ubody, scenes=["Olympics"])
    np.save(ubody / "splits" / "intra_scene_test_list.npy", np.array([{}], object))
    with pytest.raises(ValueError, match="intra_scene_test_list"):
        load_ubody(ubody)


def test_training_and_validation_share_no_picture(make_coco):
    train = load_coco_wholebody(make_coco(4, "train", first=1), "train")
    val = load_coco_wholebody(make_coco(4, "val", first=5), "val")
    check_disjoint([train], [val])
    with pytest.raises(ValueError, match="share 4 pictures"):
        check_disjoint([train], [val, train])
    # Another folder with a picture of the same id is the same picture of COCO ...
    leaked = load_coco_wholebody(make_coco(4, "val", first=4), "val")
    with pytest.raises(ValueError, match="such as 4"):
        check_disjoint([train], [leaked])
    # ... while UBody counts its ids anew in each scene.
    elsewhere = people_of(document(["x.jpg"], [4]), source="UBody Movie")
    check_disjoint([train], [elsewhere])
