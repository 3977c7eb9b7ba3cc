"""Which pictures are found, and that no result overwrites another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from dwpose.commands.image_paths import Source, collect, output_stems


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.jpg",
        "a.PNG",
        "notes.txt",
        ".hidden.jpg",
        "sub/c.webp",
        "sub/b.jpg",
        "x[1].jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def _names(sources: list[Source], root: Path) -> list[str]:
    return [s.path.relative_to(root).as_posix() for s in sources]


def test_folder_gives_its_pictures_by_name(tree: Path):
    sources, missing = collect([str(tree)], recursive=False)
    assert _names(sources, tree) == ["a.PNG", "b.jpg", "x[1].jpg"]
    assert missing == []


def test_recursive_keeps_subfolders(tree: Path):
    sources, _ = collect([str(tree)], recursive=True)
    assert _names(sources, tree) == ["a.PNG", "b.jpg", "sub/b.jpg", "sub/c.webp", "x[1].jpg"]
    assert [s.relative.as_posix() for s in sources] == ["a", "b", "sub/b", "sub/c", "x[1]"]


def test_earlier_results_are_not_taken_for_pictures(tree: Path):
    for name in ("a_pose.png", "a_overlay.png", "sub/b_pose.png", "sub/b_keypoints.json"):
        (tree / name).write_bytes(b"")
    sources, _ = collect([str(tree)], recursive=True, output=tree / "sub")
    kept = ["a.PNG", "a_overlay.png", "a_pose.png", "b.jpg", "sub/b.jpg", "sub/c.webp", "x[1].jpg"]
    assert _names(sources, tree) == kept
    sources, _ = collect([str(tree)], recursive=True, output=tree)
    assert _names(sources, tree) == ["a.PNG", "b.jpg", "sub/b.jpg", "sub/c.webp", "x[1].jpg"]


def test_files_are_taken_whatever_their_ending_and_in_order(tree: Path):
    sources, _ = collect([str(tree / "notes.txt"), str(tree / "b.jpg")], recursive=False)
    assert _names(sources, tree) == ["notes.txt", "b.jpg"]


def test_globs_are_expanded(tree: Path):
    sources, missing = collect([str(tree / "**" / "b.*"), str(tree / "*.xyz")], recursive=False)
    assert _names(sources, tree) == ["b.jpg", "sub/b.jpg"]
    assert missing == [str(tree / "*.xyz")]


def test_globs_leave_earlier_results_out(tree: Path):
    (tree / "a_pose.png").write_bytes(b"")
    sources, _ = collect([str(tree / "*.png"), str(tree / "*.PNG")], False, output=tree)
    assert _names(sources, tree) == ["a.PNG"]


def test_a_file_with_brackets_is_itself(tree: Path):
    sources, _ = collect([str(tree / "x[1].jpg")], recursive=False)
    assert _names(sources, tree) == ["x[1].jpg"]


def test_a_missing_file_is_kept_to_be_reported(tree: Path):
    sources, missing = collect([str(tree / "gone.jpg")], recursive=False)
    assert _names(sources, tree) == ["gone.jpg"]
    assert missing == []


def test_the_same_picture_counts_once(tree: Path):
    twice = [str(tree / "b.jpg"), str(tree / "sub" / ".." / "b.jpg"), str(tree)]
    sources, _ = collect(twice, recursive=False)
    assert len(sources) == 3


def _stems(*paths: str) -> list[str]:
    sources = [Source(Path("/in", p), Path(Path(p).stem)) for p in paths]
    return [p.relative_to("out").as_posix() for p in output_stems(sources, Path("out"))]


def test_names_stay_where_they_are_unique():
    assert _stems("a/x.jpg", "b/y.jpg") == ["x", "y"]


def test_equal_names_take_their_folder():
    assert _stems("a/x.jpg", "b/x.jpg", "b/y.jpg") == ["a_x", "b_x", "y"]
    assert _stems("b/x.jpg", "a/x.jpg") == ["b_x", "a_x"]


def test_equal_names_in_a_folder_take_their_ending():
    assert _stems("a/x.jpg", "a/x.png") == ["a_x_jpg", "a_x_png"]


def test_names_that_differ_by_case_count_as_equal():
    assert _stems("a/X.jpg", "b/x.jpg") == ["a_X", "b_x"]


@pytest.mark.parametrize(
    "paths",
    [
        ("p/a/x.jpg", "q/a/x.jpg"),
        ("a/x.jpg", "b/x.jpg", "c/a_x.jpg"),
        ("a/x.jpg", "b/x.jpg", "c/a_x.jpg", "d/a_x.jpg", "c/a_x_jpg.png"),
        ("a/x_jpg.jpg", "a/x.jpg", "a/x.png", "a/a_x_jpg.bmp"),
    ],
)
def test_no_two_results_share_a_name(paths: tuple[str, ...]):
    stems = _stems(*paths)
    assert len(set(stems)) == len(paths)
