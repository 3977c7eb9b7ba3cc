from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dwpose.skeleton import FLIP_INDICES, KEYPOINT_NAMES
from dwpose.training.synthetic import body as bodies
from dwpose.training.synthetic import faults
from dwpose.training.synthetic.dice import Dice, about, rotation_vector
from dwpose.training.synthetic.outfit import BARE, SHOE, TOP, dress, garment, sample_outfits
from dwpose.training.synthetic.poses import PoseLibrary, sample_actions, sample_poses
from dwpose.training.synthetic.raster import rasterize


@pytest.fixture(scope="module")
def body() -> bodies.Body:
    return bodies.load_body()


def _points(body: bodies.Body, rotations: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    people = len(rotations)
    still = torch.zeros(people, 52)
    push = torch.zeros(people, len(body.part))
    vertices, heads = bodies.shape_body(body, shape, still, push)
    posed, _, joints = bodies.pose_body(body, vertices, heads, rotations)
    return bodies.keypoints_of(body, posed, joints)


def _mirror(body: bodies.Body, rotations: torch.Tensor) -> torch.Tensor:
    other = {"L": "R", "R": "L"}
    swap = [
        body.bone(b[:-1] + other[b[-1]]) if b.endswith((".L", ".R")) else i
        for i, b in enumerate(body.bones)
    ]
    sign = torch.tensor([-1.0, 1.0, 1.0])
    return rotations[:, swap] * sign[:, None] * sign


def test_left_points_are_on_the_left_of_the_resting_body(body: bodies.Body) -> None:
    points = bodies.keypoints_of(body, body.template[None], body.joint_template[None])[0]
    for k, name in enumerate(KEYPOINT_NAMES):
        if name.startswith("left"):
            assert points[k, 0] > 0.01, name
        if name.startswith("right"):
            assert points[k, 0] < -0.01, name
    assert points[KEYPOINT_NAMES.index("nose"), 1] < -0.15  # the face looks along -y


def test_a_mirrored_pose_mirrors_its_points(body: bodies.Body) -> None:
    rotations = sample_poses(body, Dice(4), 6, None)
    shape = torch.zeros(6, 64)
    ours = _points(body, rotations, shape)
    theirs = _points(body, _mirror(body, rotations), shape)
    mirrored = theirs[:, torch.as_tensor(FLIP_INDICES)] * torch.tensor([-1.0, 1.0, 1.0])
    assert (ours - mirrored).norm(dim=-1).max() < 0.012  # metres; the mesh is not quite symmetric


def test_rest_pose_is_the_template(body: bodies.Body) -> None:
    eye = torch.eye(3).expand(1, len(body.bones), 3, 3)
    vertices = body.template[None].clone()
    posed, normals, joints = bodies.pose_body(body, vertices, body.joint_template[None], eye)
    torch.testing.assert_close(posed[0], body.template, atol=1e-5, rtol=0)
    torch.testing.assert_close(joints[0], body.joint_template, atol=1e-6, rtol=0)
    torch.testing.assert_close(normals[0], body.normals, atol=1e-5, rtol=0)


def test_limbs_keep_their_length(body: bodies.Body) -> None:
    rotations = sample_poses(body, Dice(9), 16, None)
    still = rotations.clone()
    still[:] = torch.eye(3)
    shape = body.shape_samples[:16]
    moved, rest = _points(body, rotations, shape), _points(body, still, shape)
    # Joints of the fingers are joints of the skeleton: bones between them are rigid.
    for a, b in ((96, 97), (97, 98), (100, 101), (117, 118)):
        long = (moved[:, a] - moved[:, b]).norm(dim=-1)
        torch.testing.assert_close(long, (rest[:, a] - rest[:, b]).norm(dim=-1), atol=1e-4, rtol=0)


def test_poses_are_rotations(body: bodies.Body) -> None:
    pose = sample_poses(body, Dice(1), 32, None)
    eye = torch.eye(3).expand_as(pose)
    torch.testing.assert_close(pose @ pose.transpose(-1, -2), eye, atol=2e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(pose), torch.ones(pose.shape[:2]))


def test_fists_close_towards_the_palm(body: bodies.Body) -> None:
    # Over many hands the middle finger's tip comes much nearer to the wrist than it is at rest.
    points = _points(body, sample_poses(body, Dice(2), 64, None), torch.zeros(64, 64))
    rest = bodies.keypoints_of(body, body.template[None], body.joint_template[None])
    for wrist, tip in ((91, 103), (112, 124)):
        near = (points[:, wrist] - points[:, tip]).norm(dim=-1)
        open_ = (rest[:, wrist] - rest[:, tip]).norm(dim=-1)
        assert near.min() < 0.65 * open_
        assert near.max() < 1.1 * open_


def test_facial_actions_stay_within_their_range(body: bodies.Body) -> None:
    actions = sample_actions(body, Dice(3), 200)
    assert actions.min() >= 0
    assert actions.max() <= 1
    smile = actions[:, body.face_labels.index("mouthSmileLeft")]
    assert 0.2 < (smile > 0.2).float().mean() < 0.6


def test_pose_library_splits_by_trial(body: bodies.Body, tmp_path) -> None:
    names = [f"{s:02d}_{t:02d}:{f}" for s in range(8) for t in range(6) for f in (0, 9)]
    turns = torch.rand(len(names), 2, 3, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "poses.npz"
    np.savez(
        path,
        R=rotation_vector(turns).numpy().astype(np.float16),
        bones=np.array(["root", "upperarm01.L"]),
        source=np.array(names),
    )
    whole, train, val = (PoseLibrary(path, body, s) for s in ("all", "train", "val"))
    assert len(train.rotations) + len(val.rotations) == len(whole.rotations) == len(names)
    assert 0 < len(val.rotations) < 0.4 * len(names)
    pose = train.sample(body, Dice(0), 5)
    frames = train.rotations[:, 0].flatten(1)
    for row in pose[:, body.bone("root")].flatten(1):
        assert (frames - row).abs().amax(1).min() < 1e-6
    torch.testing.assert_close(pose[:, body.bone("head")], torch.eye(3).expand(5, 3, 3))


def test_clothes_leave_hands_and_face_bare(body: bodies.Body) -> None:
    wear = sample_outfits(Dice(5), 40)
    label = garment(body.attributes, wear.cuts[:, None])
    skin = body.part == bodies.SKIN
    face = skin & (body.attributes[:, bodies.FACE_MASK] > 0.9)
    hands = (
        skin & (body.attributes[:, bodies.HANDNESS] > 0.9) & (body.attributes[:, bodies.ARM] > 1.1)
    )
    assert (label[:, face] == BARE).all()
    assert (label[:, hands] == BARE).all()
    chest = (
        skin
        & (body.attributes[:, bodies.TORSO] > 0.5)
        & (body.attributes[:, bodies.TORSO] < 0.6)
        & (body.attributes[:, bodies.ARM] < -0.1)
    )
    assert (label[:, chest] == TOP).all()
    toes = skin & (body.attributes[:, bodies.LEG] > 1.1)
    assert ((label[:, toes] == SHOE).float().mean() - 0.85).abs() < 0.15


def test_hidden_skin_is_under_cloth_that_is_shown(body: bodies.Body) -> None:
    wear = sample_outfits(Dice(6), 20)
    clothes = dress(body, wear)
    cloth = (body.part == bodies.TIGHTS).nonzero()[:, 0]
    bare_legs = ~wear.skirt
    for p in bare_legs.nonzero()[:, 0].tolist():
        hidden = body.template[clothes.hidden[p] & (body.part == bodies.SKIN)]
        shown = body.template[cloth[clothes.shown[p, cloth]]]
        gap = torch.cdist(hidden[::20], shown).amin(1)
        assert gap.max() < 0.05


def test_rasteriser_equals_brute_force() -> None:
    generator = torch.Generator().manual_seed(7)
    height, width, people, corners = 24, 20, 3, 30
    xy = torch.rand(people, corners, 2, generator=generator) * torch.tensor([26.0, 30.0]) - 3
    inverse = torch.rand(people, corners, 1, generator=generator) + 0.4
    screen = torch.cat([xy, inverse], -1)
    faces = torch.randint(corners, (40, 3), generator=generator)
    faces = faces[
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    ]
    two_sided = torch.rand(len(faces), generator=generator) < 0.5
    image_of = torch.tensor([0, 1, 1])
    pairs = torch.cartesian_prod(torch.arange(people), torch.arange(len(faces)))
    found = rasterize(screen, image_of, pairs, faces, two_sided, (2, height, width))

    expected = np.zeros((2, height, width))
    ys, xs = np.mgrid[:height, :width].astype(float)
    for p, f in pairs.tolist():
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = screen[p, faces[f]].double().tolist()
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0 and not two_sided[f]:
            continue
        wb = ((xs - ax) * (cy - ay) - (ys - ay) * (cx - ax)) / area
        wc = ((ys - ay) * (bx - ax) - (xs - ax) * (by - ay)) / area
        inside = (wb >= 0) & (wc >= 0) & (wb + wc <= 1)
        value = az + wb * (bz - az) + wc * (cz - az)
        image = expected[image_of[p]]
        image[inside] = np.maximum(image[inside], value[inside])
    ours = found.inverse_depth.view(2, height, width).numpy()
    assert (expected > 0).mean() > 0.5
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    # Perspective-correct weights rebuild the depth: 1/z is their mean of z, inverted.
    depth = (found.weights / screen[found.person[:, None], faces[found.face], 2]).sum(1)
    torch.testing.assert_close(1 / depth, found.inverse_depth[found.pixel], atol=1e-4, rtol=1e-4)


def test_what_is_behind_the_camera_is_left_out() -> None:
    screen = torch.tensor([[[1.0, 1, 1], [1, 9, 1], [9, 1, -1.0]]])
    faces, both = torch.tensor([[0, 1, 2]]), torch.tensor([True])
    pair = torch.tensor([[0, 0]])
    found = rasterize(screen, torch.tensor([0]), pair, faces, both, (1, 10, 10))
    assert len(found.pixel) == 0


def test_jpeg_loses_more_at_lower_quality() -> None:
    picture = Dice(1).uniform(0, 1, 2, 3, 4, 4)
    picture = torch.nn.functional.interpolate(picture, size=(64, 48), mode="bicubic").clamp(0, 1)
    good = faults.jpeg(picture, torch.tensor([98.0, 98.0]))
    poor = faults.jpeg(picture, torch.tensor([15.0, 15.0]))
    assert (good - picture).abs().mean() < 0.01
    assert (poor - picture).abs().mean() > 2 * (good - picture).abs().mean()


def test_jpeg_is_near_a_real_encoder() -> None:
    import cv2

    picture = Dice(2).uniform(0, 1, 1, 3, 6, 6)
    picture = torch.nn.functional.interpolate(picture, size=(64, 64), mode="bicubic").clamp(0, 1)
    ours = faults.jpeg(picture, torch.tensor([40.0]))[0].permute(1, 2, 0).numpy() * 255
    bgr = (picture[0].permute(1, 2, 0).numpy()[..., ::-1] * 255).round().astype(np.uint8)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 40])
    theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(float)
    assert np.abs(ours - theirs).mean() < 2.0


