"""What a caller may choose: parts, thresholds, sizes, backgrounds."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.render import (
    STYLES,
    draw_keypoints,
    draw_pose_map,
    draw_pose_mask,
    draw_pose_rgba,
    overlay,
)
from dwpose.render.points import canvas_hw
from dwpose.skeleton import FACE, FEET, LEFT_HAND, RIGHT_HAND
from dwpose.types import Boxes, People

ALL_STYLES = sorted(STYLES)
PARTS = ("body", "hands", "face", "feet")
# The one style that resizes its picture, so that it has soft edges; their colours are divided by
# their opacity and rounded, hence half a step of 255 is lost.
SOFT, SOFT_ERROR = "mimic-motion", 0.5


def with_scores(people: People, part: slice, score: float) -> People:
    scores = people.scores.copy()
    scores[:, part] = score
    return People(people.keypoints, scores, people.boxes, people.image_hw)


def with_points(people: People, part: slice, value: float) -> People:
    keypoints = people.keypoints.copy()
    keypoints[:, part] = value
    return People(keypoints, people.scores, people.boxes, people.image_hw)


@pytest.fixture
def person(case) -> People:
    return case("person_512").people()


@pytest.fixture
def crowd(case) -> People:
    return case("three_overlap").people()


@pytest.mark.parametrize("style", ALL_STYLES)
@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone_and_the_rest_make_the_whole(person, style, part):
    only = draw_pose_mask(person, style=style, **{name: name == part for name in PARTS})
    rest = draw_pose_mask(person, style=style, **{name: name != part for name in PARTS})
    whole = draw_pose_mask(person, style=style, **dict.fromkeys(PARTS, True))
    assert only.any()
    assert (rest < whole).any()
    hard = (whole == 255) & ((only == 255) | (rest == 255)) | (whole == 0)
    assert hard.all() or style == SOFT
    np.testing.assert_array_equal(np.maximum(only, rest)[hard], whole[hard])


@pytest.mark.parametrize("style", ["dwpose-feet", "controlnet-aux", "comfy-core"])
@pytest.mark.parametrize(
    ("switch", "slices"),
    [("hands", (LEFT_HAND, RIGHT_HAND)), ("face", (FACE,)), ("feet", (FEET,))],
)
def test_a_part_off_equals_points_unseen(crowd, style, switch, slices):
    unseen = crowd
    for part in slices:
        unseen = with_scores(unseen, part, 0.0)
    switches = {**dict.fromkeys(PARTS, True), switch: False}
    off = draw_pose_map(crowd, style=style, **switches)
    on = draw_pose_map(unseen, style=style, **dict.fromkeys(PARTS, True))
    np.testing.assert_array_equal(off, on)


@pytest.mark.parametrize("style", ALL_STYLES)
def test_everything_off_is_black(person, style):
    drawn = draw_pose_map(person, style=style, **dict.fromkeys(PARTS, False))
    assert not drawn.any()


@pytest.mark.parametrize("style", ALL_STYLES)
@pytest.mark.parametrize(
    ("name", "switch", "part"),
    [
        ("hand_threshold", "hands", LEFT_HAND),
        ("face_threshold", "face", FACE),
        ("feet_threshold", "feet", FEET),
    ],
)
def test_threshold_is_of_one_part(person, style, name, switch, part):
    people = with_scores(person, part, 0.55)
    people = with_scores(people, RIGHT_HAND, 0.55) if part is LEFT_HAND else people
    on = {"face": True, "feet": True}
    whole = draw_pose_map(people, style=style, **on)
    np.testing.assert_array_equal(draw_pose_map(people, style=style, **on, **{name: 0.5}), whole)
    above = draw_pose_map(people, style=style, **on, **{name: 0.56})
    np.testing.assert_array_equal(
        above, draw_pose_map(people, style=style, **{**on, switch: False})
    )
    assert (above != whole).any()


@pytest.mark.parametrize("style", ALL_STYLES)
def test_body_threshold_hides_the_body(person, style):
    drawn = draw_pose_map(person, style=style, body_threshold=0.99, feet_threshold=0.99, face=False)
    without = draw_pose_map(person, style=style, body=False, feet=False, face=False)
    np.testing.assert_array_equal(drawn, without)


@pytest.mark.parametrize(
    ("style", "drawn"), [("dwpose", False), ("controlnet-aux", True), ("comfy-core", True)]
)
def test_a_score_equal_to_the_threshold_follows_the_style(person, style, drawn):
    """In single precision too, where 0.3 is a little more than 0.3."""
    people = with_scores(person, slice(0, 133), 0.3)
    picture = draw_pose_map(people, style=style, hands=False, face=False)
    assert picture.any() == drawn


@pytest.mark.parametrize("style", ALL_STYLES)
def test_nobody_is_black(style):
    drawn = draw_pose_map(People.empty((40, 60)), style=style)
    assert drawn.shape == (40, 60, 3)
    assert drawn.dtype == np.uint8
    assert not drawn.any()


@pytest.mark.parametrize("style", ALL_STYLES)
def test_unusable_points_are_skipped(person, style):
    """NaN, infinity and absurd distances count as missing, without a warning."""
    missing = with_scores(person, LEFT_HAND, -1.0)
    on = {"hand_threshold": 0.3, "face": True}
    expected = draw_pose_map(missing, style=style, **on)
    for value in (np.nan, np.inf, -np.inf, 3e38, 2e9, -2e9):
        with np.errstate(all="raise"):
            drawn = draw_pose_map(with_points(person, LEFT_HAND, value), style=style, **on)
        np.testing.assert_array_equal(drawn, expected)
    for score in (np.nan, np.inf, -np.inf):
        with np.errstate(all="raise"):
            drawn = draw_pose_map(with_scores(person, LEFT_HAND, score), style=style, **on)
        np.testing.assert_array_equal(drawn, expected)


@pytest.mark.parametrize("style", ALL_STYLES)
def test_a_lost_elbow_takes_only_its_limbs(person, style):
    keypoints = person.keypoints.copy()
    keypoints[:, 7] = np.nan
    lost = People(keypoints, person.scores, person.boxes, person.image_hw)
    fewer = draw_pose_mask(lost, style=style)
    more = draw_pose_mask(person, style=style)
    assert (fewer < more).any()
    assert not (fewer > more).any()


@pytest.mark.parametrize("style", ALL_STYLES)
@pytest.mark.parametrize("shift", [-400.0, 400.0, 5e5, -5e5])
def test_points_outside_the_canvas(person, style, shift):
    moved = People(person.keypoints + shift, person.scores, person.boxes, person.image_hw)
    drawn = draw_pose_map(moved, style=style, feet=True, face=True)
    assert drawn.shape == (512, 512, 3)
    if abs(shift) > 1000:
        assert not drawn.any()


@pytest.mark.parametrize("style", [s for s in ALL_STYLES if s not in (SOFT, "comfy-core")])
def test_a_larger_canvas_shows_the_same_picture_around(person, style):
    """What leaves a small canvas is cut off, not moved (at equal style sizes)."""
    wide = People(person.keypoints, person.scores, person.boxes, (512, 530))
    half = People(person.keypoints, person.scores, person.boxes, (512, 515))
    np.testing.assert_array_equal(
        draw_pose_map(half, style=style), draw_pose_map(wide, style=style)[:, :515]
    )


def test_drawn_at_the_output_size(person):
    """Twice the size moves the points, and leaves the widths alone."""
    twice = People(person.keypoints * 2, person.scores, person.boxes, (1024, 1024))
    np.testing.assert_array_equal(draw_pose_map(person, (1024, 1024)), draw_pose_map(twice))


def test_size_need_not_keep_the_aspect(person):
    stretched = People(person.keypoints * [2, 1], person.scores, person.boxes, (512, 1024))
    np.testing.assert_array_equal(
        draw_pose_map(person, (512, 1024), "controlnet-aux"),
        draw_pose_map(stretched, style="controlnet-aux"),
    )


@pytest.fixture
def two_points() -> People:
    """One upper arm, level, from (20, 50) to (120, 50)."""
    keypoints, scores = np.zeros((1, 133, 2)), np.zeros((1, 133))
    keypoints[0, [6, 8]] = (20, 50), (120, 50)
    scores[0, [6, 8]] = 1
    return People(keypoints, scores, Boxes(np.float32([[0, 0, 1, 1]])), (100, 140))


def test_scales_are_of_lines_and_of_dots(two_points):
    def measure(**scales):
        picture = draw_pose_mask(two_points, **scales) > 0
        return int(picture[:, 70].sum()), int(picture[:, 20].sum())

    assert measure() == (9, 9)
    assert measure(line_scale=2) == (17, 9)
    assert measure(dot_scale=2) == (9, 17)
    assert measure(line_scale=0.01) == (3, 9)


@pytest.mark.parametrize(
    ("size_hw", "dots", "limb"),
    [((400, 490), 9, 9), ((1024, 1024), 9, 25), ((2000, 3000), 9, 41)],
)
def test_xinsir_widens_limbs_with_the_canvas(two_points, size_hw, dots, limb):
    people = People(two_points.keypoints * 2, two_points.scores, two_points.boxes, size_hw)
    mask = draw_pose_mask(people, style="xinsir") > 0
    assert mask[:, 140].sum() == limb
    assert mask[:, 240].sum() == dots
    joints = draw_pose_mask(people, style="xinsir-joints") > 0
    assert joints[:, 240].sum() == limb


def test_feet_have_colours_of_their_own(person):
    def colours(**parts):
        picture = draw_pose_map(person, style="dwpose-feet", **parts)
        return set(map(tuple, picture[picture.any(axis=-1)].tolist()))

    feet = colours(body=False, hands=False, face=False)
    assert len(feet) == 12  # six points, bright as dots and dim as limbs
    assert not feet & colours(feet=False)


def test_musepose_hands_and_the_fault_of_the_original(crowd):
    """With several people the original draws the second one's left hand for a right hand."""
    first = crowd[0]
    own = draw_pose_map(crowd, style="musepose-own-hands")
    np.testing.assert_array_equal(own, draw_pose_map(first, style="musepose-own-hands"))
    np.testing.assert_array_equal(own, draw_pose_map(first, style="musepose"))
    assert (own != draw_pose_map(crowd, style="musepose")).any()


