"""The network of a cluster: a namespace without a way out.

Both ends of a veth pair lie inside, so that the node has an address and a default route while no
packet can leave the machine. (A `dummy` device would do, but not every kernel has it.)
"""

from __future__ import annotations

from pathlib import Path

from .settings import NODE_ADDRESS, Settings
from .shell import run, succeeds


def make_network(settings: Settings) -> None:
    """Make the namespace with its addresses, unless it is there."""
    if settings.namespace.exists():
        return
    run(["ip", "netns", "add", settings.name])
    for command in (
        "link set lo up",
        "link add node0 type veth peer name node1",
        f"address add {NODE_ADDRESS}/24 dev node0",
        "link set node0 up",
        "link set node1 up",
        "route add default dev node0",
    ):
        run(["ip", "-netns", settings.name, *command.split()])
    for setting in ("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"):
        run([*enter(settings), "sysctl", "-qw", setting])


def enter(settings: Settings) -> list[str]:
    """The words before a command that shall run inside.

    Not `ip netns exec`: that mounts /sys anew, which hides the cgroups.
    """
    return ["nsenter", f"--net={settings.namespace}"]


def remove_network(settings: Settings) -> None:
    """Remove the namespace; rules, routes and devices go with it."""
    if settings.namespace.exists():
        if not succeeds(["ip", "netns", "delete", settings.name]):
            settings.namespace.unlink()
        folder = Path("/run/netns")
        if not any(folder.iterdir()):
            succeeds(["umount", folder])  # `ip` mounts it over itself with the first namespace
            folder.rmdir()
