"""What changed: suites' changelogs, dated changes, withdrawn models, and the Atom feed of them."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from xml.etree import ElementTree

from leaderboard_site.board import Board
from leaderboard_site.tables import Row, Tables

KINDS = {
    "score": "score changed",
    "suite": "suite",
    "model": "model",
    "withdrawn": "model withdrawn",
    "release": "model released",
    "site": "site",
}
ATOM = "http://www.w3.org/2005/Atom"
FEED_ID = "tag:latent-matter,2026"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Change:
    """One line of the changelog. `date` is empty for a suite's own lines, which carry none."""

    date: str
    kind: str
    title: str
    text: str
    page: str  # of the site, relative to its top; empty where there is none


def withdrawn(changelog: list[Row]) -> dict[str, Row]:
    """Model -> the row that withdraws it."""
    return {row.identifier("model"): row for row in changelog if row.text("kind") == "withdrawn"}


def changes(tables: Tables, boards: list[Board]) -> list[Change]:
    """Dated changes, newest first. Raises TableError for a date or a kind that cannot be read."""
    pages = {row.identifier("model") for row in tables["models"]} | set(withdrawn(tables["changelog"]))
    found = []
    for row in tables["changelog"]:
        kind, model = row.text("kind"), row.text("model")
        if kind not in KINDS:
            raise row.error("kind", ", ".join(KINDS))
        subject = " ".join(part for part in (model, _suite_key(row)) if part)
        page = f"models/{model}.html" if model in pages else ""
        found.append(Change(_date(row, "date"), kind, f"{KINDS[kind]}: {subject}".rstrip(": "), row.text("text"), page))
    for board in boards:
        for entry in board.models:
            if _is_date(entry.released):
                text = f"{entry.title} is on the board of {board.title}, version {board.version}."
                found.append(
                    Change(
                        entry.released, "release", f"model released: {entry.title}", text, f"models/{entry.model}.html"
                    )
                )
    unique = {(change.date, change.title): change for change in reversed(found)}
    return sorted(unique.values(), key=lambda change: (change.date, change.title), reverse=True)


def _suite_key(row: Row) -> str:
    suite, version = row.text("suite"), row.integer("suite_version")
    return f"{suite}@{version}" if suite and version is not None else suite


def _is_date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _date(row: Row, column: str) -> str:
    text = row.text(column)
    if not _is_date(text):
        raise row.error(column, "a date such as 2026-05-17")
    return text


def feed(found: list[Change]) -> bytes:
    """An Atom feed (RFC 4287) of the dated changes, its links relative to the feed."""
    ElementTree.register_namespace("", ATOM)
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _add(root, "title", "Latent Matter: changes")
    _add(root, "id", f"{FEED_ID}:changes")
    _add(root, "updated", f"{found[0].date if found else '1970-01-01'}T00:00:00Z")
    author = ElementTree.SubElement(root, f"{{{ATOM}}}author")
    _add(author, "name", "Latent Matter")
    for rel, href in (("self", "feed.xml"), ("alternate", "changelog.html")):
        ElementTree.SubElement(root, f"{{{ATOM}}}link", rel=rel, href=href)
    for change in found:
        entry = ElementTree.SubElement(root, f"{{{ATOM}}}entry")
        _add(entry, "title", change.title)
        _add(entry, "id", f"{FEED_ID}:{change.date}:{_slug(change.title)}")
        _add(entry, "updated", f"{change.date}T00:00:00Z")
        _add(entry, "summary", change.text or change.title)
        ElementTree.SubElement(entry, f"{{{ATOM}}}link", rel="alternate", href=change.page or "changelog.html")
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _add(parent: ElementTree.Element, name: str, content: str) -> None:
    ElementTree.SubElement(parent, f"{{{ATOM}}}{name}").text = _NOT_XML.sub("�", content)


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", title.lower()).strip("-")
