"""The sources in the table, asked for real: run with DWPOSE_TEST_NETWORK=1 where there is a net."""

from __future__ import annotations

import os

import pytest

from dwpose.errors import WeightsError
from dwpose.weights.catalogue import CATALOGUE
from dwpose.weights.transfer import COMMIT_HEADER, SIZE_HEADER, TAG_HEADER, Patience, probe

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(
        os.environ.get("DWPOSE_TEST_NETWORK") != "1", reason="needs DWPOSE_TEST_NETWORK=1"
    ),
]

ENTRIES = [entry for entry in CATALOGUE.values() if not entry.builtin]
HUB = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
"""Read before the fixtures point it elsewhere."""


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_a_source_exists_and_is_what_the_table_says(entry):
    patience = Patience(timeout_s=20, attempts=3)
    if entry.repo is None:
        assert probe(str(entry.url), {}, patience)
        return
    address = f"{HUB}/{entry.repo}/resolve/{entry.revision}/{entry.filename}"
    try:
        facts = probe(address, {}, patience)
    except WeightsError:
        # The second source has to stand in.
        assert entry.url, f"{address} is gone and {entry.id} has no other source"
        assert probe(entry.url, {}, patience)
        return
    assert facts[COMMIT_HEADER]
    published = (facts[TAG_HEADER] or "").strip('"')
    wanted = entry.archive_sha256 if entry.member else entry.sha256
    assert wanted in (None, published), f"{entry.id} has the sha256 {published}"
    if entry.bytes and not entry.member:
        assert int(facts[SIZE_HEADER]) == entry.bytes
