"""Every node has a help page that tells of every input and output, with a picture.

DWPOSE_WRITE_HELP=1 pytest tests/comfy/test_help_pages.py copies changed tooltips into the tables of
the pages; what is new in a page has to be written there by hand.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "web" / "docs"
LARGEST = 60_000
WRITE = "DWPOSE_WRITE_HELP"


@pytest.fixture(scope="module")
def schemas(pack):
    extension = asyncio.run(pack().comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    return {schema.node_id: schema for schema in (node.GET_SCHEMA() for node in nodes)}


def page(node_id: str) -> str:
    return (DOCS / f"{node_id}.md").read_text(encoding="utf-8")


def test_pages_and_nodes_belong_together(schemas):
    """The page asks for docs/ID/LANGUAGE.md, and where there is none, for docs/ID.md."""
    assert {path.stem for path in DOCS.glob("*.md")} == set(schemas)
    assert {path.parent.name for path in DOCS.glob("*/*.md")} <= set(schemas)


def told(item) -> str:
    """What a page must say of an input or output; the loader's lists of models are a table."""
    return item.tooltip.split(" Size and licence:")[0].replace("|", "\\|")


def with_tooltips(text: str, schema) -> str:
    """A page with the rows of its tables as the schema says."""
    inputs, outputs = text.split("## Outputs") if "## Outputs" in text else (text, "")
    for item in schema.inputs:
        row = re.compile(rf"^(\| `{item.id}`(?: \(optional\))? \| ).*?( \|)$", re.MULTILINE)
        inputs = row.sub(lambda m, item=item: m[1] + told(item) + m[2], inputs)
    for item in schema.outputs:
        row = re.compile(rf"^(\| `{item.display_name}` \| ).*?( \|)$", re.MULTILINE)
        outputs = row.sub(lambda m, item=item: m[1] + told(item) + m[2], outputs)
    return f"{inputs}## Outputs{outputs}" if outputs else inputs


def test_pages_tell_of_everything(schemas):
    missing = []
    for node_id, schema in schemas.items():
        if os.environ.get(WRITE):
            path = DOCS / f"{node_id}.md"
            path.write_text(with_tooltips(page(node_id), schema), encoding="utf-8")
        text = page(node_id)
        assert text.startswith(f"# {schema.display_name}\n")
        for heading in ("## Example", "## Inputs", "## Tips"):
            assert f"\n{heading}\n" in text, node_id
        ids = [i.id for i in schema.inputs] + [o.display_name for o in schema.outputs]
        missing += [f"{node_id}: {name}" for name in ids if f"| `{name}`" not in text]
        # What the tooltip says, a page says too; a changed tooltip needs a look at the page.
        for item in (*schema.inputs, *schema.outputs):
            if told(item) not in text:
                missing.append(f"{node_id}: {item.id} is told otherwise in its tooltip")
    assert missing == []


def test_pictures_exist_and_are_small(schemas):
    shown = set()
    for node_id in schemas:
        # The page resolves them against web/docs, not against the node's folder.
        found = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", page(node_id))
        assert found, node_id
        shown |= {DOCS / name for name in found}
    assert all(path.is_file() for path in shown)
    assert set((DOCS / "pictures").iterdir()) == shown
    assert max(path.stat().st_size for path in shown) < LARGEST


def test_the_loader_page_lists_every_model_with_its_size_and_licence(pack):
    models = pack("nodes.models")
    text = page("DWPose_LoadModel")
    for role in ("estimator", "detector"):
        for entry in models.offered(role):
            size = models.megabytes(entry).replace("size unknown", "not known")
            assert f"| `{entry.id}` | {size} | {entry.licence} |" in text
