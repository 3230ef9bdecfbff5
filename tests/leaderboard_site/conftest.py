"""A synthetic results folder, the site built from it, and a browser to look at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leaderboard_site.build import build_site
from tests.leaderboard_site.synthetic_board import write_results


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A fresh results folder that a test may damage."""
    return write_results(tmp_path / "results")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of the undamaged board; not to be written to."""
    folder = tmp_path_factory.mktemp("site")
    return build_site(write_results(folder / "results"), folder / "out").parent


class Browsers:
    """A Chromium for all tests; a fresh one where the last one ended, so that one test's crash is no other's."""

    def __init__(self, chromium: Any, program: str) -> None:
        self.chromium, self.program = chromium, program
        self.running: Any = None

    def get(self) -> Any:
        if self.running is None or not self.running.is_connected():
            # --disable-dev-shm-usage: containers often have 64 MB there, and a page that needs more crashes.
            args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            self.running = self.chromium.launch(executable_path=self.program, args=args)
        return self.running


@pytest.fixture(scope="session")
def browsers() -> Iterator[Browsers]:
    playwright_api = pytest.importorskip("playwright.sync_api")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    program = next((path for path in found if path), None)
    if program is None:
        message = "no chromium, chromium-browser or google-chrome on the path"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with playwright_api.sync_playwright() as playwright:
        browsers = Browsers(playwright.chromium, program)
        yield browsers
        if browsers.running is not None:
            browsers.running.close()


@pytest.fixture
def browser(browsers: Browsers) -> Any:
    return browsers.get()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that fails the test on any console message, script error, dialog or request outside the site."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "requestfailed",  # an icon whose page was left before it came is no problem
        lambda request: None if "ABORTED" in str(request.failure) else problems.append(f"failed: {request.url}"),
    )
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(("file://", "blob:")) else problems.append(f"outside: {request.url}")
        ),
    )
    yield page
    context.close()
    assert problems == []
