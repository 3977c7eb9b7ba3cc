"""Example Pictures: the shipped files fit what the schema and the boxes say."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("picture", "shape", "people"),
    [
        ("one person", (1, 768, 576, 3), 1),
        ("several people", (1, 640, 960, 3), 3),
        ("short clip", (16, 512, 384, 3), 1),
    ],
)
def test_pictures_and_boxes(pack, picture, shape, people):
    image, boxes = pack("nodes.examples").ExamplePictures.execute(picture).args
    assert tuple(image.shape) == shape
    assert 0 <= float(image.min()) < 0.2 < 0.6 < float(image.max()) <= 1
    assert [len(frame) for frame in boxes] == [people] * shape[0]
    for index, frame in enumerate(boxes):
        lefts = [box[0] for box in frame]
        assert lefts == sorted(lefts)
        for left, top, right, bottom in frame:
            assert 0 <= left < right <= shape[2]
            assert 0 <= top < bottom <= shape[1]
            # A person is darker than the wall beside the box: the box is where somebody is.
            inside = image[index, int(top) : int(bottom), int(left) : int(right)]
            wall = image[index, : int(bottom * 0.3), :12]
            assert float(inside.amin(dim=-1).min()) < float(wall.mean()) - 0.3


def test_every_choice_has_boxes_and_a_file(pack):
    module = pack("nodes.examples")
    assert set(module._BOXES) == set(module.PICTURES)
    with pytest.raises(ValueError, match="picture must be one of"):
        module.ExamplePictures.execute("nobody")
