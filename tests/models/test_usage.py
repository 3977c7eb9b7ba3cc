"""What a network's file says of its use, as entries of an ONNX file's metadata."""

from __future__ import annotations

import pytest

from dwpose.models.usage import Usage


@pytest.mark.parametrize(
    ("usage", "notes"),
    [
        (Usage(), {}),
        (Usage(1.1, flip_test=True), {"dwpose.padding": "1.1", "dwpose.flip_test": "true"}),
        (Usage(rough_boxes=True), {"dwpose.rough_boxes": "true"}),
    ],
)
def test_what_is_not_as_usual_is_noted_and_read(usage, notes):
    assert usage.notes() == notes
    assert Usage.of_notes({**notes, "dwpose.else": "?", "names": "{0: 'person'}"}) == usage


def test_damaged_entries_are_refused():
    with pytest.raises(ValueError, match="Expecting value"):
        Usage.of_notes({"dwpose.padding": "wide"})
