"""Every style against the pictures of the program whose name it bears, pixel for pixel."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dwpose.render import STYLES, PoseStyle, draw_keypoints, draw_pose_map

DATA = Path(__file__).parent / "data"
PICTURES = sorted((path.parent.name, path.stem) for path in DATA.glob("*/*.png"))
PARAMS = [pytest.param(*picture, id="/".join(picture)) for picture in PICTURES]

DWPOSE, WAN, CORE = STYLES["dwpose"], STYLES["wan-animate"], STYLES["comfy-core"]
STYLE_OF: dict[str, PoseStyle] = {
    "idea_dwpose": DWPOSE,
    "aux": STYLES["controlnet-aux"],
    "aux_xinsr": STYLES["xinsir"],
    "easy_openpose": replace(
        DWPOSE, face_before_hands=True, hand_threshold=None, face_threshold=None
    ),
    "easy_musepose": STYLES["musepose"],
    "easy_mimic_motion": STYLES["mimic-motion"],
    "wan_animate": WAN,
    "wan_animate_hand4": replace(WAN, hand_width=4),
    "core_sdpose": CORE,
    "core_sdpose_feet": STYLES["comfy-core-feet"],
    "core_sdpose_cv2": replace(CORE, shapes="opencv"),
}
# Pixels whose brightness, a product of scores, is truncated the other way in single precision.
SINGLE_PRECISION_DIFFERENCES = {("easy_mimic_motion", "three_overlap_029"): 5}


def test_all_pictures_are_there():
    """Seven programs, six cases each, and three pictures of variants."""
    assert {folder for folder, _ in PICTURES} == set(STYLE_OF)
    assert len(PICTURES) == 9 * 6 + 2


@pytest.mark.golden
@pytest.mark.parametrize(("folder", "name"), PARAMS)
def test_golden_picture_is_the_recorded_one(folder, name, golden):
    recorded = json.loads((DATA / "cases.json").read_text())["files"][f"{folder}/{name}.png"]
    picture = golden(folder, name)
    digest = hashlib.sha256(picture.tobytes()).hexdigest()
    assert digest.startswith(recorded["sha256_of_rgb_bytes"])
    assert np.count_nonzero(picture.any(axis=-1)) == recorded["lit_pixels"]


@pytest.mark.golden
@pytest.mark.parametrize(("folder", "name"), PARAMS)
def test_style_draws_the_original_picture(folder, name, golden, case):
    points = case(name)
    drawn = draw_keypoints(
        points.keypoints,
        points.scores,
        points.image_hw,
        style=STYLE_OF[folder],
    )
    expected = golden(folder, name)
    assert drawn.shape == expected.shape
    assert drawn.dtype == np.uint8
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.golden
@pytest.mark.parametrize(("folder", "name"), PARAMS)
def test_single_precision_people_draw_the_same(folder, name, golden, case):
    """People hold float32; that shows in one picture alone."""
    drawn = draw_pose_map(
        case(name).people(),
        style=STYLE_OF[folder],
    )
    different = np.count_nonzero((drawn != golden(folder, name)).any(axis=-1))
    assert different == SINGLE_PRECISION_DIFFERENCES.get((folder, name), 0)


@pytest.mark.golden
def test_dwpose_feet_without_feet_is_dwpose(case, golden):
    people = case("three_overlap").people()
    drawn = draw_pose_map(people, style="dwpose-feet", feet=False)
    np.testing.assert_array_equal(drawn, golden("idea_dwpose", "three_overlap"))
