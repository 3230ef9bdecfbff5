"""GitHub's expressions, as far as the workflows of this project use them.

What is not known is an error: a workflow that starts to use more makes the tests say so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|(\|\||&&|==|!=|[().,])|([A-Za-z_][\w-]*))")
INSERTED = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
Contexts = Mapping[str, Any]
Functions = Mapping[str, Callable[..., Any]]


class ExpressionError(Exception):
    """An expression that this reader does not know."""


def insert(value: Any, contexts: Contexts, functions: Functions | None = None) -> Any:
    """`value` with every `${{ ... }}` replaced; one that is the whole string keeps its type."""
    if isinstance(value, list):
        return [insert(each, contexts, functions) for each in value]
    if isinstance(value, dict):
        return {name: insert(each, contexts, functions) for name, each in value.items()}
    if not isinstance(value, str):
        return value
    if whole := re.fullmatch(r"\$\{\{((?:(?!\}\}).)*)\}\}", value.strip(), re.DOTALL):
        return evaluate(whole[1], contexts, functions)
    return INSERTED.sub(lambda found: text(evaluate(found[1], contexts, functions)), value)


def evaluate(expression: str, contexts: Contexts, functions: Functions | None = None) -> Any:
    """The value of one expression. Raises ExpressionError for syntax, contexts and functions that are not known."""
    reader = _Reader(_tokens(expression), contexts, {"fromJSON": json.loads, **(functions or {})})
    value = reader.alternatives()
    if reader.tokens:
        raise ExpressionError(f"{expression!r}: {reader.tokens[0]!r} is left over")
    return value


def text(value: Any) -> str:
    """How a value looks inside a string."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tokens(expression: str) -> list[str]:
    tokens, place = [], 0
    rest = expression.rstrip()
    while place < len(rest):
        found = TOKEN.match(rest, place)
        if found is None:
            raise ExpressionError(f"{expression!r}: cannot be read from {rest[place:]!r} on")
        tokens.append(found[0].strip())
        place = found.end()
    return tokens


class _Reader:
    def __init__(self, tokens: list[str], contexts: Contexts, functions: Functions) -> None:
        self.tokens, self.contexts, self.functions = tokens, contexts, functions

    def alternatives(self) -> Any:
        value = self.conjunction()
        while self.taken("||"):
            other = self.conjunction()
            value = value or other
        return value

    def conjunction(self) -> Any:
        value = self.comparison()
        while self.taken("&&"):
            other = self.comparison()
            value = value and other
        return value

    def comparison(self) -> Any:
        value = self.term()
        if self.taken("=="):
            return text(value) == text(self.term())
        if self.taken("!="):
            return text(value) != text(self.term())
        return value

    def term(self) -> Any:
        if self.taken("("):
            value = self.alternatives()
            self.expect(")")
            return value
        if not self.tokens:
            raise ExpressionError("the expression ends too early")
        token = self.tokens.pop(0)
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self.taken("("):
            return self.call(token)
        if token not in self.contexts:
            raise ExpressionError(f"context {token!r} is not known")
        value = self.contexts[token]
        while self.taken("."):
            name = self.tokens.pop(0)
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def call(self, name: str) -> Any:
        arguments = []
        while not self.taken(")"):
            arguments.append(self.alternatives())
            self.taken(",")
        if name not in self.functions:
            raise ExpressionError(f"function {name!r} is not known")
        return self.functions[name](*arguments)

    def taken(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.taken(token):
            raise ExpressionError(f"{token!r} is missing")
