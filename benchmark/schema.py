"""What every file read from outside shares: strict models, identifiers, one-line errors.

Files from contributors are untrusted: unknown fields are refused, and each error names the file,
the field, what was found and what is accepted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
BLANK = "FILL IN"
MOST_VALUES = 50_000
LONGEST_MESSAGE = 5000


def _no_blank(text: str) -> str:
    if text.startswith(BLANK):
        raise ValueError("is still a blank of the scaffold")
    return text


Sentence = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_no_blank)]

ModelT = TypeVar("ModelT", bound=BaseModel)


class Strict(BaseModel):
    """A frozen pydantic model that refuses unknown fields and non-finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def printable(text: str, limit: int) -> str:
    """`text` on one line without control characters, at most `limit` characters."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."


class InvalidFileError(ValueError):
    """A file is missing, unreadable or not of its schema; the message names file and field."""

    def __init__(self, message: str) -> None:
        # Parts of it come from the file, and records and terminals show it.
        super().__init__(printable(message, LONGEST_MESSAGE))


def read_yaml(path: Path, model: type[ModelT], size_limit: int = 1_000_000) -> ModelT:
    """Read `path` as YAML into `model`. Raises InvalidFileError with one clear line."""
    try:
        if path.stat().st_size > size_limit:
            raise InvalidFileError(f"{path}: larger than {size_limit} bytes")
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not _is_bounded(value):
            raise InvalidFileError(f"{path}: more than {MOST_VALUES} values once its aliases are written out")
        return model.model_validate(value)
    except FileNotFoundError:
        raise InvalidFileError(f"{path}: no such file") from None
    except OSError as error:
        raise InvalidFileError(f"{path}: not readable: {error.strerror}") from error
    except InvalidFileError:
        raise
    except ValidationError as error:
        raise InvalidFileError(f"{path}: {describe_validation_error(error)}") from error
    # A ValueError: a date such as 2026-13-45, which the YAML reader itself takes apart.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{path}: not YAML: {' '.join(str(error).split())}") from error


def _is_bounded(value: object) -> bool:
    """Whether `value` has at most MOST_VALUES values; aliases can stand for billions, or for a circle."""
    waiting, count = [value], 0
    while waiting:
        found = waiting.pop()
        count += 1
        if isinstance(found, dict):
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
        if count + len(waiting) > MOST_VALUES:
            return False
    return True


def describe_validation_error(error: ValidationError) -> str:
    """Problems joined by semicolons: field, what is wrong, what was found."""
    problems = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
        found = repr(problem["input"])
        shown = found if len(found) <= 80 else found[:77] + "..."
        problems.append(f"field {field}: {problem['msg']} (found {shown})")
    return "; ".join(problems)
