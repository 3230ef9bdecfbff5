"""The site without a browser: what is in the files, what is refused, what is never there."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from leaderboard_site.board import HEADLINES, relatives
from leaderboard_site.build import build_site
from leaderboard_site.tables import ESSENTIAL, REQUIRED_COLUMNS, TableError, read_table
from leaderboard_site.text import number
from tests.leaderboard_site.synthetic_board import FAILED, MODELS, SELF_REPORTED, edit_cell, write_results


class Page(HTMLParser):
    """Elements of a page: tags with attributes, ids, links, and all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def references(self) -> list[str]:
        return [str(attrs[name]) for _, attrs in self.elements for name in ("href", "src") if attrs.get(name)]

    def ids(self) -> list[str]:
        return [str(attrs["id"]) for _, attrs in self.elements if "id" in attrs]


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def test_every_promised_page_is_there(site: Path) -> None:
    names = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "alignment.html", "collapse.html", "cpd.html", "fine-tuning.html", "map.html"} <= names
    assert {"methods.html", "datasets.html", "downloads.html", "map-information_imbalance.html"} <= names
    assert {f"models/{entry[0]}.html" for entry in MODELS} | {f"models/{FAILED}.html"} <= names


def test_metadata_is_shown_as_text_and_never_as_markup(site: Path) -> None:
    for path, page in pages(site).items():
        assert all(tag not in ("img", "b") or "alert" not in str(attrs) for tag, attrs in page.elements), path
        assert not [attrs for _, attrs in page.elements if any(name.startswith("on") for name in attrs)], path
    hostile = (site / "models" / "hostile.html").read_text(encoding="utf-8")
    assert '<script>alert("title")' not in hostile
    assert "&lt;script&gt;alert(" in hostile
    assert "&lt;b&gt;Bold&lt;/b&gt;" in hostile


def test_links_that_are_not_http_are_refused(site: Path) -> None:
    page = Page(site / "models" / "hostile.html")
    assert not [link for link in page.references() if re.match(r"\s*(javascript|data|vbscript):", link, re.I)]
    assert "site (link refused)" in page.text
    assert "https://example.org/?a=1&b=2" in page.references()


def test_every_relative_link_leads_to_a_file_and_a_place_on_it(site: Path) -> None:
    known = pages(site)
    for path, page in known.items():
        for reference in page.references():
            if reference.startswith(("https://", "http://")):
                continue
            assert not reference.startswith("/"), f"{path}: {reference} is absolute"
            address, fragment = urldefrag(reference)
            address = address.partition("?")[0]
            target = (path.parent / unquote(address)).resolve() if address else path
            assert target.is_file(), f"{path}: {reference}"
            if fragment and target in known:
                assert fragment in known[target].ids(), f"{path}: {reference}"


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for path, page in pages(site).items():
        loaded = [
            attrs.get("href" if tag == "link" else "src")
            for tag, attrs in page.elements
            if tag in ("script", "link", "img", "iframe")
        ]
        assert not [address for address in loaded if address and ":" in address], path
    assert "url(" not in (site / "static" / "style.css").read_text()
    assert "@import" not in (site / "static" / "style.css").read_text()


def test_ids_on_a_page_are_unique(site: Path) -> None:
    for path, page in pages(site).items():
        assert len(page.ids()) == len(set(page.ids())), path


def test_front_page_is_small(site: Path) -> None:
    assert (site / "index.html").stat().st_size < 300_000


def test_ties_missing_scores_failures_and_controls_are_visible(site: Path) -> None:
    text = Page(site / "index.html").text
    assert "1–2" in text
    assert "no skill to lose" in text
    assert "a second call changed 12 of 64 columns" in text
    assert "beaten by soap" in text
    assert "overlaps crystals-mini" in text
    assert "reference" in text
    assert text.index("Controls, unranked") > text.index("Cobalt S")


def test_scores_show_interval_null_and_rank_on_the_page_of_the_model(site: Path) -> None:
    text = " ".join(Page(site / "models" / "borealis-1.html").text.split())
    assert re.search(r"rank 3–5 of 7", text)
    leaderboard = read_table(site / "data" / "leaderboard.csv", REQUIRED_COLUMNS["leaderboard"])
    row = next(row for row in leaderboard if row.text("model") == "borealis-1")
    assert f"{row.number('alignment_low'):.3f} to {row.number('alignment_high'):.3f}" in text
    assert re.search(r"Null mean, 95 %\s*0.000, 0.020", text)
    assert "latent-matter run --suite quick --model borealis-1" in text
    assert re.search(r"Superseded by\s*Borealis 2", text)


def test_a_failed_model_says_why_instead_of_scores(site: Path) -> None:
    assert "conformance check determinism" in Page(site / "models" / f"{FAILED}.html").text


def test_a_self_reported_model_is_marked_with_what_is_doubtful(site: Path) -> None:
    why = "Not verified by the benchmark: &lt;b&gt;no sandbox&lt;/b&gt;"
    badge = f'<span class="badge warn" title="{why}">self-reported</span>'
    for page in ("index.html", "alignment.html"):
        assert (site / page).read_text().count(badge) == 1
    assert "<b>Self-reported:</b> &lt;b&gt;no sandbox" in (site / "models" / f"{SELF_REPORTED}.html").read_text()


