"""The ComfyUI nodes: the only folder that knows ComfyUI.

`NODES` is the one table of them. Each module is imported on its own, so that one that cannot be
loaded is named in the log and the others still work.
"""

from __future__ import annotations

import importlib
import logging

from comfy_api.latest import ComfyExtension, io  # pyright: ignore[reportMissingImports]

logger = logging.getLogger("dwpose")

# Module and classes, in the order of ComfyUI's menu. A node's id and name are in its schema.
NODES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("estimate", ("PoseEstimator", "DetectPeople", "EstimateKeypoints")),
    ("models", ("LoadModel",)),
    ("render", ("DrawPoseMap",)),
    ("video", ("VideoToKeypoints", "DrawPoseVideo")),
    ("track", ("TrackAndSmooth",)),
    ("people", ("SelectPeople",)),
    ("retarget", ("Retarget",)),
    ("masks", ("KeypointsToMasks",)),
    ("keypoints", ("SaveKeypoints", "LoadKeypoints")),
    ("preview", ("PreviewKeypoints",)),
    ("doctor", ("Doctor",)),
    ("examples", ("ExamplePictures",)),
)


def load_nodes(table: tuple[tuple[str, tuple[str, ...]], ...] = NODES) -> list[type[io.ComfyNode]]:
    """Import the table's classes, leaving out what does not load.

    ComfyUI registers node by node and drops everything after a schema that fails, so each one is
    tried here first.
    """
    found: list[type[io.ComfyNode]] = []
    for module_name, classes in table:
        try:
            module = importlib.import_module(f".{module_name}", __name__)
            nodes = [getattr(module, name) for name in classes]
            for node in nodes:
                if hasattr(node, "GET_SCHEMA"):
                    node.GET_SCHEMA()
        except Exception as error:  # whatever is wrong with one module, the others must load
            logger.warning(
                "DWPose: without the nodes %s (%s: %s)",
                ", ".join(classes),
                type(error).__name__,
                error,
            )
            continue
        found += nodes
    return found


class DWPoseExtension(ComfyExtension):
    """Lists this pack's nodes for ComfyUI's loader."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes, in the order of ComfyUI's menu."""
        return load_nodes()