def test_blur_keeps_flat_pictures_and_spreads_points() -> None:
    flat = torch.full((1, 3, 16, 16), 0.3)
    torch.testing.assert_close(faults.blur(flat, torch.tensor([[1.0, 0.4]])), flat)
    spot = torch.zeros(1, 1, 17, 17)
    spot[..., 8, 8] = 1
    wide = faults.blur(spot, torch.tensor([[1.5, 0.05]]))[0, 0]
    assert wide[8, 6] > 0.05  # sideways
    assert wide[6, 8] < 1e-6  # not up


def test_occluders_say_what_they_cover() -> None:
    dice = Dice(3)
    picture, texture = torch.zeros(16, 3, 32, 32), torch.ones(16, 3, 32, 32)
    out, covered = faults.occluders(dice, picture, texture, torch.full((16, 2), 16.0))
    assert torch.equal(out[:, 0] == 1, covered)
    assert covered.any()
    assert covered.float().mean() < 0.5


def test_dice_repeat_and_advance() -> None:
    a, b = Dice(5), Dice(5)
    assert torch.equal(a.uniform(0, 1, 4), b.uniform(0, 1, 4))
    assert not torch.equal(a.normal(1.0, 4), a.normal(1.0, 4))
    drawn = Dice(0).choice((0.0, 3.0, 1.0), 4000)
    assert (drawn == 0).sum() == 0
    assert abs((drawn == 1).float().mean().item() - 0.75) < 0.04


def test_rotations_turn_the_right_way() -> None:
    turned = about("z", torch.tensor(math.pi / 2)) @ torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1, 0]), atol=1e-6, rtol=0)