# Backgrounds


@pytest.mark.parametrize("style", ALL_STYLES)
def test_rgba_over_black_is_the_pose_map(crowd, style):
    layer = draw_pose_rgba(crowd, style=style).astype(float)
    drawn = draw_pose_map(crowd, style=style)
    over_black = layer[..., :3] * layer[..., 3:] / 255
    allowed = SOFT_ERROR if style == SOFT else 0
    assert np.abs(over_black - drawn).max() <= allowed
    np.testing.assert_array_equal(draw_pose_mask(crowd, style=style), layer[..., 3])
    if not allowed:
        assert set(np.unique(layer[..., 3])) == {0, 255}


@pytest.mark.parametrize("style", ALL_STYLES)
def test_overlay_keeps_the_photo_elsewhere(crowd, style):
    photo = np.random.default_rng(0).integers(0, 255, (*crowd.image_hw, 3), np.uint8)
    before = photo.copy()
    drawn = overlay(photo, crowd, style=style)
    np.testing.assert_array_equal(photo, before)
    mask = draw_pose_mask(crowd, style=style)
    np.testing.assert_array_equal(drawn[mask == 0], photo[mask == 0])
    pose_map = draw_pose_map(crowd, style=style)
    if style != SOFT:
        np.testing.assert_array_equal(drawn[mask == 255], pose_map[mask == 255])


