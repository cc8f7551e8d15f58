"""The three versions of the story: v1 good, v2 clearly worse, v3 good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

from trimtab.quickstart.digits import BRIGHTEST, Pool, load_pools
from trimtab.training import Published, publish

MODEL = "digits"
INPUT = "image"
_SHARE_OF_WRONG_LABELS = 0.35


@dataclass(frozen=True)
class Recipe:
    """How a version is trained: rows to learn from, trees, and labels gone wrong or not."""

    rows: int
    trees: int
    spoil: bool = False


RECIPES = {
    "v1": Recipe(rows=300, trees=40),
    "v2": Recipe(rows=550, trees=6, spoil=True),
    "v3": Recipe(rows=550, trees=100),
}


def train(recipe: Recipe, pool: Pool) -> RandomForestClassifier:
    """Fit a random forest on the first rows of the pool."""
    labels = pool.labels[: recipe.rows]
    if recipe.spoil:
        labels = spoiled(labels)
    model = RandomForestClassifier(recipe.trees, random_state=0)
    return model.fit(pool.images[: recipe.rows], labels)


def spoiled(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """About a third of the labels drawn anew: an honest mistake of a labelling team."""
    random = np.random.default_rng(1)
    wrong = random.random(len(labels)) < _SHARE_OF_WRONG_LABELS
    return np.where(wrong, random.integers(0, 10, len(labels)), labels)


def publish_versions(
    uri: str, credentials: Path | None, names: list[str] | None = None
) -> Iterator[tuple[str, Published]]:
    """Train and publish each version at `<uri>/<version>/<digest>/`; yield name and place."""
    pools = load_pools()
    tune, test = pools["calibrate"], pools["evaluate"]
    for name in names or list(RECIPES):
        model: Any = train(RECIPES[name], pools["train"])
        yield (
            name,
            publish(
                model,
                pools["train"].images,
                pools["train"].labels,
                uri=f"{uri.rstrip('/')}/{name}",
                model_name=MODEL,
                version=name,
                calibrate=(tune.images, tune.labels),
                evaluate=(test.images, test.labels),
                input_name=INPUT,
                minimum=0.0,
                maximum=BRIGHTEST,
                task="classification",
                credentials=credentials,
            ),
        )


def announcement(name: str, published: Published) -> dict[str, Any]:
    """One JSON line a version: all that a ModelVersion needs."""
    return {
        "model": MODEL,
        "version": name,
        "uri": published.uri,
        "digest": published.digest,
        "baseline": published.baseline,
        "metrics": [
            {
                "metric": one.metric,
                "value": round(one.value, 4),
                "interval": [round(bound, 4) for bound in one.interval],
                "n": one.n,
                "dataset": "digits-evaluate",
                "slice": one.slice,
            }
            for one in published.metrics
        ],
    }


def manifest_of(name: str, published: Published) -> dict[str, Any]:
    """The same as the object that declares it, for `kubectl apply`."""
    told = announcement(name, published)
    return {
        "apiVersion": "trimtab.dev/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": f"{MODEL}-{name}"},
        "spec": {
            "model": MODEL,
            "version": name,
            "artifact": {"uri": told["uri"], "digest": told["digest"], "format": "sklearn"},
            "evaluation": told["metrics"],
        },
    }
