"""The site in a real browser: what a reader does, with and without JavaScript."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

playwright_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

PAGES = (
    "index.html",
    "alignment.html",
    "fine-tuning.html",
    "map.html",
    "methods.html",
    "datasets.html",
    "downloads.html",
    "models/hostile.html",
    "models/cobalt-s.html",
)


def shown_models(page: playwright_api.Page, body: str = "models") -> list[str]:
    return page.eval_on_selector_all(
        f"tbody.{body} tr[data-model]",
        "rows => rows.filter(row => row.offsetParent !== null).map(row => row.dataset.model)",
    )


def shown_values(page: playwright_api.Page, column: str) -> list[float | None]:
    return page.eval_on_selector_all(
        f"tbody.models tr[data-model] .c-{column}",
        "cells => cells.map(cell => cell.dataset.value === undefined ? null : Number(cell.dataset.value))",
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_loads_without_an_error_or_an_outside_request(
    page: playwright_api.Page, site: Path, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)
    for name in PAGES:
        page.goto((site / name).as_uri())
        assert page.locator("h1").count() == 1
        assert page.title().endswith("Latent Matter")


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_no_page_scrolls_sideways(page: playwright_api.Page, site: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for name in PAGES:
        page.goto((site / name).as_uri())
        overflow = page.evaluate("document.body.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} at {width}px"


def test_a_click_on_a_header_sorts_by_the_number_and_keeps_missing_values_last(
    page: playwright_api.Page, site: Path
) -> None:
    page.goto((site / "index.html").as_uri())
    header = page.locator("th.c-cpd")
    header.locator("button.sort").click()
    values = shown_values(page, "cpd")
    numbers = [value for value in values if value is not None]
    assert numbers == sorted(numbers, reverse=True)
    assert values[len(numbers) :] == [None] * (len(values) - len(numbers))
    assert header.get_attribute("aria-sort") == "descending"
    header.locator("button.sort").click()
    assert [value for value in shown_values(page, "cpd") if value is not None] == sorted(numbers)
    assert shown_values(page, "cpd")[-1] is None
    header.locator("button.sort").click()
    assert header.get_attribute("aria-sort") is None
    assert shown_models(page)[0] == "aster-base"


def test_sorting_works_from_the_keyboard(page: playwright_api.Page, site: Path) -> None:
    page.goto((site / "cpd.html").as_uri())
    page.locator("th.c-model button.sort").focus()
    page.keyboard.press("Enter")
    assert shown_models(page)[:4] == ["hostile", "aster-base", "aster-large", "aster-tuned"]  # "<script>" comes first
    assert page.locator("th.c-model[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_search_and_filters_choose_models_and_leave_controls(page: playwright_api.Page, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator("summary", has_text="Filters").click()
    page.locator('select[name="symmetry"]').select_option("invariant")
    assert shown_models(page) == ["borealis-2-tuned", "borealis-2", "borealis-1", "hostile", "cobalt-s"]
    assert "soap" in shown_models(page, "controls")
    page.locator('input[name="q"]').fill("BOREALIS tuned")
    assert shown_models(page) == ["borealis-2-tuned"]
    assert page.locator("output.count").inner_text() == "1 of 9 models"


def test_the_address_restores_the_view(page: playwright_api.Page, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator('input[name="q"]').fill("aster")
    page.locator("th.c-collapse button.sort").click()
    page.locator("summary", has_text="Columns").click()
    page.locator('input[name="columns"][value="training"]').uncheck()
    page.locator('input[name="columns"][value="licence"]').check()
    page.locator('input[name="controls"]').uncheck()
    page.locator("summary", has_text="Filters").click()
    page.locator('select[name="size"]').select_option("0-1e6")
    before = shown_models(page)
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert shown_models(page) == before
    assert before[0] == "aster-large"
    assert set(before) == {"aster-large", "aster-tuned", "aster-base"}
    assert shown_models(page, "controls") == []
    assert page.locator("th.c-training").is_hidden()
    assert page.locator("th.c-licence").is_visible()
    assert page.locator("th.c-collapse").get_attribute("aria-sort") == "ascending"
    assert page.locator('input[name="q"]').input_value() == "aster"
    page.get_by_role("button", name="Reset").click()
    assert "?" not in page.url
    assert len(shown_models(page)) == 9


def test_nonsense_in_the_address_is_ignored(page: playwright_api.Page, site: Path) -> None:
    page.goto((site / "index.html").as_uri() + "?sort=nowhere:sideways&size=huge&hide=model,%3Cscript%3E&q=")
    assert len(shown_models(page)) == 9


def test_the_csv_of_the_view_is_the_table(page: playwright_api.Page, site: Path) -> None:
    page.goto(
        (site / "index.html").as_uri() + "?sort=cpd:descending&q=borealis&hide=fine-tuning,training&show=symmetry"
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of this view").click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["id"] for row in rows] == shown_models(page) + shown_models(page, "controls")
    assert "fine_tuning_bias" not in rows[0]
    assert "training_data" not in rows[0]
    with (site / "data" / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        table = {row["model"]: row for row in csv.DictReader(stream)}
    for row in rows:
        for column in ("cpd", "cpd_low", "cpd_high", "alignment", "collapse_information", "borda", "parameters"):
            expected = table[row["id"]][column]
            assert bool(row[column]) == bool(expected)
            assert not expected or float(row[column]) == pytest.approx(float(expected), rel=1e-9)
        assert row["symmetry"] == table[row["id"]]["symmetry"]


def test_a_title_that_looks_like_a_formula_is_saved_as_text(
    page: playwright_api.Page, tmp_path: Path, results: Path
) -> None:
    from leaderboard_site.build import build_site
    from tests.leaderboard_site.synthetic_board import edit_cell

    edit_cell(results, "leaderboard", 0, "title", '=HYPERLINK("https://example.org","x")')
    page.goto(build_site(results, tmp_path / "out").as_uri())
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of this view").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert next(row["model"] for row in rows if row["id"] == "aster-large").startswith("'=HYPERLINK")


def test_an_explanation_opens_on_a_key_press(page: playwright_api.Page, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.get_by_label("What OOD collapse means").focus()
    page.keyboard.press("Enter")
    explanation = page.locator("#about-collapse")
    assert explanation.is_visible()
    assert "lower is better" in explanation.inner_text()
    page.keyboard.press("Escape")
    assert explanation.is_hidden()


def test_a_map_lists_models_and_colours_every_pair(page: playwright_api.Page, site: Path) -> None:
    page.goto((site / "map.html").as_uri())
    first = page.locator("table.heat").first
    models = first.locator("tbody th").count()
    assert models == 13
    assert first.locator('tbody td[class^="s"]').count() == models * (models - 1)
    heights = first.locator("tbody tr").evaluate_all("rows => rows.reduce((sum, row) => sum + row.offsetHeight, 0)")
    tree = first.locator("svg.tree").bounding_box()
    assert tree is not None
    assert abs(tree["height"] - heights) < 2 * models


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_text_of_a_map_can_be_read_on_its_colours(page: playwright_api.Page, site: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto((site / "map.html").as_uri())
    contrast = page.evaluate(
        """() => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const luminance = (colour) => {
            canvas.fillStyle = colour;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((x) => x / 255)
              .map((x) => (x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const row = document.querySelector("table.heat tbody tr");
          const ratios = {};
          for (let shade = 0; shade <= 20; shade += 1) {
            const cell = row.insertCell();
            cell.className = `s${shade}`;
            const style = getComputedStyle(cell);
            const pair = [luminance(style.color), luminance(style.backgroundColor)].sort((a, b) => b - a);
            ratios[shade] = (pair[0] + 0.05) / (pair[1] + 0.05);
          }
          return ratios;
        }"""
    )
    assert {shade: ratio for shade, ratio in contrast.items() if ratio < 4.5} == {}


def test_everything_can_be_read_without_javascript(browser: playwright_api.Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("tbody.models tr[data-model]:visible").count() == 9
    assert page.locator("tbody.controls tr[data-model]:visible").count() == 5
    assert page.locator('input[name="q"]').is_hidden()
    page.locator('input[name="controls"]').uncheck()
    assert page.locator("tbody.controls tr[data-model]:visible").count() == 0
    page.locator("summary", has_text="Columns").click()
    page.locator('input[name="columns"][value="licence"]').check()
    assert page.locator("th.c-licence").is_visible()
    page.goto((site / "map.html").as_uri())
    assert page.locator("table.heat td:visible", has_text="0.9").count() > 0
    context.close()


def test_on_a_phone_each_row_is_a_card_that_can_be_sorted(page: playwright_api.Page, site: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((site / "index.html").as_uri())
    box = page.locator('tr[data-model="cobalt-s"]').bounding_box()
    assert box is not None
    assert box["width"] <= 390
    page.locator('select[name="sort"]').select_option("cpd:descending")
    assert shown_models(page)[0] == "aster-large"
    assert page.get_by_role("rowheader", name="Cobalt S").count() == 1
