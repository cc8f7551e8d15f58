"""Which types of object are watched: our kinds, what serves, and what the engines make."""

from trimtab.api.resource import Resource
from trimtab.build.engines import ENGINES
from trimtab.cluster.port import OWN_KINDS, PODS, SECRETS, SERVICES, WORKLOADS, Json


def child_kinds() -> tuple[Resource, ...]:
    """Return the types that are watched only where labelled as ours."""
    engines = (engine.resource for engine in ENGINES.values())
    return tuple(dict.fromkeys((WORKLOADS, SERVICES, PODS, *engines)))


def watched() -> tuple[Resource, ...]:
    """Return every type that is watched."""
    return OWN_KINDS + child_kinds()


def written() -> tuple[Resource, ...]:
    """Return every type that the operator may write; of Secrets none is ever read."""
    return (*watched(), SECRETS)


def resource_of(obj: Json) -> Resource:
    """Return the type of an object that is watched or written."""
    by_kind = {(one.api_version, one.kind): one for one in written()}
    return by_kind[obj["apiVersion"], obj["kind"]]
