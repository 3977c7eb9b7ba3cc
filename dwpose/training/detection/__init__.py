"""Training of a one-class person detector (YOLOX) on composed scenes."""
