"""Both pipelines: the configs' numbers, and what they do to points and pixels."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from dwpose.geometry import box_center_scale, fix_aspect, warp_matrix
from dwpose.skeleton import FLIP_INDICES, PARTS
from dwpose.training.data import GENTLE, PLAIN, STRONG, augmentation_of, vary
from dwpose.training.data.augment import (
    LOWER_BODY,
    UPPER_BODY,
    Augmentation,
    half_body_box,
    recolour,
    truncated_normal,
)

from .conftest import picture

SIZE_HW = (64, 48)
BOX = np.array([20, 10, 80, 80], np.float32)


def points(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform((20, 10), (80, 80), (133, 2)).astype(np.float32)


def everything(image: np.ndarray, settings: Augmentation, seed: int = 0, visible=None):
    labelled = np.ones(133, bool) if visible is None else visible
    rng = np.random.default_rng(seed)
    return vary(image, BOX, points(), labelled, SIZE_HW, rng, settings)


@pytest.mark.parametrize("size", ["t_256x192", "l_384x288", "x_256x192"])
@pytest.mark.parametrize("stage", ["train_pipeline", "train_pipeline_stage2"])
def test_settings_are_those_of_the_configs(reference, size: str, stage: str):
    blocks = json.loads(reference("train_hparams.json").read_text())["base_training"]
    steps = {step["type"]: step for step in blocks[size][stage]}

    def given(name: str) -> dict:
        return {**steps[name].get("defaults_used", {}), **steps[name]["configured"]}

    ours = augmentation_of(size[0], gentle=stage != "train_pipeline")
    half, moved = given("RandomHalfBody"), given("RandomBBoxTransform")
    colour = given("mmdet.YOLOXHSVRandomAug")
    blur, median, dropout = given("Albumentation")["transforms"]
    expected = Augmentation(
        flip=given("RandomFlip")["prob"],
        half_body=half["prob"],
        half_body_padding=half["padding"],
        half_body_points=half["min_total_keypoints"],
        upper_points=half["min_upper_keypoints"],
        lower_points=half["min_lower_keypoints"],
        upper=half["upper_prioritized_prob"],
        shift=moved["shift_factor"],
        shift_share=moved["shift_prob"],
        scale=tuple(moved["scale_factor"]),
        rotation_deg=moved["rotate_factor"],
        rotation_share=moved["rotate_prob"],
        hue=colour["hue_delta"],
        saturation=colour["saturation_delta"],
        value=colour["value_delta"],
        blur=blur["p"],
        median=median["p"],
        dropout=dropout["p"],
        dropout_size=(dropout["min_height"], dropout["max_height"]),
    )
    assert ours == expected
    assert (dropout["min_width"], dropout["max_width"]) == ours.dropout_size
    assert moved["scale_prob"] == 1
    assert dropout["min_holes"] == dropout["max_holes"] == 1


def test_halves_are_those_of_the_metainfo(reference):
    meta = json.loads(reference("coco_wholebody_meta.json").read_text())
    assert list(range(133))[UPPER_BODY] == meta["upper_body_ids"]
    assert list(range(133))[LOWER_BODY] == meta["lower_body_ids"]


def test_half_body_box_is_the_original_one(load_reference):
    fixture = load_reference("affine.npz")
    chosen = Augmentation(half_body=1.0, upper=1.0, half_body_points=1)
    for body, center, scale in zip(
        fixture["keypoints"], fixture["halfbody_center"], fixture["halfbody_scale"], strict=True
    ):
        keypoints, visible = np.zeros((133, 2)), np.zeros(133)
        keypoints[:17], visible[fixture["halfbody_ids"]] = body, 1
        half = half_body_box(keypoints, visible, np.random.default_rng(0), chosen)
        assert half is not None
        np.testing.assert_allclose(half[0], center, rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(half[1], scale, rtol=1e-5, atol=1e-3)


def test_truncated_normal_is_that_of_scipy():
    rng = np.random.default_rng(0)
    drawn = np.array([truncated_normal(rng) for _ in range(20000)])
    assert np.abs(drawn).max() <= 1
    assert np.abs(drawn).max() > 0.99
    # Its closed form: sqrt(1 - 2 phi(1) / (2 Phi(1) - 1)).
    assert drawn.std() == pytest.approx(0.5396, abs=0.006)
    assert drawn.mean() == pytest.approx(0, abs=0.015)
    # A uniform draw would have a quarter within 0.25; this one has 0.2896.
    assert (np.abs(drawn) < 0.25).mean() == pytest.approx(0.2891, abs=0.01)


def test_half_bodies_are_as_frequent_as_they_should_be():
    rng, keypoints = np.random.default_rng(0), points()
    whole = half_body_box(keypoints, np.ones(133), rng, Augmentation(half_body=0.0))
    assert whole is None
    upper = keypoints[UPPER_BODY].mean(axis=0)
    halves = [half_body_box(keypoints, np.ones(133), rng, STRONG) for _ in range(6000)]
    found = [half for half in halves if half is not None]
    assert len(found) / 6000 == pytest.approx(0.3, abs=0.02)
    share = np.mean([np.allclose(center, upper) for center, _ in found])
    assert share == pytest.approx(0.7, abs=0.04)


def test_the_half_that_is_labelled_is_shown():
    always = Augmentation(half_body=1.0)
    keypoints = points()
    for upper, lower, where in ((1, 12, LOWER_BODY), (11, 2, UPPER_BODY)):
        visible = np.zeros(133)
        visible[UPPER_BODY.start : UPPER_BODY.start + upper] = 1
        visible[LOWER_BODY.start : LOWER_BODY.start + lower] = 1
        centre = keypoints[where][visible[where] > 0].mean(axis=0)
        for seed in range(10):
            half = half_body_box(keypoints, visible, np.random.default_rng(seed), always)
            assert half is not None
            np.testing.assert_allclose(half[0], centre, rtol=1e-6)
    few = np.zeros(133)
    few[:8] = 1
    assert half_body_box(keypoints, few, np.random.default_rng(0), always) is None
    faces = np.zeros(133)
    faces[PARTS["face"]] = 1  # neither half has a point
    assert half_body_box(keypoints, faces, np.random.default_rng(0), always) is None


def test_plain_is_the_crop_of_inference():
    image = picture(1)
    crop, moved, weights = everything(image, PLAIN)
    center, scale = box_center_scale(BOX.astype(np.float64))
    matrix = warp_matrix(center, fix_aspect(scale, 0.75), (48, 64))
    np.testing.assert_array_equal(crop, cv2.warpAffine(image, matrix, (48, 64)))
    np.testing.assert_allclose(moved, points() @ matrix[:, :2].T + matrix[:, 2], atol=1e-4)
    assert weights.dtype == np.float32
    assert (weights == 1).all()


def test_flip_swaps_the_sides_and_the_picture():
    image, visible = picture(2), np.arange(133) % 3 != 0
    flipped = Augmentation(**{**vars(PLAIN), "flip": 1.0})
    crop, moved, weights = everything(image, flipped, visible=visible)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    box = BOX.copy()
    box[[0, 2]] = 127 - BOX[[2, 0]]
    there = points()[FLIP_INDICES]
    there[:, 0] = 127 - there[:, 0]
    expected = vary(
        mirrored, box, there, visible[FLIP_INDICES], SIZE_HW, np.random.default_rng(0), PLAIN
    )
    np.testing.assert_allclose(moved, expected[1], atol=1e-3)
    np.testing.assert_array_equal(weights, expected[2])
    # The left wrist's label stands where the right one's was.
    assert weights[9] == visible[10]
    # warpAffine rounds its coordinates to 1/32 pixel.
    assert np.abs(crop.astype(int) - expected[0]).max() <= 6


@pytest.mark.parametrize("settings", [STRONG, GENTLE], ids=["strong", "gentle"])
def test_points_stay_on_the_picture_under_all_of_it(settings):
    # A red dot on the left shoulder and a green one on the right; after a mirror the left
    # shoulder's label has to be on the green one.
    image = np.zeros((300, 300, 3), np.uint8)
    keypoints = points() + 100
    keypoints[5], keypoints[6] = (134, 130), (166, 162)
    for (x, y), colour in zip(keypoints[5:7], ((255, 0, 0), (0, 255, 0)), strict=True):
        cv2.circle(image, (int(x), int(y)), 5, colour, -1)
    quiet = Augmentation(
        **{**vars(settings), "hue": 0.0, "saturation": 0.0, "value": 0.0, "dropout": 0.0}
    )
    mirrored, compared = 0, 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        crop, moved, _ = vary(
            image, BOX + 100, keypoints, np.ones(133, bool), (128, 96), rng, quiet
        )
        if (moved[5:7] < 12).any() or (moved[5:7] > np.array((96, 128)) - 12).any():
            continue
        red, green = (_centre(crop[..., channel].astype(float)) for channel in (0, 1))
        flip = np.linalg.norm(red - moved[5]) > np.linalg.norm(green - moved[5])
        mirrored, compared = mirrored + flip, compared + 1
        expected = (green, red) if flip else (red, green)
        np.testing.assert_allclose(moved[5:7], expected, atol=0.7)
    assert compared > 20
    assert 0.2 < mirrored / compared < 0.8


def _centre(total: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: total.shape[0], : total.shape[1]]
    return np.array(((x * total).sum(), (y * total).sum())) / total.sum()


def test_rotation_scale_and_shift_keep_their_limits():
    image = picture(3)
    flat = {"hue": 0.0, "saturation": 0.0, "value": 0.0, "blur": 0.0, "median": 0.0, "dropout": 0.0}
    moving = Augmentation(**{**vars(STRONG), **flat, "flip": 0.0, "half_body": 0.0})
    turns, zooms, shifts = [], [], []
    plain = everything(image, PLAIN)[1]
    width = np.ptp(plain[:2], axis=0)
    for seed in range(600):
        moved = everything(image, moving, seed)[1]
        before, after = plain[1] - plain[0], moved[1] - moved[0]
        angle = np.arctan2(before[1], before[0]) - np.arctan2(after[1], after[0])
        turns.append((np.degrees(angle) + 180) % 360 - 180)
        zooms.append(np.linalg.norm(before) / np.linalg.norm(after))
        matrix, *_ = np.linalg.lstsq(np.c_[moved, np.ones(133)], plain, rcond=None)
        shifts.append(np.r_[24, 32, 1] @ matrix - (24, 32))
    assert np.abs(turns).max() <= 80.01
    assert np.abs(turns).max() > 70
    assert (np.abs(turns) > 0.01).mean() == pytest.approx(0.6, abs=0.05)
    assert min(zooms) >= 0.599
    assert max(zooms) <= 1.401
    shifted = np.abs(shifts).max(axis=1) > 0.01
    assert shifted.mean() == pytest.approx(0.3, abs=0.05)
    # The shift is a share of the padded box, before its aspect is set: 75 x 87.5 of 75 x 100 px.
    assert (np.abs(shifts).max(axis=0) <= np.array((0.16 * 48, 0.16 * 87.5 * 0.64)) + 0.01).all()
    assert width.all()


def test_the_gentle_pipeline_does_not_shift():
    for seed in range(40):
        quiet = Augmentation(**{**vars(GENTLE), "flip": 0.0, "half_body": 0.0})
        moved, plain = everything(picture(3), quiet, seed)[1], everything(picture(3), PLAIN)[1]
        matrix, *_ = np.linalg.lstsq(np.c_[moved, np.ones(133)], plain, rcond=None)
        np.testing.assert_allclose(np.r_[24, 32, 1] @ matrix, (24, 32), atol=0.01)


def test_dropout_is_one_black_rectangle_and_keeps_the_labels():
    image = np.full((300, 300, 3), 200, np.uint8)
    alone = Augmentation(**{**vars(PLAIN), "dropout": 1.0})
    sizes = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        crop, _, weights = vary(image, BOX + 100, points(), np.ones(133, bool), SIZE_HW, rng, alone)
        black = (crop == 0).all(axis=-1)
        rows, columns = black.any(axis=1).sum(), black.any(axis=0).sum()
        assert black.sum() == rows * columns
        sizes.append((rows / 64, columns / 48))
        assert (weights == 1).all()
    assert np.min(sizes) >= 0.18  # int() of a fifth
    assert np.max(sizes) <= 0.4
    assert np.max(sizes) > 0.37


def test_recolour_is_hsv_arithmetic():
    crop = np.random.default_rng(0).integers(0, 256, (32, 24, 3), np.uint8)
    change = np.array((-5, 30, -30), np.int16)
    hsv = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV).astype(int)
    hsv[..., 0] = (hsv[..., 0] - 5) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] + 30, 0, 255)
    hsv[..., 2] = np.clip(hsv[..., 2] - 30, 0, 255)
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    np.testing.assert_array_equal(recolour(crop, change), expected)


def test_a_sample_depends_on_its_generator_alone():
    image = picture(4)
    before = image.copy()
    first, again, other = (everything(image, STRONG, seed) for seed in (7, 7, 8))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != other[0]).any()
    np.testing.assert_array_equal(image, before)


def test_a_box_without_width_does_not_stop_the_run():
    crop, *_ = vary(
        picture(5),
        np.array([5, 5, 5, 5.0]),
        points(),
        np.ones(133, bool),
        SIZE_HW,
        np.random.default_rng(0),
        PLAIN,
    )
    assert crop.shape == (64, 48, 3)
