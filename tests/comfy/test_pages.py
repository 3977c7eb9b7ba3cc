"""Scripts and help pages are served under any folder name."""

from __future__ import annotations

import asyncio
import sys
import types
from urllib.parse import quote

import pytest


@pytest.fixture(scope="module")
def pages(pack):
    return pack("nodes.pages")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ComfyUI-DWPose", []),
        ("dwpose_studio-1", []),
        ("DWPose (copy)", ["DWPose (copy)"]),
        ("nodes-ü", ["nodes-ü"]),
        ("dwpose-1.2", ["dwpose-1"]),
        ("my nodes v1.2", ["my nodes v1.2", "my nodes v1"]),
        ("taken.copy", []),
        (".hidden", []),
    ],
)
def test_only_names_that_need_it_are_served(pages, tmp_path, name, expected):
    (tmp_path / "taken").mkdir()
    assert pages.names_to_serve(tmp_path / name) == expected


def test_nothing_outside_the_web_folder_is_found(pages, tmp_path):
    web = tmp_path / "web"
    (web / "docs").mkdir(parents=True)
    (web / "docs" / "en.md").write_text("")
    (tmp_path / "secret.txt").write_text("")
    (tmp_path / "website").mkdir()
    (tmp_path / "website" / "a.js").write_text("")
    assert pages.find_page(web, "docs/en.md") == web / "docs" / "en.md"
    for path in (
        "",
        "docs",
        "none.js",
        "../secret.txt",
        "docs/../../secret.txt",
        "../website/a.js",
    ):
        assert pages.find_page(web, path) is None
    assert pages.find_page(web, str(tmp_path / "secret.txt")) is None


def test_without_a_server_or_a_need_nothing_happens(pages, tmp_path):
    pages.serve_pages(tmp_path / "odd name")
    pages.serve_pages(tmp_path / "plain")


@pytest.mark.parametrize("name", ["odd name-ü v1.2 (copy)+&", "dwpose-1.2"])
def test_the_routes_answer_in_a_server(pages, tmp_path, monkeypatch, name):
    web = pytest.importorskip("aiohttp.web")
    from aiohttp import ClientSession
    from yarl import URL

    folder = tmp_path / name
    for path in ("web/docs/en.md", "example_workflows/a b.jpg", "secret"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("")
    routes = web.RouteTableDef()
    instance = types.SimpleNamespace(routes=routes)
    monkeypatch.setattr(sys.modules["server"].PromptServer, "instance", instance, raising=False)
    pages.serve_pages(folder)

    async def ask(addresses: list[str]) -> list[int]:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host = f"http://127.0.0.1:{runner.addresses[0][1]}"
        found = []
        async with ClientSession() as client:
            for address in addresses:
                async with client.get(URL(host + address, encoded=True)) as answer:
                    found.append(answer.status)
        await runner.cleanup()
        return found

    for own in map(quote, pages.names_to_serve(folder)):
        there = [f"/extensions/{own}/docs/en.md", f"/workflow_templates/{own}/a%20b.jpg"]
        assert asyncio.run(ask(there)) == [200, 200]
        secrets = ("none.md", "docs", "..%2Fsecret", "../secret", "docs/../../secret")
        refused = [f"/extensions/{own}/{path}" for path in secrets]
        assert set(asyncio.run(ask(refused))) == {404}
    assert asyncio.run(ask(["/extensions/other/docs/en.md"])) == [404]
