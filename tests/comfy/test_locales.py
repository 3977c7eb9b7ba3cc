"""The translations cover every node, input and output, and follow the schemas.

English is made of the schemas: DWPOSE_WRITE_LOCALES=1 pytest tests/comfy/test_locales.py writes it
anew. The other languages are written by hand.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from pathlib import Path

import pytest

LOCALES = Path(__file__).resolve().parents[2] / "locales"
WRITE = "DWPOSE_WRITE_LOCALES"
TRANSLATED = ("zh",)


@pytest.fixture(scope="module")
def english(pack) -> dict:
    """What locales/en/nodeDefs.json must hold."""
    extension = asyncio.run(pack().comfy_entrypoint())
    found = {}
    for node in asyncio.run(extension.get_node_list()):
        schema = node.GET_SCHEMA()
        found[schema.node_id] = {
            "display_name": schema.display_name,
            "description": schema.description,
            # The page looks inputs up with dots replaced; none of ours has one.
            "inputs": {i.id: {"name": i.id, "tooltip": i.tooltip} for i in schema.inputs},
            "outputs": {
                str(place): {"name": o.display_name, "tooltip": o.tooltip}
                for place, o in enumerate(schema.outputs)
            },
        }
    return found


def read(language: str) -> dict:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


def texts(node: dict) -> dict[str, str]:
    """Every text of a node by its place."""
    found = {key: node[key] for key in ("display_name", "description")}
    for kind in ("inputs", "outputs"):
        for name, item in node[kind].items():
            found |= {f"{kind}.{name}.{key}": value for key, value in item.items()}
    return found


def test_english_is_what_the_schemas_say(english):
    path = LOCALES / "en" / "nodeDefs.json"
    if os.environ.get(WRITE):
        path.write_text(json.dumps(english, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    assert read("en") == english, f"a text of a schema changed: write it anew with {WRITE}=1"
    assert not any("." in name for node in english.values() for name in node["inputs"])


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_is_translated(english, language):
    translated = read(language)
    assert list(translated) == list(english)
    for node_id, node in english.items():
        own, other = texts(node), texts(translated[node_id])
        assert list(own) == list(other), node_id
        for place, text in other.items():
            assert re.search(r"[一-鿿]", text), f"{node_id}: {place} is not translated"
            assert text == text.strip()


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_hold_the_same_numbers(english, language):
    """Of a text that changed, most often a number did."""
    translated = read(language)
    wrong = []
    for node_id, node in english.items():
        other = texts(translated[node_id])
        for place, text in texts(node).items():
            numbers = {n for n in re.findall(r"\d+(?:\.\d+)?", text) if float(n) > 2}
            wrong += [
                f"{node_id}: {place} lacks {n}"
                for n in sorted(numbers)
                if not re.search(rf"(?<!\d){re.escape(n)}(?!\d)", other[place])
            ]
    assert wrong == []


def test_combo_values_are_named_as_they_are(english, pack):
    """Values of combos are not translated by the page, so the texts must use them as they are."""
    translated = read("zh")
    sizes = pack("nodes.options").SIZE_MODES
    tooltip = translated["DWPose_Estimator"]["inputs"]["size"]["tooltip"]
    assert all(value in tooltip for value in sizes)


def test_only_languages_and_files_that_comfyui_reads():
    known = {"en", "zh", "zh-TW", "ru", "ja", "ko", "fr", "es", "ar"}
    names = {"main.json", "nodeDefs.json", "commands.json", "settings.json"}
    for folder in LOCALES.iterdir():
        assert folder.name in known
        assert {path.name for path in folder.iterdir()} <= names
