"""Draw Pose Map."""

from __future__ import annotations

import numpy as np
import pytest
import torch

HW = (96, 64)


@pytest.fixture(scope="module")
def render(pack):
    return pack("nodes.render")


@pytest.fixture(scope="module")
def crowd(pack):
    """People of one frame with everything visible."""
    types = pack("dwpose.types")

    def make(count=1, seed=0, hw=HW, ids=None):
        rng = np.random.default_rng(seed)
        low = np.array(hw[::-1]) * 0.1
        keypoints = rng.uniform(low, np.array(hw[::-1]) * 0.9, (count, 133, 2))
        boxes = np.concatenate((keypoints.min(axis=1), keypoints.max(axis=1)), axis=1)
        ones = np.ones((count, 133))
        return types.People(keypoints, ones, types.Boxes(boxes), hw, ids)

    return make


@pytest.fixture(scope="module")
def poses(pack, crowd):
    """A POSE_KEYPOINT with these numbers of people in its frames."""

    def make(*counts, hw=HW):
        return pack("nodes.sockets").write_poses(
            [crowd(count, i, hw) for i, count in enumerate(counts)]
        )

    return make


def draw(render, *args, **options):
    return render.DrawPoseMap.execute(*args, **options).args


def test_every_frame_is_drawn_as_the_library_draws(render, poses, pack, crowd):
    maps, masks = draw(render, poses(1, 0, 2))
    assert maps.shape == (3, *HW, 3)
    assert masks.shape == (3, *HW)
    assert maps.dtype == masks.dtype == torch.float32
    for index, count in enumerate((1, 0, 2)):
        expected = pack("dwpose.render").draw_pose_map(crowd(count, index))
        np.testing.assert_array_equal(np.rint(maps[index].numpy() * 255), expected)
        assert bool(masks[index].any()) == (count > 0)
    assert bool((maps[0].amax(dim=2)[masks[0] == 0] == 0).all())


@pytest.mark.parametrize("fade", [False, True])
def test_every_style_is_drawn_as_the_library_draws(render, poses, pack, crowd, fade):
    library, names = pack("dwpose.render"), pack("nodes.options").STYLE_NAMES
    for style in names:
        maps, masks = draw(render, poses(2), style, fade_uncertain=fade)
        expected = library.draw_pose_map(crowd(2), style=style, confidence_alpha=fade)
        np.testing.assert_array_equal(np.rint(maps[0].numpy() * 255), expected, err_msg=style)
        expected = library.draw_pose_mask(crowd(2), style=style, confidence_alpha=fade)
        np.testing.assert_array_equal(np.rint(masks[0].numpy() * 255), expected, err_msg=style)


def test_size_style_and_parts(render, poses, pack, crowd):
    maps, masks = draw(
        render, poses(1), "xinsir", "width x height", 1, 320, 200, hands=False, face=False
    )
    assert maps.shape == (1, 200, 320, 3)
    assert masks.shape == (1, 200, 320)
    expected = pack("dwpose.render").draw_pose_map(
        crowd(1), (200, 320), "xinsir", hands=False, face=False
    )
    np.testing.assert_array_equal(np.rint(maps[0].numpy() * 255), expected)
    assert draw(render, poses(1), "dwpose", "short side", 128)[0].shape == (1, 192, 128, 3)


def test_background_colour_and_opacity(render, poses):
    maps, masks = draw(render, poses(1), background="#00b140")
    outside = maps[0][masks[0] == 0]
    assert torch.unique((outside * 255).round(), dim=0).tolist() == [[0, 177, 64]]
    full = draw(render, poses(1))[0]
    half = draw(render, poses(1), opacity=0.5)[0]
    np.testing.assert_allclose(half.numpy(), full.numpy() / 2, atol=1.1 / 255)
    nothing, masks = draw(render, poses(1), background="255, 0 0", opacity=0.0)
    assert torch.unique(nothing.reshape(-1, 3), dim=0).tolist() == [[1, 0, 0]]
    assert masks.any()


@pytest.mark.parametrize("text", ["", "green", "#12", "1,2", "1,2,256", "#12345678", "-1,0,0"])
def test_what_is_no_colour_is_refused(render, text):
    with pytest.raises(ValueError, match="background must be a colour"):
        render.read_colour(text)


def test_colours(render):
    assert render.read_colour(" #0aF ") == (0, 170, 255)
    assert render.read_colour("00B140") == (0, 177, 64)
    assert render.read_colour("0;177; 64") == (0, 177, 64)


