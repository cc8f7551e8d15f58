"""scikit-learn's handwritten digits in five pools, and what a camera knocked askew makes of them.

1797 images of 8x8 pixels, 0 to 16. The pools never overlap: no image that a version has learned
from, was calibrated or measured on is ever sent as traffic. Images labelled for retraining come
from all pools but the traffic's; their last third from images that no version has seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 8
BRIGHTEST: Final = 16.0
POOL_SIZES: Final = {"train": 550, "calibrate": 300, "evaluate": 250, "traffic": 350, "fresh": 347}
SEED: Final = 7
"""A shuffle in which the 250 images of `evaluate` are about as hard as the 350 of `traffic`; among
others they differ by up to 4 %, the sampling error of such small pools."""

Images = NDArray[np.float64]


@dataclass(frozen=True)
class Pool:
    """Images [n, 64] with values 0..16, and their digits [n]."""

    images: Images
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


def load_pools(seed: int = SEED) -> dict[str, Pool]:
    """Return the pools by name, split by a seeded shuffle of all 1797 images."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    pools, at = {}, 0
    for name, size in POOL_SIZES.items():
        rows = order[at : at + size]
        pools[name] = Pool(images[rows].astype(np.float64), labels[rows].astype(np.int64))
        at += size
    return pools


def rotate_images(images: Images, degrees: float | NDArray[np.float64]) -> Images:
    """Rotate each image [n, 64] about its centre, bilinear, clipped to 0..16; one angle or [n]."""
    from scipy.ndimage import rotate

    angles = np.broadcast_to(np.asarray(degrees, dtype=np.float64), (len(images),))
    turned = [
        image if angle == 0 else rotate(image, angle, order=1, reshape=False)
        for image, angle in zip(images.reshape(-1, SIDE, SIDE), angles, strict=True)
    ]
    return np.clip(np.stack(turned).reshape(len(images), -1), 0.0, BRIGHTEST)


@dataclass(frozen=True)
class Angles:
    """Rotation in degrees: one angle, or evenly drawn between two."""

    low: float = 0.0
    high: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Angles:
        """`12` or `10:15`; raise ValueError otherwise."""
        low, _, high = str(text).partition(":")
        angles = cls(float(low), float(high or low))
        if not -180 <= angles.low <= angles.high <= 180:
            raise ValueError(f"{text}: one angle or two ascending ones between -180 and 180")
        return angles

    def draw(self, n: int, random: np.random.Generator) -> NDArray[np.float64]:
        """Return n angles."""
        return random.uniform(self.low, self.high, n)

    def __str__(self) -> str:
        return f"{self.low:g}" if self.low == self.high else f"{self.low:g}:{self.high:g}"
