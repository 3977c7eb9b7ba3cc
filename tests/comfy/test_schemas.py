"""Every node's schema: documented, findable, and unchanged where workflows rely on it.

`snapshot.json` holds ids, inputs, outputs and combo values as they were released. Additions at the
end are allowed; DWPOSE_WRITE_SNAPSHOT=1 pytest tests/comfy/test_schemas.py writes it anew.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import os
from pathlib import Path

import pytest

SNAPSHOT = Path(__file__).with_name("snapshot.json")
WRITE = "DWPOSE_WRITE_SNAPSHOT"


@pytest.fixture(scope="module")
def nodes(pack):
    extension = asyncio.run(pack().comfy_entrypoint())
    return asyncio.run(extension.get_node_list())


@pytest.fixture
def schemas(nodes, models_folder):
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


def describe(schema) -> dict:
    """What saved workflows rely on."""
    return {
        "inputs": [
            {"id": i.id, "type": i.get_io_type(), "optional": i.optional}
            | ({"options": list(i.options)} if getattr(i, "options", None) else {})
            for i in schema.inputs
        ],
        "outputs": [{"id": o.id, "type": str(o.io_type)} for o in schema.outputs],
    }


def broken(released: dict, now: dict) -> list[str]:
    """What workflows saved with the released nodes would trip over."""
    found = []
    for node_id, before in released.items():
        if node_id not in now:
            found.append(f"{node_id} is gone")
            continue
        for kind in ("inputs", "outputs"):
            for place, item in enumerate(before[kind]):
                after = now[node_id][kind][place : place + 1]
                same = [{k: v for k, v in a.items() if k != "options"} for a in after]
                if same != [{k: v for k, v in item.items() if k != "options"}]:
                    found.append(f"{node_id}: {kind} {place} was {item['id']}")
                    continue
                lost = set(item.get("options", [])) - set(after[0].get("options", []))
                found += [f"{node_id}: {item['id']} lost {value!r}" for value in sorted(lost)]
    return found


def test_every_node_of_the_table_loads(pack, nodes, caplog):
    module = pack("nodes")
    with caplog.at_level(logging.WARNING):
        assert len(module.load_nodes()) == len(nodes)
    assert caplog.text == ""
    assert len(nodes) == sum(len(classes) for _, classes in module.NODES) > 0


def test_a_module_that_fails_does_not_take_the_others_down(pack, caplog):
    module = pack("nodes")
    table = (("no_such_module", ("Gone",)), ("doctor", ("Doctor",)), ("doctor", ("Nobody",)))
    with caplog.at_level(logging.WARNING):
        found = module.load_nodes(table)
    assert [node.__name__ for node in found] == ["Doctor"]
    assert "without the nodes Gone" in caplog.text
    assert "without the nodes Nobody" in caplog.text


def test_a_schema_that_fails_does_not_take_the_others_down(pack, caplog, monkeypatch):
    doctor = pack("nodes.doctor").Doctor
    monkeypatch.setattr(doctor, "define_schema", classmethod(lambda cls: 1 / 0))
    table = (("doctor", ("Doctor",)), ("models", ("LoadModel",)))
    with caplog.at_level(logging.WARNING):
        found = pack("nodes").load_nodes(table)
    assert [node.__name__ for node in found] == ["LoadModel"]
    assert "ZeroDivisionError" in caplog.text


def test_everything_is_named_and_explained(schemas):
    missing = []
    for node_id, schema in schemas.items():
        assert node_id.startswith("DWPose_")
        assert schema.category == "DWPose"
        assert schema.display_name
        if len(schema.description) < 40:
            missing.append(node_id)
        for item in (*schema.inputs, *schema.outputs):
            if not item.tooltip or len(item.tooltip) < 10:
                missing.append(f"{node_id}.{item.id}")
        missing += [f"{node_id}.{o.id} name" for o in schema.outputs if not o.display_name]
    assert missing == []


def test_the_main_node_takes_the_place_of_the_usual_one(schemas):
    # controlnet_aux's DWPreprocessor: IMAGE in, IMAGE and POSE_KEYPOINT out, in this order.
    schema = schemas["DWPose_Estimator"]
    assert (schema.inputs[0].id, schema.inputs[0].get_io_type()) == ("image", "IMAGE")
    assert [str(o.io_type) for o in schema.outputs[:2]] == ["IMAGE", "POSE_KEYPOINT"]
    # Nothing else has to be connected.
    sockets = {"IMAGE", "MASK", "BBOX", "SEGS", "POSE_KEYPOINT", "DWPOSE_MODEL"}
    needed = [i.id for i in schema.inputs if i.get_io_type() in sockets and not i.optional]
    assert needed == ["image"]


def test_execute_takes_the_inputs_with_their_defaults(nodes):
    import inspect

    for node in nodes:
        schema = node.GET_SCHEMA()
        taken = inspect.signature(node.execute).parameters
        if any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            continue
        assert list(taken) == [i.id for i in schema.inputs], schema.node_id
        for item in schema.inputs:
            default = taken[item.id].default
            if item.optional:
                assert default is None or default == getattr(item, "default", None), item.id
            elif default is not inspect.Parameter.empty and hasattr(item, "default"):
                assert default == item.default, f"{schema.node_id}.{item.id}"


def test_released_nodes_have_not_changed(schemas):
    now = {node_id: describe(schema) for node_id, schema in schemas.items()}
    if os.environ.get(WRITE):
        SNAPSHOT.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
    released = json.loads(SNAPSHOT.read_text(encoding="utf-8"))
    assert broken(released, now) == []
    assert set(now) == set(released), f"new nodes: write the snapshot anew with {WRITE}=1"


def test_the_snapshot_notices_what_breaks_workflows(schemas):
    released = {node_id: describe(schema) for node_id, schema in schemas.items()}
    name = "DWPose_Estimator"

    def changed(change) -> list[str]:
        now = copy.deepcopy(released)
        change(now)
        return broken(released, now)

    style = next(i for i, item in enumerate(released[name]["inputs"]) if item["id"] == "style")
    assert changed(lambda now: now.pop(name)) == [f"{name} is gone"]
    assert changed(lambda now: now[name]["inputs"].insert(1, {"id": "new"}))
    assert changed(lambda now: now[name]["inputs"].pop())
    assert changed(lambda now: now[name]["outputs"].reverse())
    assert changed(lambda now: now[name]["inputs"][style]["options"].pop()) != []
    assert changed(lambda now: now[name]["inputs"][style].update(id="look")) != []
    assert changed(lambda now: now[name]["inputs"].append({"id": "new"})) == []
    assert changed(lambda now: now[name]["inputs"][style]["options"].append("new")) == []