def test_a_score_page_shows_the_scores_that_are_read_beside_it(site: Path) -> None:
    text = Page(site / "cpd.html").text
    beside = text[text.index("Beside it") :]
    assert "Partial R²" in beside
    assert "molecules-mini, dipole_norm" in beside
    assert "Information imbalance" not in beside


def test_quality_lines_and_costs_are_on_the_page_of_the_model(site: Path) -> None:
    text = Page(site / "models" / "cobalt-s.html").text
    assert "3 of 64 columns are constant" in text
    assert "41.5 s, 1310 MB" in text


def test_a_directed_map_takes_its_title_and_direction_from_the_catalogue(site: Path) -> None:
    page = Page(site / "map-information_imbalance.html")
    assert "Information imbalance between models" in page.text
    assert "from the row's model to the column's" in page.text


def test_nearest_models_leave_out_controls(site: Path) -> None:
    text = Page(site / "models" / "cobalt-s.html").text
    nearest = text[text.index("Nearest models") : text.index("By CKNNA")]
    assert "SOAP" not in nearest


def test_the_tables_are_on_the_site_byte_for_byte(site: Path) -> None:
    for name in REQUIRED_COLUMNS:
        for suffix in ("csv", "parquet"):
            original = site.parent / "results" / "tables" / f"{name}.{suffix}"
            assert (site / "data" / original.name).read_bytes() == original.read_bytes()


def test_equal_tables_give_equal_bytes(site: Path, results: Path, tmp_path: Path) -> None:
    again = build_site(results, tmp_path / "again").parent
    files = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert [name for name in files if (site / name).read_bytes() != (again / name).read_bytes()] == []


@pytest.mark.parametrize("table", ["leaderboard", "pairs", "metrics"])
def test_a_missing_column_is_named_with_its_file(results: Path, tmp_path: Path, table: str) -> None:
    column = REQUIRED_COLUMNS[table][-1]
    path = results / "tables" / f"{table}.csv"
    path.write_text(path.read_text().replace(column, f"not_{column}", 1))
    with pytest.raises(TableError, match=rf"{table}\.csv: missing column {column}$"):
        build_site(results, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("table", ESSENTIAL)
def test_a_missing_table_without_which_there_is_no_site_is_named(results: Path, tmp_path: Path, table: str) -> None:
    (results / "tables" / f"{table}.csv").unlink()
    with pytest.raises(TableError, match=rf"{table}\.csv: no such file"):
        build_site(results, tmp_path / "out")


def test_without_any_other_table_the_site_builds_and_says_what_is_missing(results: Path, tmp_path: Path) -> None:
    others = [name for name in REQUIRED_COLUMNS if name not in ESSENTIAL]
    for name in others:
        for suffix in ("csv", "parquet"):
            (results / "tables" / f"{name}.{suffix}").unlink()
    site = build_site(results, tmp_path / "out").parent
    text = Page(site / "downloads.html").text
    for name in others:
        assert name in text[text.index("Not exported") :]
    assert "needs cknna" in Page(site / "figures.html").text
    test_every_relative_link_leads_to_a_file_and_a_place_on_it(site)


@pytest.mark.parametrize(
    ("table", "column", "value", "accepted"),
    [
        ("leaderboard", "alignment", "good", "a finite number"),
        ("leaderboard", "cpd_low", "inf", "a finite number"),
        ("leaderboard", "rank_low", "1.5", "a whole number"),
        ("leaderboard", "model", "../../etc/passwd", "an identifier"),
        ("models", "model", "a/b", "an identifier"),
        ("suites", "suite", "figures", "an identifier other than"),
        ("pairs", "metric", "../x", "an identifier"),
        ("metrics", "headline", "perhaps", "true or false"),
    ],
)
def test_a_broken_cell_is_named(
    results: Path, tmp_path: Path, table: str, column: str, value: str, accepted: str
) -> None:
    row = 0 if table == "suites" else 1
    edit_cell(results, table, row, column, value)
    with pytest.raises(
        TableError, match=rf"{table}\.csv: line {row + 2}, column {column}: found .*accepted is {accepted}"
    ):
        build_site(results, tmp_path / "out")


def test_a_model_without_a_row_in_models_is_named(results: Path, tmp_path: Path) -> None:
    edit_cell(results, "models", 3, "model", "somebody-else")
    with pytest.raises(TableError, match="borealis-1"):
        build_site(results, tmp_path / "out")


def test_a_failed_build_leaves_the_last_site_as_it_was(results: Path, tmp_path: Path) -> None:
    index = build_site(results, tmp_path / "out")
    before = index.read_bytes()
    (results / "tables" / "scores.csv").write_text("model\n")
    with pytest.raises(TableError):
        build_site(results, tmp_path / "out")
    assert index.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "results"]


