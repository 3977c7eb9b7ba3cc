"""The facade, with stand-ins for the networks that see coloured rectangles as people."""

from __future__ import annotations

import numpy as np
import pytest

from dwpose.detector import PersonDetector
from dwpose.estimator import Estimator
from dwpose.io.images import save_image
from dwpose.models.usage import Usage
from dwpose.pipeline import DWPose, arrange, pose_scores, remove_duplicates
from dwpose.runtimes.session import RuntimeInfo
from dwpose.search import find_one_person, first_windows
from dwpose.types import Boxes, People

SIZE = (64, 48)


class Finder:
    """A detector session: every brightness from 250 down, if there, is a person's rectangle."""

    def __init__(self):
        self.info = RuntimeInfo("torch", "cpu", "fp32", "a stub")
        self.input_size_hw = (128, 128)
        self.max_batch = None
        self.input_dtype = "float32"
        self.calls = 0

    def __call__(self, images):
        self.calls += 1
        rows = []
        for image in images:
            boxes = []
            for score, value in ((0.9, 250), (0.8, 240), (0.7, 230)):
                y, x = np.nonzero(np.abs(image[0] - value) < 2)
                if len(y):
                    boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1, score])
            rows.append(np.array(boxes + [[0] * 5] * (3 - len(boxes)), np.float32))
        return (np.stack(rows), np.zeros((len(images), 3)))


class Poser:
    """A pose session: points on the outline of whatever is bright, score by how much of it is."""

    def __init__(self):
        self.info = RuntimeInfo("torch", "cpu", "fp32", "a stub")
        self.input_size_hw = SIZE
        self.max_batch = None
        self.input_dtype = "float32"
        self.asked = []

    def __call__(self, images):
        self.asked.append(len(images))
        x = np.zeros((len(images), 133, SIZE[1] * 2), np.float32)
        y = np.zeros((len(images), 133, SIZE[0] * 2), np.float32)
        for i, image in enumerate(images):
            rows, columns = np.nonzero(image[0] > 1.9)  # above grey level 235 after normalising
            if not len(rows):
                continue
            corners = [
                (columns.min(), rows.min()),
                (columns.max(), rows.min()),
                (columns.min(), rows.max()),
                (columns.max(), rows.max()),
            ]
            score = 0.5 + 0.5 * min(len(rows) / 1000, 1)
            for k in range(133):
                x[i, k, 2 * corners[k % 4][0]] = score
                y[i, k, 2 * corners[k % 4][1]] = score
        return x, y


def picture(*people, hw=(128, 128)):
    image = np.zeros((*hw, 3), np.uint8)
    for value, (x1, y1, x2, y2) in zip((250, 240, 230), people, strict=False):
        image[y1:y2, x1:x2] = value
    return image


A, B = (80, 20, 100, 70), (10, 30, 40, 110)


@pytest.fixture
def pose():
    return DWPose(Estimator(Poser(), batch_size=2), PersonDetector(Finder()))


@pytest.fixture
def blind():
    return DWPose(Estimator(Poser(), batch_size=2))


def test_one_picture_gives_people_in_its_pixels(pose):
    people = pose(picture(A, B))
    assert isinstance(people, People)
    np.testing.assert_allclose(people.boxes.xyxy, [B, A], atol=1e-3)
    for person, (x1, y1, x2, y2) in zip(people.keypoints, (B, A), strict=True):
        np.testing.assert_allclose(person[0], (x1, y1), atol=3)
        np.testing.assert_allclose(person[3], (x2, y2), atol=3)
    assert people.image_hw == (128, 128)
    assert pose.pose(picture(A)).keypoints.shape == (1, 133, 2)


def test_several_pictures_give_a_list(pose, tmp_path):
    path = save_image(tmp_path / "a.png", picture(A))
    found = pose([picture(A, B), str(path), picture(hw=(30, 50)), picture(B)])
    assert [len(people) for people in found] == [2, 1, 0, 1]
    assert found[2].image_hw == (30, 50)
    batch = np.stack([picture(A), picture(A, B)])
    assert [len(people) for people in pose(batch)] == [1, 2]
    assert [len(people) for people in pose(batch.astype(np.float32) / 255)] == [1, 2]
    assert len(pose(path)) == 1
    assert pose([]) == []
    one = pose(picture(A, B))
    np.testing.assert_array_equal(found[0].keypoints, one.keypoints)


