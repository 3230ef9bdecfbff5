"""What a reader does beyond sorting: weights, selection, presets, counts, comparison, figures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard_site.test_site_browser import shown_models

pytestmark = pytest.mark.browser


def read_csv(page: Any) -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV of this view").click()
    return list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))


def set_weight(page: Any, headline: str, value: str) -> None:
    page.locator(f'input[name="weight"][data-headline="{headline}"]').evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }", value
    )


def test_an_option_of_a_filter_says_how_many_models_it_leaves(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator("summary", has_text="Filters").click()
    option = page.locator('select[name="symmetry"] option[value="invariant"]')
    assert option.inner_text() == "invariant (5)"
    page.locator('select[name="family"]').select_option("borealis")
    assert option.inner_text() == "invariant (3)"
    assert page.locator('select[name="symmetry"] option[value="equivariant"]').is_disabled()
    assert page.locator("[data-active]").inner_text() == "1"


def test_moved_weights_rank_by_the_weighted_points_and_reset_to_the_published_ranks(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    published = shown_models(page)
    ranks = page.locator("tbody.models .c-rank").all_inner_texts()
    for headline in ("alignment", "collapse_information"):
        set_weight(page, headline, "0")
    assert page.locator("p.reweighted").is_visible()
    with (site / "data" / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        table = {row["model"]: row for row in csv.DictReader(stream)}

    def points(model: str) -> float:
        row = table[model]
        low, high, ranked = (int(row[f"cpd_{part}"]) for part in ("rank_low", "rank_high", "ranked"))
        return ranked - high + 0.5 * (high - low)

    ranked = [model for model in shown_models(page) if table[model]["rank_low"]]
    assert [points(model) for model in ranked] == sorted((points(model) for model in ranked), reverse=True)
    best = max(points(model) for model in ranked)
    tied = sum(points(model) == best for model in ranked)
    assert page.locator("tbody.models .c-rank").first.inner_text() == ("1" if tied == 1 else f"1–{tied}")
    rows = read_csv(page)
    assert float(rows[0]["borda"]) == best
    assert "weights=0,0,1,0" in page.url.replace("%2C", ",")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert [model for model in shown_models(page) if table[model]["rank_low"]] == ranked
    page.get_by_role("button", name="Back to the published ranks").click()
    assert shown_models(page) == published
    assert page.locator("tbody.models .c-rank").all_inner_texts() == ranks


def test_selected_rows_are_shown_alone_kept_in_the_address_and_taken_to_the_comparison(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    for title in ("Cobalt S", "Borealis 1", "SOAP"):
        page.get_by_label(f"Select {title}", exact=True).check()
    page.locator('input[name="only"]').check()
    assert set(shown_models(page)) == {"cobalt-s", "borealis-1"}
    assert shown_models(page, "controls") == ["soap"]
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert set(shown_models(page)) == {"cobalt-s", "borealis-1"}
    page.locator("a[data-compare]").click()
    page.wait_for_selector("#comparison h2")  # made by the script of the next page
    heads = page.locator("#comparison table").first.locator("thead th").all_inner_texts()
    assert set(heads[1:]) == {"Cobalt S", "Borealis 1", "SOAP"}


def test_a_preset_chooses_columns_and_what_the_csv_holds(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator("summary", has_text="Columns").click()
    page.locator('select[name="preset"]').select_option("facts")
    assert page.locator("th.c-cpd").is_hidden()
    assert page.locator("th.c-hardware").is_visible()
    assert "cpd" not in read_csv(page)[0]
    page.locator("summary", has_text="Columns").click()  # the click on the button closed it
    page.locator('select[name="preset"]').select_option("standard")
    assert "?" not in page.url
    row = next(row for row in read_csv(page) if row["id"] == "cobalt-s")
    assert row["collapse_information"] == "" or row["collapse_information_low"]
    assert {"rank_low", "rank_high", "cpd_rank_low", "cpd_rank_high", "fine_tuning_bias_reason"} <= set(row)


def test_a_missing_score_shows_its_reason_and_overlap_is_marked(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    row = page.locator('tr[data-model="aster-base"]')
    assert "not a fine-tuned model" in row.locator(".c-fine-tuning").inner_text()
    assert row.locator(".badge.overlap").inner_text() == "overlaps crystals-mini"


def test_an_explanation_holds_the_formula_and_leads_to_the_methods(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.get_by_label("What Alignment means").click()
    explanation = page.locator("#about-alignment")
    assert "alignment(A, B) = <A, B> / |A||B|" in explanation.inner_text()
    explanation.get_by_role("link").click()
    page.wait_for_selector("article.metric")
    assert page.url.endswith("methods.html#alignment")


def test_the_comparison_shows_the_same_numbers_as_the_table_and_keeps_its_models_in_the_address(
    page: Any, site: Path
) -> None:
    page.goto((site / "index.html").as_uri())
    expected = page.locator('tr[data-model="cobalt-s"] .c-cpd b').inner_text()
    page.goto((site / "compare.html").as_uri() + "?models=cobalt-s,nobody,aster-base")
    headlines = page.locator("#comparison table").first
    assert headlines.locator("thead th").all_inner_texts()[1:] == ["Cobalt S", "Aster base"]
    assert headlines.locator("tr", has_text="CPD probe").locator("td b").first.inner_text() == expected
    page.locator('select[name="model"]').nth(2).select_option("soap")
    assert "models=cobalt-s,aster-base,soap" in page.url
    page.locator('input[name="find"]').fill("partial gap")
    rows = page.locator('[aria-label="All scores side by side"] tbody tr')
    assert rows.count() == 1


def test_a_figure_becomes_interactive_and_names_the_mark_under_the_pointer(page: Any, site: Path) -> None:
    page.goto((site / "figures" / "imbalance.html").as_uri())
    page.wait_for_selector('[data-live="true"]')
    page.locator(".figure .mark-symbol path").nth(3).hover(force=True)
    page.wait_for_selector(".vg-tooltip.visible")
    assert "Model" in page.locator(".vg-tooltip").inner_text()


def test_without_a_script_a_figure_is_drawn_and_its_data_can_be_read(browser: Any, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "figures" / "imbalance.html").as_uri())
    assert page.locator(".figure svg path").count() > 20
    page.locator("summary", has_text="The data").click()
    assert page.locator("details.data td", has_text="cobalt-s").first.is_visible()
    page.goto((site / "compare.html").as_uri())
    assert page.locator("#comparison td b").count() > 4
    assert page.locator("form.chooser").is_hidden()
    context.close()


def test_the_dark_scheme_repaints_drawings(page: Any, site: Path) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto((site / "figures" / "imbalance.html").as_uri())
    page.wait_for_selector('[data-live="true"]')
    fill = page.locator(".figure .role-axis-label text").first.evaluate("text => getComputedStyle(text).fill")
    assert fill == "rgb(163, 173, 181)"


def test_the_gallery_leads_to_each_figure(page: Any, site: Path) -> None:
    page.goto((site / "index.html").as_uri())
    page.get_by_role("link", name="Figures", exact=True).first.click()
    page.wait_for_selector("ul.gallery")
    page.get_by_role("link", name="Information-imbalance plane").click()
    page.wait_for_selector("[data-figure]")
    assert page.locator("h1").inner_text() == "Information-imbalance plane"
