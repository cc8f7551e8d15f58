"""Whether a new version accepts what the stable one accepts."""

from trimtab.contract.artifact import Signature


def why_incompatible(stable: Signature, new: Signature) -> str | None:
    """Return the first input of `stable` that `new` removed, retyped or reshaped, or None.

    New optional inputs are fine only if missing values are allowed: clients do not send them yet.
    """
    inputs = {tensor.name: tensor for tensor in new.inputs}
    for old in stable.inputs:
        tensor = inputs.pop(old.name, None)
        if tensor is None:
            return f"input {old.name} was removed"
        if tensor.datatype != old.datatype:
            return f"input {old.name} was {old.datatype} and is {tensor.datatype}"
        if tensor.shape != old.shape:
            return f"input {old.name} had shape {old.shape} and has {tensor.shape}"
    added = next((t.name for t in inputs.values() if not t.missing_allowed), None)
    if added is not None:
        return f"input {added} is new and required"
    if stable.task != new.task:
        return f"the task was {stable.task} and is {new.task}"
    return None
