"""Figures of the geometry of one representation: intrinsic dimension across scales, maps of structures."""

from __future__ import annotations

from typing import Any

import altair as alt

from leaderboard_site.board import Board
from leaderboard_site.context import Site
from leaderboard_site.figures import style
from leaderboard_site.figures.figure import (
    AnyChart,
    Figure,
    Rows,
    data,
    family_colour,
    hover_model,
    pick_family,
    tooltips,
)

GRIDE = "intrinsic_dimension_gride"
ESTIMATORS = {"intrinsic_dimension": "TwoNN", "intrinsic_dimension_mle": "MLE"}
MOST_STRUCTURES = 1000  # drawn in one map; more would not be told apart
SHARES = (0.2, 0.4, 0.6, 0.8, 0.95, 1.0)  # of the structures, whose errors are in one colour or a paler one
MOST_POINTS = 3000  # drawn in all maps of a board: a point is some 300 bytes of drawing


def intrinsic_dimension(site: Site, board: Board) -> Figure:
    """GRIDE over scales where it was measured, else the two estimators in and out of distribution."""
    sweep = _sweep(site, board)
    if sweep:
        return _figure(sweep).drawn(_sweep_chart(sweep, board))
    rows: Rows = []
    datasets = [board.suite.text("in_distribution"), board.suite.text("out_of_distribution")]
    for entry in board.entries:
        for score, name in ESTIMATORS.items():
            for dataset in datasets:
                row = site.score(board, entry.model, score, dataset)
                value = row.number("value") if row else None
                if row is not None and value is not None and value > 0:  # a logarithmic axis
                    k = row.integer("k")
                    rows.append({
                        "model": entry.model, "title": entry.title, "control": entry.control,
                        "estimator": name, "neighbours": k or 2,
                        "dataset": dataset, "role": board.role(dataset), "dimension": value,
                    })  # fmt: skip
    figure = _figure(rows)
    return figure.drawn(_estimator_chart(rows, datasets)) if rows else figure


def _figure(rows: Rows) -> Figure:
    return Figure(
        "dimension",
        "Intrinsic dimension across scales",
        "On how many coordinates the structures vary in a model's feature space, seen through neighbourhoods of "
        "growing size. A dimension that falls out of distribution says that structures the model was not trained on "
        "are told apart by fewer features.",
        rows,
        missing="needs intrinsic_dimension in the scores table",
        metrics=("intrinsic_dimension", "intrinsic_dimension_mle"),
        pages=("collapse",),
        paper="arXiv:2512.03750",
    )


def _sweep(site: Site, board: Board) -> Rows:
    rows: Rows = []
    for entry in board.entries:
        for row in site.rows("scores", board, entry.model):
            value, k = row.number("value"), row.integer("k")
            if row.text("score") == GRIDE and k is not None and value is not None and value > 0:
                rows.append({
                    "model": entry.model, "title": entry.title, "family": style.family_of(board, entry),
                    "dataset": row.text("dataset"), "role": f"{board.role(row.text('dataset'))}: {row.text('dataset')}",
                    "neighbours": k, "dimension": value,
                })  # fmt: skip
    return sorted(rows, key=lambda row: (row["dataset"], row["model"], row["neighbours"]))


def _sweep_chart(rows: Rows, board: Board) -> AnyChart:
    family, hovered = pick_family(), hover_model()
    chart: AnyChart = (
        alt.Chart(data())
        .mark_line(point=alt.OverlayMarkDef(size=24))
        .encode(
            alt.X("neighbours:Q", title="neighbour of the scale", scale=alt.Scale(type="log", base=2, nice=False)),
            alt.Y("dimension:Q", title="intrinsic dimension (GRIDE, log scale)", scale=_log_scale(rows)),
            alt.Detail("model:N"),
            color=family_colour(board),
            opacity=alt.condition(family, alt.value(0.85), alt.value(0.08)),
            strokeWidth=alt.condition(hovered, alt.value(3.5), alt.value(1.6)),
            tooltip=tooltips(("title:N", "Model"), ("dimension:Q", "Dimension"), ("neighbours:N", "Neighbour")),
        )
        .add_params(family, hovered)
        .properties(width=310, height=300)
        .facet(column=alt.Column("role:N", title=None), spacing=28)
    )
    return chart


