"""Inputs that several nodes share."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def options(pack):
    return pack("nodes.options")


def test_style_names_are_those_of_the_renderer(options, pack):
    assert set(options.STYLE_NAMES) == set(pack("dwpose.render").STYLES)


def test_sizes(options):
    size = options.output_size
    assert size("as input", (300, 200), 1, 2, 3) == (300, 200)
    assert size("short side", (300, 200), 512, 2, 3) == (768, 512)
    assert size("short side", (999, 1000), 64, 2, 3) == (64, 64)
    assert size("width x height", (300, 200), 1, 640, 480) == (480, 640)
    with pytest.raises(ValueError, match="size must be one of"):
        size("diag", (1, 1), 1, 1, 1)
    with pytest.raises(ValueError, match="choose a size"):
        size("short side", (1, 4000), 1024, 1, 1)
    with pytest.raises(ValueError, match="resolution must be from 1 to"):
        size("short side", (300, 200), -5, 1, 1)


def test_a_switch_off_and_a_threshold_reach_the_renderer(options):
    made = options.Parts(face=False, hand_threshold=0.4).draw_options("xinsir")
    assert made["face"] is False
    assert made["feet"] is None
    assert made["hand_threshold"] == 0.4
    assert made["body_threshold"] is None
    with pytest.raises(ValueError, match="style must be one of"):
        options.Parts().draw_options("cubism")


def test_hidden_parts_lose_their_scores_only(options, pack):
    types, skeleton = pack("dwpose.types"), pack("dwpose.skeleton")
    scores = np.tile(np.linspace(0.1, 1.0, 133, dtype=np.float32), (2, 1))
    boxes = types.Boxes(np.array([[0, 0, 9, 9]] * 2, np.float32))
    people = types.People(np.ones((2, 133, 2), np.float32), scores, boxes, (10, 10))
    assert options.Parts().hide(people) is people
    seen = options.Parts(hands=False, face_threshold=0.5).hide(people)
    assert not seen.scores[:, skeleton.LEFT_HAND].any()
    assert not seen.scores[:, skeleton.RIGHT_HAND].any()
    # One threshold was chosen, so the others are the usual 0.3.
    body = scores[:, skeleton.BODY]
    np.testing.assert_array_equal(seen.scores[:, skeleton.BODY], np.where(body < 0.3, 0, body))
    face = scores[:, skeleton.FACE]
    np.testing.assert_array_equal(seen.scores[:, skeleton.FACE], np.where(face < 0.5, 0, face))
    np.testing.assert_array_equal(seen.keypoints, people.keypoints)
    none = options.Parts(hands=False).hide(people)
    np.testing.assert_array_equal(none.scores[:, skeleton.BODY], body)
    # Feet follow the body's threshold unless they have one of their own.
    both = options.Parts(body_threshold=0.9).hide(people)
    assert not both.scores[:, skeleton.FEET].any()
    own = options.Parts(body_threshold=0.9, feet_threshold=0.0).hide(people)
    assert own.scores[:, skeleton.FEET].all()


def test_low_thresholds_show_what_was_not_hidden(options, pack):
    assert options.Parts().shown_threshold() == pytest.approx(
        pack("dwpose.types").DEFAULT_THRESHOLD
    )
    assert options.Parts(body_threshold=0.1).shown_threshold() == pytest.approx(0.1)
    assert options.Parts(face_threshold=0.9).shown_threshold() == pytest.approx(0.3)
    # Hidden points score 0 and must stay hidden even where everything else is shown.
    assert 0 < options.Parts(hand_threshold=0.0).shown_threshold() < 0.01
