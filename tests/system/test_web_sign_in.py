"""Sign in to the web page with the sandbox's Discord, over real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.discord import ANN, Discord, local_discord
from tests.support.stores import clean_redis
from tests.support.web import Browser, WebRig, browser, serving_web

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def discord() -> AsyncIterator[Discord]:
    async with local_discord() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def rig(redis_server: str, discord: Discord, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WebRig]:
    root: Path = tmp_path_factory.mktemp("web")
    async with clean_redis(redis_server) as redis, serving_web(redis, root, discord.url) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def page(rig: WebRig) -> AsyncIterator[Browser]:
    async with browser(rig.url) as opened:
        yield opened


async def test_person_signs_in_and_sees_roles_with_reasons(page: Browser) -> None:
    assert await page.me() is None
    assert (await page.sign_in(ANN, to="/jobs")).location.path == "/jobs"
    me = await page.me()
    assert me["user"] == {"id": ANN, "name": "Ann"}