def test_overlay_opacity(person):
    photo = np.full((512, 512, 3), 100, np.uint8)
    mask = draw_pose_mask(person) > 0
    np.testing.assert_array_equal(overlay(photo, person, 0.0), photo)
    half = overlay(photo, person, 0.5)
    expected = np.rint((100 + draw_pose_map(person).astype(float)) / 2)
    np.testing.assert_array_equal(half[mask], expected[mask])
    np.testing.assert_array_equal(half[~mask], photo[~mask])


def test_overlay_follows_the_size_of_the_photo(person):
    photo = np.zeros((256, 300, 3), np.uint8)
    np.testing.assert_array_equal(overlay(photo, person), draw_pose_map(person, (256, 300)))


def test_overlay_takes_views_of_any_layout(person):
    photo = np.zeros((3, 512, 512), np.uint8).transpose(1, 2, 0)[:, ::-1]
    np.testing.assert_array_equal(overlay(photo, person), draw_pose_map(person))


def test_backgrounds(person):
    mask = draw_pose_mask(person) > 0
    green = draw_pose_map(person, background=(0, 200, 10))
    assert (green[~mask] == (0, 200, 10)).all()
    np.testing.assert_array_equal(green[mask], draw_pose_map(person)[mask])
    photo = np.full((512, 512, 3), 9, np.uint8)
    np.testing.assert_array_equal(draw_pose_map(person, background=photo), overlay(photo, person))


