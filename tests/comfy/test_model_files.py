"""Which files a loader's choices stand for, where downloads go, and what makes it run again."""

from __future__ import annotations

import dataclasses
import os
import types
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def models(pack):
    return pack("nodes.models")


@pytest.fixture(scope="module")
def files(pack):
    return pack("nodes.model_files")


def test_downloads_go_into_the_first_folder_that_can_be_written_to(
    files, folder_paths, models_folder, monkeypatch
):
    shared = models_folder.parent / "shared drive"
    shared.mkdir()
    folder_paths.folder_names_and_paths["dwpose"] = ([str(shared)], set())
    assert files.download_folder() == str(shared)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != shared)
    assert files.download_folder() == str(models_folder)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert files.download_folder() == str(shared)


@pytest.fixture
def fetching(models, monkeypatch, pack):
    """Downloads bring a file of three bytes, and no network is started."""
    catalogue = pack("dwpose.weights.catalogue")
    for id in ("dw-ll-384", "yolox-l"):
        small = dataclasses.replace(catalogue.find(id), bytes=3)
        monkeypatch.setitem(catalogue.CATALOGUE, small.id, small)

    def fetch(entry, folder, progress):
        path = Path(folder) / entry.name
        path.write_bytes(b"abc")
        return path

    monkeypatch.setattr(pack("dwpose.weights.hub"), "fetch", fetch)
    model = types.SimpleNamespace(describe=lambda: "")
    monkeypatch.setattr(models, "open_model", lambda *_: model)


def test_auto_is_the_official_model_where_downloads_are_allowed(
    models, fetching, models_folder, load_model
):
    asked = {"estimator": "auto", "detector": "auto", "download_if_missing": True}
    ask = models.LoadModel.fingerprint_inputs
    before = ask(**asked)
    load_model(**asked)
    assert {path.name for path in models_folder.glob("*.onnx")} == {
        "dw-ll_ucoco_384.onnx",
        "yolox_l.onnx",
    }
    assert ask(**asked) == before


def test_auto_keeps_a_detector_that_is_here(models, files, models_folder, pack):
    entry = pack("dwpose.weights.catalogue").find("yolox-s")
    with (models_folder / entry.name).open("wb") as out:
        out.truncate(entry.bytes)
    pose, find, notice = files.resolve("auto", "auto", True)
    assert (pose.id, find.name, notice) == ("dw-ll-384", "yolox-s", "")
    pose, find, notice = files.resolve("auto", "auto")
    assert (pose.name, find.name) == ("builtin-lite", "yolox-s")
    assert "built-in" in notice


@pytest.mark.parametrize("choice", ["dw-ll-384", "by a link"])
def test_a_loader_that_fetched_does_not_run_again(
    models, fetching, models_folder, choice, load_model
):
    # ComfyUI gives None for what comes by a link: it asks before anything has run.
    asked = {"estimator": None if choice == "by a link" else choice, "detector": "none"}
    ask = models.LoadModel.fingerprint_inputs
    before = ask(**asked)
    load_model(estimator="dw-ll-384", download_if_missing=True)
    [path] = models_folder.glob("*.onnx")
    assert ask(**asked) == before
    os.utime(path, ns=(1, 1))
    assert ask(**asked) != before


def test_choices_that_come_by_a_link_follow_all_files(models, tiny, tiny_weights, models_folder):
    ask = models.LoadModel.fingerprint_inputs
    before = ask(estimator=None, detector=None)
    assert isinstance(before, list)
    assert ask(estimator=None, detector=None) == before
    assert ask(estimator=tiny.name, detector=None) != before
    (models_folder / "other.safetensors").write_bytes(tiny_weights)
    assert ask(estimator=None, detector=None) != before


@pytest.mark.parametrize("value", [None, 3, ["a"]])
def test_a_link_that_brings_no_name_is_told(models, models_folder, value, load_model):
    with pytest.raises(TypeError, match="estimator must be the name of a model, got"):
        load_model(estimator=value)
    assert isinstance(models.LoadModel.fingerprint_inputs(estimator=value), (str, list))
