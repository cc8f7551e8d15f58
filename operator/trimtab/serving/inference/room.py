"""Whether a model fits into the container, said before it is loaded: afterwards nobody can say it.

A container that takes more memory than its limit is killed by the kernel, without a word.
"""

from __future__ import annotations

from typing import Final

from trimtab.serving.comparing.container import Container
from trimtab.serving.errors import ArtifactRefused
from trimtab.serving.model.artifact import Artifact
from trimtab.serving.model.unpacked import unpacked_bytes

_GIB: Final = 2**30


def check_room(artifact: Artifact, container: Container) -> None:
    """Raise ArtifactRefused where the model's file, unpacked, is larger than the memory left."""
    left = container.memory_left()
    if left is None:
        return
    size = unpacked_bytes(artifact.model_file, left)
    if size <= left:
        return
    limit = container.memory_limit()
    way = (
        "raise spec.serving.resources.limits.memory, or make the model smaller"
        if limit is not None
        else "the machine has no more; make the model smaller"
    )
    raise ArtifactRefused(
        "TooLarge",
        f"{artifact.model_file.name} is at least {size / _GIB:.1f} GiB once it is unpacked, and "
        f"{left / _GIB:.1f} GiB of memory are left here; {way}",
    )
