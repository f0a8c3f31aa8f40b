"""Make the pictures of docs/web.md: `python -m tools.screenshots`. Look at them before you commit them.

They show a new bot in the sandbox with real traffic, so times and numbers differ each time.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.support.browser import Guest, guest
from tests.support.page_site import Site, running_site

FOLDER = Path(__file__).parents[1] / "docs" / "images"
DESKTOP = {"width": 1280, "height": 800}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
CALLS = (
    ("ping", "ann", {}),
    ("roll", "bob", {}),
    ("8ball", "cat", {"question": "Tea?"}),
    ("about", "bob", {}),
    ("roll", "cat", {}),
    ("ops status", "cat", {}),  # without a right
)
SECONDS = 62


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, running_site(Path(folder) / "starboard") as site:
        with guest(site.browser, site.url, viewport=DESKTOP) as stranger:
            stranger.open()
            expect(stranger.page.get_by_role("link", name="Sign in with Discord")).to_be_visible()
            _take(stranger, "signed-out")
        with (
            site.ann_elsewhere(viewport=DESKTOP) as ann,
            site.ann_elsewhere(viewport=DESKTOP, color_scheme="dark") as dark,
            site.ann_elsewhere(**PHONE) as phone,
        ):
            for visitor in (ann, dark, phone):
                visitor.open("state")
                visitor.wait_until_live()
            _send_commands(site)
            _take(ann, "state")
            _take(dark, "dark")
            _take(phone, "phone")
            _pause_a_job(ann)
            ann.open("audit")
            expect(ann.page.get_by_role("table", name="Entries")).to_be_visible()
            _take(ann, "audit")


def _send_commands(site: Site) -> None:
    """People use the bot, some of them too often or without a right."""
    for second in range(SECONDS):
        for _ in range(random.choice((0, 1, 1, 2, 3)) + second // 20):
            name, person, options = random.choice(CALLS)
            site.command(name, person, **options)
        time.sleep(1)


def _pause_a_job(ann: Guest) -> None:
    ann.open("jobs")
    ann.page.get_by_role("button", name="Pause tell-activity").click()
    dialog = ann.page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("The channel is being moved")
    _take(ann, "jobs")
    dialog.get_by_role("button", name="Pause").click()
    expect(ann.page.locator("#notices")).to_contain_text("paused")
    ann.page.get_by_role("button", name="Dismiss").click()


def _take(visitor: Guest, name: str) -> None:
    visitor.page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    main()
