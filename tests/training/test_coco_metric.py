"""AP and AR against DWPose's own metric on xtcocotools, every part and variant."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dwpose.io.coco import load_annotations, read_annotations
from dwpose.training.coco_metric import (
    CocoMetric,
    Predictions,
    evaluate_coco,
    rank,
    thin_out,
)
from dwpose.types import Boxes, People

PARTS = {
    "body": "body",
    "foot": "feet",
    "face": "face",
    "lefthand": "left_hand",
    "righthand": "right_hand",
    "wholebody": "whole",
}
SCORES = {"bbox_keypoint": "box_keypoint", "bbox": "box", "keypoint": "keypoint"}
NMS = {"oks_nms": "oks", "soft_oks_nms": "soft_oks", "none": "none"}


def read_predictions(path):
    """The fixture's list; the original drops repeated ids of a picture, and sorts by them."""
    rows = {(p["img_id"], p["id"]): p for p in json.loads(path.read_text())}
    ordered = [rows[key] for key in sorted(rows)]
    return Predictions(
        np.array([p["img_id"] for p in ordered]),
        np.array([p["keypoints"] for p in ordered]),
        np.array([p["keypoint_scores"] for p in ordered]),
        np.array([p["bbox_score"] for p in ordered]),
        np.array([p["bbox_scale"] for p in ordered]).prod(axis=1),
    )


def metric_of(arguments):
    changes = {}
    if "score_mode" in arguments:
        changes["score"] = SCORES[arguments["score_mode"]]
    if "nms_mode" in arguments:
        changes["nms"] = NMS[arguments["nms_mode"]]
    if "keypoint_score_thr" in arguments:
        changes["keypoint_threshold"] = arguments["keypoint_score_thr"]
    assert len(changes) == len(arguments)
    return CocoMetric(**changes)


VARIANTS = ("default", "nms_none", "score_bbox", "soft_oks_nms", "keypoint_score_thr_0_5")


@pytest.mark.parametrize("name", ["tiny", "wide"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_numbers_equal_the_original(reference, name, variant):
    expected = json.loads(reference(f"eval_{name}_expected.json").read_text())
    assert set(expected["variants"]) == set(VARIANTS)
    dataset = load_annotations(reference(f"eval_{name}_gt.json"))
    predictions = read_predictions(reference(f"eval_{name}_predictions.json"))
    entry = expected["variants"][variant]
    metric = metric_of(entry["arguments"])

    ranks = rank(predictions, metric)
    kept = thin_out(predictions, ranks, metric)
    assert len(kept) == entry["kept"]
    if "kept_image_id_and_score" in entry:
        got = sorted(zip(predictions.image_ids[kept].tolist(), ranks[kept], strict=True))
        want = sorted((i, s) for i, s in entry["kept_image_id_and_score"])
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)

    results = evaluate_coco(dataset, predictions, metric)
    for theirs, ours in PARTS.items():
        np.testing.assert_allclose(
            list(results[ours].as_dict().values()), entry["stats"][theirs], rtol=0, atol=1e-6
        )


def test_box_area_equals_xtcocotools(reference):
    """Whole-body AP of xtcocotools 1.14.3 with use_area=False, computed for this test."""
    dataset = load_annotations(reference("eval_wide_gt.json"))
    predictions = read_predictions(reference("eval_wide_predictions.json"))
    whole = evaluate_coco(dataset, predictions, CocoMetric(use_area=False), ("whole",))["whole"]
    assert whole.ap == pytest.approx(0.2915495046374564, abs=1e-6)


def person(**changes):
    points = np.zeros((17, 3))
    points[:, 0], points[:, 1], points[:, 2] = np.arange(17) * 6 + 10, np.arange(17) * 8 + 10, 2
    entry = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": points.ravel().tolist(),
        "bbox": [10, 10, 100, 130],
        "area": 9500.0,
    }
    return {**entry, **changes}


def dataset_of(*people):
    image = {"id": 1, "file_name": "a.jpg", "height": 200, "width": 200}
    other = {"id": 2, "file_name": "b.jpg", "height": 200, "width": 200}
    return read_annotations({"images": [image, other], "annotations": list(people)})


def predictions_of(dataset, image_id=1, shift=0.0, score=1.0, count=1):
    keypoints = np.zeros((count, 133, 2), np.float32)
    keypoints[:] = dataset.instances_of(1)[0].keypoints
    keypoints[..., 0] += shift
    scores = np.zeros((count, 133), np.float32)
    scores[:, :17] = score
    boxes = Boxes(np.tile(np.float32([10, 10, 110, 140]), (count, 1)))
    people = People(keypoints, scores, boxes, (200, 200))
    return Predictions.from_people({image_id: people}, (256, 192))


def test_by_hand():
    dataset = dataset_of(person())
    right = evaluate_coco(dataset, predictions_of(dataset))
    assert right["body"].ap == pytest.approx(1)
    assert right["body"].ar == 1
    # 9500 square pixels are large; nothing but the body is labelled.
    assert (right["body"].ap_medium, right["body"].ap_large) == (-1, pytest.approx(1))
    assert set(right["face"].as_dict().values()) == {-1}
    assert evaluate_coco(dataset, predictions_of(dataset, shift=500))["body"].ap == 0
    nobody = Predictions.from_people({1: People.empty((200, 200))}, (256, 192))
    assert evaluate_coco(dataset, nobody)["body"].ap == 0
    # A sure wrong guess in an empty picture halves the precision.
    both = predictions_of(dataset, image_id=2, score=2.0)
    mixed = Predictions(
        *(
            np.concatenate(pair)
            for pair in zip(
                vars(predictions_of(dataset)).values(), vars(both).values(), strict=True
            )
        )
    )
    assert evaluate_coco(dataset, mixed)["body"].ap == pytest.approx(0.5)


def test_area_of_the_box_can_stand_in():
    dataset = dataset_of(person(area=100.0))
    shifted = predictions_of(dataset, shift=3.0)
    with_area = evaluate_coco(dataset, shifted, CocoMetric())["body"]
    without = evaluate_coco(dataset, shifted, CocoMetric(use_area=False))["body"]
    # 100 square pixels are too small to count as medium, 0.53 * 13000 are medium.
    assert (with_area.ap_medium, with_area.ap_large) == (-1, -1)
    assert without.ap_medium > with_area.ap
    assert without.ap_medium == pytest.approx(without.ap)


def test_crowds_forgive_and_duplicates_do_not():
    dataset = dataset_of(person(), person(id=2, iscrowd=1))
    assert evaluate_coco(dataset, predictions_of(dataset, count=3))["body"].ap == pytest.approx(1)
    metric = CocoMetric(nms="none")
    crowd = evaluate_coco(dataset, predictions_of(dataset, count=3), metric)["body"]
    assert crowd.ap == pytest.approx(1)
    alone = dataset_of(person())
    many = predictions_of(alone, count=3)
    assert len(thin_out(many, rank(many, metric), metric)) == 3
    assert len(thin_out(many, rank(many, CocoMetric()), CocoMetric())) == 1


def test_wrong_settings_and_pictures_are_named():
    dataset = dataset_of(person())
    with pytest.raises(ValueError, match="score must be"):
        CocoMetric(score="best")
    with pytest.raises(ValueError, match="nms must be"):
        CocoMetric(nms="hard")
    with pytest.raises(ValueError, match="parts must be"):
        evaluate_coco(dataset, predictions_of(dataset), parts=("toes",))
    with pytest.raises(ValueError, match="9 is not"):
        evaluate_coco(dataset, predictions_of(dataset, image_id=9))
