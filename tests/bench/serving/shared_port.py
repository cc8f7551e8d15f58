"""Our runtime on a port that other processes listen on, too; the kernel deals connections out."""

from __future__ import annotations

import socket
import sys
from functools import partial

from trimtab.serving.__main__ import main

if __name__ == "__main__":
    socket.create_server = partial(socket.create_server, reuse_port=True)
    sys.exit(main())
