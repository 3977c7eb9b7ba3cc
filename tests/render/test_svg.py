"""The SVG holds the same shapes as the picture."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from dwpose.render import STYLES, draw_svg, save_svg
from dwpose.types import Boxes, People

NAMESPACE = "{http://www.w3.org/2000/svg}"


def elements(text: str, tag: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(text).iter(NAMESPACE + tag))


@pytest.mark.parametrize("style", sorted(STYLES))
def test_counts_and_size(case, style):
    people = case("person_512").people()
    text = draw_svg(people, (768, 640), style, face=True, feet=True)
    root = ElementTree.fromstring(text)
    assert (root.get("width"), root.get("height")) == ("640", "768")
    feet = STYLES[style]
    assert len(elements(text, "ellipse")) == 17 + len(feet.feet_limbs)
    assert len(elements(text, "line")) == 40
    eyes = 2 if feet.eyes_with_face else 0
    assert len(elements(text, "circle")) == 18 + len(feet.feet_dots) + 42 + 68 + eyes


def test_shapes_lie_where_the_points_are():
    keypoints, scores = np.zeros((1, 133, 2)), np.zeros((1, 133))
    keypoints[0, [6, 8]] = (20.5, 50.25), (120.5, 50.25)
    scores[0, [6, 8]] = 1, 0.5
    people = People(keypoints, scores, Boxes(np.float32([[0, 0, 1, 1]])), (100, 140))
    text = draw_svg(people, confidence_alpha=True)
    (limb,) = elements(text, "ellipse")
    assert (limb.get("cx"), limb.get("cy"), limb.get("ry")) == ("70.50", "50.25", "4.5")
    assert (limb.get("fill"), limb.get("opacity")) == ("#996600", "0.502")
    first, second = elements(text, "circle")
    assert (first.get("cx"), first.get("fill"), first.get("opacity")) == ("20.50", "#ffaa00", None)
    assert (second.get("cx"), second.get("opacity")) == ("120.50", "0.502")


def test_background(case):
    people = case("nobody").people()
    (black,) = elements(draw_svg(people), "rect")
    assert black.get("fill") == "#000000"
    assert not elements(draw_svg(people, background=None), "rect")
    with pytest.raises(ValueError, match="background must be"):
        draw_svg(people, background=(1, 2))


def test_mimic_motion_is_on_its_own_canvas_with_red_and_blue_exchanged(case):
    people = case("person_512").people()
    text = draw_svg(people, style="mimic-motion", hands=False, face=False)
    assert ElementTree.fromstring(text).get("viewBox") == "0 0 2160 2160"
    nose = elements(text, "circle")[0].get("fill")
    assert nose is not None
    assert nose.startswith("#0000")


def test_save(tmp_path, case):
    people = case("person_512").people()
    path = tmp_path / "björk 1.svg"
    save_svg(path, people, style="wan-animate")
    assert path.read_text(encoding="utf-8") == draw_svg(people, style="wan-animate")
