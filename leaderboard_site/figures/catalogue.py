"""All figures of a board, in the order of the gallery."""

from __future__ import annotations

from leaderboard_site.board import Board
from leaderboard_site.context import Site
from leaderboard_site.figures import geometry, lineage, probes, similarity
from leaderboard_site.figures.figure import Figure

NEAREST_METRIC = "cknna"
HEAT_MAPS = lineage.HEAT_MAPS


def board_figures(site: Site, board: Board) -> list[Figure]:
    """Every figure, drawn or with the reason why it cannot be."""
    inside, outside = board.suite.text("in_distribution"), board.suite.text("out_of_distribution")
    return [
        lineage.heat_map(site, board, NEAREST_METRIC, inside),
        *([lineage.heat_map(site, board, NEAREST_METRIC, outside)] if outside != inside else []),
        lineage.model_tree(site, board, NEAREST_METRIC, inside),
        similarity.imbalance_plane(site, board),
        similarity.energy_plane(site, board),
        similarity.neighbour_sweep(site, board),
        geometry.intrinsic_dimension(site, board),
        geometry.structure_map(site, board),
        probes.composition_bars(site, board),
        probes.channel_split(site, board),
        probes.learning_curves(site, board),
        probes.cumulant_orders(site, board),
        lineage.fine_tuning(site, board),
        lineage.reconstruction(site, board),
    ]
