"""The gallery, a page a figure, and the files that a reader downloads: SVG, CSV, Vega-Lite."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from altair.utils.schemapi import debug_mode

from leaderboard_site.board import Board
from leaderboard_site.context import Site
from leaderboard_site.figures.catalogue import board_figures
from leaderboard_site.figures.figure import Drawing, Figure, draw
from leaderboard_site.figures.style import standalone

MOST_ROWS = 300  # of a figure's data shown in its page; the CSV has all


@dataclass(frozen=True)
class Plate:
    """A figure with its drawing, None where it could not be drawn."""

    figure: Figure
    drawing: Drawing | None


def plates(site: Site, board: Board) -> list[Plate]:
    """All figures of a board, drawn."""
    figures = board_figures(site, board)
    # A schema check of every row takes longer than all drawings; drawing fails on what is wrong.
    with debug_mode(False), ThreadPoolExecutor() as pool:
        return [Plate(figure, drawing) for figure, drawing in zip(figures, pool.map(draw, figures), strict=True)]


def figure_pages(site: Site, board: Board, drawn: list[Plate]) -> Iterator[tuple[str, str]]:
    """The gallery, the pages, and the files of each figure, below the board's folder."""
    yield site.render("figures.html", f"{board.folder}figures.html", board=board, plates=drawn)
    for index, plate in enumerate(drawn):
        name = f"{board.folder}figures/{plate.figure.id}"
        yield site.render(
            "figure.html",
            f"{name}.html",
            board=board,
            plate=plate,
            before=drawn[index - 1].figure if index else None,
            after=drawn[index + 1].figure if index + 1 < len(drawn) else None,
            rows=plate.figure.rows[:MOST_ROWS],
        )
        if plate.drawing is not None:
            yield f"{name}.svg", standalone(str(plate.drawing.svg))
            yield f"{name}.json", plate.drawing.spec
            yield f"{name}.csv", plate.figure.csv()
