"""The command line where no `dwpose` program is on the path: `python -m dwpose`."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
