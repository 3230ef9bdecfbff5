"""The one exception of this package, and how far a step has come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

Progress = Callable[[float], None]
"""Called with the share of a step that is done, between 0 and 1."""


class EmbeddingError(RuntimeError):
    """A model could not be embedded with.

    `place` is the file that has to change, `check` the check or field that failed; the text is one line:
    "submissions/x/adapter.py: determinism: ...".
    """

    def __init__(self, place: Path | str, check: str, message: str) -> None:
        self.place = str(place)
        self.check = check
        self.message = message
        self.inputs: list[int] = []  # positions in the data set, where the trouble has a place
        super().__init__(f"{place}: {check}: {message}")

    def __reduce__(self) -> tuple[type[EmbeddingError], tuple[str, str, str]]:
        return type(self), (self.place, self.check, self.message)