def test_a_rebuilt_site_keeps_no_old_page(results: Path, tmp_path: Path) -> None:
    index = build_site(results, tmp_path / "out")
    (index.parent / "stale.html").write_text("old")
    build_site(results, tmp_path / "out")
    assert not (index.parent / "stale.html").exists()


def test_a_folder_that_is_not_a_site_is_never_replaced(results: Path, tmp_path: Path) -> None:
    precious = tmp_path / "thesis" / "chapter.tex"
    precious.parent.mkdir()
    precious.write_text("do not lose")
    with pytest.raises(FileExistsError, match="thesis"):
        build_site(results, precious.parent)
    assert precious.read_text() == "do not lose"


def test_only_the_newest_version_of_a_suite_is_shown(results: Path, tmp_path: Path) -> None:
    path = results / "tables" / "suites.csv"
    header, row = path.read_text().splitlines()
    path.write_text("\n".join([header, row, row.replace("quick,1,Quick suite", "quick,2,Quicker suite")]) + "\n")
    index = build_site(results, tmp_path / "out")
    assert "Quicker suite" in Page(index).text
    assert "Quick suite" not in Page(index).text


def test_a_second_suite_has_its_own_folder(results: Path, tmp_path: Path) -> None:
    path = results / "tables" / "suites.csv"
    header, row = path.read_text().splitlines()
    path.write_text("\n".join([header, row, row.replace("quick,1,Quick suite", "full,1,Full suite")]) + "\n")
    site = build_site(results, tmp_path / "out").parent
    assert (site / "full" / "index.html").is_file()
    test_every_relative_link_leads_to_a_file_and_a_place_on_it(site)


def test_a_score_is_the_same_number_on_every_page(site: Path) -> None:
    with (site / "data" / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
        board = {row["model"]: row for row in csv.DictReader(stream) if row["status"] == "ok"}
    compared = json.loads(re.search(r'id="comparison-data">(.*?)</script>', (site / "compare.html").read_text())[1])
    places = {model["id"]: index for index, model in enumerate(compared["models"])}
    index = (site / "index.html").read_text(encoding="utf-8")
    for headline in HEADLINES:
        ranking = (site / f"{headline.page}.html").read_text(encoding="utf-8")
        cells = next(column["cells"] for column in compared["headlines"] if column["id"] == headline.id)
        for model, row in board.items():
            if not row[headline.id]:
                continue
            shown = number(float(row[headline.id]))
            in_table = re.search(
                rf'data-model="{model}".*?class="score c-{headline.page}".*?<b>(.*?)</b>', index, re.DOTALL
            )
            in_ranking = re.search(rf'data-model="{model}".*?data-label="Score".*?>(.*?)</td>', ranking, re.DOTALL)
            card = (site / "models" / f"{model}.html").read_text(encoding="utf-8")
            on_card = re.search(rf'{headline.page}.html">{headline.title}<.*?class="big">(\S+)', card, re.DOTALL)
            assert in_table and in_ranking and on_card
            assert [in_table[1], in_ranking[1], on_card[1].partition("<")[0]] == [shown] * 3
            assert number(cells[places[model]]["value"]) == shown


def test_an_empty_board_still_builds(results: Path, tmp_path: Path) -> None:
    for name in ("leaderboard", "scores", "pairs", "layers", "models", "conformance"):
        path = results / "tables" / f"{name}.csv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    assert build_site(results, tmp_path / "out").is_file()


def test_the_site_never_imports_the_benchmark() -> None:
    command = (
        "import leaderboard_site.build, sys; assert not [m for m in sys.modules if m.split('.')[0] == 'benchmark']"
    )
    subprocess.run([sys.executable, "-c", command], check=True)


def test_the_synthetic_board_is_reproducible(results: Path, tmp_path: Path) -> None:
    other = write_results(tmp_path / "other")
    for path in (results / "tables").iterdir():
        assert (other / "tables" / path.name).read_bytes() == path.read_bytes()


def test_kin_of_the_reference_is_marked_in_the_table_and_on_its_page(results: Path, tmp_path: Path) -> None:
    place = [name for name, *_ in MODELS].index("aster-tuned")
    edit_cell(results, "leaderboard", place, "fine_tuned_from", "aster-large")
    out = build_site(results, tmp_path / "out").parent
    rows = re.findall(r"<tr[^>]*>.*?</tr>", (out / "alignment.html").read_text(), re.DOTALL)
    marked = [row for row in rows if "kin of the reference" in row]
    assert len(marked) == 1 and "aster-tuned" in marked[0]
    assert "aligned by descent" in (out / "models/aster-tuned.html").read_text()
    assert "aligned by descent" not in (out / "models/borealis-2.html").read_text()


def test_relatives_are_ancestors_descendants_and_siblings() -> None:
    parents = {
        "a": "",
        "b": "a",
        "c": "b",
        "d": "a",
        "e": "",
        "f": "e",
        "loop": "loop",
        "orphan": "gone",
        "other": "gone",
    }
    assert relatives(parents, "b") == {"a", "c", "d"}
    assert relatives(parents, "e") == {"f"}
    assert relatives(parents, "loop") == set()
    assert relatives(parents, "orphan") == {"other"}