def test_nobody_is_empty_and_costs_no_pose_network(pose):
    people = pose(picture())
    assert len(people) == 0
    assert pose.estimator.session.asked == []


def test_crops_of_all_pictures_share_batches(pose):
    pose([picture(A, B), picture(A)])
    assert pose.estimator.session.asked == [2, 1]


def test_order_and_number(pose):
    image = picture(A, B)
    assert [tuple(map(round, b)) for b in pose(image).boxes.xyxy.tolist()] == [B, A]
    assert [tuple(map(round, b)) for b in pose(image, order="size").boxes.xyxy.tolist()] == [B, A]
    given = pose(image, order="given").boxes.xyxy.tolist()
    assert [tuple(map(round, b)) for b in given] == [A, B]  # best detector score first
    best = pose(image, order="score", max_people=1)
    scores = pose_scores(pose(image))
    assert pose_scores(best)[0] == scores.max()
    assert len(pose(image, max_people=5)) == 2


def test_arrange_is_stable():
    boxes = Boxes([[0, 0, 4, 4], [2, 0, 4, 2], [0, 0, 4, 4], [1, 0, 3, 9]], [0.1, 0.4, 0.2, 0.4])
    people = People(np.zeros((4, 133, 2)), np.full((4, 133), 0.5), boxes, (10, 10), np.arange(4))
    orders = {o: arrange(people, o).track_ids.tolist() for o in ("left-to-right", "size", "score")}
    assert orders == {
        "left-to-right": [0, 2, 3, 1],
        "size": [3, 0, 2, 1],
        "score": [1, 3, 2, 0],
    }
    assert arrange(people, "given") is people
    with pytest.raises(ValueError, match="order"):
        arrange(people, "age")


def test_pose_scores_count_what_is_above_a_fifth():
    scores = np.zeros((3, 133), np.float32)
    scores[0, :2] = 0.8, 0.4
    scores[1, :2] = 0.8, 0.2
    people = People(np.zeros((3, 133, 2)), scores, Boxes(np.zeros((3, 4)), [0.5, 1, 1]), (1, 1))
    np.testing.assert_allclose(pose_scores(people), [0.3, 0.8, 0])


def test_duplicates_go_unless_the_caller_gave_the_boxes(pose):
    image = picture(A)
    boxes = np.array([A, A, (79, 19, 101, 71)], np.float32)
    assert len(pose(image, boxes=boxes)) == 3
    assert len(pose(image, boxes=boxes, nms_threshold=0.9)) == 1
    assert len(pose(image, boxes=boxes, nms_threshold=None)) == 3
    people = pose(image, boxes=boxes)
    scores = people.scores.copy()
    scores[1] += 0.1
    better = People(people.keypoints, scores, people.boxes, people.image_hw)
    kept = remove_duplicates(better, 0.9, pose.estimator)
    np.testing.assert_array_equal(kept.scores, scores[1:2])


def test_boxes_of_the_caller_replace_the_detector(pose):
    people = pose(picture(A, B), boxes=[A, (0, 0, 5, 5), B])
    assert pose.detector.session.calls == 0
    np.testing.assert_array_equal(people.boxes.xyxy, [A, (0, 0, 5, 5), B])  # in the given order
    assert people.scores[1].max() <= 0  # nothing there, and still an answer
    found = pose([picture(A), picture(B)], boxes=[[A], []])
    assert [len(people) for people in found] == [1, 0]
    assert len(pose(picture(A), boxes=A)) == 1
    assert len(pose(picture(A), boxes=[])) == 0
    with pytest.raises(ValueError, match="boxes must be given for each picture, got 1 for 2"):
        pose([picture(A), picture(B)], boxes=[[A]])
    with pytest.raises(ValueError, match=r"boxes\[1\]"):
        pose([picture(A), picture(B)], boxes=[[A], [(5, 5, 1, 1)]])
    with pytest.raises(ValueError, match=r"^boxes\b(?!\[)"):
        pose(picture(A), boxes=[(5, 5, 1, 1)])
    with pytest.raises(ValueError, match="exclude"):
        pose(picture(A), boxes=A, masks=np.zeros((128, 128)))


