"""`dwpose models`: lists, fetches, checks and finds model files."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..weights.catalogue import ModelEntry
    from ..weights.store import FileState

_EPILOG = """\
examples:
  dwpose models list
  dwpose models list --role detector --json
  dwpose models fetch dw-ll-384 yolox-l
      the official DWPose and its detector
  dwpose models fetch dw-mm --models-folder ComfyUI/models/dwpose
  dwpose models verify
      hash every file that is here
  dwpose models path dw-ll-384
      where its file lies; without an id, the models folder

Files lie in DWPOSE_MODELS, else in HF_HOME/dwpose, else in ~/.cache/dwpose. HF_ENDPOINT names a
mirror, HF_TOKEN an account, HF_HUB_OFFLINE=1 forbids the network.

exit codes: 0 all well, 1 a file is absent, wrong or could not be fetched, 2 wrong call
"""

_STATES = {
    "absent": "-",
    "present": "here",
    "ok": "here, right",
    "recorded": "here, as first used",
    "wrong": "WRONG",
}


def add_parser(subparsers: Any) -> None:
    """Add the command to the dispatcher's parser."""
    parser = subparsers.add_parser(
        "models",
        help="list, fetch and check model files",
        description="Model files: what there is, what is here, and whether it is right.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        sub.add_argument("--models-folder", metavar="DIR", help="where model files are kept")
        return sub

    sub = action("list", "show every known model file and whether it is here")
    sub.add_argument("--role", choices=("estimator", "detector"), help="only these")
    sub.add_argument("--here", action="store_true", help="only files that are here")
    sub.add_argument("--json", action="store_true", help="as JSON")
    sub = action("fetch", "download model files, check them and put them in place")
    sub.add_argument("ids", nargs="+", metavar="ID", help="see: dwpose models list")
    sub.add_argument("-q", "--quiet", action="store_true", help="no progress bar")
    sub = action("verify", "hash model files that are here and compare")
    sub.add_argument("ids", nargs="*", metavar="ID", help="default: all that are here")
    sub = action("path", "print where a model file lies, or the models folder")
    sub.add_argument("id", nargs="?", metavar="ID")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say; see the module's exit codes."""
    return {"list": _list, "fetch": _fetch, "verify": _verify, "path": _path}[args.action](args)


def _say(text: str) -> None:
    print(f"dwpose models: {text}", file=sys.stderr)


def _entries(ids: list[str]) -> list[ModelEntry] | None:
    """Look ids up; None after saying which one is unknown."""
    from ..weights.catalogue import find

    try:
        return [find(id) for id in dict.fromkeys(ids)]
    except ValueError as error:
        _say(str(error))
        return None


def megabytes(count: int | None) -> str:
    """A size for people, or a question mark."""
    return "?" if count is None else f"{count / 1e6:.1f} MB"


def describe(found: FileState) -> dict[str, Any]:
    """One model file as plain data."""
    entry = found.entry
    size = found.path.stat().st_size if found.path else entry.bytes
    return {
        "id": entry.id,
        "role": entry.role,
        "family": entry.family,
        "size": entry.size,
        "input_size_hw": list(entry.input_size_hw),
        "bytes": size,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "source": entry.source,
        "revision": entry.revision,
        "state": found.state,
        "detail": found.detail,
        "path": str(found.path) if found.path else None,
        "about": entry.about,
    }


def _checksum(model: dict[str, Any]) -> str:
    """Start of the published checksum, or that there is none: then the first use is recorded."""
    if model["sha256"]:
        return model["sha256"][:8]
    return "in package" if model["source"] == "inside the package" else "unknown"


def _list(args: argparse.Namespace) -> int:
    from ..weights.catalogue import CATALOGUE
    from ..weights.store import models_folder, state

    found = [
        describe(state(entry, args.models_folder))
        for entry in CATALOGUE.values()
        if args.role in (None, entry.role)
    ]
    if args.here:
        found = [model for model in found if model["path"]]
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    rows = [("ID", "ROLE", "INPUT", "SIZE", "SHA256", "STATE", "LICENCE", "ABOUT")]
    for model in found:
        height, width = model["input_size_hw"]
        rows.append(
            (
                model["id"],
                model["role"],
                f"{height}x{width}",
                megabytes(model["bytes"]),
                _checksum(model),
                _STATES[model["state"]],
                model["licence"].split(" (")[0] + ("*" if "(" in model["licence"] else ""),
                model["about"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]).rstrip())
    for licence in sorted({m["licence"] for m in found if "(" in m["licence"]}):
        print(f"\n* {licence}")
    print(f"\nfolder: {models_folder(args.models_folder)}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    from ..errors import WeightsError
    from ..weights.hub import fetch

    entries = _entries(args.ids)
    if entries is None:
        return 2
    failed = 0
    for entry in entries:
        try:
            print(fetch(entry, args.models_folder, progress=not args.quiet), flush=True)
        except (WeightsError, OSError) as error:
            _say(f"{entry.id}: {error}")
            failed += 1
    return 1 if failed else 0


def _verify(args: argparse.Namespace) -> int:
    from ..weights.catalogue import CATALOGUE
    from ..weights.store import state, verify

    entries = _entries(args.ids)
    if entries is None:
        return 2
    if not entries:
        entries = [e for e in CATALOGUE.values() if state(e, args.models_folder).path]
        if not entries:
            _say("no model file is here; `dwpose models fetch dw-ll-384 yolox-l` brings the usual")
    good = True
    for entry in entries:
        found = verify(entry, args.models_folder)
        print(f"{entry.id}: {_STATES[found.state].replace('-', 'absent')} ({found.detail})")
        good = good and found.state in ("ok", "recorded")
    return 0 if good else 1


def _path(args: argparse.Namespace) -> int:
    from ..weights.store import absent_message, locate, models_folder

    if args.id is None:
        print(models_folder(args.models_folder))
        return 0
    entries = _entries([args.id])
    if entries is None:
        return 2
    path = locate(entries[0], args.models_folder)
    if path is None:
        _say(absent_message(entries[0], args.models_folder))
        return 1
    print(path)
    return 0
