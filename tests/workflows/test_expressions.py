from typing import Any

import pytest

from tests.workflows.expressions import ExpressionError, evaluate, insert

CONTEXTS = {"inputs": {"commit": ""}, "github": {"sha": "abc", "event": {"before": "x"}}, "vars": {}}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.commit || github.sha", "abc"),
        ("github.event.pull_request.number", None),
        ("vars.A || vars.B || 'it''s'", "it's"),
        ("inputs.commit == '' || github.sha == 'other'", True),
        ("github.sha != 'abc' && 'yes' || ''", ""),
        ("(github.sha == 'abc' || vars.A) && github.event.before", "x"),
        ("""fromJSON('["a"]')""", ["a"]),
    ],
)
def test_expressions_have_the_values_that_github_gives_them(expression: str, value: Any) -> None:
    assert evaluate(expression, CONTEXTS) == value


def test_a_whole_expression_keeps_its_type_and_a_part_becomes_text() -> None:
    given = {"a": "${{ fromJSON('[1]') }}", "b": ["x-${{ github.sha }}-${{ vars.A }}"]}
    assert insert(given, CONTEXTS) == {"a": [1], "b": ["x-abc-"]}


@pytest.mark.parametrize(
    "expression", ["secrets.TOKEN", "hashFiles('x')", "github.sha ==", "a < b", "'open", "vars.A vars.B"]
)
def test_what_is_not_known_is_an_error(expression: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(expression, CONTEXTS)
