"""What a network's file says of its use. No torch in here: files that need none are read too."""

PADDING_KEY = "dwpose.padding"
"""Metadata of an ONNX file whose network is for other crops than the official ones, see
`RTMPoseConfig.padding`."""
