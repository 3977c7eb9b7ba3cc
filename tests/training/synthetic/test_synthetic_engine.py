from __future__ import annotations

import numpy as np
import pytest
import torch

from dwpose.skeleton import FLIP_INDICES, KEYPOINT_NAMES, LEFT_HAND, RIGHT_HAND
from dwpose.training.synthetic import SyntheticBatch, SyntheticConfig, SyntheticPeople

SMALL = (128, 96)


@pytest.fixture(scope="module")
def engine() -> SyntheticPeople:
    return SyntheticPeople(SyntheticConfig(size_hw=SMALL))


@pytest.fixture(scope="module")
def batch(engine: SyntheticPeople) -> SyntheticBatch:
    return engine.sample(24, seed=11)


@pytest.fixture(scope="module")
def clean() -> SyntheticBatch:
    """Single people, nothing in front, no camera faults."""
    config = SyntheticConfig(
        size_hw=SMALL,
        neighbours=(1.0, 0.0, 0.0),
        tables=0.0,
        occluders=0.0,
        faults=False,
        framing=(3.0, 1.0, 2.0, 1.0, 0.0, 0.0),
    )
    return SyntheticPeople(config).sample(24, seed=5)


def test_shapes_and_types(batch: SyntheticBatch) -> None:
    assert batch.images.shape == (24, 3, *SMALL)
    assert batch.images.dtype == torch.uint8
    assert batch.keypoints.shape == (24, 133, 2)
    assert batch.keypoints.dtype == torch.float32
    assert batch.visibility.shape == (24, 133)
    assert set(batch.visibility.unique().tolist()) <= {0, 1, 2}
    assert batch.weights.shape == (24, 133)
    most = batch.people_boxes.shape[1]
    assert most > 1
    assert batch.people_keypoints.shape == (24, most, 133, 2)
    assert torch.equal(batch.people_keypoints[:, 0], batch.keypoints)
    assert torch.equal(batch.people_visibility[:, 0], batch.visibility)
    assert batch.keypoints.isfinite().all()


def test_same_seed_same_result(engine: SyntheticPeople) -> None:
    first, again, other = engine.sample(4, 3), engine.sample(4, 3), engine.sample(4, 4)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.keypoints, again.keypoints)
    assert torch.equal(first.visibility, again.visibility)
    assert not torch.equal(first.keypoints, other.keypoints)


def test_points_stay_what_they_are(engine: SyntheticPeople) -> None:
    # A change of these numbers is a change of the data: say so in the changelog of the data.
    batch = engine.sample(4, seed=2026)
    sums = batch.keypoints.double().mean(1)
    expected = torch.tensor(PINNED, dtype=torch.float64)
    torch.testing.assert_close(sums, expected, atol=0.02, rtol=0)


PINNED = [[49.123, 25.219], [56.203, 42.395], [55.524, 52.256], [76.807, 95.813]]


def test_hidden_points_are_a_minority(batch: SyntheticBatch) -> None:
    hidden = (batch.visibility == 1).float().mean().item()
    seen = (batch.visibility == 2).float().mean().item()
    assert 0.05 < hidden < 0.40
    assert seen > 0.45


def test_points_outside_have_no_weight(batch: SyntheticBatch) -> None:
    height, width = SMALL
    x, y = batch.keypoints.unbind(-1)
    outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    assert outside.any()
    assert (batch.visibility[outside] == 0).all()
    assert (batch.weights[batch.visibility == 0] == 0).all()
    assert (batch.weights[batch.visibility == 2] <= 1).all()


def test_no_point_is_labelled_on_the_black_outside(clean: SyntheticBatch) -> None:
    # Outside the picture a crop is black; a labelled point must be on something.
    black = (clean.images.amax(1) == 0).float()
    wide = torch.nn.functional.avg_pool2d(black[:, None], 5, 1, 2)[:, 0] > 0.999
    assert wide.any()
    for i in range(len(wide)):
        labelled = clean.visibility[i] > 0
        x, y = clean.keypoints[i, labelled].round().long().unbind(-1)
        assert not wide[i, y.clamp(0, SMALL[0] - 1), x.clamp(0, SMALL[1] - 1)].any()


def test_boxes_cover_everybody_that_is_drawn(batch: SyntheticBatch, clean: SyntheticBatch) -> None:
    for one in (batch, clean):
        for i in range(len(one.images)):
            y, x = (one.owner >= 0)[i].nonzero().unbind(-1)
            # The box of whoever owns the pixel.
            left, top, right, bottom = one.people_boxes[i, one.owner[i, y, x]].unbind(-1)
            inside = (x >= left - 1) & (x <= right + 1) & (y >= top - 1) & (y <= bottom + 1)
            assert inside.all()
    assert set(batch.owner.unique().tolist()) == {-1, 0, 1, 2}


def test_a_lone_persons_box_is_tight(clean: SyntheticBatch) -> None:
    gaps = []
    for i in range(len(clean.images)):
        y, x = (clean.owner >= 0)[i].nonzero().unbind(-1)
        drawn = torch.stack([x.min(), y.min(), x.max(), y.max()]).float()
        gaps.append((drawn - clean.people_boxes[i, 0]).abs())
    # A fingertip thinner than a pixel may be missed by every pixel centre.
    assert torch.stack(gaps).max() < 4
    assert torch.stack(gaps).median() < 1