def test_confidence_as_opacity(two_points):
    scores = two_points.scores.copy()
    scores[0, [6, 8]] = 0.5, 0.8
    people = People(two_points.keypoints, scores, two_points.boxes, two_points.image_hw)
    layer = draw_pose_rgba(people, confidence_alpha=True)
    assert layer[50, 70].tolist() == [153, 102, 0, 128]  # limb: the less certain end
    assert layer[54, 120].tolist() == [255, 255, 0, 204]  # dot beyond the limb's tip: its own
    on_black = draw_pose_map(people, confidence_alpha=True)
    np.testing.assert_array_equal(on_black[50, 70], np.rint(np.array([153, 102, 0]) * 128 / 255))
    # Where the dot lies on the limb the limb shines through.
    rest = 128 / 255 * (1 - 204 / 255)
    opacity = 204 / 255 + rest
    colour = (np.array([255, 255, 0]) * 204 / 255 + np.array([153, 102, 0]) * rest) / opacity
    np.testing.assert_allclose(layer[50, 118], [*colour, 255 * opacity], atol=0.51)


@pytest.mark.parametrize("style", ALL_STYLES)
def test_certain_points_are_opaque(person, style):
    certain = with_scores(person, slice(0, 133), 1.0)
    faded = draw_pose_map(certain, style=style, confidence_alpha=True).astype(int)
    allowed = SOFT_ERROR if style == SOFT else 0
    assert np.abs(faded - draw_pose_map(certain, style=style)).max() <= allowed


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"style": "openpose2"}, ValueError, "style 'openpose2' is unknown; choose one of dwpose"),
        ({"style": 3}, TypeError, "style must be a name or a PoseStyle"),
        ({"size_hw": (0, 5)}, ValueError, "size_hw must be at least"),
        ({"size_hw": 512}, TypeError, "size_hw must be"),
        ({"size_hw": (2.5, 5)}, TypeError, "size_hw must be"),
        ({"line_scale": 0}, ValueError, "line_scale must be a positive number"),
        ({"dot_scale": float("nan")}, ValueError, "dot_scale must be a positive number"),
        ({"hand_threshold": float("nan")}, ValueError, "hand_threshold must be a number"),
        ({"background": (0, 0, 256)}, ValueError, "background must be three numbers"),
        ({"background": "red"}, ValueError, "background must be three numbers"),
        ({"background": np.zeros((5, 5, 3), np.uint8)}, ValueError, "background must be 512x512"),
        ({"background": np.zeros((512, 512, 3))}, TypeError, "background must be a uint8"),
    ],
)
def test_wrong_arguments_are_named(person, arguments, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        draw_pose_map(person, **arguments)


def test_wrong_people_and_photos_are_named(person):
    with pytest.raises(TypeError, match="people must be a People"):
        draw_pose_map(np.zeros((1, 133, 2)))
    with pytest.raises(TypeError, match="image must be a uint8 array"):
        overlay(np.zeros((512, 512, 3)), person)
    with pytest.raises(ValueError, match="image must be"):
        overlay(np.zeros((512, 512), np.uint8), person)
    with pytest.raises(ValueError, match=r"opacity must be in 0\.\.1"):
        overlay(np.zeros((512, 512, 3), np.uint8), person, 2.0)
    with pytest.raises(TypeError, match="hend"):
        draw_pose_rgba(person, hend=False)


def test_wrong_arrays_are_named():
    points, scores = np.zeros((2, 133, 2)), np.zeros((2, 133))
    with pytest.raises(ValueError, match="keypoints must be"):
        draw_keypoints(points[0], scores[0], (5, 5))
    with pytest.raises(ValueError, match="scores must be"):
        draw_keypoints(points, scores[:1], (5, 5))
    with pytest.raises(TypeError, match="floats"):
        draw_keypoints(points.astype(int), scores, (5, 5))
    with pytest.raises(ValueError, match="image_hw must be at least"):
        draw_keypoints(points, scores, (0, 5))


@pytest.mark.parametrize("hw", [(64, 20_000), (20_000, 64), (1, 16_384)])
def test_the_large_canvas_of_a_strip_is_bounded(person, hw):
    height, width = canvas_hw(STYLES[SOFT], hw)
    assert 31e6 < height * width <= 32e6
    assert draw_pose_map(person, hw, SOFT).shape == (*hw, 3)


@pytest.mark.parametrize("hw", [(512, 512), (1080, 1920), (600, 4000), (4320, 7680), (9, 2)])
def test_the_large_canvas_of_usual_sizes_is_2160_px(hw):
    assert canvas_hw(STYLES[SOFT], hw) == tuple(int(side * (2160 / min(hw))) for side in hw)


def test_tiny_canvas(person):
    for style in ALL_STYLES:
        assert draw_pose_map(person, (1, 1), style).shape == (1, 1, 3)