def _estimator_chart(rows: Rows, datasets: list[str]) -> AnyChart:
    controls = {row["model"]: bool(row["control"]) for row in rows}
    order = sorted(controls, key=lambda name: (controls[name], name))
    base = alt.Chart().encode(
        alt.Y("model:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=6))
    )
    colour = alt.Color(
        "dataset:N",
        title=None,
        sort=datasets,
        scale=alt.Scale(domain=datasets, range=[style.IN, style.OUT]),
        legend=alt.Legend(orient="top"),
    )
    lines = base.mark_rule(strokeWidth=2, color=style.GRID).encode(
        alt.X("min(dimension):Q", title="intrinsic dimension (log scale)"), alt.X2("max(dimension):Q")
    )
    points = base.mark_point(size=80, opacity=1).encode(
        alt.X("dimension:Q", title="intrinsic dimension (log scale)", scale=_log_scale(rows)),
        colour,
        alt.Shape("dataset:N", legend=None, scale=alt.Scale(domain=datasets, range=["circle", "triangle-up"])),
        tooltip=tooltips(("title:N", "Model"), ("dataset:N", "Data set"), ("dimension:Q", "Dimension"),
                         ("neighbours:N", "Neighbours")),
    )  # fmt: skip
    panel = alt.layer(lines, points, data=data()).properties(width=300, height=alt.Step(21))
    estimators = sorted({row["estimator"] for row in rows}, key=lambda name: (not name.startswith("TwoNN"), name))
    chart: AnyChart = panel.facet(alt.Facet("estimator:N", sort=estimators, title=None), columns=2, spacing=28)
    return chart


def _log_scale(rows: Rows) -> alt.Scale:
    values = [row["dimension"] for row in rows]
    return alt.Scale(type="log", nice=False, domain=[min(values) / 1.2, max(values) * 1.2])


def structure_map(site: Site, board: Board) -> Figure:
    """Structures in two dimensions, by data set and by error, one panel a model."""
    rows: Rows = []
    for entry in board.entries:
        for row in site.rows("coordinates", board, entry.model):
            rows.append({
                "model": entry.model, "title": entry.title, "dataset": row.text("dataset"),
                "structure": row.text("structure"), "x": row.number("x"), "y": row.number("y"),
                "error": row.number("error"),
            })  # fmt: skip
    figure = Figure(
        "structures",
        "Maps of structures",
        "Structures laid out in two dimensions so that neighbours in a model's feature space stay neighbours: "
        "coloured by data set, and by how far the model's energy is off. Distances between far clusters mean nothing.",
        rows,
        missing="needs a table coordinates (suite, suite_version, model, dataset, structure, x, y, error), which "
        "this results folder does not hold",
        pages=("collapse",),
        paper="arXiv:2512.03750",
    )
    if not rows:
        return figure
    models = list(dict.fromkeys(row["model"] for row in rows))
    step = -(-len(rows) // min(MOST_STRUCTURES * len(models), MOST_POINTS))
    base = (
        alt.Chart(data("drawn"))
        .mark_point(size=14, opacity=0.7)
        .encode(
            alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
            alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
            tooltip=tooltips(("structure:N", "Structure"), ("dataset:N", "Data set"), ("error:Q", "Error, eV/atom")),
        )
        .properties(width=230, height=230)
    )
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    by_dataset = base.encode(
        alt.Color("dataset:N", title="Data set", scale=alt.Scale(domain=datasets, range=list(style.FAMILIES)))
    )
    drawn = rows[::step]
    classes = _error_classes([row["error"] for row in drawn if row["error"] is not None])
    shades = alt.Scale(domain=[label for _, label in classes], range=list(style.HEAT[-len(SHARES) :]))
    by_error = base.transform_filter("isValid(datum.error_class)").encode(
        alt.Color("error_class:N", title="Error, eV/atom", scale=shades)
    )
    facet = alt.Facet("model:N", sort=models, title=None)
    charts = [
        chart.facet(facet, columns=3).resolve_scale(x="independent", y="independent").properties(title=title)
        for chart, title in ((by_dataset, "By data set"), (by_error, "By error of the model's energy"))
    ]
    return figure.drawn(
        alt.vconcat(*charts).resolve_scale(color="independent"), drawn=[_classed(row, classes) for row in drawn]
    )


def _error_classes(errors: list[float]) -> list[tuple[float, str]]:
    """Upper bound and label of classes of equal size.

    Of equal size, because one structure that a model has no idea of would leave all others in one colour.
    """
    ordered = sorted(errors)
    bounds = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in SHARES] if ordered else []
    lower = [0.0, *bounds]
    return [(high, f"{low:.2g} to {high:.2g}") for low, high in zip(lower, bounds, strict=False) if high > low]


def _classed(row: dict[str, Any], classes: list[tuple[float, str]]) -> dict[str, Any]:
    """The row with the label of its error's class."""
    if row["error"] is None:
        return row
    return {**row, "error_class": next((label for bound, label in classes if row["error"] <= bound), None)}
