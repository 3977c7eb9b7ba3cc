"""Thousands of damaged documents: a right answer or a clear sentence, never anything else."""

from __future__ import annotations

import copy
import json
import random
import warnings
from typing import Any

import numpy as np
import pytest

from dwpose.io.openpose_json import from_pose_keypoint
from dwpose.io.openpose_read import UnknownCanvasError
from dwpose.types import People

MUTANTS_PER_AUTHOR = 400

ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 0.5, -0.0, 1e-320, 1e300, -1e300, 10**400, 2**63, -(2**64)),
    *(float("nan"), float("inf"), float("-inf"), "", "5", "ünïcödé\u0000\ud800", "{}", "[]", "[1,"),
    *([], {}, [[]], [{}], [None], [1, 2, 3], [[1, 2], [3]], {"x": 1}, {"people": []}, "null"),
]
KEYS = [
    *("people", "animals", "frames", "poses", "openpose_json", "version", "person_id", "dwpose"),
    *("pose_keypoints_2d", "canvas_height", "canvas_width", "box", "keypoints", "id", "", "ключ"),
]


def odd(rng: random.Random) -> Any:
    """A value that does not belong there."""
    return copy.deepcopy(rng.choice(ODD_VALUES))


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document; long lists of numbers give a few of theirs only."""
    found: list[tuple[Any, Any]] = []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        if isinstance(node, dict) or key < 3 or key == len(node) - 1:
            found.append((node, key))
        if isinstance(value, (dict, list)) and value:
            found += places(value)
    return found


def mutate(document: Any, rng: random.Random) -> Any:
    """Damage one place of a document, or wrap it."""
    root = [document]
    container, key = rng.choice(places(root))
    value = container[key]
    kind = rng.randrange(11)
    if kind == 0 and container is not root:
        del container[key]
    elif kind == 1:
        container[key] = [value]
    elif kind == 2:
        container[key] = {rng.choice(KEYS): value}
    elif kind == 3 and isinstance(value, list):
        container[key] = value[: rng.randrange(len(value) + 1)]
    elif kind == 4 and isinstance(value, list):
        container[key] = value + value[: rng.randrange(1, 4)]
    elif kind == 5 and isinstance(container, dict):
        container[rng.choice(KEYS)] = container.pop(key)
    elif kind == 6 and isinstance(value, dict):
        value[rng.choice(KEYS)] = odd(rng)
    elif kind == 7 and isinstance(value, list) and value:
        i = rng.randrange(len(value))
        value[i] = odd(rng)
    elif kind == 8:
        container[key] = json.dumps(value)
    elif kind == 9 and isinstance(value, float):
        container[key] = value * rng.choice([-1, 1e-3, 1e3, 1e9, 1e30])
    else:
        container[key] = odd(rng)
    return root[0]


def mutate_text(text: str, rng: random.Random) -> str | bytes:
    """Damage the bytes of a file."""
    start = rng.randrange(len(text))
    end = min(len(text), start + rng.randrange(1, 60))
    kind = rng.randrange(4)
    if kind == 0:
        return text[:start]
    if kind == 1:
        return text[:start] + text[end:]
    if kind == 2:
        return text[:start] + text[start:end] * rng.randrange(2, 5) + text[end:]
    raw = bytearray(text.encode())
    for _ in range(rng.randrange(1, 4)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


def check(document: Any) -> str:
    """Read a document; return "" if people came out, else the sentence that refused it."""
    try:
        frames = from_pose_keypoint(document)
    except (TypeError, ValueError) as error:
        # A subclass, such as a failed decoding, would be a fault that nobody put into words.
        ours = (TypeError, ValueError, UnknownCanvasError)
        return str(error) if type(error) in ours else repr(error)
    for frame in frames:
        assert isinstance(frame, People)
        assert np.isfinite(frame.boxes.xyxy).all()
    return ""


AUTHORS = [
    *("ours", "aux", "aux normalised", "core", "deluxe", "huchenlei", "openpose", "just"),
    *("nested", "animals", "mixed units"),
]
# Every refusal begins with where it is, or says what the whole document is.
PLACES = (
    *("frame ", "item ", "frames, ", "poses, ", "openpose_json, ", "an object has "),
    *("POSE_KEYPOINT ", "the document ", "the JSON text ", "this is not JSON"),
)


def test_every_author_is_fuzzed(documents):
    assert sorted(documents) == sorted(AUTHORS)


@pytest.mark.parametrize("author", AUTHORS)
def test_damaged_documents(documents, author):
    rng = random.Random(f"documents of {author}")
    text = json.dumps(documents[author])
    read = 0
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "animals")
        warnings.filterwarnings("error", category=RuntimeWarning)
        for _ in range(MUTANTS_PER_AUTHOR):
            document = json.loads(text)
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                document = mutate(document, rng)
            sentence = check(document)
            assert sentence == "" or sentence.startswith(PLACES), sentence
            read += not sentence
    assert MUTANTS_PER_AUTHOR // 10 < read < MUTANTS_PER_AUTHOR, "the damage is too big or small"


@pytest.mark.parametrize("author", AUTHORS)
def test_damaged_files(documents, author):
    rng = random.Random(f"files of {author}")
    text = json.dumps(documents[author])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "animals")
        warnings.filterwarnings("error", category=RuntimeWarning)
        for _ in range(MUTANTS_PER_AUTHOR // 2):
            sentence = check(mutate_text(text, rng))
            assert sentence == "" or sentence.startswith(PLACES), sentence


def test_damage_to_one_person_leaves_the_other_as_they_were(documents):
    rng = random.Random("neighbours")
    text = json.dumps(documents["aux"])
    intact = from_pose_keypoint(text)[0]
    read = 0
    for _ in range(MUTANTS_PER_AUTHOR):
        document = json.loads(text)
        people = document[0]["people"]
        people[1] = mutate(people[1], rng)
        if check(document):
            continue
        found = from_pose_keypoint(document)[0]
        read += 1
        np.testing.assert_array_equal(found.keypoints[0], intact.keypoints[0])
        np.testing.assert_array_equal(found.scores[0], intact.scores[0])
        np.testing.assert_array_equal(found.boxes.xyxy[0], intact.boxes.xyxy[0])
    assert read > MUTANTS_PER_AUTHOR // 10
