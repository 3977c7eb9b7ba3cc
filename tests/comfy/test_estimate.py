"""The three estimating nodes, called directly, with stand-ins for the networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

A, B = (80, 20, 100, 70), (10, 30, 40, 110)


@pytest.fixture(scope="module")
def estimate(pack):
    return pack("nodes.estimate")


def _boxes(result):
    return [[person["dwpose"]["box"][:4] for person in frame["people"]] for frame in result]


def _any_at(points):
    return any(points[2::3])


def test_frames_in_are_frames_out(estimate, make_model, picture):
    image = torch.cat([picture(A, B), picture(), picture(B)])
    out = estimate.PoseEstimator.execute(image, model=make_model())
    maps, keypoints, count = out.args
    assert maps.shape == (3, 128, 128, 3)
    assert maps.dtype == torch.float32
    assert 0 < float(maps.max()) <= 1
    assert [bool(m.any()) for m in maps] == [True, False, True]
    assert [len(frame["people"]) for frame in keypoints] == [2, 0, 1]
    assert count == 2
    assert keypoints[1] == {"people": [], "canvas_height": 128, "canvas_width": 128}


def test_the_map_is_what_the_renderer_draws(estimate, make_model, picture, pack):
    model = make_model()
    maps, keypoints, _ = estimate.PoseEstimator.execute(
        picture(A), model=model, style="xinsir", face=False, size="width x height", width=96,
        height=200,
    ).args  # fmt: skip
    people = model.pipeline.pose(pack("nodes.sockets").Frames(picture(A))[0])
    drawn = pack("dwpose.render").draw_pose_map(people, (200, 96), style="xinsir", face=False)
    np.testing.assert_array_equal(np.rint(maps[0].numpy() * 255), drawn)
    # Keypoints stay in pixels of the analysed picture, and the part that is off is empty.
    person = keypoints[0]["people"][0]
    assert keypoints[0]["canvas_width"] == 128
    assert not _any_at(person["face_keypoints_2d"][: 68 * 3])
    assert _any_at(person["hand_left_keypoints_2d"])


def test_thresholds_hold_for_the_keypoints_too(estimate, make_model, picture):
    execute = estimate.PoseEstimator.execute
    shy = execute(picture((80, 20, 82, 24)), model=make_model(), body_threshold=1.0).args
    assert not _any_at(shy[1][0]["people"][0]["pose_keypoints_2d"])
    assert _any_at(shy[1][0]["people"][0]["hand_left_keypoints_2d"])


def test_a_face_without_its_body_keeps_its_pupils(estimate, make_model, picture, pack):
    """As controlnet_aux has it; and the picture can be drawn again from the keypoints."""
    image = picture((20, 20, 90, 110))
    style = {"style": "controlnet-aux"}
    drawn, poses, _ = estimate.PoseEstimator.execute(
        image, body=False, model=make_model(), **style
    ).args
    [person] = poses[0]["people"]
    assert not any(person["pose_keypoints_2d"])
    assert person["face_keypoints_2d"][-1] == person["face_keypoints_2d"][-4] == 1.0
    draw = pack("nodes.render").DrawPoseMap.execute
    assert drawn.any()
    assert (draw(poses, **style)[0] == drawn).all()
    # The eyes do not become a body, and go with the face.
    assert (draw(poses, body=False, **style)[0] == drawn).all()
    poses = estimate.PoseEstimator.execute(image, body=False, face=False, model=make_model())[1]
    assert not any(poses[0]["people"][0]["face_keypoints_2d"])


def test_a_second_look_is_asked_for(estimate, make_model, picture, pack, monkeypatch):
    pipeline = pack("dwpose.pipeline")
    looked = []

    def look_again(images, people, estimator, **options):
        looked.append((len(images), sum(map(len, people)), options["on_batch"] is not None))
        return people

    monkeypatch.setattr(pipeline, "look_again", look_again)
    image = picture((8, 8, 40, 90), (60, 20, 110, 120)).repeat(3, 1, 1, 1)
    for node in (estimate.PoseEstimator, estimate.EstimateKeypoints):
        node.execute(image, model=make_model())
        assert looked == []
        # Only those who are kept are looked at again.
        node.execute(image, model=make_model(), second_look=True, max_people=1)
        assert sum(images for images, _, _ in looked) == sum(n for _, n, _ in looked) == 3
        assert all(told for _, _, told in looked)
        looked.clear()


def test_order_and_limit(estimate, make_model, picture):
    execute = estimate.PoseEstimator.execute
    image = picture(A, B)
    for order, first in (("size", B), ("left-to-right", B), ("score", A), ("given", A)):
        _, keypoints, count = execute(image, model=make_model(), order=order, max_people=1).args
        assert count == 1
        assert _boxes(keypoints)[0][0] == list(first), order


def test_boxes_and_masks_replace_the_detector(estimate, make_model, picture):
    image = torch.cat([picture(A, B)] * 2)
    execute = estimate.PoseEstimator.execute
    _, keypoints, _ = execute(image, model=make_model(), boxes=[[A], []]).args
    assert _boxes(keypoints) == [[list(A)], []]
    mask = torch.zeros(2, 128, 128)
    mask[1, 30:110, 10:40] = 1
    _, keypoints, _ = execute(image, model=make_model(), mask=mask).args
    assert _boxes(keypoints) == [[], [list(B)]]
    _, keypoints, _ = execute(image, model=make_model(), mask=torch.zeros(1, 64, 64)).args
    assert [len(f) for f in _boxes(keypoints)] == [2, 2]
    with pytest.raises(ValueError, match="exclude each other"):
        execute(image, model=make_model(), boxes=[A], mask=mask)


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_transparent_pictures(estimate, make_model, channels):
    image = torch.zeros(1, 128, 128, channels)
    if channels == 4:
        image[..., 3] = 1.0
    image[:, 20:70, 80:100, : min(channels, 3)] = 250 / 255
    maps, _, count = estimate.PoseEstimator.execute(image, model=make_model()).args
    assert maps.shape == (1, 128, 128, 3)
    assert count == 1


def test_inputs_are_left_as_they_are(estimate, make_model, picture):
    image, mask, boxes = picture(A), torch.ones(128, 128), [[list(A)]]
    before = image.clone()
    estimate.PoseEstimator.execute(image, model=make_model(), boxes=boxes)
    estimate.PoseEstimator.execute(image, model=make_model(), mask=mask)
    assert torch.equal(image, before)
    assert bool((mask == 1).all())
    assert boxes == [[list(A)]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"style": "cubism"}, "style must be one of"),
        ({"order": "random"}, "order must be one of"),
        ({"size": "diag"}, "size must be one of"),
        ({"model": "a file"}, "model must come from Load DWPose Model"),
        ({"boxes": 7}, "boxes must be"),
    ],
)
def test_wrong_values_are_named(estimate, make_model, picture, change, match):
    arguments = {"model": make_model(), **change}
    with pytest.raises((ValueError, TypeError), match=match) as caught:
        estimate.PoseEstimator.execute(picture(A), **arguments)
    assert "\n" not in str(caught.value)


def test_cancel_ends_the_work_within_a_batch(estimate, make_model, picture, management):
    image = torch.cat([picture(A)] * 40)
    management.interrupt_after = 3
    model = make_model()
    with pytest.raises(management.InterruptProcessingException):
        estimate.PoseEstimator.execute(image, model=model)
    assert sum(model.networks[0].session.asked) <= 3 * model.pipeline.estimator.batch_size


def test_progress_reaches_the_end(estimate, make_model, picture, progress_bar):
    estimate.PoseEstimator.execute(torch.cat([picture(A)] * 9), model=make_model())
    assert progress_bar.shown[-1] == (9, 9)
    assert len(progress_bar.shown) > 2
    assert progress_bar.shown == sorted(progress_bar.shown)


def test_out_of_memory_halves_the_batch_once_and_loses_no_frame(
    estimate, make_model, picture, management
):
    image = torch.cat([picture(A)] * 9)
    model = make_model()
    poser = model.networks[0].session
    calls = iter([None, torch.cuda.OutOfMemoryError("full")])
    run = type(poser).__call__

    class Full(type(poser)):
        def __call__(self, images):
            error = next(calls, None)
            if error is not None:
                raise error
            return run(self, images)

    poser.__class__ = Full
    whole = model.pipeline.estimator.batch_size
    _, keypoints, _ = estimate.PoseEstimator.execute(image, model=model).args
    assert [len(f) for f in _boxes(keypoints)] == [1] * 9
    assert model.pipeline.estimator.batch_size == whole // 2
    assert ("soft_empty_cache", None) in management.calls


def test_out_of_memory_goes_through_the_second_time(estimate, make_model, picture):
    for node in (estimate.PoseEstimator, estimate.EstimateKeypoints):
        model = make_model()
        model.networks[0].session.fail = [torch.cuda.OutOfMemoryError("full")] * 2
        with pytest.raises(torch.cuda.OutOfMemoryError):
            node.execute(picture(A), model=model)


def test_onnxruntimes_out_of_memory_becomes_one_that_comfyui_knows(estimate, make_model, picture):
    kind = type("RuntimeException", (Exception,), {"__module__": "onnxruntime.capi"})
    model = make_model()
    model.networks[0].session.fail = [kind("Failed to allocate memory for buffer")] * 2
    model.pipeline.estimator.batch_size = 1
    model.pipeline.detector.batch_size = 1
    with pytest.raises(torch.cuda.OutOfMemoryError, match="Failed to allocate"):
        estimate.PoseEstimator.execute(picture(A), model=model)


def test_other_errors_are_not_tried_again(estimate, make_model, picture):
    model = make_model()
    model.networks[0].session.fail = [RuntimeError("a bug")]
    with pytest.raises(RuntimeError, match="a bug"):
        estimate.PoseEstimator.execute(picture(A), model=model)


def test_boxes_of_people(estimate, make_model, picture):
    image = torch.cat([picture(A, B), picture()])
    boxes, count = estimate.DetectPeople.execute(image, model=make_model(), order="score").args
    assert boxes == [[list(map(float, A)), list(map(float, B))], []]
    assert count == 2
    one, _ = estimate.DetectPeople.execute(image, model=make_model(), max_people=1).args
    assert one == [[list(map(float, B))], []]
    sure, _ = estimate.DetectPeople.execute(image, model=make_model(), score_threshold=0.85).args
    assert sure == [[list(map(float, A))], []]


def test_detecting_survives_memory_once(estimate, make_model, picture):
    model = make_model()
    finder = model.networks[1].session
    run, failures = type(finder).__call__, [torch.cuda.OutOfMemoryError("full")]

    class Full(type(finder)):
        def __call__(self, images):
            if failures:
                raise failures.pop()
            return run(self, images)

    finder.__class__ = Full
    model.pipeline.detector.batch_size = 8
    boxes, _ = estimate.DetectPeople.execute(torch.cat([picture(A)] * 20), model=model).args
    assert [len(frame) for frame in boxes] == [1] * 20
    assert model.pipeline.detector.batch_size == 4


def test_a_box_outside_the_picture_is_nobody(estimate, make_model, picture):
    boxes = [[[500, 500, 600, 700]]]
    for node in (estimate.PoseEstimator, estimate.EstimateKeypoints):
        *_, keypoints, count = node.execute(picture(A), model=make_model(), boxes=boxes).args
        assert count == 0
        assert keypoints[0]["people"] == []


def test_without_a_detector_the_main_person_is_boxed(estimate, make_model, picture):
    boxes, count = estimate.DetectPeople.execute(picture(A), model=make_model(detector=False)).args
    assert count == 1
    left, top, right, bottom = boxes[0][0]
    assert left <= A[0]
    assert top <= A[1]
    assert right >= A[2]
    assert bottom >= A[3]


def test_boxes_go_from_node_to_node(estimate, make_model, picture):
    image = torch.cat([picture(A, B), picture(B)])
    model = make_model()
    boxes, _ = estimate.DetectPeople.execute(image, model=model).args
    keypoints, count = estimate.EstimateKeypoints.execute(image, model=model, boxes=boxes).args
    assert _boxes(keypoints) == boxes
    assert count == 2


def test_keypoints_of_segments_and_other_formats(estimate, make_model, picture):
    execute, image = estimate.EstimateKeypoints.execute, picture(A)
    wide = [[A[0], A[1], A[2] - A[0], A[3] - A[1]]]
    keypoints, _ = execute(
        image, model=make_model(), boxes=wide, box_format="x y width height"
    ).args
    assert _boxes(keypoints) == [[list(A)]]

    class Segment:
        def __init__(self, bbox):
            self.bbox, self.confidence = bbox, np.array([0.5])

    halved = ((64, 64), [Segment([n / 2 for n in A])])
    keypoints, _ = execute(image, model=make_model(), segs=halved).args
    assert _boxes(keypoints) == [[list(A)]]
    with pytest.raises(ValueError, match="connect one of them"):
        execute(image, model=make_model(), segs=halved, boxes=wide)
    with pytest.raises(ValueError, match="segs must be SEGS"):
        execute(image, model=make_model(), segs=[1, 2, 3])


def test_keypoints_keep_their_raw_scores(estimate, make_model, picture, pack):
    model = make_model()
    keypoints, _ = estimate.EstimateKeypoints.execute(picture(A), model=model).args
    back = pack("nodes.sockets").read_poses(keypoints)[0]
    people = model.pipeline.pose(pack("nodes.sockets").Frames(picture(A))[0])
    np.testing.assert_array_equal(back.scores, people.scores)
    np.testing.assert_array_equal(back.keypoints, people.keypoints)


def test_orders_are_the_pipelines(estimate, pack):
    assert set(estimate.ORDERS) == set(pack("dwpose.pipeline").ORDERS)
