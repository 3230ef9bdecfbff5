"""The one exception of this package, and how far a step has come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from benchmark.schema import printable

Progress = Callable[[float], None]
"""Called with the share of a step that is done, between 0 and 1."""
LONGEST = 2000


class EmbeddingError(RuntimeError):
    """A model could not be embedded with.

    `place` is the file that has to change, `check` the check or field that failed; the text is one line:
    "submissions/x/adapter.py: determinism: ...".
    """

    def __init__(self, place: Path | str, check: str, message: str) -> None:
        # Records and terminals show these, and parts of them may come from a model.
        message = printable(message, LONGEST)
        self.place = str(place)
        self.check = check
        self.message = message
        self.inputs: list[int] = []  # positions in the data set, where the trouble has a place
        super().__init__(f"{place}: {check}: {message}")

    def __reduce__(self) -> tuple[type[EmbeddingError], tuple[str, str, str]]:
        return type(self), (self.place, self.check, self.message)


def with_ids(error: EmbeddingError, ids: Sequence[str]) -> EmbeddingError:
    """The same error, naming the first structures that it is about."""
    named = [ids[index] for index in error.inputs if 0 <= index < len(ids)]
    if not named:
        return error
    more = f" and {len(named) - 3} more" if len(named) > 3 else ""
    return EmbeddingError(error.place, error.check, f"{error.message} (structures {', '.join(named[:3])}{more})")
