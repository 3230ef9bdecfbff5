"""Tables on disk: CSV for people and spreadsheets, Parquet for `load_dataset`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from benchmark.files import atomic_path


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame]) -> list[Path]:
    """Write each table as `<name>.csv` and `<name>.parquet`, atomically; return the CSV paths."""
    written = []
    for name, frame in tables.items():
        csv = folder / f"{name}.csv"
        with atomic_path(csv) as temporary:
            frame.to_csv(temporary, index=False)
        with atomic_path(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
        written.append(csv)
    return written
