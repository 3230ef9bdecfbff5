"""The data set card of a results folder, in the form that Hugging Face data sets read."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import yaml

TEXTS = {
    "leaderboard": "one row a model a suite: headline scores with interval, null and rank range",
    "scores": "long form: every score of every model, with interval, null, n, d, k",
    "pairs": "every metric of every pair of models on every data set",
    "layers": "stored layers and what was measured on each",
    "pooling": "the suite's layer pooled to means and higher cumulants, and what was measured on each",
    "learning_curves": "what a linear probe reads from 32, 64, ... training structures",
    "coordinates": "structures on a map of each model's features, with the error of its energies",
    "models": "what each model is, where its weights come from, how its rows are reproduced",
    "conformance": "what each adapter was checked for, measured against which tolerance",
    "quality": "lines worth a reader's eye: dead columns, ties, models at the null",
    "suites": "the frozen settings behind every number",
    "datasets": "the data sets' cards",
    "metrics": "what each score means",
    "costs": "wall time and memory of each embedding; the one table that two equal runs may disagree on",
    "changelog": "dated changes: scores corrected, suites replaced, models withdrawn",
}


def dataset_card(frames: Mapping[str, pd.DataFrame]) -> str:
    """README.md with one config a table, `leaderboard` the default one."""
    configs = []
    for name in frames:
        config: dict[str, object] = {"config_name": name, "data_files": f"tables/{name}.parquet"}
        if name == "leaderboard":
            config["default"] = True
        configs.append(config)
    header = {
        "license": "cc-by-4.0",
        "pretty_name": "Latent Matter: what atomistic foundation models have learned",
        "tags": ["chemistry", "materials-science", "representation-learning", "leaderboard"],
        "configs": configs,
    }
    rows = "\n".join(f"| `{name}` | {len(frame)} | {TEXTS[name]} |" for name, frame in frames.items())
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---\n\n"
        "# Latent Matter\n\n"
        "Scores of the representations that atomistic foundation models have learned. Tables are derived from the\n"
        "JSON records in this repository and are never edited.\n\n"
        f"| table | rows | what it holds |\n| --- | --- | --- |\n{rows}\n\n"
        "```python\n"
        "from datasets import load_dataset\n\n"
        'board = load_dataset("PATH OR REPOSITORY", "leaderboard", split="train").to_pandas()\n'
        "```\n"
    )
