"""The image of the embedded artifact store, under the names that charts ask for.

A node without an uplink cannot pull the public image; the same program, built from the same
version, stands in for it.
"""

from __future__ import annotations

from .archive import Image, write_image
from .node import ctr
from .packages import GoProgram, build_program
from .settings import Settings
from .shell import run, say

VERSITYGW = GoProgram("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0")
REFERENCES = (
    f"docker.io/versity/versitygw:{VERSITYGW.version}",
    f"localhost/versitygw:{VERSITYGW.version}",
)


def import_store_image(settings: Settings) -> None:
    """Import the image under each of its names, unless the node has it."""
    held = run([*ctr(settings), "images", "list", "-q"]).split()
    program = "/usr/local/bin/versitygw"
    for reference in REFERENCES:
        if reference in held:
            continue
        files = {program: build_program(settings, VERSITYGW)}
        archive = settings.state / "store.tar"
        write_image(Image(reference, files, [program]), archive)
        run([*ctr(settings), "images", "import", archive])
        archive.unlink()
        say(f"imported {reference}")
