"""OKS and PCK against cases worked out by hand, through a stand-in pipeline; the command."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from dwpose.cli import main
from dwpose.io.coco import read_annotations
from dwpose.io.images import load_image, save_image
from dwpose.models.rtmpose import RTMPose, rtmpose_config
from dwpose.models.yolox import YOLOX, yolox_config
from dwpose.skeleton import SIGMAS
from dwpose.training.checkpoint import save_network
from dwpose.training.coco_metric import Predictions, evaluate_coco
from dwpose.training.evaluate import (
    estimate,
    load_detections,
    measure,
    measure_points,
    object_keypoint_similarity,
    pairs,
    readable,
)
from dwpose.training.worst_cases import TILE_HW, save_sheet, worst
from dwpose.types import Boxes, People
from dwpose.weights.readers import write_safetensors


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Exports that a session makes for itself stay out of the user's cache."""
    monkeypatch.setenv("DWPOSE_MODELS", str(tmp_path_factory.getbasetemp() / "onnx-cache"))


def document(file_names):
    """Pictures with one person of 17 points and one of 3 at the same place."""
    points = np.zeros((17, 3))
    points[:, :2] = np.arange(34).reshape(17, 2) + 5
    points[:, 2] = 2
    person = {
        "iscrowd": 0,
        "category_id": 1,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": 17,
        "bbox": [0, 0, 40, 80],
        "area": 1600.0,
    }
    few = {**person, "keypoints": [*points[:3].ravel().tolist(), *[0] * 42], "num_keypoints": 3}
    images, annotations = [], []
    for i, name in enumerate(file_names, start=1):
        images.append({"id": i, "file_name": name, "height": 100, "width": 50})
        annotations.append({**person, "id": 10 * i, "image_id": i})
        annotations.append({**few, "id": 10 * i + 1, "image_id": i})
    return {"images": images, "annotations": annotations}


def dataset(file_names):
    return read_annotations(json.loads(json.dumps(document(file_names))))


class StandIn:
    """Answers the labelled points of `document`, moved to the right."""

    def __init__(self, shift, found=None):
        self.shift = shift
        self.detector = found
        self.sure = 1.0
        self.asked = []

    def __call__(self, pictures, boxes=None, **options):
        self.asked.append((len(pictures), options))
        boxes = [self.detector] * len(pictures) if boxes is None else boxes
        return [self.people(p, b) for p, b in zip(pictures, boxes, strict=True)]

    def people(self, picture, boxes):
        keypoints = np.zeros((len(boxes), 133, 2), np.float32)
        keypoints[:, :17] = np.arange(34).reshape(17, 2) + 5
        keypoints[..., 0] += self.shift
        scores = np.ones((len(boxes), 133), np.float32) * self.sure
        return People(keypoints, scores, boxes, picture.shape[:2])


@pytest.fixture
def folder(tmp_path):
    save_image(tmp_path / "a.png", np.zeros((100, 50, 3), np.uint8))
    return tmp_path


def test_similarity_by_hand():
    truth = np.zeros((2, 2))
    guess = np.array([[3.0, 4.0], [100.0, 0.0]])
    labelled = np.array([True, False])
    got = object_keypoint_similarity(guess, truth, labelled, 200.0, np.array([0.1, 0.1]))
    assert got == pytest.approx(math.exp(-25 / (2 * 0.04 * 200)))
    assert math.isnan(object_keypoint_similarity(guess, truth, ~labelled & labelled, 1.0, SIGMAS))


def test_measure_counts_labelled_people_and_points(folder):
    results, faults = measure(StandIn(0), dataset(["a.png"]), folder)
    assert faults == {}
    assert results["body"].people == 1
    assert results["body"].found == 1
    assert results["body"].points == 17
    assert results["body"].oks == pytest.approx(1)
    assert results["whole"].pck == 1
    assert results["face"].people == 0
    moved, _ = measure(StandIn(8.1), dataset(["a.png"]), folder)
    assert moved["body"].pck == 0
    assert moved["body"].error == pytest.approx(8.1 / 80, rel=1e-4)
    assert 0 < moved["body"].oks < 0.5
    both, _ = measure(StandIn(0), dataset(["a.png"]), folder, min_points=1)
    assert (both["body"].people, both["body"].points) == (2, 20)


def test_unreadable_pictures_are_named_and_the_rest_measured(folder):
    (folder / "b.png").write_bytes(b"not a picture")
    save_image(folder / "d.png", np.zeros((50, 100, 3), np.uint8))
    labels = dataset(["a.png", "b.png", "c.png", "d.png"])
    results, faults = measure(StandIn(0), labels, folder)
    assert sorted(faults) == ["b.png", "c.png", "d.png"]
    assert "100x50 pixels and its labels are of 50x100" in faults["d.png"]
    assert results["body"].people == 1
    estimates = estimate(StandIn(0), labels, folder)
    assert list(readable(labels, estimates).images) == [1]
    with pytest.raises(ValueError, match="no labelled person"):
        measure(StandIn(0), dataset(["c.png"]), folder)


