"""ComfyUI's door to the pack. It imports relatively, and nothing heavy.

ComfyUI loads this file under a module name made of the folder's absolute path, so the folder may
be called anything.
"""

from __future__ import annotations

from pathlib import Path

# Served by ComfyUI under the folder's name. Not in pyproject.toml too: it would load twice.
WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """Return the extension that lists the nodes; ComfyUI awaits it when it loads the pack."""
    from .nodes import DWPoseExtension
    from .nodes.pages import serve_pages

    serve_pages(Path(__file__).parent)
    return DWPoseExtension()