def test_masks_of_the_caller(pose):
    masks = np.zeros((2, 128, 128), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, (A, B), strict=True):
        mask[y1:y2, x1:x2] = True
    people = pose(picture(A, B), masks=masks)
    np.testing.assert_array_equal(people.boxes.xyxy, [A, B])
    found = pose(np.stack([picture(A), picture(B)]), masks=masks)
    assert [p.boxes.xyxy.tolist() for p in found] == [[list(A)], [list(B)]]
    with pytest.raises(ValueError, match="masks must"):
        pose(picture(A), masks=masks[:, :5])
    with pytest.raises(ValueError, match=r"masks\[0\] must"):
        pose([picture(A)], masks=[masks[:, :5]])


def test_without_detector_it_crops_again_around_what_it_found(blind):
    small = (100, 150, 130, 220)
    image = picture(small, hw=(300, 400))
    people = blind(image)
    assert len(people) == 1
    x1, y1, x2, _ = people.boxes.xyxy[0]
    assert 80 < x1 < 100
    assert 200 > x2 > 130
    assert 130 < y1 < 150
    np.testing.assert_allclose(people.keypoints[0, 0], small[:2], atol=1.5)
    first = blind(image, rounds=0)
    np.testing.assert_array_equal(first.boxes.xyxy, [[0, 0, 400, 300]])
    assert (
        np.abs(first.keypoints[0, 0] - small[:2]).max()
        > np.abs(people.keypoints[0, 0] - small[:2]).max()
    )


def test_without_detector_nobody_is_nobody(blind):
    found = blind([picture(), picture(A), picture()])
    assert [len(people) for people in found] == [0, 1, 0]


def test_whole_image_ends_when_the_box_has_settled():
    session = Poser()
    find_one_person(Estimator(session), [picture(A), picture()], rounds=50)
    assert sum(session.asked) < 20


def test_first_windows_cover_wide_pictures():
    assert first_windows((400, 300), 0.75).tolist() == [[0, 0, 300, 400]]
    assert first_windows((400, 350), 0.75).tolist() == [[0, 0, 350, 400]]
    wide = first_windows((400, 600), 0.75)
    assert wide.tolist() == [
        [0, 0, 600, 400],
        [0, 0, 300, 400],
        [150, 0, 450, 400],
        [300, 0, 600, 400],
    ]
    panorama = first_windows((100, 9000), 0.75)
    assert len(panorama) == 6
    assert panorama[-1].tolist() == [8925, 0, 9000, 100]
    assert len(first_windows((1, 1), 0.75)) == 3


class Scripted(Poser):
    """Answers with given scores, look after look, at the crop's corners."""

    def __init__(self, *scores):
        super().__init__()
        self.scores = list(scores)

    def __call__(self, images):
        x = np.zeros((len(images), 133, SIZE[1] * 2), np.float32)
        y = np.zeros((len(images), 133, SIZE[0] * 2), np.float32)
        for i in range(len(images)):
            score = self.scores.pop(0)
            x[i, ::2, 20] = x[i, 1::2, 60] = score
            y[i, ::3, 20] = y[i, 1::3, 90] = y[i, 2::3, 60] = score
        return x, y


@pytest.mark.parametrize(
    ("scores", "used", "score"),
    [
        ((0.5, 0.6, 0.7), 3, 0.7),
        ((0.5, 0.4), 2, 0.5),  # a worse look ends it, and the better counts
        ((0.2, 0.6, 0.5), 3, 0.6),  # unsure at first
        ((0.2, 0.25, 0.28), 3, None),  # unsure to the end
        ((0.1,), 1, None),  # nothing to crop around
    ],
)
def test_the_best_look_counts(scores, used, score):
    session = Scripted(*scores, *[0.99] * 5)
    [people] = find_one_person(Estimator(session), [np.zeros((64, 48, 3), np.uint8)], rounds=2)
    assert len(session.scores) == len(scores) + 5 - used
    assert len(people) == (score is not None)
    if score is not None:
        np.testing.assert_allclose(people.scores, score, rtol=1e-6)


