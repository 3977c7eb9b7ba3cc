"""Where keypoint files may be: inside ComfyUI's input and output folders, and nowhere else."""

from __future__ import annotations

import os

# OpenPose's name for the file of a frame.
_FRAME_SUFFIX = "_keypoints.json"
# How deep folders are searched for the list of files.
_DEPTH = 4


def _roots() -> dict[str, str]:
    """ComfyUI's folders by the name that stands in brackets after a file's."""
    import folder_paths  # pyright: ignore[reportMissingImports]

    return {
        "input": os.path.abspath(folder_paths.get_input_directory()),
        "output": os.path.abspath(folder_paths.get_output_directory()),
    }


def find_path(name: str) -> str:
    """Turn a name such as "poses/a.json" or "a.json [output]" into a path inside that folder.

    ComfyUI's own function does not check that the path stays inside.

    Args:
        name: relative to the input folder, or to the folder named in brackets; or an absolute
            path inside either.

    Returns:
        the absolute path, which need not exist.

    Raises:
        ValueError: it leads out of the input and output folders.
    """
    roots = _roots()
    folder, rest = "input", name.strip()
    for kind in roots:
        if rest.endswith(f"[{kind}]"):
            folder, rest = kind, rest[: -len(kind) - 2].strip()
    if not rest or "\0" in rest:
        raise ValueError("path is empty; choose a file or name one in the input or output folder")
    path = os.path.abspath(os.path.join(roots[folder], rest))
    if not any(is_inside(path, root) for root in roots.values()):
        raise ValueError(
            f"path {name!r} leads out of ComfyUI's input and output folders; put the file into "
            "one of them"
        )
    return path


def folder_of(name: str) -> str:
    """Which of ComfyUI's folders a name for `find_path` leads into: "input" or "output".

    Raises:
        ValueError: neither.
    """
    path = find_path(name)
    return next(kind for kind, root in _roots().items() if is_inside(path, root))


def is_inside(path: str, root: str) -> bool:
    """Whether an absolute path is a folder or lies inside it."""
    try:
        return os.path.commonpath((path, root)) == root
    except ValueError:  # another drive
        return False


_listed: dict[str, tuple[float, list[str], list[str]]] = {}


def list_files() -> list[str]:
    """Names of the JSON files in the input and output folders, as `find_path` reads them.

    A folder with a file per frame is one name, with a slash at its end. Folders are read again
    only when they changed.
    """
    found = []
    for kind, root in _roots().items():
        mark = "" if kind == "input" else f" [{kind}]"
        found += [f"{name}{mark}" for name in sorted(_walk(root, "", _DEPTH))]
    return found


def _walk(folder: str, prefix: str, depth: int) -> list[str]:
    try:
        changed = os.stat(folder).st_mtime
        known = _listed.get(folder)
        if known is None or known[0] != changed:
            files, folders = [], []
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.name.lower().endswith(".json"):
                        files.append(entry.name)
                    elif entry.is_dir():
                        folders.append(entry.name)
            known = _listed[folder] = (changed, files, folders)
    except OSError:
        return []
    _, files, folders = known
    if prefix and any(name.endswith(_FRAME_SUFFIX) for name in files):
        return [prefix]
    found = [prefix + name for name in files]
    if depth > 1:
        for name in folders:
            found += _walk(os.path.join(folder, name), f"{prefix}{name}/", depth - 1)
    return found
