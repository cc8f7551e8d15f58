"""A type of object of a cluster, as plain data."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resource:
    """A type of object: group, version, plural and kind."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`group/version`, or `version` in the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version