def test_detected_people_are_paired_by_their_points(folder):
    labels = dataset(["a.png"])

    def results(*shifts, sure=None):
        count = len(shifts)
        # The boxes may lie tightly around what was seen.
        boxes = Boxes(np.tile(np.float32([[5, 5, 20, 20]]), (count, 1)))
        pose = StandIn(np.float32(shifts).reshape(-1, 1), boxes)
        pose.sure = 1.0 if sure is None else np.float32(sure)[:, None]
        estimates = estimate(pose, labels, folder, "detector")
        return measure_points(list(pairs(labels, estimates, 6)))["body"]

    assert results(0).oks == pytest.approx(1)
    missed = results(60)
    assert (missed.people, missed.found, missed.oks, missed.pck) == (1, 0, 0, 0)
    assert math.isnan(missed.error)
    assert results().found == 0
    # Two people are labelled at one place: the surer pose takes the first, the other the second.
    assert results(0, 8.1, sure=[0.9, 0.5]).oks == pytest.approx(1)
    assert 0.1 < results(0, 8.1, sure=[0.5, 0.9]).oks < 0.5
    with pytest.raises(ValueError, match="no detector"):
        estimate(StandIn(0), labels, folder, "detector")
    with pytest.raises(ValueError, match="boxes must be"):
        estimate(StandIn(0), labels, folder, "truth")


def test_boxes_come_from_a_file_of_results(folder):
    labels = dataset(["a.png", "b.png"])
    rows = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9},
        {"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [5, 6, 7, 8], "score": 0.1},
        {"image_id": 77, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.9},
    ]
    file = folder / "found.json"
    file.write_text(json.dumps(rows))
    found = load_detections(file, labels)
    assert list(found) == [1]
    np.testing.assert_array_equal(found[1].xyxy, [[1, 2, 4, 6], [5, 6, 12, 14]])
    assert len(load_detections(file, labels, least_score=0.5)[1]) == 1
    pose = StandIn(0)
    estimates = estimate(pose, labels, folder, found, flip_test=True)
    # Nobody is in b.png by the file, so that it is not even read.
    assert estimates.faults == {}
    assert [len(p) for p in estimates.people.values()] == [2]
    assert pose.asked == [(1, {"nms_threshold": None, "order": "given", "flip_test": True})]
    file.write_text(json.dumps([{"image_id": 1}]))
    with pytest.raises(ValueError, match="no COCO file"):
        load_detections(file, labels)
    file.write_text("[]")
    with pytest.raises(ValueError, match="no box of a person"):
        load_detections(file, labels)


@pytest.mark.parametrize("bbox", [[60, 10, 5, 5], [49, 10, 1, 50]], ids=["outside", "at the edge"])
def test_boxes_without_area_in_the_picture_are_nobody(folder, bbox):
    content = document(["a.png"])
    content["annotations"][0]["bbox"] = bbox
    labels = read_annotations(content)
    estimates = estimate(StandIn(0), labels, folder)
    assert [p.id for p in estimates.given[1]] == [11]
    assert len(estimates.people[1]) == 1


def test_people_and_detections_without_area_are_left_out(folder):
    content = document(["a.png"])
    content["annotations"][0]["bbox"] = [0, 0, 0, 0]
    found = {1: Boxes([[0, 0, 40, 80]])}
    labels = read_annotations(content)
    estimates = estimate(StandIn(0), labels, folder, found)
    assert not list(pairs(labels, estimates))

    rows = [
        {"image_id": 1, "category_id": 1, "bbox": [1, 2, width, 4], "score": 0.9}
        for width in (3, 0, -2)
    ]
    (folder / "found.json").write_text(json.dumps(rows))
    boxes = load_detections(folder / "found.json", labels)
    np.testing.assert_array_equal(boxes[1].xyxy, [[1, 2, 4, 6]])


def test_estimates_reach_the_coco_metric(folder):
    labels = dataset(["a.png"])
    estimates = estimate(StandIn(0), labels, folder)
    predictions = Predictions.from_people(estimates.people, (256, 192))
    assert len(predictions) == 2
    # The crop's area: the box of 40 x 80 padded by 1.25 and widened to 192 : 256.
    np.testing.assert_allclose(predictions.nms_areas, 75 * 100)
    assert evaluate_coco(labels, predictions)["body"].ar == pytest.approx(0.5)


def test_worst_cases_are_drawn(folder):
    labels = dataset(["a.png"])
    estimates = estimate(StandIn(3), labels, folder)
    found = list(pairs(labels, estimates, 1))
    order = [oks for oks, _ in worst(found)]
    assert order == sorted(order)
    assert len(worst(found, 1)) == 1
    assert save_sheet(folder / "sheet" / "worst.png", found, estimates) == 2
    sheet = load_image(folder / "sheet" / "worst.png")
    assert sheet.shape[1] == 2 * TILE_HW[1]
    tile = sheet[: TILE_HW[0]]
    white = (tile > 240).all(axis=-1).sum()
    coloured = (tile.max(axis=-1).astype(int) - tile.min(axis=-1) > 80).sum()
    assert white > 50
    assert coloured > 200
    assert save_sheet(folder / "none.png", [], estimates) == 0
    assert not (folder / "none.png").exists()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_network(path, RTMPose(rtmpose_config("t", (64, 64))))
    return path


