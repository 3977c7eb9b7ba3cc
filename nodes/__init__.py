"""The ComfyUI nodes: the only folder that knows ComfyUI.

No node is ready yet, so the extension lists none; the core package and the command line work
without ComfyUI.
"""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io  # pyright: ignore[reportMissingImports]


class DWPoseExtension(ComfyExtension):
    """Lists this pack's nodes for ComfyUI's loader."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the node classes, in the order of ComfyUI's menu."""
        return []
