"""Write what ComfyUI's registry wants into pyproject.toml, for the publishing workflow alone.

registry.py PYPROJECT OWNER/NAME TAG [PUBLISHER]

The registry takes addresses for icon and banner, and the licence as a table, which Python's own
tools no longer want; and where the repository lies is known to whoever publishes it, not to the
tree. So the file is changed in the checkout that is published, and nowhere else.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path


def for_registry(text: str, repository: str, tag: str, publisher: str = "") -> str:
    """Return the pyproject.toml that is published.

    Args:
        text: the file's text.
        repository: owner and name, such as "someone/ComfyUI-DWPose".
        tag: the tag that is published, such as "v1.2.3".
        publisher: the registry's publisher id, if it is not the one in the file.

    Raises:
        ValueError: a line that is to be changed is not there.
    """
    files = f"https://raw.githubusercontent.com/{repository}/{tag}"
    changes = [
        (r'^license = "([^"]+)"$', r'license = { text = "\1" }'),
        (r"^license-files = .*\n", ""),
        (r'^(Icon|Banner) = "(?!https:)([^"]+)"$', rf'\1 = "{files}/\2"'),
        (
            r"^\[tool\.comfy\]$",
            f'[project.urls]\nRepository = "https://github.com/{repository}"\n\n[tool.comfy]',
        ),
    ]
    if publisher:
        changes.append((r'^PublisherId = "[^"]*"$', f'PublisherId = "{publisher}"'))
    for pattern, new in changes:
        text, count = re.subn(pattern, new, text, flags=re.MULTILINE)
        if count == 0:
            raise ValueError(f"pyproject.toml has no line like {pattern}; mend .ci/registry.py")
    return text


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(for_registry(path.read_text(encoding="utf-8"), *sys.argv[2:]), encoding="utf-8")
