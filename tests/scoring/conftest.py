"""The synthetic world and its scores, computed once for all tests of scoring."""

from __future__ import annotations

import pytest

from benchmark.results.records import Score
from benchmark.scoring.scorer import Scorer
from tests.scoring.synthetic import MODELS, World, scorer


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def scoring(world: World) -> Scorer:
    return scorer(world)


@pytest.fixture(scope="session")
def scored(scoring: Scorer) -> dict[str, list[Score]]:
    return {name: scoring.score(name) for name in (*MODELS, "collapsed", "absent")}
