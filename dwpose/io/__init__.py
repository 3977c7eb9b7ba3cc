"""Files in and out: pictures, OpenPose JSON, COCO-WholeBody JSON."""
