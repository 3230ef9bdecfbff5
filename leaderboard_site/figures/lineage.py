"""Figures of who comes from whom: fine-tuning, reconstruction, heat map and tree of models."""

from __future__ import annotations

import altair as alt

from leaderboard_site.board import Board
from leaderboard_site.clustering import Matrix, clustered_matrix, distances, neighbour_joining
from leaderboard_site.context import Site
from leaderboard_site.figures import style
from leaderboard_site.figures.figure import Figure, Rows, data, family_colour, tooltips

RECONSTRUCTION = "gfre"
RECONSTRUCTION_LAYERS = {
    "gfre": "backbone",
    "gfre_last_layer": "last layer",
    "gfre_backbone_last_layer": "backbone → last layer",
}
HEAT_MAPS = ("heat-map-in", "heat-map-out")  # ids of the figures in and out of distribution
SHAPES = ("diamond", "square", "circle", "cross")  # of parent, relative, stranger, control


def _cell(models: int) -> int:
    """Pixels of a matrix's cell: as large as fits a page, no smaller than its label."""
    return max(13, min(22, 900 // models))


def fine_tuning(site: Site, board: Board) -> Figure:
    """How well each child is reconstructed from its parent and from strangers."""
    rows: Rows = []
    parents = {entry.model: entry.fine_tuned_from for entry in board.models if entry.fine_tuned_from}
    related = {child: _relatives(child, parents) for child in parents}
    for dataset, values in site.pairs[board.id].get(RECONSTRUCTION, {}).items():
        for child, parent in parents.items():
            for entry in board.entries:
                value = values.get((entry.model, child))
                if value is None or entry.model == child:
                    continue
                kind = (
                    "parent" if entry.model == parent else "relative" if entry.model in related[child] else "stranger"
                )
                rows.append({
                    "child": child, "other": entry.model, "title": entry.title, "dataset": dataset,
                    "kind": "control" if entry.control else kind, "gfre": value,
                })  # fmt: skip
    figure = Figure(
        "fine-tuning",
        "Parent, child and strangers",
        "How badly each fine-tuned model (rows) is reconstructed by a linear map from other models: its parent, its "
        "other relatives, strangers, and controls. 0: a linear image; 1: nothing is recovered. A parent far to the "
        "left of the strangers means that fine-tuning moved the representation little.",
        rows,
        missing="needs a model with fine_tuned_from and the gfre pairs",
        metrics=("fine_tuning_bias", "gfre_from_parent", "gfre_from_strangers"),
        pages=("fine-tuning",),
        paper="arXiv:2512.05717",
    )
    if not rows:
        return figure
    colours = {
        "parent": style.FAMILIES[1],
        "relative": style.FAMILIES[2],
        "stranger": style.FAMILIES[0],
        "control": style.CONTROL,
    }
    kinds = [kind for kind in colours if any(row["kind"] == kind for row in rows)]
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    chart = (
        alt.Chart(data())
        .mark_point(opacity=0.85)
        .encode(
            alt.X("gfre:Q", title="reconstruction error into the child", scale=alt.Scale(zero=True)),
            alt.Y("child:N", title=None, axis=alt.Axis(ticks=False, domain=False, labelPadding=6, grid=True)),
            alt.Color("kind:N", title=None, legend=alt.Legend(orient="top"), scale=alt.Scale(
                domain=kinds, range=[colours[kind] for kind in kinds])),
            alt.Shape("kind:N", legend=None, scale=alt.Scale(domain=list(colours), range=list(SHAPES))),
            alt.Size("kind:N", legend=None, scale=alt.Scale(domain=list(colours), range=[190, 90, 80, 70])),
            tooltip=tooltips(("other:N", "From"), ("child:N", "Into"), ("kind:N", "Kind"), ("gfre:Q", "Error")),
        )
        .properties(width=320, height=alt.Step(44))
        .facet(column=alt.Column("dataset:N", sort=datasets, title=None), spacing=28)
    )  # fmt: skip
    return figure.drawn(chart)


def _relatives(child: str, parents: dict[str, str]) -> set[str]:
    """Ancestors and descendants."""
    found: set[str] = set()
    ahead = parents.get(child)
    while ahead and ahead not in found:
        found.add(ahead)
        ahead = parents.get(ahead)
    grown = {child}
    while grown:
        grown = {name for name, parent in parents.items() if parent in grown} - found - {child}
        found |= grown
    return found


def reconstruction(site: Site, board: Board) -> Figure:
    """Reconstruction errors between all models, for each layer that was compared."""
    rows: Rows = []
    order: list[str] = []
    dataset = board.suite.text("in_distribution")
    for metric, layer in RECONSTRUCTION_LAYERS.items():
        values = site.pairs[board.id].get(metric, {}).get(dataset, {})
        matrix = clustered_matrix(values, False)
        if matrix is None:
            continue
        order = order or matrix.names
        rows += [
            {"source": a, "target": b, "layer": layer, "dataset": dataset, "gfre": value}
            for (a, b), value in values.items()
        ]
    missing = [layer for metric, layer in RECONSTRUCTION_LAYERS.items() if metric not in site.pairs[board.id]]
    note = f" Not exported, so not drawn: {', '.join(missing)}." if missing and rows else ""
    figure = Figure(
        "reconstruction",
        "Reconstruction matrix",
        "The error of reconstructing the features of the column's model from those of the row's model by a linear "
        f"map, on {dataset}: 0 recovers all, 1 nothing. An asymmetric pair is one model that knows what the other "
        f"knows, and more.{note}",
        rows,
        missing="needs the gfre pairs",
        metrics=("gfre_to_reference", "gfre_from_reference"),
        pages=("fine-tuning",),
        paper="arXiv:2512.05717",
    )
    if not rows:
        return figure
    chart = (
        alt.Chart(data())
        .mark_rect()
        .encode(
            alt.X("target:N", sort=order, title="into", axis=alt.Axis(labelAngle=-55, ticks=False, domain=False)),
            alt.Y("source:N", sort=order, title="from", axis=alt.Axis(ticks=False, domain=False)),
            alt.Color("gfre:Q", title="error", legend=alt.Legend(format=".1f"),
                      scale=alt.Scale(type="quantize", range=list(reversed(style.HEAT)), domain=[0, 1])),
            tooltip=tooltips(("source:N", "From"), ("target:N", "Into"), ("layer:N", "Layer"), ("gfre:Q", "Error")),
        )
        .properties(width=alt.Step(_cell(len(order))), height=alt.Step(_cell(len(order))))
    )  # fmt: skip
    if len({row["layer"] for row in rows}) == 1:
        return figure.drawn(chart)
    return figure.drawn(chart.facet(column=alt.Column("layer:N", title=None), spacing=28))


def heat_map(site: Site, board: Board, metric: str, dataset: str) -> Figure:
    """A metric between all models on one data set, in clustered order with its dendrogram."""
    values = site.pairs[board.id].get(metric, {}).get(dataset, {})
    closer = site.higher_is_closer(metric)
    matrix = clustered_matrix(values, closer)
    title = site.pair_title(metric)
    role = board.role(dataset)
    figure = Figure(
        HEAT_MAPS[dataset != board.suite.text("in_distribution")],
        f"{title} between models, {role or dataset}",
        f"{title} of each pair of models on {dataset}. Models are ordered so that alike ones stand together (average "
        "linkage, optimal leaf order); the tree at the right joins the most alike first.",
        _matrix_rows(matrix) if matrix else [],
        missing=f"needs {metric} of at least two models on {dataset}",
        metrics=(metric,),
        paper="arXiv:2512.03750",
    )
    if matrix is None:
        return figure
    height = _cell(len(matrix.names)) * len(matrix.names)
    shades = list(style.HEAT) if closer else list(reversed(style.HEAT))
    cells = (
        alt.Chart(data())
        .mark_rect()
        .encode(
            alt.X("b:N", sort=matrix.names, title=None, axis=alt.Axis(labelAngle=-55, ticks=False, domain=False)),
            alt.Y("a:N", sort=matrix.names, title=None, axis=alt.Axis(ticks=False, domain=False)),
            alt.Color("value:Q", title=title, scale=alt.Scale(type="quantize", range=shades),
                      legend=alt.Legend(orient="bottom", direction="horizontal", gradientLength=300, format=".1f")),
            tooltip=tooltips(("a:N", "Model"), ("b:N", "with"), ("value:Q", title)),
        )
        .properties(width=height, height=height)
    )  # fmt: skip
    branches = [{"x": x, "y": y, "x2": x2, "y2": y2} for x, y, x2, y2 in matrix.branches]
    tree = (
        alt.Chart(data("branches"))
        .mark_rule(color=style.CONTROL, strokeWidth=1.2)
        .encode(
            alt.X("x:Q", axis=None, scale=alt.Scale(domain=[0, 1])),
            alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[0, len(matrix.names)], reverse=True)),
            alt.X2("x2:Q"),
            alt.Y2("y2:Q"),
        )
        .properties(width=110, height=height)
    )
    return figure.drawn(alt.hconcat(cells, tree, spacing=6), branches=branches)


