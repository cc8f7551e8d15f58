"""Whose an object is: ours is what our object controls, whatever its labels say.

Labels can be set by anybody, and a name can be had by anybody first. An object of a name that a
child needs is left alone unless its controller is the object that needs it. One without any
controller that we have applied is taken up again, as controllers of Kubernetes do: somebody took
its owner away.
"""

from __future__ import annotations

from trimtab.cluster.port import Json, Key
from trimtab.errors import Conflict, NameTaken
from trimtab.reconcile.machine.cache import uid_of
from trimtab.reconcile.machine.other_hands import were_applied


def is_controlled_by(obj: Json, owner_uid: str) -> bool:
    """Return whether the object's controller has this uid."""
    controller = _controller(obj)
    return controller is not None and bool(owner_uid) and controller.get("uid") == owner_uid


def is_ours(obj: Json, owner_uid: str) -> bool:
    """Return whether the object is a child of who has this uid, or one of ours that lost it."""
    is_lost = _controller(obj) is None and were_applied(obj)
    return is_controlled_by(obj, owner_uid) or is_lost


def require_ours(obj: Json, child: Key, owner: Json) -> None:
    """Raise NameTaken if `obj`, which has the name of a child of `owner`, is not this child.

    Conflict if it is, and is being deleted: the name will be free.
    """
    if not is_ours(obj, uid_of(owner)):
        raise name_taken(obj, child, owner)
    if obj["metadata"].get("deletionTimestamp"):
        raise Conflict(f"{child} is being deleted; it is made again when it is gone")


def name_taken(obj: Json, child: Key, owner: Json) -> NameTaken:
    """Return the error that names the object and says what to do."""
    what = f"{child.resource.kind} {child.name}"
    controller = _controller(obj)
    whose = "is not ours"
    if controller is not None:
        # Both are somebody else's words, of any length.
        kind, name = (str(controller.get(field))[:100] for field in ("kind", "name"))
        whose = f"belongs to {kind} {name}"
    ours = f"{owner['kind']} {owner['metadata']['name']}"
    return NameTaken(
        f"{what} exists and {whose}: rename the {ours}, or remove that {child.resource.kind}",
        kind=child.resource.kind,
        name=child.name,
    )


def _controller(obj: Json) -> Json | None:
    references = obj["metadata"].get("ownerReferences") or []
    return next((one for one in references if one.get("controller")), None)
