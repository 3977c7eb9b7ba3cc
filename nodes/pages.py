"""Serves scripts, help and examples where ComfyUI cannot: under names with spaces, accents, dots.

ComfyUI serves a pack's files under the name of the pack's folder. With aiohttp 3.14 it answers 404
where that name has to be quoted in an address, as in "DWPose (copy)" (tried; older may differ); and
the page asks for help under the name up to its first dot. So that the folder may have any name,
the same files are served by a route of our own for such names, and for no others.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

# Addresses, and the folders of this pack that they show. ComfyUI answers both under /api too.
_SERVED = (("/extensions", "web"), ("/workflow_templates", "example_workflows"))


def names_to_serve(folder: Path) -> list[str]:
    """Names in addresses under which ComfyUI would not serve this pack's files.

    Args:
        folder: the pack's.

    Returns:
        none for an ordinary name.
    """
    short = folder.name.partition(".")[0]
    odd = [folder.name] if quote(folder.name) != folder.name else []
    if short and short != folder.name and not folder.with_name(short).exists():
        odd.append(short)
    return odd


def find_page(root: Path, path: str) -> Path | None:
    """Return the file of an address's last part; None where there is none inside `root`."""
    found = (root / path).resolve()
    return found if found.is_relative_to(root.resolve()) and found.is_file() else None


def serve_pages(folder: Path) -> None:
    """Add routes to ComfyUI's server, if this folder's name needs them and there is a server.

    Args:
        folder: the pack's.
    """
    names = names_to_serve(folder)
    # Looked up, not imported: where ComfyUI's server does not run, it must not be loaded for this.
    server = getattr(sys.modules.get("server"), "PromptServer", None)
    routes = getattr(getattr(server, "instance", None), "routes", None)
    if not names or routes is None:
        return
    from aiohttp import web  # pyright: ignore[reportMissingImports]

    forms = sorted({form for name in names for form in (name, quote(name), quote(name, safe=""))})
    pattern = "|".join(re.escape(form) for form in forms)
    if "{" in pattern or "}" in pattern:  # a pattern of aiohttp's cannot hold them
        return

    for address, shown in _SERVED:

        async def send(request: Any, root: Path = folder / shown) -> Any:
            found = find_page(root, request.match_info["path"])
            if found is None:
                raise web.HTTPNotFound
            return web.FileResponse(found)

        routes.get(f"{address}/{{pack:(?:{pattern})}}/{{path:.+}}")(send)
