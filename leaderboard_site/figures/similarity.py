"""Figures of how alike models are: imbalance plane, alignment against energy error, CKNNA against k."""

from __future__ import annotations

import altair as alt

from leaderboard_site.board import Board
from leaderboard_site.context import Site
from leaderboard_site.figures import style
from leaderboard_site.figures.figure import Figure, Rows, data, family_colour, hover_model, pick_family, tooltips

IMBALANCE = "information_imbalance"


def imbalance_plane(site: Site, board: Board) -> Figure:
    """Both directed information imbalances to the reference, in and out of distribution."""
    reference = board.suite.text("reference")
    rows: Rows = []
    for dataset in (board.suite.text("in_distribution"), board.suite.text("out_of_distribution")):
        values = site.pairs[board.id].get(IMBALANCE, {}).get(dataset, {})
        for entry in board.entries:
            forth, back = values.get((entry.model, reference)), values.get((reference, entry.model))
            if forth is not None and back is not None:
                rows.append({
                    "model": entry.model, "title": entry.title, "family": style.family_of(board, entry),
                    "dataset": dataset, "role": f"{board.role(dataset)}: {dataset}",
                    "to_reference": forth, "from_reference": back,
                })  # fmt: skip
    figure = Figure(
        "imbalance",
        "Information-imbalance plane",
        f"How well neighbours in a model predict neighbours in the reference, {reference} (across), and the other way "
        "round (up); 0 is perfectly, 1 not at all. Near the origin both hold the same information; above the "
        "diagonal the model knows what the reference knows, and more. Models that crowd towards the origin out of "
        "distribution tell structures apart in the same few ways.",
        rows,
        missing=f"needs the pairs table with {IMBALANCE} to the reference",
        metrics=("information_imbalance_to_reference", "information_imbalance_from_reference"),
        pages=("alignment", "collapse"),
        paper="arXiv:2512.03750",
    )
    if not rows:
        return figure
    family = pick_family()
    top = max(1.0, *(max(row["to_reference"], row["from_reference"]) for row in rows))
    scale = alt.Scale(domain=[0, round(top + 0.05, 1)], nice=False)
    across, up = "imbalance, model → reference", "imbalance, reference → model"
    domain = style.family_scale(board)[0]
    diagonal = (
        alt.Chart()
        .transform_filter("isValid(datum.x)")
        .mark_line(strokeDash=[4, 4], color=style.AXIS, strokeWidth=1)
        .encode(alt.X("x:Q", scale=scale, title=across), alt.Y("y:Q", scale=scale, title=up))
    )
    points = (
        alt.Chart()
        .transform_filter("isValid(datum.to_reference)")
        .mark_point(opacity=0.9)
        .encode(
            alt.X("to_reference:Q", scale=scale, title=across),
            alt.Y("from_reference:Q", scale=scale, title=up),
            family_colour(board),
            alt.Shape(
                "family:N",
                title="Family",
                scale=alt.Scale(domain=domain, range=[*["circle"] * (len(domain) - 1), "cross"]),
            ),
            opacity=alt.condition(family, alt.value(0.9), alt.value(0.12)),
            tooltip=tooltips(
                ("title:N", "Model"), ("to_reference:Q", "→ reference"), ("from_reference:Q", "← reference")
            ),
        )
        .add_params(family)
    )
    # One data set of both panels: the diagonal's two points carry the panel's name as well.
    roles = list(dict.fromkeys(row["role"] for row in rows))
    ends = [{"role": role, "x": end, "y": end} for role in roles for end in (0, top)]
    panel = alt.layer(diagonal, points, data=data("drawn")).properties(width=330, height=330)
    return figure.drawn(
        panel.facet(column=alt.Column("role:N", sort=roles, title=None), spacing=28), drawn=[*rows, *ends]
    )


def energy_plane(site: Site, board: Board) -> Figure:
    """Alignment against the composition-corrected energy error, points sized by parameters."""
    dataset = board.suite.text("in_distribution")
    rows: Rows = []
    for entry in board.models:
        error = site.value(board, entry.model, "energy_mae_corrected", dataset)
        alignment = entry.cells["alignment"].value
        if error is not None and alignment is not None:
            rows.append({
                "model": entry.model, "title": entry.title, "family": style.family_of(board, entry),
                "energy_mae": error, "alignment": alignment, "low": entry.cells["alignment"].low,
                "high": entry.cells["alignment"].high, "parameters": entry.parameters,
            })  # fmt: skip
    figure = Figure(
        "energy",
        "Alignment against energy error",
        f"Do models that predict {dataset} better also resemble the reference more? Across: the error of a model's "
        "own energies after composition is fitted away (log scale); up: alignment with its 95 % interval; size: "
        "parameters.",
        rows,
        missing="needs energy_mae_corrected and alignment of at least one model",
        metrics=("energy_mae_corrected", "alignment"),
        pages=("alignment",),
        paper="arXiv:2512.03750",
    )
    if not rows:
        return figure
    family = pick_family()
    base = alt.Chart(data()).encode(
        alt.X("energy_mae:Q", title="energy error, composition-corrected (eV/atom)", scale=_log_around(rows)),
        opacity=alt.condition(family, alt.value(0.9), alt.value(0.12)),
    )
    bars = base.mark_rule(strokeWidth=1).encode(
        alt.Y("low:Q", title="alignment"), alt.Y2("high:Q"), color=family_colour(board)
    )
    points = base.mark_point().encode(
        alt.Y("alignment:Q", title="alignment", scale=alt.Scale(zero=False)),
        alt.Size(
            "parameters:Q",
            title="Parameters",
            scale=alt.Scale(type="sqrt", range=[30, 420]),
            legend=alt.Legend(
                labelExpr="format(datum.value, '~s')", tickCount=3, symbolFillColor=style.MUTED, symbolStrokeWidth=0
            ),
        ),
        color=family_colour(board),
        tooltip=[
            *tooltips(("title:N", "Model"), ("energy_mae:Q", "eV/atom"), ("alignment:Q", "Alignment")),
            alt.Tooltip("parameters:Q", title="Parameters", format=",d"),
        ],
    )
    return figure.drawn((bars + points).add_params(family).properties(width=620, height=380))


def _log_around(rows: Rows) -> alt.Scale:
    values = [row["energy_mae"] for row in rows]
    if min(values) <= 0:
        return alt.Scale(zero=False)
    return alt.Scale(type="log", domain=[min(values) / 1.15, max(values) * 1.15], nice=False)


def neighbour_sweep(site: Site, board: Board) -> Figure:
    """CKNNA to the reference against k, each model with its null."""
    rows: Rows = []
    for entry in board.entries:
        for row in site.rows("scores", board, entry.model):
            value, k = row.number("value"), row.integer("k")
            if row.text("score") == "cknna" and value is not None and k is not None:
                rows.append({
                    "model": entry.model, "title": entry.title, "family": style.family_of(board, entry), "k": k,
                    "cknna": value, "null_quantile95": row.number("null_quantile95"),
                })  # fmt: skip
    rows.sort(key=lambda row: (row["model"], row["k"]))
    figure = Figure(
        "neighbours",
        "CKNNA against k",
        "Agreement with the reference on the k nearest neighbours, for growing k. Dashed: what permuted structures "
        "reach 5 % of the time. At small k a score is about local structure, at large k about the coarse layout that "
        "many models share.",
        rows,
        missing="needs cknna for several k in the scores table",
        metrics=("cknna",),
        pages=("alignment",),
        paper="arXiv:2512.03750",
    )
    if not rows:
        return figure
    family, hovered = pick_family(), hover_model()
    base = alt.Chart(data()).encode(alt.X("k:Q", title="neighbours k", scale=alt.Scale(type="log", nice=False)))
    lines = base.mark_line(point=alt.OverlayMarkDef(size=28)).encode(
        alt.Y("cknna:Q", title="CKNNA to the reference"),
        alt.Detail("model:N"),
        color=family_colour(board),
        opacity=alt.condition(family, alt.value(0.85), alt.value(0.08)),
        strokeWidth=alt.condition(hovered, alt.value(3.5), alt.value(1.6)),
        tooltip=[
            *tooltips(("title:N", "Model"), ("cknna:Q", "CKNNA"), ("null_quantile95:Q", "null, 95 %")),
            alt.Tooltip("k:Q"),
        ],
    )
    null = base.mark_line(strokeDash=[3, 3], strokeWidth=1, color=style.NULL, opacity=0.5).encode(
        alt.Y("null_quantile95:Q"), alt.Detail("model:N")
    )
    return figure.drawn((null + lines).add_params(family, hovered).properties(width=620, height=360))
