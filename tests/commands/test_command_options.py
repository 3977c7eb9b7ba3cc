"""Options that commands share."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest

from dwpose.commands import image, options
from dwpose.pipeline import ORDERS, DWPose
from dwpose.render import STYLES, map_size
from dwpose.runtimes.session import MODES


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1024", 1024), ("768x1024", (1024, 768)), ("1X2", (2, 1))],
)
def test_size(text: str, expected: Any):
    assert options.parse_size(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-4", "12x", "x12", "0x5", "1e3", "99999", "1x2x3"])
def test_size_refuses(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="size"):
        options.parse_size(text)


@pytest.mark.parametrize(
    ("size", "image_hw", "expected"),
    [
        (None, (30, 40), (30, 40)),
        (80, (30, 40), (60, 80)),
        (80, (40, 30), (80, 60)),
        ((5, 6), (40, 30), (5, 6)),
        (16, (1, 4000), (1, 16)),
    ],
)
def test_map_size(size: Any, image_hw: tuple[int, int], expected: tuple[int, int]):
    assert map_size(size, image_hw) == expected


def test_thresholds():
    everywhere = {"body": 0.4, "hands": 0.4, "face": 0.4, "feet": 0.4}
    assert options.parse_thresholds("0.4") == everywhere
    assert options.parse_thresholds("0.4,face=0.9") == {**everywhere, "face": 0.9}
    assert options.parse_thresholds("body=0,hands=1") == {"body": 0.0, "hands": 1.0}


@pytest.mark.parametrize("text", ["", "body", "body=", "arm=0.3", "1.5", "-1", "nan", "=0.3"])
def test_thresholds_refuse(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="number"):
        options.parse_thresholds(text)


def test_parts_refuse():
    assert options.parse_parts("body, face") == {"body", "face"}
    for text in ("", ",", "body,arms"):
        with pytest.raises(argparse.ArgumentTypeError, match="list"):
            options.parse_parts(text)


def test_names_repeated_for_help_are_those_of_the_library():
    assert tuple(STYLES) == options.STYLE_NAMES
    assert set(image.ORDERS) == set(ORDERS) - {"given"}
    assert options.MODES == MODES


def test_models_are_opened_as_asked(monkeypatch: pytest.MonkeyPatch):
    asked: dict[str, Any] = {}

    def open_model(*names: Any, **given: Any) -> Any:
        asked.update(given, names=names)
        return SimpleNamespace(info={}, notice="")

    monkeypatch.setattr(DWPose, "from_pretrained", open_model)
    parser = argparse.ArgumentParser()
    options.add_models(parser)
    words = ["--model", "a", "--detector", "none", "--runtime", "torch", "--device", "cuda:1"]
    words += ["--precision", "bf16"]
    options.open_model(parser.parse_args([*words, "--mode", "graph"]), print)
    assert asked == {
        "names": ("a", "none"),
        "runtime": "torch",
        "device": "cuda:1",
        "precision": "bf16",
        "mode": "graph",
        "folder": None,
    }
    options.open_model(parser.parse_args(words), print)
    assert asked["mode"] == "eager"
