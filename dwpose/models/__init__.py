"""Networks in plain torch: RTMPose, YOLOX, their folded form, and ONNX in and out."""
