"""The inline script metadata (PEP 723) of an adapter: what its environment is made of.

    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["chgnet==0.4.2", "torch==2.13.0"]
    # [tool.uv]
    # exclude-newer = "2026-11-15T00:00:00Z"
    # ///

Every direct dependency is pinned with `==`; `exclude-newer` freezes what they pull in. Where a
package's own requirements are stricter than what it runs with, uv's `override-dependencies` replaces
them: a pin, or a name with a marker that is never true to leave a package out.
"""

from __future__ import annotations

import datetime
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from benchmark.embedding.errors import EmbeddingError
from benchmark.files import content_key

# The regular expression of PEP 723.
SCRIPT_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
CHECK = "script header"


@dataclass(frozen=True)
class Header:
    """A validated header. `dependencies` are normalised and sorted, so that equal headers are equal."""

    requires_python: str
    dependencies: tuple[str, ...]
    exclude_newer: str  # RFC 3339
    overrides: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """Hex SHA-256 of the header's meaning; layout and order do not count."""
        meaning = [self.requires_python, list(self.dependencies), self.exclude_newer]
        return content_key([*meaning, list(self.overrides)] if self.overrides else meaning)

    def pinned(self, package: str) -> str | None:
        """The version that `package` is pinned to, or None when the header does not name it."""
        for dependency in self.dependencies:
            requirement = Requirement(dependency)
            if requirement.name == package:
                return next(iter(requirement.specifier)).version
        return None


def read_header(adapter: Path) -> Header:
    """Read and validate the header of `adapter`. Raises EmbeddingError naming the file and the field."""
    try:
        text = adapter.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EmbeddingError(adapter, CHECK, "no such file") from None
    except UnicodeDecodeError as error:
        raise EmbeddingError(adapter, CHECK, f"not UTF-8: {error}") from None
    blocks = [match for match in SCRIPT_BLOCK.finditer(text.replace("\r\n", "\n")) if match["type"] == "script"]
    if len(blocks) != 1:
        raise EmbeddingError(adapter, CHECK, f"found {len(blocks)} `# /// script` blocks, exactly one is needed")
    lines = blocks[0]["content"].splitlines()
    content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    try:
        table = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise EmbeddingError(adapter, CHECK, f"not TOML: {error}") from None
    return _validate(adapter, table)


def _validate(adapter: Path, table: dict[str, Any]) -> Header:
    _refuse_unknown(adapter, "", table, {"requires-python", "dependencies", "tool"})
    tools = _typed(adapter, "tool", table.get("tool", {}), dict)
    _refuse_unknown(adapter, "tool.", tools, {"uv"})
    uv_table = _typed(adapter, "tool.uv", tools.get("uv", {}), dict)
    _refuse_unknown(adapter, "tool.uv.", uv_table, {"exclude-newer", "override-dependencies"})
    python = _typed(adapter, "requires-python", table.get("requires-python"), str)
    try:
        requires_python = str(SpecifierSet(python))
    except InvalidSpecifier as error:
        raise EmbeddingError(adapter, CHECK, f"field requires-python: {error}") from None
    dependencies = _typed(adapter, "dependencies", table.get("dependencies"), list)
    overrides = _typed(adapter, "tool.uv.override-dependencies", uv_table.get("override-dependencies", []), list)
    return Header(
        requires_python,
        tuple(sorted(_pinned(adapter, dependency) for dependency in dependencies)),
        _time(adapter, uv_table.get("exclude-newer")),
        tuple(sorted(_override(adapter, override) for override in overrides)),
    )


def _refuse_unknown(adapter: Path, prefix: str, table: dict[str, Any], accepted: set[str]) -> None:
    unknown = sorted(set(table) - accepted)
    if unknown:
        names = ", ".join(f"{prefix}{name}" for name in sorted(accepted))
        raise EmbeddingError(adapter, CHECK, f"field {prefix}{unknown[0]}: not supported; accepted: {names}")


def _typed(adapter: Path, field: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        found = "is missing" if value is None else f"is {value!r}"
        raise EmbeddingError(adapter, CHECK, f"field {field}: {found}; a {kind.__name__} is needed")
    return value


def _pinned(adapter: Path, dependency: Any) -> str:
    """Normalise one dependency. Raises EmbeddingError unless it is `name==version`, extras and marker allowed."""
    requirement = _requirement(adapter, "dependencies", dependency)
    if not _is_exact(requirement):
        raise EmbeddingError(adapter, CHECK, f"field dependencies: {dependency!r} is not pinned; write name==version")
    return str(requirement)


def _override(adapter: Path, override: Any) -> str:
    """Normalise one override. Raises EmbeddingError unless it is `name==version`, or `name; marker` to leave it out."""
    field = "tool.uv.override-dependencies"
    requirement = _requirement(adapter, field, override)
    leaves_out = requirement.marker is not None and not requirement.specifier and requirement.url is None
    if not (_is_exact(requirement) or leaves_out):
        reason = "is neither pinned, name==version, nor left out by a marker, name; python_version < '0'"
        raise EmbeddingError(adapter, CHECK, f"field {field}: {override!r} {reason}")
    return str(requirement)


def _requirement(adapter: Path, field: str, value: Any) -> Requirement:
    text = _typed(adapter, field, value, str)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise EmbeddingError(adapter, CHECK, f"field {field}: {text!r} is no requirement: {reason}") from None
    requirement.name = canonicalize_name(requirement.name)
    return requirement


def _is_exact(requirement: Requirement) -> bool:
    pins = list(requirement.specifier)
    exact = len(pins) == 1 and pins[0].operator == "==" and not pins[0].version.endswith(".*")
    return exact and requirement.url is None


def _time(adapter: Path, value: Any) -> str:
    """`exclude-newer` as RFC 3339 text. A bare date means the end of that day, as uv has it."""
    field = "tool.uv.exclude-newer"
    if value is None:
        raise EmbeddingError(adapter, CHECK, f'field {field}: is missing; write a time such as "2026-11-15T00:00:00Z"')
    text = value.isoformat() if isinstance(value, datetime.date) else str(value)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise EmbeddingError(adapter, CHECK, f"field {field}: {text!r} is no time in ISO 8601") from None
    if len(text) == len("2026-11-15"):
        moment += datetime.timedelta(days=1)
    moment = moment.replace(tzinfo=moment.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")
