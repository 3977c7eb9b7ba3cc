"""Pictures and keypoint files, in and out."""
