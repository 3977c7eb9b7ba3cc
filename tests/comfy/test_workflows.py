"""The example workflows fit the nodes: ids, links, widget values; and each has its thumbnail.

Whether they run is tried in a real ComfyUI; this finds the ones that a changed node broke.
"""

from __future__ import annotations

import asyncio
import json
import struct
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "example_workflows"
NAMES = (
    "photo-to-skeleton",
    "skeleton-over-photo",
    "several-people-pick-one",
    "keypoints-to-face-and-hand-crops",
    "video-frames-to-pose-video",
    "controlnet-with-checkpoint",
    "video-to-steady-pose-video",
    "wan-animate-retarget",
    "wan-animate-faces-and-poses",
)
SOCKETS = {"IMAGE", "MASK", "VIDEO", "BBOX", "SEGS", "POSE_KEYPOINT", "DWPOSE_MODEL"}
TITLE = 30


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def schemas(pack):
    extension = asyncio.run(pack().comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


def fits(item: Any, value: Any) -> bool:
    """Whether a saved value is one that the input takes."""
    options = getattr(item, "options", None)
    if options:
        return value in options
    if isinstance(item.default, bool):
        return isinstance(value, bool)
    if isinstance(item.default, (int, float)):
        return not isinstance(value, bool) and item.min <= value <= item.max
    return isinstance(value, str)


def test_the_folder_holds_these_and_their_pictures():
    assert {path.name for path in FOLDER.iterdir()} == {
        f"{name}{end}" for name in NAMES for end in (".json", ".jpg")
    }


@pytest.mark.parametrize("name", NAMES)
def test_nodes_and_values_are_those_of_the_schemas(schemas, name):
    workflow = read(name)
    ours = [node for node in workflow["nodes"] if node["type"].startswith("DWPose_")]
    assert ours
    for node in ours:
        schema = schemas[node["type"]]
        widgets = [i for i in schema.inputs if i.get_io_type() not in SOCKETS]
        values = node["widgets_values"] if widgets else []
        # A preview's own widget is not saved; nothing may stand between the values.
        assert len(values) == len(widgets), node["type"]
        for item, value in zip(widgets, values, strict=True):
            assert fits(item, value), f"{node['type']}.{item.id} = {value!r}"
        names = {i["name"]: i for i in node["inputs"]}
        for item in schema.inputs:
            assert names[item.id]["type"] == item.get_io_type()
            if item.get_io_type() in SOCKETS and not item.optional:
                assert names[item.id]["link"] is not None
        outputs = [output["type"] for output in node["outputs"] or []]
        assert outputs == [str(o.io_type) for o in schema.outputs]


@pytest.mark.parametrize("name", NAMES)
def test_links_join_equal_types(name):
    workflow = read(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, source, output, target, place, kind in workflow["links"]:
        assert nodes[source]["outputs"][output]["type"] == kind
        assert number in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][place]["link"] == number


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_and_a_note_explains(name):
    nodes = read(name)["nodes"]
    for i, one in enumerate(nodes):
        for other in nodes[i + 1 :]:
            apart = (
                one["pos"][0] + one["size"][0] <= other["pos"][0]
                or other["pos"][0] + other["size"][0] <= one["pos"][0]
                or one["pos"][1] + one["size"][1] <= other["pos"][1] - TITLE
                or other["pos"][1] + other["size"][1] <= one["pos"][1] - TITLE
            )
            assert apart, f"{one['type']} and {other['type']} overlap"
    notes = [node["widgets_values"][0] for node in nodes if node["type"] == "MarkdownNote"]
    assert len(notes) == 1
    assert notes[0].startswith("## ")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_one_that_says_so_needs_files(name):
    types = {node["type"] for node in read(name)["nodes"]}
    needy = {kind for kind in types if "Loader" in kind or kind.startswith("Load")}
    assert bool(needy) == (name == "controlnet-with-checkpoint")


@pytest.mark.parametrize("name", NAMES)
def test_thumbnails_are_small_jpegs(name):
    data = (FOLDER / f"{name}.jpg").read_bytes()
    assert data[:2] == b"\xff\xd8"
    assert len(data) < 60_000
    start = data.index(b"\xff\xc0")
    height, width = struct.unpack(">HH", data[start + 5 : start + 9])
    assert (width, height) == (640, 480)
