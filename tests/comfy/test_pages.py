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
def test_the_route_answers_in_a_server(pages, tmp_path, monkeypatch, name):
    web = pytest.importorskip("aiohttp.web")
    from aiohttp import ClientSession
    from yarl import URL

    folder = tmp_path / name
    (folder / "web" / "docs").mkdir(parents=True)
    (folder / "web" / "docs" / "en.md").write_text("hello")
    (folder / "secret").write_text("")
    instance = types.SimpleNamespace(routes=web.RouteTableDef())
    monkeypatch.setattr(sys.modules["server"].PromptServer, "instance", instance, raising=False)
    pages.serve_pages(folder)

    async def ask() -> list[tuple[int, str]]:
        app = web.Application()
        app.add_routes(instance.routes)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host = f"http://127.0.0.1:{runner.addresses[0][1]}/extensions"
        found = []
        async with ClientSession() as client:
            for own in pages.names_to_serve(folder):
                for path in ("docs/en.md", "none.md", "..%2Fsecret", "docs/../../secret"):
                    address = URL(f"{host}/{quote(own)}/{path}", encoded=True)
                    async with client.get(address) as answer:
                        found.append((answer.status, path))
            async with client.get(f"{host}/other/docs/en.md") as answer:
                found.append((answer.status, "other"))
        await runner.cleanup()
        return found

    found = asyncio.run(ask())
    assert [path for status, path in found if status == 200] == ["docs/en.md"] * (len(found) // 4)
    assert {status for status, _ in found} == {200, 404}
