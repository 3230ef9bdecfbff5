"""axe-core in a real browser: no page has a violation that shuts a reader out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

axe_api = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.browser

GRAVE = ("serious", "critical")


def violations(page: Any) -> list[str]:
    found = axe_api.Axe().run(page, options={"preload": False}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {rule['nodes'][0]['html'][:200]} {rule['nodes'][0]['failureSummary'][:300]}"
        for rule in found
        if rule["impact"] in GRAVE
    ]


def addresses(site: Path) -> list[Path]:
    """Every page; of the models, one of each kind: plain, fine-tuned, hostile, control, failed, withdrawn."""
    kinds = ("cobalt-s", "aster-tuned", "hostile", "noise", "dysprosium", "erbium")
    chosen = {f"{name}.html" for name in kinds}
    return [path for path in sorted(site.rglob("*.html")) if path.parent.name != "models" or path.name in chosen]


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_no_page_has_a_serious_violation(page: Any, site: Path, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    problems = {}
    for path in addresses(site):
        page.goto(path.as_uri())
        if page.locator("[data-figure]").count():
            page.wait_for_selector('[data-live="true"]')
        if found := violations(page):
            problems[str(path.relative_to(site))] = found
    assert problems == {}


def test_open_menus_have_no_serious_violation(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    for name in ("Filters", "Columns", "Weights"):
        page.locator("summary", has_text=name).click()
        assert violations(page) == []


def test_the_first_press_of_tab_offers_to_skip_to_the_content(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