def _matrix_rows(matrix: Matrix) -> Rows:
    return [
        {"a": a, "b": b, "value": matrix.values[i][j]}
        for i, a in enumerate(matrix.names)
        for j, b in enumerate(matrix.names)
        if matrix.values[i][j] is not None
    ]


def model_tree(site: Site, board: Board, metric: str, dataset: str) -> Figure:
    """The neighbour-joining tree of the models on one data set, controls included."""
    values = site.pairs[board.id].get(metric, {}).get(dataset, {})
    entries = {entry.model: entry for entry in board.entries}
    names = [name for name in sorted({name for pair in values for name in pair}) if name in entries]
    title = site.pair_title(metric)
    figure = Figure(
        "tree",
        "A tree of models",
        f"Neighbour joining (Saitou and Nei 1987) on dissimilarity by {title} on {dataset}, rooted halfway between "
        "the two farthest models. The length of the path between two models is how unlike they are.",
        [{"a": a, "b": b, "value": value} for (a, b), value in values.items()],
        missing=f"needs {metric} of at least three models on {dataset}",
        metrics=(metric,),
        pages=("map",),
        paper="arXiv:2512.03750",
    )
    if len(names) < 3:
        return figure
    full = {**{(b, a): value for (a, b), value in values.items()}, **values}
    layout = neighbour_joining(names, distances(names, full, site.higher_is_closer(metric)))
    height = 19 * len(names)
    rows_scale = alt.Scale(domain=[-0.5, len(names) - 0.5], reverse=True)
    deepest = max(x for _, x, _ in layout.leaves) or 1.0
    across = alt.Scale(domain=[0, deepest], nice=False)
    branches = [{"x": x, "y": y, "x2": x2, "y2": y2} for x, y, x2, y2 in layout.lines]
    lines = (
        alt.Chart(data("branches"))
        .mark_rule(color=style.MUTED, strokeWidth=1.3, strokeCap="round")
        .encode(
            alt.X("x:Q", title="dissimilarity from the root", scale=across, axis=alt.Axis(grid=False)),
            alt.Y("y:Q", axis=None, scale=rows_scale),
            alt.X2("x2:Q"),
            alt.Y2("y2:Q"),
        )
    )
    named = [
        {"model": name, "title": entries[name].title, "family": style.family_of(board, entries[name]), "x": x, "y": y}
        for name, x, y in layout.leaves
    ]
    leaves = alt.Chart(data("leaves")).encode(alt.X("x:Q", scale=across), alt.Y("y:Q", axis=None, scale=rows_scale))
    points = leaves.mark_point(size=55, opacity=1).encode(
        color=family_colour(board), tooltip=tooltips(("title:N", "Model"), ("family:N", "Family"))
    )
    labels = leaves.mark_text(align="left", dx=8, baseline="middle").encode(alt.Text("model:N"))
    chart = alt.layer(lines, points, labels).properties(width=520, height=height)
    return figure.drawn(chart, branches=branches, leaves=named)
