from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from trimtab.training import Published, publish
from trimtab.training.__main__ import main

MADE = datetime(2026, 11, 1, tzinfo=UTC)


def people(n: int, seed: int = 0, start: str = "2026-11-02", shift: float = 0.0) -> pd.DataFrame:
    """Rows with two numbers, a category and a time; `bought` follows age and city, with noise."""
    random = np.random.default_rng(seed)
    age = random.uniform(18, 80, n)
    income = random.lognormal(3, 0.5, n)
    city = random.choice(["rome", "oslo", "lima"], n)
    logit = (age - 50 - shift) / 5 + np.where(city == "oslo", 1.5, -0.5)
    bought = random.random(n) < 1 / (1 + np.exp(-logit))
    return pd.DataFrame(
        {
            "age": age,
            "income": income,
            "city": city,
            "bought": np.where(bought, "yes", "no"),
            "time": pd.date_range(start, periods=n, freq="min", tz="UTC"),
        }
    )


@dataclass
class Job:
    """One run of the trainer in a folder: what it exited with and left behind."""

    folder: Path
    environment: dict[str, str]

    def data(self, frame: pd.DataFrame, name: str = "a.parquet") -> None:
        path = self.folder / "data" / name
        path.parent.mkdir(exist_ok=True)
        frame.to_csv(path, index=False) if name.endswith("csv") else frame.to_parquet(path)

    def champion(self, published: Published) -> None:
        self.environment |= {
            "TRIMTAB_CHAMPION_URI": published.uri,
            "TRIMTAB_CHAMPION_DIGEST": published.digest,
        }

    def gate(self, **gate: Any) -> None:
        self.environment["TRIMTAB_GATE"] = json.dumps(gate)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        return self.run_as(
            "sklearn.linear_model.LogisticRegression", "--param", "max_iter=5000", *arguments
        )

    def run_as(self, estimator: str, *arguments: str) -> tuple[int, dict[str, Any]]:
        code = main(self.environment, ["--label", "bought", "--estimator", estimator, *arguments])
        body = (self.folder / "termination-log").read_bytes()
        assert len(body) <= 4096
        return code, json.loads(body)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        tmp_path,
        {
            "TRIMTAB_MODEL": "shop",
            "TRIMTAB_VERSION": "r1",
            "TRIMTAB_DATA_URI": f"file://{tmp_path}/data/",
            "TRIMTAB_OUTPUT_URI": f"file://{tmp_path}/models/r1/",
            "TRIMTAB_TERMINATION_LOG": str(tmp_path / "termination-log"),
        },
    )


@pytest.fixture
def champion(tmp_path: Path) -> Callable[..., Published]:
    """A version made on 1 November from rows of its own."""

    def make(learn: pd.DataFrame | None = None, **options: Any) -> Published:
        from sklearn.compose import ColumnTransformer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        parts = [("city", one_hot, [2]), ("numbers", StandardScaler(), [0, 1])]
        model = make_pipeline(ColumnTransformer(parts, sparse_threshold=0), LogisticRegression())
        frames = [people(600, seed) if learn is None else learn for seed in (1, 2, 3)]
        pairs = [(one[["age", "income", "city"]], one["bought"]) for one in frames]
        return publish(
            model,
            *pairs[0],
            uri=f"file://{tmp_path}/models/v1",
            model_name="shop",
            version="v1",
            calibrate=pairs[1],
            evaluate=pairs[2],
            created=options.pop("created", MADE),
            **options,
        )

    return make
