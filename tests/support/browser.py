"""A real Chromium for tests of pages: where one is installed, which tests without it say."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

_SWITCHES = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
)


class Visit:
    """A page that was opened, and all that it did: no errors, and no requests to elsewhere."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.faults, self.requests = page, [], []
        self._origin = origin
        page.on("console", lambda message: message.type in ("error", "warning") and self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("requestfailed", self._note_failure)
        page.on("request", lambda request: self.requests.append(request.url))

    def _note_failure(self, request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # as a page that is left does with what it waits for
            self.faults.append(f"{request.url[:200]}: {request.failure}")

    def check(self) -> None:
        """No console error, no request to elsewhere."""
        assert not self.faults, self.faults
        elsewhere = [url for url in self.requests if not url.startswith((self._origin, "data:"))]
        assert not elsewhere, elsewhere

    def pixels(self, clip: tuple[int, int, int, int]) -> np.ndarray:
        """What is shown in a rectangle (left, top, width, height) of the window: (h, w, 3), uint8."""
        box = dict(zip(("x", "y", "width", "height"), clip, strict=True))
        shot = self.page.screenshot(clip=box, animations="disabled")
        return np.asarray(pyvips.Image.new_from_buffer(shot, "")[:3].numpy())


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window, for a block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_SWITCHES.split())
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Any, address: str, *, width: int = 1280, height: int = 800, **options: Any) -> Iterator[Visit]:
    """Open a page, and check in the end that it did no wrong; options are those of playwright's `new_context`."""
    context = browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        origin = address if address.startswith("file:") else address.split("/", 3)[:3]
        seen = Visit(context.new_page(), address.rpartition("/")[0] if isinstance(origin, str) else "/".join(origin))
        seen.page.goto(address)
        yield seen
        seen.check()
    finally:
        context.close()


def address(page: Path) -> str:
    """How a browser calls a file."""
    return page.resolve().as_uri()


def settled(seen: Visit) -> None:
    """Wait until all tiles to be shown are there, and no zoom is under way, in which Leaflet hears no finger."""
    seen.page.wait_for_timeout(50)
    until(seen, "!document.querySelector('.leaflet-zoom-anim')")
    until(seen, "[...document.querySelectorAll('#map img')].every((tile) => tile.complete)")
    seen.page.wait_for_timeout(150)


def until(seen: Visit, fact: str) -> None:
    """Wait for something to be true. Playwright's own way evaluates texts in the page, which its policy forbids."""
    for _ in range(200):
        if seen.page.evaluate(fact):
            return
        seen.page.wait_for_timeout(50)
    raise AssertionError(f"not true within ten seconds: {fact}")


def check_axe(seen: Visit) -> None:
    """Fail on what axe calls serious or worse."""
    from axe_playwright_python.sync_playwright import Axe

    found = [each for each in Axe().run(seen.page).response["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []
