"""Figures of what linear probes read: CPD bars, channel split, learning curves, cumulant order."""

from __future__ import annotations

import altair as alt

from leaderboard_site.board import Board, Entry
from leaderboard_site.context import BACKBONE, Site
from leaderboard_site.figures import style
from leaderboard_site.figures.figure import Figure, Rows, data, family_colour, hover_model, pick_family, tooltips

ROW_HEIGHT = 17
PROBED = "r2_partial_"  # measures of the layers and pooling tables: r2_partial_<target>


def _targets(site: Site, board: Board, score: str) -> list[str]:
    """Targets of `score` on the probed data set, the suite's own first."""
    probed = board.suite.text("probe_dataset")
    found = {
        row.text("target")
        for entry in board.entries
        for row in site.rows("scores", board, entry.model)
        if row.text("score") == score and row.text("dataset") == probed and row.text("target")
    }
    own = [target for target in board.suite.items("probe_targets") if target in found]
    return [*own, *sorted(found - set(own))]


def _by_cpd(board: Board) -> list[Entry]:
    """Models and controls, best CPD first, controls last."""
    headline = "cpd"

    def key(entry: Entry) -> tuple[bool, float, str]:
        value = entry.cells[headline].value
        return bool(entry.control), -value if value is not None else 9e9, entry.model

    return sorted(board.entries, key=key)


def composition_bars(site: Site, board: Board) -> Figure:
    """Each target's variance: what composition says, what geometry adds linearly, what a network adds to that."""
    dataset = board.suite.text("probe_dataset")
    rows: Rows = []
    for target in _targets(site, board, "r2_partial"):
        for entry in _by_cpd(board):
            composition = site.value(board, entry.model, "r2_composition", dataset, target)
            partial = site.value(board, entry.model, "r2_partial", dataset, target)
            entangled = site.value(board, entry.model, "entanglement_mlp", dataset, target)
            if composition is None or partial is None:
                continue
            left = 1 - max(composition, 0.0)  # what the other two are shares of
            parts = (("composition", "r2_composition", composition, 1.0), ("geometry", "r2_partial", partial, left),
                     ("entanglement", "entanglement_mlp", entangled, left))  # fmt: skip
            for place, (part, score, value, of) in enumerate(parts):
                rows.append({
                    "model": entry.model, "title": entry.title, "control": entry.control, "target": target,
                    "part": part, "order": place, "score": score, "value": value,
                    "share": None if value is None else max(value, 0.0) * of,
                })  # fmt: skip
    figure = Figure(
        "cpd",
        "Composition, geometry and entanglement",
        "The variance of each target in three parts: what element counts alone explain (R² composition); of the "
        "rest, what a straight line reads from the features once composition is projected out (R² partial), and what "
        "a network reads beyond that line (entanglement). Negative parts are drawn as nothing; the tooltip and the "
        "data have the score. Controls stand last.",
        rows,
        missing="needs r2_partial and r2_composition of the probed data set",
        metrics=("r2_composition", "r2_partial", "entanglement_mlp"),
        pages=("cpd",),
        paper="arXiv:2603.03155",
    )
    if not rows:
        return figure
    order = list(dict.fromkeys(row["model"] for row in rows))
    targets = list(dict.fromkeys(row["target"] for row in rows))
    chart = (
        alt.Chart(data())
        .mark_bar(height=ROW_HEIGHT - 5)
        .encode(
            alt.Y("model:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=6)),
            alt.X("share:Q", title="share of the variance", stack="zero", scale=alt.Scale(domain=[0, 1])),
            alt.Color(
                "part:N", title=None, scale=alt.Scale(domain=list(style.PARTS), range=list(style.PARTS.values())),
                legend=alt.Legend(orient="top"),
            ),
            alt.Order("order:Q"),
            tooltip=tooltips(("title:N", "Model"), ("target:N", "Target"), ("score:N", "Score"), ("value:Q", "Value"),
                             ("share:Q", "Share")),
        )
        .properties(width=max(160, 560 // len(targets)), height=alt.Step(ROW_HEIGHT))
        .facet(column=alt.Column("target:N", sort=targets, title=None), spacing=24)
    )  # fmt: skip
    return figure.drawn(chart)


def channel_split(site: Site, board: Board) -> Figure:
    """Scalar and vector targets, each from the invariant and from the vector channels."""
    dataset = board.suite.text("probe_dataset")
    pairs = (("r2_partial", BACKBONE, "L=0"), ("r2_partial_vectors", "equivariant", "L=1"),
             ("r2_vector_scalars", BACKBONE, "L=0"), ("r2_vector", "equivariant", "L=1"))  # fmt: skip
    rows: Rows = []
    for entry in _by_cpd(board):
        for row in site.rows("scores", board, entry.model):
            match = [(score, channel) for score, layer, channel in pairs
                     if row.text("score") == score and row.text("layer") in (layer, "")]  # fmt: skip
            value = row.number("value")
            if match and value is not None and row.text("dataset") == dataset:
                score, channel = match[0]
                kind = "vector" if score.startswith("r2_vector") else "scalar"
                rows.append({
                    "model": entry.model, "title": entry.title, "target": f"{row.text('target')} ({kind})",
                    "channels": channel, "r2": value, "low": row.number("low"), "high": row.number("high"),
                })  # fmt: skip
    both = {(row["model"], row["target"]) for row in rows if row["channels"] == "L=1"}
    rows = [row for row in rows if (row["model"], row["target"]) in both]
    figure = Figure(
        "channels",
        "Which channels know it",
        "Scalar targets (such as a gap) and vector targets (such as a dipole), read from a model's invariant channels "
        "(L=0) and from its vector channels (L=1). Only models that store vector channels are here.",
        rows,
        missing="needs r2_partial_vectors or r2_vector: a model with L=1 channels",
        metrics=("r2_partial_vectors", "r2_vector", "r2_vector_scalars"),
        pages=("cpd",),
        paper="arXiv:2603.03155",
    )
    if not rows:
        return figure
    order = list(dict.fromkeys(row["model"] for row in rows))
    targets = list(dict.fromkeys(row["target"] for row in rows))
    base = alt.Chart().encode(
        alt.Y("model:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=6))
    )
    lines = base.mark_rule(strokeWidth=2, color=style.GRID).encode(alt.X("min(r2):Q", title="R²"), alt.X2("max(r2):Q"))
    points = base.mark_point(size=85, opacity=1).encode(
        alt.X("r2:Q", title="R²"),
        alt.Color("channels:N", title="Channels", scale=alt.Scale(domain=["L=0", "L=1"], range=[style.IN, style.OUT]),
                  legend=alt.Legend(orient="top")),
        alt.Shape("channels:N", legend=None, scale=alt.Scale(domain=["L=0", "L=1"], range=["circle", "triangle-up"])),
        tooltip=tooltips(("title:N", "Model"), ("target:N", "Target"), ("channels:N", "Channels"), ("r2:Q", "R²")),
    )  # fmt: skip
    panel = alt.layer(lines, points, data=data()).properties(width=max(150, 600 // len(targets)), height=alt.Step(24))
    return figure.drawn(panel.facet(column=alt.Column("target:N", sort=targets, title=None), spacing=24))


def learning_curves(site: Site, board: Board) -> Figure:
    """R² of a linear probe against the number of training structures."""
    rows: Rows = []
    for entry in board.entries:
        for row in site.rows("learning_curves", board, entry.model):
            mean, error = row.number("mean"), row.number("standard_error")
            if row.text("measure") == "r2_partial" and mean is not None and mean > -1:
                rows.append({
                    "model": entry.model, "title": entry.title, "family": style.family_of(board, entry),
                    "target": row.text("target"), "n_train": row.integer("n_train"), "r2_partial": mean,
                    "low": None if error is None else mean - 1.96 * error,
                    "high": None if error is None else mean + 1.96 * error,
                })  # fmt: skip
    figure = Figure(
        "learning",
        "Learning curves",
        "R² partial of a linear probe trained on 32, 64, ... structures (log scale), a mean over draws; the tooltip "
        "has its 95 % interval. A representation that holds a property near the surface gives it away to few "
        "structures. Points below −1 are left out of the drawing.",
        rows,
        missing="needs the learning_curves table",
        metrics=("learning_area_partial", "r2_partial"),
        pages=("cpd",),
        paper="arXiv:2603.03155",
    )
    if not rows:
        return figure
    targets = [t for t in board.suite.items("probe_targets") if any(row["target"] == t for row in rows)]
    targets += sorted({row["target"] for row in rows} - set(targets))
    family, hovered = pick_family(), hover_model()
    sizes = sorted({row["n_train"] for row in rows})
    chart = (
        alt.Chart(data())
        .mark_line(point=alt.OverlayMarkDef(size=26))
        .encode(
            alt.X("n_train:Q", title="training structures", axis=alt.Axis(values=sizes),
                  scale=alt.Scale(type="log", base=2, nice=False)),
            alt.Y("r2_partial:Q", title="R² partial"),
            alt.Detail("model:N"),
            color=family_colour(board),
            opacity=alt.condition(family, alt.value(0.85), alt.value(0.08)),
            strokeWidth=alt.condition(hovered, alt.value(3.5), alt.value(1.6)),
            tooltip=[*tooltips(("title:N", "Model"), ("target:N", "Target"), ("r2_partial:Q", "R² partial"),
                               ("low:Q", "low"), ("high:Q", "high")), alt.Tooltip("n_train:Q", title="structures")],
        )
        .add_params(family, hovered)
        .properties(width=max(200, 640 // len(targets)), height=300)
        .facet(column=alt.Column("target:N", sort=targets, title=None), spacing=24)
        .resolve_scale(y="independent")
    )  # fmt: skip
    return figure.drawn(chart)


def cumulant_orders(site: Site, board: Board) -> Figure:
    """What a probe reads when atoms are pooled to more than their mean."""
    rows: Rows = []
    for entry in board.entries:
        for row in site.rows("pooling", board, entry.model):
            kind, _, order = row.text("pooling").partition(":")
            if kind != "cumulants" or not order.isdigit():
                continue
            for column in row.cells:
                value = row.number(column) if column.startswith(PROBED) else None
                if value is not None and value > -1:
                    rows.append({
                        "model": entry.model, "title": entry.title, "family": style.family_of(board, entry),
                        "panel": f"{column.removeprefix(PROBED)}, {row.text('dataset')}", "order": int(order),
                        "r2_partial": value, "columns": row.integer("dimension"),
                    })  # fmt: skip
    figure = Figure(
        "cumulants",
        "Cumulant order",
        "R² partial when the atoms of a structure are pooled to their mean (order 1) or to the mean and higher "
        "cumulants. A rise says that the mean throws information away; more columns also cost a small data set, so a "
        "fall is no proof that there is none.",
        rows,
        missing="needs the pooling table with cumulants of several orders",
        metrics=("r2_partial",),
        pages=("cpd",),
        paper="arXiv:2512.05717",
    )
    if not rows:
        return figure
    panels = sorted({row["panel"] for row in rows})
    family, hovered = pick_family(), hover_model()
    chart = (
        alt.Chart(data())
        .mark_line(point=alt.OverlayMarkDef(size=26))
        .encode(
            alt.X("order:O", title="highest cumulant", axis=alt.Axis(labelAngle=0)),
            alt.Y("r2_partial:Q", title="R² partial", scale=alt.Scale(zero=False)),
            alt.Detail("model:N"),
            color=family_colour(board),
            opacity=alt.condition(family, alt.value(0.85), alt.value(0.08)),
            strokeWidth=alt.condition(hovered, alt.value(3.5), alt.value(1.6)),
            tooltip=[*tooltips(("title:N", "Model"), ("r2_partial:Q", "R² partial")), alt.Tooltip("order:O"),
                     alt.Tooltip("columns:Q", title="columns", format="d")],
        )
        .add_params(family, hovered)
        .properties(width=250, height=240)
        .facet(alt.Facet("panel:N", sort=panels, title=None), columns=2, spacing=28)
        .resolve_scale(y="independent")
    )  # fmt: skip
    return figure.drawn(chart)