def test_pictures_behind_are_shared_matched_and_resized(render, poses):
    image = torch.rand(1, 48, 32, 4)
    before = image.clone()
    maps, _ = draw(render, poses(1, 1), image=image)
    assert maps.shape == (2, 48, 32, 3)
    assert torch.equal(image, before)
    white = draw(render, poses(0, 0, 0), image=torch.ones(1, 8, 8, 1))[0]
    assert white.shape == (3, 8, 8, 3)
    assert bool((white == 1).all())
    one_pose = draw(render, poses(1), image=torch.zeros(3, *HW, 3))[0]
    assert one_pose.shape == (3, *HW, 3)
    assert torch.equal(one_pose[0], one_pose[2])
    big = draw(
        render, poses(0), size="width x height", width=40, height=24, image=torch.ones(16, 8, 3)
    )
    assert big[0].shape == (1, 24, 40, 3)
    with pytest.raises(ValueError, match="2 frames and image 3"):
        draw(render, poses(1, 1), image=torch.zeros(3, *HW, 3))


def test_other_packs_poses_are_drawn(render):
    body = [0.0] * 54
    body[3:9] = [0.5, 0.25, 1.0, 0.25, 0.25, 1.0]  # neck and right shoulder, as fractions
    theirs = [
        {"people": [{"pose_keypoints_2d": body, "face_keypoints_2d": None}],
         "canvas_width": 40, "canvas_height": 80},
        {"people": [], "canvas_width": 40, "canvas_height": 80},
    ]  # fmt: skip
    maps, masks = draw(render, theirs)
    assert maps.shape == (2, 80, 40, 3)
    assert masks[0, 20, 10] == 1
    assert not masks[1].any()


def test_keypoints_without_a_size_take_the_images(render, pack):
    body = [0.5, 0.5, 1.0] * 18  # in fractions, as some packs write them
    body[0:2] = [0.25, 0.125]
    pose = [{"people": [{"pose_keypoints_2d": body}]}, {"people": []}]
    image = torch.zeros(1, *HW, 3)
    assert draw(render, pose, image=image)[0].shape == (2, *HW, 3)
    assert draw(render, pose, image=image)[1][0, 12, 16] == 1
    assert pack("nodes.masks").KeypointsToMasks.execute(pose, "body", image=image).args[0].any()
    assert pack("nodes.preview").PreviewKeypoints.execute(pose, image=image).ui
    tracked = pack("nodes.track").TrackAndSmooth.execute(pose, image=image.repeat(2, 1, 1, 1))
    assert (tracked[0][0]["canvas_height"], tracked[0][0]["canvas_width"]) == HW
    with pytest.raises(ValueError, match="in ComfyUI connect the image"):
        draw(render, pose)
    # A size that is said counts, whatever the image's.
    pose[0] |= {"canvas_height": 9, "canvas_width": 9}
    tracked = pack("nodes.track").TrackAndSmooth.execute(pose, image=image)
    assert [f["canvas_height"] for f in tracked[0]] == [9, 9]


def test_frames_of_other_proportions_are_told(render, poses, pack):
    mixed = poses(1) + poses(1, hw=(64, 96))
    told = r"64x96 in frame 0, 96x64 in frame 1.*one size at a time"
    for size in ("as input", "short side"):
        with pytest.raises(ValueError, match=told):
            draw(render, mixed, size=size, resolution=64)
    with pytest.raises(ValueError, match=told):
        pack("nodes.masks").KeypointsToMasks.execute(mixed)
    with pytest.raises(ValueError, match=told):
        pack("nodes.video").DrawPoseVideo.execute(mixed)
    # Stretched where that is asked for; the same proportions, or nobody, need nothing.
    assert draw(render, mixed, size="width x height", width=32, height=40)[0].shape[1:3] == (40, 32)
    assert draw(render, mixed, image=torch.zeros(1, 50, 60, 3))[0].shape[1:3] == (50, 60)
    assert draw(render, poses(1) + poses(1, hw=(192, 128)))[0].shape == (2, *HW, 3)
    assert draw(render, poses(0, hw=(9, 90)) + poses(1))[0].shape == (2, *HW, 3)


def test_faults_are_told(render, poses):
    with pytest.raises(ValueError, match="style must be one of"):
        draw(render, poses(1), "cubism")
    with pytest.raises(ValueError, match="no frames"):
        draw(render, [])
    with pytest.raises((TypeError, ValueError), match="POSE_KEYPOINT"):
        draw(render, 3)


def test_cancel_stops_within_a_frame(render, poses, management):
    management.interrupted = True
    with pytest.raises(management.InterruptProcessingException):
        draw(render, poses(1, 1))


def test_numbers_of_frames(render):
    assert render.match_frames(5, None) == render.match_frames(5, 1) == 5
    assert render.match_frames(1, 7) == 7
