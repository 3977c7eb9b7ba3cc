"""`dwpose doctor`: what is installed, what would be used, and what is wrong."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from .options import number

if TYPE_CHECKING:
    from ..doctor import Report

_EPILOG = """\
examples:
  dwpose doctor
  dwpose doctor --offline
      without asking whether the model hub answers
  dwpose doctor --json > report.json
      for a bug report

exit codes: 0 healthy (warnings and hints allowed), 1 a fault was found
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the dispatcher's parser."""
    parser = subparsers.add_parser(
        "doctor",
        help="look at this installation",
        description="Versions, devices, models, what `auto` would choose, and known faults.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--json", action="store_true", help="as JSON")
    add("--offline", action="store_true", help="do not ask whether the model hub answers")
    add(
        "--timeout",
        type=number(0, 3600, above=True),
        default=3.0,
        metavar="S",
        help="wait for the hub (default: 3 s)",
    )
    add("--models-folder", metavar="DIR", help="where model files are kept")


def run(args: argparse.Namespace) -> int:
    """Print the report; see the module's exit codes."""
    from ..doctor import report

    found = report(args.models_folder, network=not args.offline, timeout_s=args.timeout)
    print(json.dumps(found.as_dict(), indent=1) if args.json else as_text(found))
    return 0 if found.healthy else 1


def as_text(found: Report) -> str:
    """The report for people."""
    lines: list[str] = []

    def section(title: str, rows: list[tuple[str, str]]) -> None:
        lines.append(title)
        width = max((len(name) for name, _ in rows), default=0)
        lines.extend(f"  {name.ljust(width)}  {text}".rstrip() for name, text in rows)

    section("system", list(found.system.items()))
    section("versions", [(name, text or "not installed") for name, text in found.versions.items()])
    section("devices", [(device["name"], device["detail"]) for device in found.devices])
    section(
        "runtimes",
        [
            (name, ", ".join(facts["providers"]) or "not installed")
            for name, facts in found.runtimes.items()
        ],
    )
    section(
        "auto would use",
        [
            (role, ": ".join(filter(None, (choice["model"], choice["runtime"]))))
            for role, choice in found.choices.items()
        ],
    )
    lines.extend(
        f"    {role}: {choice['reason']}" for role, choice in found.choices.items()
        if choice["reason"]
    )  # fmt: skip
    section(
        f"models in {found.folder}",
        [(str(m["id"]), f"{m['state']}: {m['detail']}") for m in found.models] or [("none", "")],
    )
    reach = {True: "reachable", False: "not reachable", None: "not asked"}
    section("hub", [(found.hub.get("endpoint", "?"), reach[found.hub.get("reachable")])])
    if not found.findings:
        lines.append("nothing wrong was found")
    for finding in found.findings:
        lines.append(f"{finding.level}: {finding.what}")
        lines.append(f"  mend: {finding.mend}")
    return "\n".join(lines)
