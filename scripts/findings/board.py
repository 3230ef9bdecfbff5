"""One suite's rows of the exported tables, and the statistics that the findings rest on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

TABLES = ("scores", "pairs", "pooling", "models", "suites", "datasets", "leaderboard")
DRAWS = 4000


@dataclass(frozen=True)
class Board:
    """Tables of one suite. `control` holds the kind of each control, `family` the family of every model."""

    scores: pd.DataFrame
    pairs: pd.DataFrame
    pooling: pd.DataFrame
    suite: pd.Series
    structures: dict[str, int]
    control: dict[str, str]
    family: dict[str, str]
    parent: dict[str, str]
    symmetry: dict[str, str]
    failed: dict[str, str]

    @property
    def trained(self) -> list[str]:
        """Trained models that have scores, by family."""
        present = set(self.scores["model"])
        models = [name for name in self.family if name not in self.control and name in present]
        return sorted(models, key=lambda name: (self.family[name], name))

    @property
    def family_count(self) -> int:
        """Families that have a trained model."""
        return len({self.family[name] for name in self.trained})

    @property
    def random(self) -> list[str]:
        """Networks with random weights."""
        return sorted(name for name, kind in self.control.items() if kind == "random")

    @property
    def datasets(self) -> list[str]:
        """Data sets of the suite: in distribution, out of distribution, probed, further ones."""
        roles = [self.suite[name] for name in ("in_distribution", "out_of_distribution", "probe_dataset")]
        further = str(self.suite["further_datasets"]).split(";") if pd.notna(self.suite.get("further_datasets")) else []
        return list(dict.fromkeys([*roles, *further]))

    def score(self, score: str, model: str, dataset: str | None = None, target: str | None = None) -> pd.Series | None:
        """The row of one score, None where it is missing or has no value."""
        rows = self.scores[(self.scores["score"] == score) & (self.scores["model"] == model)]
        for column, wanted in (("dataset", dataset), ("target", target)):
            if wanted is not None:
                rows = rows[rows[column] == wanted]
        rows = rows[rows["value"].notna()]
        return rows.iloc[0] if len(rows) else None

    def value(self, score: str, model: str, dataset: str | None = None, target: str | None = None) -> float:
        """Its value, NaN where there is none."""
        row = self.score(score, model, dataset, target)
        return float("nan") if row is None else float(row["value"])

    def between(
        self, metric: str, dataset: str, column: str, accepted: Callable[[str, str], bool]
    ) -> NDArray[np.float64]:
        """Values of `column` over the pairs (a, b) that are `accepted`, those without a value left out."""
        rows = self.pairs[(self.pairs["metric"] == metric) & (self.pairs["dataset"] == dataset)]
        kept = [accepted(a, b) for a, b in zip(rows["a"], rows["b"], strict=True)]
        return rows[np.array(kept, dtype=bool)][column].dropna().to_numpy(dtype=np.float64)

    def to_reference(self, metric: str, dataset: str, model: str) -> float:
        """Calibrated similarity of a model to the suite's reference on any data set."""
        pair = {model, str(self.suite["reference"])}
        found = self.between(metric, dataset, "calibrated", lambda a, b: {a, b} == pair)
        return float(found[0]) if len(found) else float("nan")


def read_board(results: Path, suite: str) -> Board:
    """The newest version of `suite` in results/tables. FileNotFoundError or ValueError where it is not there."""
    tables = {name: pd.read_csv(results / "tables" / f"{name}.csv") for name in TABLES}
    known = tables["suites"][tables["suites"]["suite"] == suite]
    if known.empty:
        raise ValueError(f"{results}: has no suite {suite!r}; found {', '.join(tables['suites']['suite'])}")
    row = known.sort_values("version").iloc[-1]
    own = {
        name: frame[(frame["suite"] == suite) & (frame["suite_version"] == row["version"])]
        for name, frame in tables.items()
        if "suite_version" in frame.columns
    }
    models = tables["models"].set_index("model")
    listed = own["leaderboard"].set_index("model")
    return Board(
        scores=own["scores"],
        pairs=own["pairs"],
        pooling=own["pooling"],
        suite=row,
        structures=dict(zip(tables["datasets"]["dataset"], tables["datasets"]["structures"], strict=True)),
        control={name: str(kind) for name, kind in models["control"].dropna().items() if name in listed.index},
        family={str(name): str(kind) for name, kind in models["family"].items() if name in listed.index},
        parent={str(name): str(kind) for name, kind in models["fine_tuned_from"].dropna().items()},
        symmetry={str(name): str(kind) for name, kind in models["symmetry"].items()},
        failed={str(name): str(why) for name, why in listed[listed["status"] == "failed"]["reason"].items()},
    )


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's correlation, NaN where one of the two is constant."""
    first, second = pd.Series(x).rank(), pd.Series(y).rank()
    return float(first.corr(second)) if first.nunique() > 1 and second.nunique() > 1 else float("nan")


def correlation_over_families(
    x: Sequence[float], y: Sequence[float], families: Sequence[str], seed: int = 0
) -> tuple[float, float, float]:
    """Spearman's correlation over models, and the 95 % interval when whole families are drawn with replacement.

    Models of one family are no independent observations: an interval over models would be too narrow.
    """
    kinds = sorted(set(families))
    members = [np.flatnonzero(np.asarray(families) == kind) for kind in kinds]
    random = np.random.default_rng(seed)
    draws = []
    for _ in range(DRAWS):
        rows = np.concatenate([members[each] for each in random.integers(len(kinds), size=len(kinds))])
        draws.append(rank_correlation(np.asarray(x)[rows], np.asarray(y)[rows]))
    low, high = np.nanquantile(draws, [0.025, 0.975])
    return rank_correlation(x, y), float(low), float(high)
