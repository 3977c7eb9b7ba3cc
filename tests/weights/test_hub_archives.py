"""Files inside archives, and second sources for the files of a hub that fails."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from dwpose.errors import WeightsError
from dwpose.weights.hub import fetch


def names(folder: Path) -> set[str]:
    """Files a user would take for something, so no locks."""
    return {p.name for p in folder.iterdir() if not p.name.endswith(".lock")}


def assert_right(path: Path, folder: Path, body: bytes) -> None:
    assert path == folder / "weights.onnx"
    assert path.read_bytes() == body
    assert names(folder) == {"weights.onnx", "weights.onnx.json"}


def archived(entry, body: bytes, packed: bytes, **changes):
    return entry(
        filename="sdk/net.zip",
        member="end2end.onnx",
        local_name="weights.onnx",
        archive_sha256=hashlib.sha256(packed).hexdigest(),
        **changes,
    )


def test_an_archive_is_unpacked_and_its_member_checked(hub, entry, body, quick, tmp_path, zip_of):
    packed = zip_of({"2023/model/end2end.onnx": body, "2023/model/detail.json": b"{}"})
    hub.put("sdk/net.zip", packed)
    path = fetch(archived(entry, body, packed), tmp_path, False, quick)
    assert_right(path, tmp_path, body)


def test_cancelling_while_it_is_unpacked_keeps_the_archive(
    hub, entry, body, quick, tmp_path, zip_of
):
    packed = zip_of({"end2end.onnx": body})
    hub.put("sdk/net.zip", packed)

    def cancel_at_the_first_piece(done: int, total: int | None) -> None:
        if (tmp_path / "weights.onnx.part").exists():
            raise KeyError("cancelled")

    with pytest.raises(KeyError, match="cancelled"):
        fetch(archived(entry, body, packed), tmp_path, cancel_at_the_first_piece, quick)
    assert not [name for name in names(tmp_path) if name.startswith("weights.onnx.part")]
    path = fetch(archived(entry, body, packed), tmp_path, False, quick)
    assert len(hub.asked("GET")) == 1
    assert_right(path, tmp_path, body)


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"end2end.onnx": b"other"}, "refused and removed"),
        ({"model.onnx": b""}, "holds 0 files"),
        ({"a/end2end.onnx": b"1", "b/end2end.onnx": b"2"}, "holds 2 files"),
    ],
)
def test_an_archive_with_the_wrong_contents(
    hub, entry, body, quick, tmp_path, zip_of, members, sentence
):
    packed = zip_of(members)
    hub.put("sdk/net.zip", packed)
    with pytest.raises(WeightsError, match=sentence):
        fetch(archived(entry, body, packed), tmp_path, False, quick)
    assert names(tmp_path) == set()


def test_a_damaged_archive(hub, entry, body, quick, tmp_path, zip_of):
    packed = zip_of({"end2end.onnx": body})[:1000]
    hub.put("sdk/net.zip", packed)
    with pytest.raises(WeightsError, match="damaged"):
        fetch(archived(entry, body, packed), tmp_path, False, quick)
    assert names(tmp_path) == set()


def test_a_member_with_a_climbing_name_lands_under_our_name(
    hub, entry, body, quick, tmp_path, zip_of
):
    packed = zip_of({"../../../end2end.onnx": body})
    hub.put("sdk/net.zip", packed)
    home = tmp_path / "a" / "b"
    fetch(archived(entry, body, packed), home, False, quick)
    assert {p.name for p in tmp_path.rglob("*.onnx")} == {"weights.onnx"}


def test_the_second_source_is_used_when_the_hub_fails(
    hub, second_server, entry, body, quick, tmp_path
):
    second_server.files["/release/weights.onnx"] = body
    hub.heads.append("status:404")
    twin = entry(url=f"{second_server.url}/release/weights.onnx")
    assert_right(fetch(twin, tmp_path, False, quick), tmp_path, body)


def test_both_sources_failing_names_both(hub, second_server, entry, quick, tmp_path):
    hub.heads.append("status:404")
    twin = entry(url=f"{second_server.url}/gone.onnx")
    with pytest.raises(WeightsError, match=r"does not exist.*second source.*gone\.onnx"):
        fetch(twin, tmp_path, False, quick)


def test_a_plain_address_needs_no_hub(second_server, entry, body, quick, tmp_path):
    second_server.files["/release/weights.onnx"] = body
    second_server.plain = True
    second_server.gets.extend(["cut:100000", "status:503"])
    plain = entry(repo=None, revision=None, url=f"{second_server.url}/release/weights.onnx")
    assert_right(fetch(plain, tmp_path, False, quick), tmp_path, body)
    assert second_server.sent == len(body)
