"""Save Keypoints and Load Keypoints."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HW = (80, 60)


@pytest.fixture(scope="module")
def node(pack):
    return pack("nodes.keypoints")


@pytest.fixture
def base(folder_paths, tmp_path, monkeypatch):
    """Fresh input and output folders."""
    for name in ("input", "output"):
        (tmp_path / name).mkdir()
        path = str(tmp_path / name)
        monkeypatch.setattr(folder_paths, f"get_{name}_directory", lambda path=path: path)
    return tmp_path


@pytest.fixture(scope="module")
def pose(pack):
    types = pack("dwpose.types")

    def make(*counts, threshold=None):
        found = []
        for seed, count in enumerate(counts):
            rng = np.random.default_rng(seed)
            boxes = types.Boxes(np.tile([[1, 2, 50.5, 70]], (count, 1)))
            points, scores = rng.uniform(1, 50, (count, 133, 2)), rng.uniform(0, 1, (count, 133))
            found.append(types.People(points, scores, boxes, HW))
        return pack("nodes.sockets").write_poses(found, threshold)

    return make


def save(node, *args, **options):
    return node.SaveKeypoints.execute(*args, **options)[0]


def load(node, **options):
    return node.LoadKeypoints.execute(**options).args


@pytest.mark.parametrize("kind", ["OpenPose JSON", "OpenPose JSON per frame"])
def test_what_is_saved_is_loaded(node, base, pose, kind):
    given = pose(2, 0, 1, threshold=0.5)
    path = save(node, given, format=kind)
    assert path.endswith(" [output]")
    assert not [*(base / "output").rglob("*.tmp")]
    frames = 3 if "per frame" in kind else 1
    assert len([*(base / "output" / "DWPose").rglob("*.json")]) == frames
    back, count = load(node, path=path)
    assert count == 3
    theirs = [[p["dwpose"]["keypoints"] for p in f["people"]] for f in given]
    assert [[p["dwpose"]["keypoints"] for p in f["people"]] for f in back] == theirs
    # The same from the list of files.
    assert path in node.list_files()
    assert load(node, file=path) == (back, count)


def test_the_threshold_of_the_poses_is_kept_in_the_file(node, base, pose):
    given = pose(1, threshold=0.9)
    save(node, given, filename_prefix="a")
    (written,) = json.loads((base / "output" / "a_00001_.json").read_text())
    assert written["people"][0]["pose_keypoints_2d"] == given[0]["people"][0]["pose_keypoints_2d"]


def test_coco_json_keeps_what_is_shown(node, base, pose):
    path = save(node, pose(2, 0, 1), format="COCO JSON")
    back, count = load(node, path=path)
    assert count == 3
    assert [len(f["people"]) for f in back] == [2, 0, 1]
    assert (back[1]["canvas_height"], back[1]["canvas_width"]) == HW
    given = pose(2)[0]["people"][0]["hand_left_keypoints_2d"]
    np.testing.assert_allclose(back[0]["people"][0]["hand_left_keypoints_2d"], given)


def test_coco_results_need_the_size(node, base, pose):
    point = [1, 2, 0.9]
    results = [{"image_id": n, "keypoints": point * 17, "score": 0.5} for n in (7, 3, 7)]
    (base / "input" / "r.json").write_text(json.dumps(results))
    with pytest.raises(ValueError, match=r"r\.json.*canvas_width"):
        load(node, file="r.json")
    back, _ = load(node, file="r.json", canvas_width=40, canvas_height=30)
    assert [len(f["people"]) for f in back] == [1, 2]
    assert back[0]["canvas_width"] == 40


def test_files_are_numbered_and_never_overwritten(node, base, pose):
    paths = [save(node, pose(1), filename_prefix="sub/%width%") for _ in range(3)]
    assert paths == [f"sub/60_0000{n}_.json [output]" for n in (1, 2, 3)]
    for prefix in ("poses/", "sub//more/.", "up/../down/"):
        assert len({save(node, pose(1), filename_prefix=prefix) for _ in range(3)}) == 3
    folders = [save(node, pose(1), "f", "OpenPose JSON per frame") for _ in range(2)]
    assert folders == ["f_00001_/ [output]", "f_00002_/ [output]"]
    assert [p.name for p in (base / "output/f_00002_").iterdir()] == [
        "f_000000000000_keypoints.json"
    ]


def test_plain_files_on_demand(node, base, pose):
    save(node, pose(1), filename_prefix="p", confidence="score", keep_everything=False)
    ((person,),) = [f["people"] for f in json.loads((base / "output/p_00001_.json").read_text())]
    assert "dwpose" not in person
    assert 0 < max(person["face_keypoints_2d"][2::3]) < 1


ESCAPES = ["../x", "a/../../x", "/etc/x", "..", "sub/../../out2/x", "C:/../../x"]


@pytest.mark.parametrize("prefix", ESCAPES)
def test_no_file_is_saved_outside(node, base, pose, prefix):
    before = sorted(base.rglob("*"))
    with pytest.raises(ValueError, match="filename_prefix"):
        save(node, pose(1), filename_prefix=prefix)
    assert sorted(base.rglob("*")) == before


@pytest.mark.parametrize("prefix", ["", "  ", "/", ".", "a\0b"])
def test_a_name_is_needed(node, base, pose, prefix):
    with pytest.raises(ValueError, match="filename_prefix is empty"):
        save(node, pose(1), filename_prefix=prefix)


@pytest.mark.parametrize("end", ["", " [input]", " [output]", "[output]"])
@pytest.mark.parametrize("name", ["../secret.json", "a/../../secret.json", "{}/secret.json", ".."])
def test_no_file_is_read_outside(node, base, pose, name, end):
    (base / "secret.json").write_text(json.dumps(pose(1)))
    name = name.format(base) + end
    for options in ({"file": name}, {"path": name}):
        with pytest.raises(ValueError, match="leads out of"):
            load(node, **options)
    assert node.LoadKeypoints.fingerprint_inputs(file=name) == "missing"


def test_a_neighbour_with_the_same_start_is_outside(node, base, pose):
    (base / "input2").mkdir()
    (base / "input2" / "a.json").write_text(json.dumps(pose(1)))
    with pytest.raises(ValueError, match="leads out of"):
        load(node, path=f"{base}/input2/a.json")
    with pytest.raises(ValueError, match="leads out of"):
        load(node, path="../input2/a.json")


def test_paths_inside_are_found(node, base, pose):
    (base / "input" / "a").mkdir()
    target = base / "input" / "a" / "b.json"
    target.write_text(json.dumps(pose(1)))
    for name in ("a/b.json", "a/../a/b.json", " a/b.json [input]", str(target)):
        assert load(node, path=name)[1] == 1


def test_the_list_shows_new_files_and_folders_of_frames(node, base, pose):
    assert node.list_files() == []
    (base / "input" / "one.json").write_text("[]")
    (base / "input" / ".hidden.json").write_text("[]")
    (base / "input" / "picture.png").write_text("")
    frames = base / "output" / "run" / "frames"
    frames.mkdir(parents=True)
    for n in range(3):
        (frames / f"f_{n:012d}_keypoints.json").write_text("{}")
    for path in (base / "input", base / "output"):
        os.utime(path, (1, 1))  # the clock may be too coarse to show the change
    assert node.list_files() == ["one.json", "run/frames/ [output]"]
    options = node.LoadKeypoints.GET_SCHEMA().inputs[0].options
    assert options == [node.BY_PATH, "one.json", "run/frames/ [output]"]


def test_a_changed_file_is_read_again(node, base, pose):
    path = base / "input" / "a.json"
    path.write_text(json.dumps(pose(1)))
    first = node.LoadKeypoints.fingerprint_inputs(file="a.json")
    assert node.LoadKeypoints.fingerprint_inputs(file="a.json") == first
    path.write_text(json.dumps(pose(1, 1)))
    assert node.LoadKeypoints.fingerprint_inputs(file="a.json") != first
    # A linked path is not known yet when ComfyUI asks: it may lead to a file that changed.
    assert math.isnan(node.LoadKeypoints.fingerprint_inputs(file=node.BY_PATH, path=None))
    assert math.isnan(node.LoadKeypoints.fingerprint_inputs(file=None, path=""))
    assert math.isnan(node.LoadKeypoints.fingerprint_inputs(file=None, path="a.json"))


def test_openpose_files_without_a_size(node, base):
    body = [10.0, 20.0, 0.8] * 25
    (base / "input" / "o.json").write_text(json.dumps({"people": [{"pose_keypoints_2d": body}]}))
    back, count = load(node, file="o.json", canvas_width=40, canvas_height=30)
    assert (count, back[0]["canvas_height"], back[0]["canvas_width"]) == (1, 30, 40)


def test_faults_are_told(node, base, pose):
    with pytest.raises(ValueError, match="no file is chosen"):
        load(node)
    with pytest.raises(FileNotFoundError, match=r"no file 'x\.json'"):
        load(node, file="x.json")
    with pytest.raises(FileNotFoundError, match=r"'x\.json'; put it into the input folder"):
        load(node, path="x.json")
    for path in ("x.json [output]", str(base / "output" / "x.json")):
        with pytest.raises(FileNotFoundError, match=r"put it into the output folder and press R"):
            load(node, path=path)
    with pytest.raises(ValueError, match="path is empty"):
        load(node, path="[output]")
    (base / "input" / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"bad\.json: this is not JSON"):
        load(node, file="bad.json")
    (base / "input" / "other.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"other\.json"):
        load(node, file="other.json")
    (base / "input" / "none.json").write_text("[]")
    with pytest.raises(ValueError, match="no frames"):
        load(node, file="none.json")
    with pytest.raises(ValueError, match="both canvas_width"):
        load(node, file="none.json", canvas_width=3)
    with pytest.raises(ValueError, match="format must be one of"):
        save(node, pose(1), format="xml")
    with pytest.raises(ValueError, match="no frames"):
        save(node, [])


# In ComfyUI's own process, with its own folder_paths and interface.
REAL = """
import importlib.util, json, sys
from comfy.cli_args import args
args.cpu = True
import folder_paths
root, base, pose = sys.argv[1:]
folder_paths.set_input_directory(base + "/input")
folder_paths.set_output_directory(base + "/output")
folder_paths.set_temp_directory(base + "/temp")
spec = importlib.util.spec_from_file_location("the_pack", root + "/__init__.py")
module = importlib.util.module_from_spec(spec)
sys.modules["the_pack"] = module
spec.loader.exec_module(module)
import asyncio
extension = asyncio.run(module.comfy_entrypoint())
nodes = {n.GET_SCHEMA().node_id: n for n in asyncio.run(extension.get_node_list())}
pose = json.loads(pose)
save, load = nodes["DWPose_SaveKeypoints"], nodes["DWPose_LoadKeypoints"]
paths = [save.execute(pose, format=f).args[0] for f in ("OpenPose JSON", "OpenPose JSON per frame")]
again = save.execute(pose).args[0]
counts = [load.execute(path=p).args[1] for p in paths]
refused = 0
for act in (lambda: save.execute(pose, filename_prefix="../x"), lambda: load.execute(path="../x")):
    try:
        act()
    except ValueError:
        refused += 1
