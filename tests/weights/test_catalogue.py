"""The table is whole, consistent and honest about what it does not know."""

from __future__ import annotations

import re

import pytest

from dwpose.weights.catalogue import (
    BUILTIN_DETECTOR,
    BUILTIN_ESTIMATOR,
    CATALOGUE,
    DEFAULT_DETECTOR,
    DEFAULT_ESTIMATOR,
    find,
)

ENTRIES = list(CATALOGUE.values())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_an_entry_is_whole(entry):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", entry.id)
    assert entry.about
    assert entry.licence
    assert all(side % 32 == 0 for side in entry.input_size_hw)
    assert entry.role in ("estimator", "detector")
    assert entry.family in ("rtmpose", "yolox", "onnx")
    assert entry.suffix in (".onnx", ".pth", ".safetensors")
    for digest in (entry.sha256, entry.archive_sha256):
        assert digest is None or re.fullmatch(r"[0-9a-f]{64}", digest)
    assert entry.builtin or entry.repo or entry.url
    assert (entry.repo is None) == (entry.revision is None)
    if entry.member:
        assert entry.filename.endswith(".zip")
        assert entry.suffix == ".onnx"
    if entry.url:
        assert entry.url.startswith("https://")
        assert entry.url.endswith(entry.filename.rsplit("/", 1)[-1])
    # Other graphs have no weights of ours to load.
    assert entry.family != "onnx" or entry.suffix == ".onnx"


def test_a_revision_is_a_commit_unless_the_file_is_trusted_on_first_use():
    for entry in ENTRIES:
        if entry.revision and not re.fullmatch(r"[0-9a-f]{40}", entry.revision):
            assert entry.sha256 is None, entry.id


def test_names_on_disk_and_checksums_are_unique():
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    digests = [d for e in ENTRIES for d in (e.sha256, e.archive_sha256) if d]
    assert len(set(digests)) == len(digests)


def test_the_official_files_carry_their_published_facts():
    # From the hub's own file pointers of yzd-v/DWPose.
    assert find("dw-ll-384").sha256.startswith("724f4ff2439ed61a")
    assert find("dw-ll-384").bytes == 134399116
    assert find("yolox-l").sha256.startswith("7860ae79de6c89a3")
    assert find("yolox-l").bytes == 216746733
    for id in ("dw-ll-384-pth", "dw-ll-pth", "dw-mm-pth", "dw-ss-pth", "dw-tt-pth"):
        assert find(id).repo == "yzd-v/DWPose"
        assert find(id).sha256


def test_the_defaults_are_there():
    assert find(DEFAULT_ESTIMATOR).role == "estimator"
    assert find(DEFAULT_DETECTOR).role == "detector"
    assert find(BUILTIN_ESTIMATOR).builtin
    assert find(BUILTIN_DETECTOR).builtin


@pytest.mark.parametrize(
    ("wrong", "near"), [("dw-ll-385", "dw-ll-384"), ("YOLOX-L", "yolox-l"), ("rtmw", "rtmw")]
)
def test_a_mistyped_id_names_its_neighbours(wrong, near):
    with pytest.raises(ValueError, match=f"did you mean .*{near}"):
        find(wrong)


def test_a_strange_id_points_to_the_list():
    with pytest.raises(ValueError, match="dwpose models list"):
        find("§§§")
    with pytest.raises(TypeError, match="id must be"):
        find(3)  # type: ignore[arg-type]
