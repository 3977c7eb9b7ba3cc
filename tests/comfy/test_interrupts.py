"""Cancel within one frame: in every node, wherever in its work it comes.

The user presses Cancel while a node works on a frame; then no further frame may be begun.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

FRAMES = 6
HW = (48, 40)


@pytest.fixture(scope="module")
def poses(pack):
    types = pack("dwpose.types")
    rng = np.random.default_rng(0)
    boxes = types.Boxes(np.array([[2, 2, 38, 46]], np.float32), np.ones(1, np.float32))
    points = rng.uniform(4, 36, (133, 2))
    frames = [
        types.People((points + i / 9)[None], np.full((1, 133), 0.9), boxes, HW)
        for i in range(FRAMES)
    ]
    return pack("nodes.sockets").write_poses(frames)


@pytest.fixture
def works(pack, poses, folder_paths, make_model, tmp_path, monkeypatch):
    """What each node does with many frames, by name."""
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        path = str(tmp_path / name)
        monkeypatch.setattr(folder_paths, f"get_{name}_directory", lambda path=path: path)
    save, load = pack("nodes.keypoints").SaveKeypoints, pack("nodes.keypoints").LoadKeypoints
    for style in ("OpenPose JSON", "OpenPose JSON per frame", "COCO JSON"):
        save.execute(poses, filename_prefix=style.replace(" ", ""), format=style)
    results = [
        {"image_id": i, "category_id": 1, "keypoints": [9, 9, 1] * 17, "score": 1.0}
        for i in range(FRAMES)
    ]
    (tmp_path / "input" / "results.json").write_text(json.dumps(results))
    image = torch.zeros((FRAMES, *HW, 3))
    mask = torch.ones((FRAMES, 20, 20))
    estimate = pack("nodes.estimate")
    select = pack("nodes.people").SelectPeople.execute
    follow = "follow from one frame"
    model = make_model(detector=False)
    return {
        "estimate": lambda: estimate.PoseEstimator.execute(image, model=model),
        "estimate, masks": lambda: estimate.PoseEstimator.execute(image, model=model, mask=mask),
        "detect": lambda: estimate.DetectPeople.execute(image, model=make_model()),
        "keypoints": lambda: estimate.EstimateKeypoints.execute(image, model=make_model()),
        "draw": lambda: pack("nodes.render").DrawPoseMap.execute(poses),
        "draw on": lambda: pack("nodes.render").DrawPoseMap.execute(poses, image=image),
        "select": lambda: select(poses),
        "select, mask": lambda: select(poses, mask=mask),
        "follow": lambda: select(poses, across_frames=follow, frame=3),
        "masks": lambda: pack("nodes.masks").KeypointsToMasks.execute(
            poses, image=image, crop_size=32
        ),
        "save": lambda: save.execute(poses),
        "save each": lambda: save.execute(poses, format="OpenPose JSON per frame"),
        "save coco": lambda: save.execute(poses, format="COCO JSON"),
        "load": lambda: load.execute(path="OpenPoseJSON_00001_.json [output]"),
        "load each": lambda: load.execute(path="OpenPoseJSONperframe_00001_/ [output]"),
        "load coco": lambda: load.execute(path="COCOJSON_00001_.json [output]"),
        "load results": lambda: load.execute(
            path="results.json", canvas_width=40, canvas_height=48
        ),
        "preview": lambda: pack("nodes.preview").PreviewKeypoints.execute(poses, image=image),
    }


# What works on one frame, wherever nodes spend their time; the batches of networks are frames here.
STEPS = (
    ("dwpose.io.openpose_json", "_frame"),
    ("dwpose.io.openpose_json", "_encode"),
    ("dwpose.io.openpose_read", "_people"),
    ("dwpose.io.openpose_read", "_join"),
    ("dwpose.io.coco", "_instance"),
    ("dwpose.io.coco", "_points"),
    ("dwpose.io.coco_write", "_annotation"),
    ("dwpose.people", "_match"),
    ("dwpose.people", "select_people"),
    ("dwpose.parts", "find_regions"),
    ("dwpose.parts", "draw_regions"),
    ("dwpose.render", "draw_pose_map"),
    ("dwpose.render", "draw_pose_rgba"),
    ("nodes.preview", "describe_frame"),
    ("nodes.preview", "_write_picture"),
)
NODES = (
    *("estimate", "estimate, masks", "detect", "keypoints", "draw", "draw on", "select"),
    *("select, mask", "follow", "masks", "save", "save each", "save coco", "load", "load each"),
    *("load coco", "load results", "preview"),
)


@pytest.fixture
def begun(pack, management, monkeypatch):
    """The steps begun, in order; Cancel is pressed during step number `cancel_at`."""
    log: list[str] = []
    state = {"cancel_at": -1}

    def spied(name, before):
        def step(*args, **kwargs):
            if len(log) == state["cancel_at"]:
                management.interrupted = True
            log.append(name)
            return before(*args, **kwargs)

        return step

    for module, name in STEPS:
        owner = pack(module)
        monkeypatch.setattr(owner, name, spied(f"{module}.{name}", getattr(owner, name)))
    for module, name in (
        ("dwpose.estimator", "Estimator"),
        ("dwpose.detector", "PersonDetector"),
    ):
        owner = getattr(pack(module), name)
        monkeypatch.setattr(owner, "__call__", spied(name, owner.__call__))
    frames = pack("nodes.sockets").Frames
    monkeypatch.setattr(frames, "__getitem__", spied("Frames", frames.__getitem__))
    return log, state


@pytest.mark.parametrize("name", NODES)
def test_no_frame_is_begun_after_cancel(works, begun, management, name):
    log, state = begun
    log.clear()
    works[name]()
    steps = log.copy()
    assert steps, "nothing was seen of the work"
    for at in sorted({0, 1, len(steps) // 3, len(steps) // 2, len(steps) - 2, len(steps) - 1}):
        log.clear()
        state["cancel_at"] = at
        management.interrupted = False
        try:
            works[name]()
        except management.InterruptProcessingException:
            # Steps of the same frame may follow, each kind once.
            after = log[at + 1 :]
            assert len(set(after)) == len(after), (at, steps[at], after)
            assert len(after) <= 2, (at, steps[at], after)
        else:
            # Nothing but the last frame was left; ComfyUI stops before the next node.
            left = steps[at + 1 :]
            assert len(set(left)) == len(left) <= 2, (at, steps[at], left)
        assert log == steps[: len(log)]
