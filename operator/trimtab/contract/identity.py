"""What the labels `model` and `version` of a series stand for: a digest and a baseline.

    trimtab_model_info{model="m",version="v2",digest="sha256:...",baseline="sha256:...",...} 1
    trimtab_requests_total{model="m",version="v2",code="200"} 12

The two digests have 142 characters, a page has hundreds of series: they are said once for each
version that a page speaks of. Who reads a page adds them to its series, so that all that counts,
keeps and decides behind that has them as labels. A series that carries one itself is of that one:
pages, recordings and samples of the form before, and a version of the same name with other bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from trimtab.contract.metrics import MODEL_INFO, OF_VERSIONS, Labels, SeriesKey

Version: TypeAlias = tuple[str, str]
"""Model and version, as series name them."""
Identities: TypeAlias = Mapping[Version, Labels]
"""Digest and baseline, as labels, by version."""

MOST_VERSIONS: Final = 64
"""That one page explains; the runtime counts labels of 16."""
_MEMORY: Final = 50_000


class ContradictoryIdentity(ValueError):
    """One version is said to be two, or there are too many; the message says which."""


class UnknownIdentity(ValueError):
    """Nothing says which artifact a series is of; the message says what to export."""


def identities_of(infos: Iterable[Labels]) -> dict[Version, Labels]:
    """Return what the labels of the series `trimtab_model_info` of one page say.

    One without a digest says nothing. Raises ContradictoryIdentity.
    """
    found: dict[Version, Labels] = {}
    for number, labels in enumerate(infos, 1):
        if number > MOST_VERSIONS:
            raise ContradictoryIdentity(f"more than {MOST_VERSIONS} series {MODEL_INFO}")
        named = dict(labels)
        if not named.get("digest"):
            continue
        version = named.get("model", ""), named.get("version", "")
        said = frozenset({("digest", named["digest"]), ("baseline", named.get("baseline", ""))})
        if found.setdefault(version, said) != said:
            raise ContradictoryIdentity(f"{MODEL_INFO} says two things of {_shown(version)}")
    return found


def identified(key: SeriesKey, identities: Identities) -> SeriesKey:
    """Return the series with digest and baseline; raise UnknownIdentity where nothing says them.

    What the contract does not know stays as it is.
    """
    name, labels = key
    if name not in OF_VERSIONS:
        return key
    model = version = ""
    empty = []
    for pair in labels:
        label, value = pair
        if label == "model":
            model = value
        elif label == "version":
            version = value
        elif label in ("digest", "baseline"):
            if value:
                return key
            empty.append(pair)
    said = identities.get((model, version))
    if said is None:
        raise UnknownIdentity(
            f"{name[:60]} has no digest and no {MODEL_INFO} gives one for "
            f"{_shown((model, version))}: export {MODEL_INFO} with model, version, digest, baseline"
        )
    return name, (labels.difference(empty) if empty else labels) | said


class Identifier:
    """Identifies the series of many readings; remembers those that it has met."""

    def __init__(self) -> None:
        self._known: dict[frozenset[tuple[Version, Labels]], dict[SeriesKey, SeriesKey]] = {}
        self._kept = 0

    def of(self, values: Mapping[SeriesKey, float]) -> dict[SeriesKey, float]:
        """Return one reading with digest and baseline in each series that was told neither.

        Raises UnknownIdentity, and ContradictoryIdentity also where two become one.
        """
        identities = identities_of(labels for name, labels in values if name == MODEL_INFO)
        known = self._known.setdefault(frozenset(identities.items()), {})
        before = len(known)
        found = {}
        for key, value in values.items():
            own = known.get(key)
            if own is None:
                own = known[key] = identified(key, identities)
            found[own] = value
        self._kept += len(known) - before
        if self._kept > _MEMORY:
            self._known, self._kept = {}, 0
        if len(found) < len(values):
            raise ContradictoryIdentity("a series is there with its digest and without it")
        return found


def _shown(version: Version) -> str:
    model, name = version
    return f"version {name[:60]!r} of model {model[:60]!r}"
