"""A real browser for the tests of the page: Debian's Chromium, driven by Playwright.

Every page is watched while it is open: a violation of the content security policy, an error of a script or a dialog of
the browser fails the test, wherever it happens.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, expect, sync_playwright

from tests.support.waiting import LIMIT_S, wait_for

LIMIT_MS = LIMIT_S * 1000
# The headless shell first: it is the same browser without windows, and needs half of the CPU.
_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
_CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3])).concat(1);
  const ground = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(parse(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const luminance = ([red, green, blue]) => [red, green, blue]
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const ratio = (one, other) => {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const found = [];
  const check = (element, text, pseudo) => {
    const style = getComputedStyle(element, pseudo);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const under = ground(element);
    const measured = ratio(over(parse(style.color), under), under);
    found.push({ text: text.trim().slice(0, 40), ratio: measured, least: large ? 3 : 4.5 });
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest(".unseen, noscript, option, :disabled")) continue;
    check(element, walker.currentNode.data, null);
  }
  for (const input of document.querySelectorAll("input")) {
    if (input.checkVisibility() && input.placeholder && !input.value) check(input, input.placeholder, "::placeholder");
  }
  return found;
}"""


@dataclass
class Guest:
    """Someone in front of a browser of their own: cookies, settings, and one page. ``faults`` must stay empty."""

    context: BrowserContext
    page: Page
    url: str
    faults: list[str] = field(default_factory=list)

    def open(self, room: str = "") -> None:
        """Open the page, or one of its rooms."""
        target = f"{self.url}/#/{room}" if room else f"{self.url}/"
        if self.page.url == target:
            self.page.reload()  # to go there would change nothing
        else:
            self.page.goto(target)
        if room:
            expect(self.page.locator(f".room.{room.partition('?')[0]}")).to_be_visible()

    def sign_in(self, name: str) -> None:
        """Sign in as a person of the sandbox, through the consent page."""
        self.page.goto(f"{self.url}/")
        self.page.get_by_role("link", name="Sign in with Discord").click()
        self.page.get_by_label("You are").select_option(label=name)
        self.page.get_by_role("button", name="Authorize").click()
        self.wait_until_live()

    def wait_until_live(self) -> None:
        expect(self.page.locator(".connection:is([data-state=live], [data-state=recovered])")).to_be_visible()

    def contrasts(self) -> list[dict[str, Any]]:
        """All visible texts with too little contrast for WCAG AA: ``text``, ``ratio``, ``least``."""
        found: list[dict[str, Any]] = self.page.evaluate(_CONTRAST)
        assert found, "there is no text"
        return [text for text in found if text["ratio"] < text["least"]]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen, which is what a phone would zoom out by."""
        return int(
            self.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
        )


def chromium() -> str:
    """The program of the browser; skips the test where there is none."""
    for name in _PROGRAMS:
        if program := shutil.which(name):
            return program
    pytest.skip("chromium: no Chromium is installed; `sh tools/install_chromium.sh` installs it")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without a window."""
    program = chromium()
    expect.set_options(timeout=LIMIT_MS)
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def guest(browser: Browser, url: str, **options: Any) -> Iterator[Guest]:
    """A browser context with ``options``; at the end nothing must have gone wrong in it."""
    context = browser.new_context(**options)
    context.set_default_timeout(LIMIT_MS)
    context.add_init_script(_REPORT_VIOLATIONS)
    visitor = Guest(context, context.new_page(), url)
    _watch(visitor)
    try:
        yield visitor
        assert visitor.faults == []
    finally:
        context.close()


def _watch(visitor: Guest) -> None:
    def hear(message: ConsoleMessage) -> None:
        text = message.text
        if "policy" in text.lower() or "CSP" in text:
            visitor.faults.append(text)

    def dismiss(dialog: Dialog) -> None:
        visitor.faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    visitor.page.on("console", hear)
    visitor.page.on("pageerror", lambda error: visitor.faults.append(f"a script failed: {error}"))
    visitor.page.on("dialog", dismiss)


def wait_for_fault(visitor: Guest) -> None:
    """For tests of this module: wait until a fault is noticed, and forget it."""

    def noticed() -> bool:
        visitor.page.evaluate("() => 0")  # lets Playwright deliver what has happened
        return bool(visitor.faults)

    wait_for(noticed, what="a fault")
    visitor.faults.clear()
