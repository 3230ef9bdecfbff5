"""Building the site: tables in, a folder of static files out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from leaderboard_site.assets import safe_table, static_files
from leaderboard_site.pages import site_pages
from leaderboard_site.tables import read_tables

STAMP = ".latent-matter-site"  # marks a folder that this module made and may replace


def build_site(results: Path, out: Path) -> Path:
    """Build the site of `results/tables` into the folder `out` and return its index.html.

    The site is built beside `out` and moved into place whole; the same tables give the same bytes.
    Raises TableError for tables that are missing or broken, and FileExistsError rather than replace
    a folder that is not a site.
    """
    out = Path(out).resolve()
    if out.exists() and not _may_be_replaced(out):
        raise FileExistsError(f"{out}: exists and is not a site built here; choose another folder or remove it")
    tables = read_tables(Path(results))
    pages = site_pages(tables)
    out.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".tmp"))
    try:
        fresh = workshop / "site"
        for name, page in sorted(pages.items()):
            _write(fresh / name, page.encode())
        for path in tables.files:
            _write(fresh / "data" / path.name, safe_table(path))
        for name, content in static_files().items():
            _write(fresh / "static" / name, content)
        _write(fresh / ".nojekyll", b"")
        _write(fresh / STAMP, b"")
        if out.exists():
            out.rename(workshop / "previous")
        fresh.rename(out)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return out / "index.html"


def _may_be_replaced(folder: Path) -> bool:
    return folder.is_dir() and ((folder / STAMP).is_file() or not any(folder.iterdir()))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