shown = nodes["DWPose_PreviewKeypoints"].execute(pose).ui["dwpose_preview"]
maps = nodes["DWPose_DrawPoseMap"].execute(pose).args[0]
masks = nodes["DWPose_KeypointsToMasks"].execute(pose).args[0]
kept = nodes["DWPose_SelectPeople"].execute(pose).args[2]
print(json.dumps([paths, again, counts, refused, shown[0]["frames"], list(maps.shape),
                  list(masks.shape), kept]))
"""


@pytest.mark.slow
def test_on_a_real_core(comfyui_path, comfyui_python, tmp_path, pose):
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [comfyui_python, "-c", REAL, str(root), str(tmp_path), json.dumps(pose(1, 0))],
        cwd=comfyui_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(comfyui_path)},
    )
    if "No module named" in done.stderr and comfyui_python == sys.executable:
        pytest.skip("this interpreter lacks ComfyUI's requirements; set COMFYUI_PYTHON")
    assert done.returncode == 0, done.stderr
    paths, again, counts, refused, frames, maps, masks, kept = json.loads(
        done.stdout.splitlines()[-1]
    )
    assert paths[0] == "DWPose/keypoints_00001_.json [output]"
    assert paths[1].startswith("DWPose/keypoints_")
    assert again not in paths
    assert (counts, refused, frames, kept) == ([2, 2], 2, 2, 1)
    assert (maps, masks) == ([2, *HW, 3], [2, *HW])
