"""`dwpose image` from the command line to the files, with a stand-in for the networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dwpose.cli import main
from dwpose.commands import image as command
from dwpose.io import openpose_json
from dwpose.render import draw_pose_map, overlay
from dwpose.types import Boxes, People

HW = (60, 80)


class FakeModel:
    """Finds people in every picture; fails where the first pixel is pure red."""

    notice = ""
    people_found = 2

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def pose(self, image: np.ndarray, **options: Any) -> People:
        self.calls.append(options)
        if tuple(image[0, 0]) == (255, 0, 0):
            raise ValueError("a red picture\nand more")
        count = self.people_found
        rng = np.random.default_rng(0)
        keypoints = rng.uniform(5, 55, (count, 133, 2)).astype(np.float32)
        scores = rng.uniform(0.2, 1, (count, 133)).astype(np.float32)
        boxes = Boxes(np.tile(np.float32([5, 5, 55, 55]), (count, 1)))
        return People(keypoints, scores, boxes, image.shape[:2])


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    fake = FakeModel()
    monkeypatch.setattr(command, "open_model", lambda args, say: fake)
    return fake


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, rgb: tuple[int, int, int] = (10, 20, 30)) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(".png", np.full((*HW, 3), rgb[::-1], np.uint8))
        assert done
        path.write_bytes(data.tobytes())
        return path

    return make


def _read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def _files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_the_pose_map_alone_by_default(model: FakeModel, picture: Callable, tmp_path: Path):
    out = tmp_path / "out"
    assert main(["image", str(picture("a.png")), "-o", str(out)]) == 0
    assert _files(out) == ["a_pose.png"]
    people = model.pose(np.zeros((*HW, 3), np.uint8))
    np.testing.assert_array_equal(_read(out / "a_pose.png"), draw_pose_map(people))


def test_keypoints_and_overlay(model: FakeModel, picture: Callable, tmp_path: Path):
    out = tmp_path / "out"
    source = picture("a.png")
    assert main(["image", str(source), "-o", str(out), "--json", "--overlay"]) == 0
    assert _files(out) == ["a_keypoints.json", "a_overlay.png", "a_pose.png"]
    people = model.pose(np.zeros((*HW, 3), np.uint8))
    (loaded,) = openpose_json.load(out / "a_keypoints.json")
    np.testing.assert_array_equal(loaded.keypoints, people.keypoints)
    np.testing.assert_array_equal(loaded.scores, people.scores)
    np.testing.assert_array_equal(_read(out / "a_overlay.png"), overlay(_read(source), people))


def test_style_size_parts_and_thresholds_reach_the_drawing(
    model: FakeModel, picture: Callable, tmp_path: Path
):
    out = tmp_path / "out"
    words = ["--style", "xinsir", "--size", "160", "--parts", "body,hands"]
    words += ["--threshold", "body=0.5,hands=0.6", "--json"]
    assert main(["image", str(picture("a.png")), "-o", str(out), *words]) == 0
    expected = draw_pose_map(
        model.pose(np.zeros((*HW, 3), np.uint8)),
        (120, 160),
        "xinsir",
        body=True,
        hands=True,
        face=False,
        feet=False,
        body_threshold=0.5,
        hand_threshold=0.6,
    )
    np.testing.assert_array_equal(_read(out / "a_pose.png"), expected)
    (frame,) = json.loads((out / "a_keypoints.json").read_text())
    assert frame["people"][0]["dwpose"]["threshold"] == 0.5


def test_people_options_reach_the_pipeline(model: FakeModel, picture: Callable, tmp_path: Path):
    words = ["--max-people", "3", "--order", "size", "-o", str(tmp_path / "out")]
    assert main(["image", str(picture("a.png")), *words]) == 0
    assert model.calls[0] == {"max_people": 3, "order": "size"}


def test_a_bad_picture_is_named_and_the_rest_is_done(
    model: FakeModel, picture: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    broken = tmp_path / "in" / "broken.jpg"
    paths = [picture("a.png"), picture("red.png", (255, 0, 0)), broken, picture("z.png")]
    broken.write_bytes(b"no picture at all")
    gone = tmp_path / "in" / "gone.png"
    assert main(["image", *map(str, [*paths, gone]), "-o", str(out)]) == 1
    assert _files(out) == ["a_pose.png", "z_pose.png"]
    err = capsys.readouterr().err
    assert f"{tmp_path / 'in' / 'red.png'}: a red picture\n" in err
    assert str(broken) in err
    assert str(gone) in err
    assert "2 pictures with 4 people done" in err
    assert "3 failed" in err
    assert "Traceback" not in err


def test_pictures_of_equal_names_are_both_kept(model: FakeModel, picture: Callable, tmp_path: Path):
    out = tmp_path / "out"
    paths = [str(picture("a/x.png")), str(picture("b/x.png"))]
    assert main(["image", *paths, "-o", str(out)]) == 0
    assert _files(out) == ["a_x_pose.png", "b_x_pose.png"]


def test_folders_keep_their_tree(model: FakeModel, picture: Callable, tmp_path: Path):
    picture("x.png")
    picture("sub/y.png")
    out = tmp_path / "out"
    assert main(["image", str(tmp_path / "in"), "-o", str(out), "--recursive"]) == 0
    assert _files(out) == ["sub/y_pose.png", "x_pose.png"]


def test_skip_existing_does_what_is_missing(model: FakeModel, picture: Callable, tmp_path: Path):
    out = tmp_path / "out"
    first, second = str(picture("a.png")), str(picture("b.png"))
    assert main(["image", first, "-o", str(out)]) == 0
    before = (out / "a_pose.png").stat().st_mtime_ns
    assert main(["image", first, second, "-o", str(out), "--skip-existing"]) == 0
    assert len(model.calls) == 2
    assert (out / "a_pose.png").stat().st_mtime_ns == before
    # A result more is wanted now, so both are done again.
    assert main(["image", first, second, "-o", str(out), "--skip-existing", "--json"]) == 0
    assert len(model.calls) == 4


def test_results_of_another_picture_are_not_taken(
    model: FakeModel, picture: Callable, tmp_path: Path
):
    out = tmp_path / "out"
    first, second = str(picture("a/x.png")), str(picture("b/x.png", (40, 50, 60)))
    more = ["--skip-existing", "--overlay"]
    assert main(["image", first, "-o", str(out), "--json", *more]) == 0
    assert main(["image", second, "-o", str(out), *more]) == 0
    np.testing.assert_array_equal(
        _read(out / "x_overlay.png"), overlay(_read(Path(second)), model.pose(_read(Path(second))))
    )
    calls = len(model.calls)
    assert main(["image", second, "-o", str(out), *more]) == 0
    assert main(["image", second, "-o", str(out), "--skip-existing"]) == 0
    assert len(model.calls) == calls
    # The keypoints there are still those of the first.
    assert main(["image", second, "-o", str(out), "--json", *more]) == 0
    assert len(model.calls) == calls + 1
    picture("b/x.png", (70, 80, 90))  # an edited picture is another one
    assert main(["image", second, "-o", str(out), "--json", *more]) == 0
    assert len(model.calls) == calls + 2


def test_links_to_pictures_have_results(model: FakeModel, picture: Callable, tmp_path: Path):
    source = picture("a.png")
    for name in ("in/link.png", "in/sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).symlink_to(source)
    out = tmp_path / "out"
    assert main(["image", str(tmp_path / "in"), str(source), "-r", "-o", str(out)]) == 0
    assert _files(out) == ["a_pose.png", "link_pose.png", "sub/a_pose.png"]
    out = tmp_path / "flat"
    assert main(["image", str(source), str(tmp_path / "in/sub/a.png"), "-o", str(out)]) == 0
    assert _files(out) == ["in_a_pose.png", "sub_a_pose.png"]


def test_names_too_long_are_failures_of_their_own(
    model: FakeModel, picture: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    long = picture(f"{'x' * 251}.png")  # its results have 260 characters
    words = [str(long), str(tmp_path / f"{'y' * 300}.png"), str(picture("a.png"))]
    assert main(["image", *words, "-o", str(out), "--skip-existing"]) == 1
    assert _files(out) == ["a_pose.png"]
    assert "2 failed" in capsys.readouterr().err


def test_nobody_gives_an_empty_map(model: FakeModel, picture: Callable, tmp_path: Path):
    model.people_found = 0
    out = tmp_path / "out"
    assert main(["image", str(picture("a.png")), "-o", str(out), "--json"]) == 0
    assert not _read(out / "a_pose.png").any()
    (frame,) = json.loads((out / "a_keypoints.json").read_text())
    assert frame["people"] == []


def test_a_picture_is_never_overwritten_by_a_result(
    model: FakeModel, picture: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = picture("a.png"), picture("a_pose.png", (1, 2, 3))
    before = second.read_bytes()
    assert main(["image", str(first), str(second), "-o", str(first.parent)]) == 2
    assert second.read_bytes() == before
    assert "would overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out", "pose.png"])
def test_results_go_into_a_folder(
    model: FakeModel,
    picture: Callable,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "out").write_text("a file, not a folder")
    assert main(["image", str(picture("a.png")), "-o", str(tmp_path / name)]) == 2
    assert "-o takes a folder" in capsys.readouterr().err
    assert not (tmp_path / "pose.png").exists()


def test_a_result_that_cannot_be_written_is_a_failure(
    model: FakeModel, picture: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "out" / "a_pose.png").mkdir(parents=True)
    words = [str(picture("a.png")), str(picture("b.png")), "-o", str(tmp_path / "out")]
    assert main(["image", *words]) == 1
    assert "a.png" in capsys.readouterr().err
    assert (tmp_path / "out" / "b_pose.png").is_file()


@pytest.mark.parametrize("pattern", ["empty", "empty/*.jpg"])
def test_nothing_to_do_is_a_wrong_call(
    model: FakeModel, tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "empty").mkdir()
    assert main(["image", str(tmp_path / pattern), "-o", str(tmp_path / "out")]) == 2
    assert "no picture" in capsys.readouterr().err


def test_an_unknown_model_is_a_wrong_call(
    picture: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--model", "dw-ll-383", "-o", str(tmp_path / "out")]
    assert main(["image", str(picture("a.png")), *words]) == 2
    assert "dw-ll-384" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