def test_hand_points_hang_on_their_own_wrist(batch: SyntheticBatch) -> None:
    for wrist, hand in (("left_wrist", LEFT_HAND), ("right_wrist", RIGHT_HAND)):
        own = batch.keypoints[:, KEYPOINT_NAMES.index(wrist)]
        root = batch.keypoints[:, hand][:, 0]
        other = batch.keypoints[:, FLIP_INDICES[hand.start]]
        assert ((own - root).norm(dim=-1) < (own - other).norm(dim=-1)).all()


def test_from_the_front_the_left_side_is_on_the_right(clean: SyntheticBatch) -> None:
    # Where nearly all of a face is seen it is frontal.
    frontal = (clean.visibility[:, 23:91] == 2).float().mean(1) > 0.9
    names = [KEYPOINT_NAMES.index(n) for n in ("left_eye", "right_eye")]
    left, right = (clean.keypoints[frontal, k] for k in names)
    up = clean.keypoints[frontal, 23 + 27] - clean.keypoints[frontal, 23 + 8]  # chin to bridge
    assert frontal.sum() >= 5
    # Turned with the head: the left eye lies clockwise of "up" on the screen.
    across = left - right
    assert (up[:, 0] * across[:, 1] - up[:, 1] * across[:, 0] > 0).all()


def test_seen_points_lie_on_a_person(clean: SyntheticBatch) -> None:
    near = torch.nn.functional.max_pool2d((clean.owner >= 0).float()[:, None], 5, 1, 2)[:, 0]
    on, count = 0.0, 0
    for i in range(len(near)):
        x, y = clean.keypoints[i, clean.visibility[i] == 2].round().long().unbind(-1)
        on += near[i, y.clamp(0, SMALL[0] - 1), x.clamp(0, SMALL[1] - 1)].sum().item()
        count += len(x)
    assert on / count > 0.995


def test_covered_points_are_hidden() -> None:
    config = SyntheticConfig(size_hw=SMALL, occluders=1.0, neighbours=(1.0, 0.0, 0.0))
    free = SyntheticConfig(size_hw=SMALL, occluders=0.0, neighbours=(1.0, 0.0, 0.0))
    covered = SyntheticPeople(config).sample(8, 1)
    open_ = SyntheticPeople(free).sample(8, 1)
    torch.testing.assert_close(covered.keypoints, open_.keypoints)
    lost = (open_.visibility == 2) & (covered.visibility == 1)
    assert lost.any()
    assert (covered.visibility <= open_.visibility).all()


def test_supersampling_keeps_the_labels() -> None:
    plain = SyntheticPeople(SyntheticConfig(size_hw=SMALL, faults=False)).sample(4, 8)
    fine = SyntheticPeople(SyntheticConfig(size_hw=SMALL, faults=False, supersample=2)).sample(4, 8)
    assert torch.equal(plain.keypoints, fine.keypoints)
    difference = (plain.images.float() - fine.images.float()).abs()
    assert difference.mean() < 4
    assert (plain.visibility == fine.visibility).float().mean() > 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"size_hw": (250, 192)},
        {"split": "test"},
        {"framing": (1.0, 0.0)},
        {"supersample": 0},
        {"padding": 0.0},
    ],
)
def test_senseless_settings_are_refused(changes: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        SyntheticConfig(**changes)


@pytest.mark.parametrize("name", ["poses", "backgrounds"])
def test_missing_material_is_named(name: str, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        SyntheticPeople(SyntheticConfig(**{name: tmp_path / "nowhere"}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_gives_the_same_points() -> None:
    config = SyntheticConfig(size_hw=SMALL)
    ours = SyntheticPeople(config).sample(8, 3)
    theirs = SyntheticPeople(config, "cuda").sample(8, 3)
    torch.testing.assert_close(ours.keypoints, theirs.keypoints.cpu(), atol=0.05, rtol=0)
    same = (ours.visibility == theirs.visibility.cpu()).float().mean()
    assert same > 0.99


def test_preview_writes_both_sheets(tmp_path) -> None:
    import cv2

    from dwpose.cli import main

    out = tmp_path / "new" / "sheet.png"
    call = ["synth", "preview", "-o", str(out), "--keypoints", "--count", "3", "--columns", "2"]
    assert main([*call, "--size", "128x96"]) == 0
    plain, dotted = cv2.imread(str(out)), cv2.imread(str(out.with_name("sheet_keypoints.png")))
    assert plain.shape == dotted.shape == (256, 192, 3)
    assert np.abs(plain.astype(int) - dotted).max() > 50


def test_preview_refuses_in_a_sentence(tmp_path, capsys) -> None:
    from dwpose.cli import main

    out = tmp_path / "sheet.png"
    assert main(["synth", "preview", "-o", str(out), "--size", "100x100"]) == 1
    assert "divisible by 16" in capsys.readouterr().err
    assert main(["synth", "preview", "-o", str(out), "--poses", str(tmp_path / "none.npz")]) == 1
    assert "none.npz" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    for action, options, message in (
        ("preview", ["--size", "abc"], "--size must be HEIGHTxWIDTH"),
        ("preview", ["--device", "toaster"], "torch knows no such device"),
        ("preview", ["--collars", "2"], "collars must be 0 to 1"),
        ("preview", ["--padded", "-1"], "padded must be 0 to 1"),
        ("preview", ["-o", str(tmp_path / "file" / "a.png"), "--count", "1"], "file"),
    ):
        assert main(["synth", action, "-o", str(out), *options]) == 1, options
        assert message in capsys.readouterr().err, options
