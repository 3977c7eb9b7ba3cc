"""The scripts of the page: they agree with the nodes and keep to what both renderers can do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[2] / "web"
SCRIPTS = sorted(path for path in WEB.rglob("*") if path.suffix in (".js", ".mjs"))


def without_comments(path: Path) -> str:
    return re.sub(r"/\*[\s\S]*?\*/|(?:^|\s)//.*", "", path.read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("script", "module", "node", "key"),
    [
        ("preview_keypoints.js", "preview", "PreviewKeypoints", "dwpose_preview"),
        ("doctor.js", "doctor", "Doctor", "text"),
    ],
)
def test_the_page_and_the_node_agree(pack, script, module, node, key):
    code = (WEB / script).read_text()
    module = pack(f"nodes.{module}")
    assert f'node: "{getattr(module, node).GET_SCHEMA().node_id}"' in code
    assert f'const UI_KEY = "{key}"' in code
    assert getattr(module, "UI_KEY", "text") == key


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_it_uses_no_canvas_no_prototypes_and_no_html(path):
    code = without_comments(path)
    for word in ("prototype", "innerHTML", "onDraw", "getContext", "http://127", "eval("):
        assert word not in code


def test_nothing_of_a_view_is_saved():
    """Values are saved by position: one of ours between them would shift the others."""
    makers = [path.name for path in SCRIPTS if "addDOMWidget(" in without_comments(path)]
    assert makers == ["in_node.mjs"]
    code = (WEB / "in_node.mjs").read_text()
    assert "serialize: false" in code
    assert "widget.serialize = false" in code
    assert '"onRemoved"' in code


def test_helpers_are_not_started_by_the_page():
    """ComfyUI's page runs every .js it finds."""
    for path in SCRIPTS:
        starts = path.suffix == ".js"
        assert starts == bool(
            re.search(r"^(showInNode|app\.registerExtension)\(", path.read_text(), re.MULTILINE)
        )


def test_the_page_knows_the_words_of_the_schemas(pack):
    [words] = re.findall(r"const WORDS = \[(.*)\]", (WEB / "search.js").read_text())
    assert re.findall(r'"(\w+)"', words) == list(pack("nodes.sockets").SEARCH)
