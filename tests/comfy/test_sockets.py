"""What goes through the sockets: pictures, masks and boxes of every kind that ComfyUI passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def sockets(pack):
    return pack("nodes.sockets")


def test_frames_convert_one_at_a_time(sockets):
    pixels = torch.randint(256, (3, 5, 7, 3), dtype=torch.uint8)
    image = pixels / 255
    before = image.clone()
    frames = sockets.Frames(image)
    assert (len(frames), frames.size_hw, frames.shape) == (3, (5, 7), (3, 5, 7, 3))
    assert frames[1].dtype == np.uint8
    assert frames[1].flags.c_contiguous
    np.testing.assert_array_equal(frames[1], pixels[1].numpy())
    assert torch.equal(image, before)


def test_frames_of_one_picture_without_a_batch(sockets):
    assert sockets.Frames(torch.zeros(5, 7, 3)).shape == (1, 5, 7, 3)


def test_numbers_outside_the_range_are_clipped_and_nan_is_drawn(sockets):
    image = torch.tensor([-3.0, 0.5, 9.0]).reshape(1, 1, 1, 3)
    assert sockets.Frames(image)[0].tolist() == [[[0, 128, 255]]]
    image = torch.tensor([torch.nan, -0.5, 0.5, -torch.inf, 1.0, 9.0]).reshape(1, 1, 2, 3)
    # On OpenCV's paths for one row of few numbers and of many.
    for wide in (image, image.repeat(1, 50, 50, 1)):
        assert sockets.Frames(wide)[0][-1, -2:].tolist() == [[0, 0, 128], [0, 255, 255]]


def test_a_single_channel_is_grey_and_alpha_lies_on_white(sockets):
    grey = sockets.Frames(torch.full((1, 2, 2, 1), 1 / 255))[0]
    assert grey.shape == (2, 2, 3)
    assert np.unique(grey).tolist() == [1]
    clear = torch.zeros(1, 1, 2, 4)
    clear[0, 0, 1, 3] = 1.0
    assert sockets.Frames(clear)[0].tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("shape", [(2, 3), (1, 4, 4, 2), (1, 0, 4, 3), (1, 2, 3, 4, 3)])
def test_frames_refuse_what_is_no_image(sockets, shape):
    with pytest.raises(ValueError, match="image must be an IMAGE"):
        sockets.Frames(torch.zeros(shape))


def test_an_empty_batch_is_told_where_it_comes_in(sockets, pack):
    with pytest.raises(ValueError, match="image has no frames"):
        sockets.Frames(torch.zeros(0, 8, 8, 3))
    with pytest.raises(ValueError, match="image has no frames"):
        pack("nodes.estimate").PoseEstimator.execute(torch.zeros(0, 8, 8, 3))


def test_pictures_come_back_unchanged(sockets):
    pictures = [np.random.default_rng(i).integers(0, 256, (4, 6, 3), np.uint8) for i in range(2)]
    image = sockets.to_image(pictures)
    assert image.dtype == torch.float32
    frames = sockets.Frames(image)
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(frames[index], picture)
    np.testing.assert_array_equal(image[0].numpy(), pictures[0] / np.float32(255))
    pictures[0].flags.writeable = False
    assert torch.equal(sockets.to_image(pictures), image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_of_any_channels_are_written(sockets, channels):
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, channels), np.uint8)
    image = sockets.to_image([picture, picture])
    np.testing.assert_array_equal(image[1].numpy(), picture / np.float32(255))
    with pytest.raises(ValueError, match="all pictures must be"):
        sockets.to_image([picture, picture[:2]])


def test_poses_survive_the_socket(sockets, pack):
    types = pack("dwpose.types")
    rng = np.random.default_rng(0)
    person = types.People(
        rng.uniform(1, 50, (1, 133, 2)).astype(np.float32),
        rng.uniform(0, 1, (1, 133)).astype(np.float32),
        types.Boxes(np.array([[0, 0, 50, 60]], np.float32)),
        (64, 80),
    )
    back = sockets.read_poses(sockets.write_poses([person, types.People.empty((64, 80))]))
    np.testing.assert_array_equal(back[0].keypoints, person.keypoints)
    np.testing.assert_array_equal(back[0].scores, person.scores)
    assert [len(p) for p in back] == [1, 0]


def test_progress_stops_when_the_user_cancels(sockets, management):
    progress = sockets.Progress(3)
    progress(1, 3)
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        progress(2, 3)


def test_a_schema_drops_what_an_old_core_does_not_know(sockets):
    made = sockets.schema("X", "X", "x", [], [], search=("mocap",), not_idempotent=True)
    assert made.node_id == "DWPose_X"
    assert made.not_idempotent
    assert not hasattr(made, "search_aliases")


def test_a_schema_gives_search_words_to_a_new_core(sockets, monkeypatch):
    given = {}

    class NewSchema:
        def __init__(self, node_id, display_name, category, description, inputs, outputs,
                     search_aliases=None):  # fmt: skip
            given.update(search_aliases=search_aliases)

    monkeypatch.setattr(sockets.io, "Schema", NewSchema)
    sockets.schema("X", "X", "x", [], [], search=("mocap", "pose"))
    assert given["search_aliases"] == [*sockets.SEARCH, "mocap"]
