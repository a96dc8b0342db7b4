"""A real browser for tests: Debian's Chromium without a window, driven by Playwright."""

import shutil
from contextlib import contextmanager

import pytest

QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", *QUIET]


@contextmanager
def chromium():
    """The browser, or what to install."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.fail(
            "Pages are tested in a real browser, and there is no chromium here. "
            "Debian has it: apt-get install chromium"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


class Opener:
    """Opens pages from files, as a user does, and hears all that they say or ask for."""

    def __init__(self, browser, folder):
        self.browser, self.folder = browser, folder
        self.noise, self.pages = [], []

    def __call__(self, html, **settings):
        path = self.folder / f"page_{len(self.pages)}.html"
        path.write_text(html, encoding="utf-8")
        page = self.browser.new_page(**settings)
        page.on("console", lambda message: self.noise.append(message.text))
        page.on("pageerror", lambda error: self.noise.append(str(error)))
        page.on("request", lambda request: self.noise.append(request.url))
        self.pages.append(page)
        page.goto(path.as_uri(), timeout=120_000)  # milliseconds: CI shares its cores
        assert self.noise.pop(0) == path.as_uri()
        return page

    def close(self):
        """Close the pages; all was quiet."""
        for page in self.pages:
            page.close()
        assert not self.noise, self.noise


# Put sliders somewhere, as a hand does, and wait for the next frame.
PUT = """(values) => {
    for (const [where, value] of Object.entries(values)) {
        const input = document.querySelector(where);
        input.value = value;
        input.dispatchEvent(new Event("input"));
        input.dispatchEvent(new Event("change"));
    }
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def put(page, values):
    """Put sliders, by their selectors, to values."""
    page.evaluate(PUT, values)
