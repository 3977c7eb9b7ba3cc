"""Recipes are found by path and changed by text."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dwpose.cli import main
from dwpose.models.rtmpose import RTMPose, RTMPoseConfig
from dwpose.training.checkpoint import save_network
from dwpose.training.recipe import change, load_recipe
from dwpose.training.synthetic import SyntheticPeople
from dwpose.weights.load import load_model

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.py")), ids=lambda path: path.stem)
def test_every_recipe_loads_with_defaults(path):
    recipe = load_recipe(path)
    assert recipe.Settings() == change(recipe.Settings(), [])


def test_settings_are_read_by_their_type():
    recipe = load_recipe(RECIPES / "builtin_lite.py")
    settings = change(recipe.Settings(), ["batch=64", "rate=2e-3", "minutes=1.5", "pool=a=b"])
    assert (settings.batch, settings.rate, settings.minutes) == (64, 2e-3, 1.5)
    assert settings.pool == "a=b"
    assert change(settings, ["minutes=none"]).minutes is None


@pytest.mark.parametrize(
    ("text", "message"), [("batch=many", "int"), ("colour=1", "settings are"), ("batch", "batch")]
)
def test_wrong_settings_are_refused(text, message):
    recipe = load_recipe(RECIPES / "builtin_lite.py")
    with pytest.raises(ValueError, match=message):
        change(recipe.Settings(), [text])


def test_a_file_that_is_no_recipe_is_refused(tmp_path):
    (tmp_path / "empty.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match="Settings"):
        load_recipe(tmp_path / "empty.py")
    with pytest.raises(FileNotFoundError, match="training/recipes"):
        load_recipe(tmp_path / "none.py")


def test_a_lost_worker_is_a_sentence_and_a_fault_of_ours_is_not(tmp_path, capsys):
    recipe = tmp_path / "recipe.py"
    recipe.write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Settings:\n"
        "    says: str = ''\n"
        "def run(settings, folder):\n"
        "    raise RuntimeError(settings.says)\n"
    )
    call = ["train", str(recipe), "-o", str(tmp_path / "run"), "--set"]
    assert main([*call, "says=DataLoader worker (pid 7) is killed by signal: Killed. "]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "dwpose train: DataLoader worker (pid 7) is killed by signal: Killed; use"
    )
    with pytest.raises(RuntimeError, match="shapes"):
        main([*call, "says=shapes do not fit"])


def test_the_built_in_model_is_made_by_one_command(spot_pool, tmp_path, monkeypatch):
    pool = tmp_path / "pool"
    settings = {"pool": pool, "held_out": pool, "iterations": 3, "batch": 4}
    sets = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    folder = tmp_path / "run"
    assert main(["train", str(RECIPES / "builtin_lite.py"), "-o", str(folder), *sets]) == 0
    made = load_model(folder / "builtin-lite.safetensors")
    assert made.usage == load_model("builtin-lite").usage
    # Rounded up to whole epochs of one iteration.
    assert made.meta["note"].startswith("trained on 12 rendered crops; scores times")
    assert made.input_size_hw == spot_pool.size_hw
    # The second stage keeps its backbone and teaches another head.
    second = tmp_path / "second"
    sets += ["--set", f"teacher={folder / 'model.safetensors'}"]
    assert main(["train", str(RECIPES / "builtin_lite.py"), "-o", str(second), *sets]) == 0
    after = load_model(second / "builtin-lite.safetensors")
    assert after.meta["note"].startswith("trained on 12 rendered crops in the second stage; scores")
    # It says what its teacher said of itself, and so does the state on the way.
    assert after.meta["note"].endswith(" (before: trained on rendered crops; 3 of 3 iterations)")
    on_the_way = load_model(second / "model.safetensors").meta["note"]
    assert "(before: trained on rendered crops; 3 of 3 iterations); 3 of 3" in on_the_way
    for key, value in made.module.backbone.state_dict().items():
        assert torch.equal(after.module.backbone.state_dict()[key], value)
    assert not torch.equal(after.module.head.cls_x.weight, made.module.head.cls_x.weight)
    # The first stage may go on from a trained network, on crops that are rendered on the way.
    third = tmp_path / "third"
    rendered = []
    monkeypatch.setattr(
        "dwpose.training.rendered.SyntheticPeople",
        lambda config, device: rendered.append(config) or SyntheticPeople(config, device),
    )
    trained = folder / "model.safetensors"
    settings |= {"pool": "", "ring": 4, "frozen": 2, "init": f"{trained},{trained}"}
    sets = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    assert main(["train", str(RECIPES / "builtin_lite.py"), "-o", str(third), *sets]) == 0
    assert [(config.padding, config.split) for config in rendered] == [(1.1, "train")]
    went_on = load_model(third / "builtin-lite.safetensors").module.backbone.state_dict()
    changed = {k for k, v in made.module.backbone.state_dict().items() if not v.equal(went_on[k])}
    assert changed
    assert not any(key.startswith(("stem", "blocks.0.", "blocks.1.")) for key in changed)


def test_the_built_in_model_goes_on_from_its_own_kind_alone(spot_pool, tmp_path):
    other = RTMPose(RTMPoseConfig("t", 0.167, 0.125, (64, 64), dim=64, attention_dim=32))
    save_network(tmp_path / "other.safetensors", other)
    recipe = load_recipe(RECIPES / "builtin_lite.py")
    pools = [f"pool={tmp_path / 'pool'}", f"held_out={tmp_path / 'pool'}"]
    given = [*pools, f"init={tmp_path / 'other.safetensors'}"]
    with pytest.raises(ValueError, match="size lite, got custom"):
        recipe.run(change(recipe.Settings(), given), tmp_path / "run")
    with pytest.raises(ValueError, match="init takes crops of 256x192"):
        recipe.run(change(recipe.Settings(), [*pools, "init=builtin-lite"]), tmp_path / "run")
    with pytest.raises(ValueError, match="not more than one"):
        recipe.run(change(recipe.Settings(), [*given, "imagenet=a.pth"]), tmp_path / "run")
    with pytest.raises(ValueError, match="capacity must be at least 1"):
        recipe.run(change(recipe.Settings(), [pools[1], "pool=", "ring=0"]), tmp_path / "run")
