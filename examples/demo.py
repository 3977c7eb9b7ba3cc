"""Turn a real photo into a pose map, keypoints and an overlay: `python examples/demo.py out`.

The photo is the portrait of an astronaut that scikit-image ships (NASA, public domain), so that
nothing is downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
from skimage.data import astronaut  # pyright: ignore[reportMissingImports]

from dwpose.cli import main

if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out")
    folder.mkdir(parents=True, exist_ok=True)
    photo = folder / "astronaut.png"
    cv2.imwrite(str(photo), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))
    sys.exit(main(["image", str(photo), "-o", str(folder), "--json", "--overlay"]))