def test_fallback_looks_at_the_whole_picture_only_when_told(pose):
    faint = picture()
    faint[20:70, 80:100] = 245  # the detector knows 250, 240 and 230 only
    assert len(pose(faint)) == 0
    people = pose([faint, picture(B)], detector_fallback=True)
    assert [len(p) for p in people] == [1, 1]
    np.testing.assert_allclose(people[0].keypoints[0, 0], (80, 20), atol=3)


def test_who_was_boxed_and_is_in_the_whole_picture_too_counts_once():
    finder = Finder()
    finder.usage = Usage(rough_boxes=True)
    people = DWPose(Estimator(Poser()), PersonDetector(finder))(picture(A))
    assert len(people) == 1
    np.testing.assert_allclose(people.keypoints[0, 0], A[:2], atol=3)


def test_detector_threshold_of_one_call(pose):
    assert len(pose(picture(A, B), score_threshold=0.85)) == 1
    assert len(pose(picture(A, B))) == 2


def test_progress_and_interruption(pose):
    images = [picture(A, B)] * 5
    seen = []
    pose(images, on_batch=lambda done, total: seen.append((done, total)))
    assert [total for _, total in seen] == [5] * len(seen)
    dones = [done for done, _ in seen]
    assert dones == sorted(dones)
    assert dones[0] == 0
    assert dones[-1] == 5
    assert set(dones) == {0, 2, 4, 5}

    class Stop(Exception):
        pass

    def stop(done, total):
        if done:
            raise Stop

    with pytest.raises(Stop):
        pose(images, on_batch=stop)
    assert len(pose(images[0])) == 2  # and it still works


def test_stream_reads_files_one_group_at_a_time(pose, tmp_path):
    paths = [save_image(tmp_path / f"{i}.png", picture(A)) for i in range(4)]
    paths[3].unlink()
    stream = pose.iterate(paths)
    assert len(next(stream)) == 1
    assert len(next(stream)) == 1
    paths[2].unlink()
    with pytest.raises(FileNotFoundError, match=r"images\[2\]"):
        next(stream)


def test_flip_test_reaches_the_network(pose):
    pose(picture(A), flip_test=True)
    assert pose.estimator.session.asked == [2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"order": "tall"}, "order"),
        ({"max_people": 0}, "max_people"),
        ({"nms_threshold": 2}, "nms_threshold"),
        ({"nms_threshold": "none"}, "nms_threshold"),
        ({"rounds": -1}, "rounds"),
        ({"score_threshold": 7}, "score_threshold"),
    ],
)
def test_wrong_options_are_named(pose, options, words):
    with pytest.raises(ValueError, match=words):
        pose(picture(A), **options)


def test_wrong_pictures_are_named(pose):
    with pytest.raises(ValueError, match=r"^image must not be empty"):
        pose(np.zeros((0, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"^images\[1\] must be finite"):
        pose([picture(A), np.full((4, 4, 3), np.nan)])
    with pytest.raises(TypeError, match=r"^image must be"):
        pose(None)
    with pytest.raises(TypeError, match="unexpected keyword"):
        pose(picture(A), colour="red")


@pytest.mark.parametrize("hw", [(1, 1), (1, 900), (900, 1), (4320, 7680)])
def test_any_size_of_picture(pose, blind, hw):
    for model in (pose, blind):
        people = model(np.zeros((*hw, 3), np.uint8))
        assert len(people) == 0
        assert people.image_hw == hw


def test_what_runs_is_reported(pose, blind):
    assert set(pose.info) == {"estimator", "detector"}
    assert set(blind.info) == {"estimator"}
    assert str(pose.info["estimator"]) == "torch on cpu in fp32 (a stub)"