def test_command_measures_and_writes(folder, model_file, capsys):
    (folder / "labels.json").write_text(json.dumps(document(["a.png", "gone.png"])))
    boxes = [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 80], "score": 0.9}]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    call = ["evaluate", str(folder / "labels.json"), "--images", str(folder)]
    call += ["--model", str(model_file), "--device", "cpu", "--runtime", "torch"]
    result, sheet = folder / "result.json", folder / "worst"
    assert main([*call, "--json", str(result), "--worst", str(sheet)]) == 1
    out, err = capsys.readouterr()
    assert "whole" in out
    assert "AP(M)" in out
    assert "skipped gone.png" in err
    report = json.loads(result.read_text())
    numbers = report["sets"]["labels.json"]
    assert numbers["pictures"] == 1
    assert numbers["predictions"] == 2
    assert set(numbers["coco"]) == set(numbers["points"])
    assert numbers["points"]["face"]["oks"] is None
    assert report["runtime"]["estimator"].startswith("torch on cpu")
    assert (sheet / "labels_worst.jpg").exists()

    assert report["padding"] == 1.25

    call += ["--flip-test", "--nms", "none", "--padding", "1.5"]
    assert main([*call, "--boxes", str(folder / "boxes.json"), "--json", str(result)]) == 0
    report = json.loads(result.read_text())
    assert report["sets"]["labels.json"]["predictions"] == 1
    assert report["padding"] == 1.5


def test_command_asks_a_detector(folder, model_file, capsys):
    (folder / "labels.json").write_text(json.dumps(document(["a.png"])))
    network = YOLOX(yolox_config("nano", 1, (64, 64)))
    torch.nn.init.constant_(network.head.obj_preds[2].bias, 9.0)
    torch.nn.init.constant_(network.head.cls_preds[2].bias, 9.0)
    write_safetensors(
        folder / "find.safetensors", network.state_dict(), {"input_size_hw": [64] * 2}
    )
    call = ["evaluate", str(folder / "labels.json"), "--images", str(folder)]
    call += ["--model", str(model_file), "--detector", str(folder / "find.safetensors")]
    call += ["--boxes", "detector", "--device", "cpu", "--runtime", "torch", "--nms", "none"]
    assert main([*call, "--json", str(folder / "result.json")]) == 0
    numbers = json.loads((folder / "result.json").read_text())["sets"]["labels.json"]
    # The last level, four cells of this small input, is sure of a person everywhere.
    assert numbers["predictions"] > 0
    assert numbers["points"]["body"]["people"] == 1


def test_sets_of_one_name_are_kept_apart(folder, model_file):
    files = []
    for name, picture in (("x", "a.png"), ("y", "gone.png")):
        (folder / name).mkdir()
        files.append(folder / name / "labels.json")
        files[-1].write_text(json.dumps(document([picture, "a.png"])))
    result, sheets = folder / "result.json", folder / "worst"
    call = ["evaluate", *map(str, files), "--images", str(folder), "--model", str(model_file)]
    call += ["--device", "cpu", "--runtime", "torch", "--json", str(result), "--worst", str(sheets)]
    assert main(call) == 1
    sets = json.loads(result.read_text())["sets"]
    assert {name: numbers["pictures"] for name, numbers in sets.items()} == {
        str(files[0]): 2,
        str(files[1]): 1,
    }
    assert len(list(sheets.iterdir())) == 2


@pytest.mark.parametrize("command", ["evaluate", "evaluate-detector"])
def test_commands_say_in_a_sentence_what_labels_lack(folder, command, capsys):
    content = document(["a.png"])
    content["annotations"][0]["bbox"] = None
    (folder / "labels.json").write_text(json.dumps(content))
    call = [command, str(folder / "labels.json"), "--images", str(folder)]
    assert main(call) == 2
    assert "annotation 0 (id 10), bbox: must be a list" in capsys.readouterr().err
    (folder / "labels.json").write_text(json.dumps(document(["a.png"])))
    assert main([*call, "--json", str(folder)]) == 2
    out, err = capsys.readouterr()
    assert "is a folder" in err
    assert not out


def test_command_says_what_is_wrong(folder, model_file, capsys):
    (folder / "labels.json").write_text(json.dumps(document(["a.png"])))
    call = ["evaluate", str(folder / "labels.json"), "--images", str(folder)]
    call += ["--model", str(model_file), "--device", "cpu"]
    assert main([*call, "--boxes", str(folder / "absent.json")]) == 2
    assert "absent.json" in capsys.readouterr().err
    assert main(["evaluate", str(folder / "absent.json"), *call[2:]]) == 2
    assert main([*call, "--boxes", "detector", "--detector", "none"]) == 2
    assert "no detector" in capsys.readouterr().err
