"""All settings of the container, read from the environment once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from trimtab.contract.metrics import INFERENCE_PORT, METRICS_PORT
from trimtab.serving.errors import SettingsInvalid

AccessLog = Literal["off", "errors", "all"]
CompareFor = Literal["shadow", "outcomes"]

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_NAME_BYTES: Final = 255  # a token holds the length in one byte
_LARGEST_PORT: Final = 65535
_LARGEST: Final = 2**62
_PREFIX: Final = "TRIMTAB_"
_LINK_URL: Final = re.compile(r"(?:TRIMTAB|TRIMTAB_[A-Z0-9_]+)_PORT(?:_[0-9]+_(?:TCP|UDP|SCTP))?")
_LINK_PART: Final = re.compile(
    r"(?:TRIMTAB|TRIMTAB_[A-Z0-9_]+)_(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR))"
)
_OF_THE_COMMANDS: Final = ("TRIMTAB_GRAFANA_URL", "TRIMTAB_PROMETHEUS_TOKEN")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSettings:
    """What the container was told. Durations in seconds, sizes in bytes."""

    # Who is served.
    model: str
    version: str
    artifact_uri: str
    artifact_digest: str
    artifact_format: str = ""
    artifact_credentials: Path | None = None
    max_artifact_bytes: int = 5 * 2**30
    fetch_seconds: float = 120.0
    trust_pickle: bool = False
    compare_uri: str = ""
    compare_digest: str = ""
    """The artifact of another version that predicts, too."""
    compare_for: CompareFor = "shadow"
    """`shadow`: to count where this one differs from the version that serves. `outcomes`: so that
    tokens carry both answers.
    """
    compare_credentials: Path | None = None
    compare_budget: float = 0.1
    """Of the time spent predicting, which `outcomes` may take."""
    compare_until: float = 0.0
    """Unix seconds; 0: no end."""
    deployment: str = ""
    revision: str = ""
    scratch: Path = Path("/tmp")
    termination_log: Path = Path("/dev/termination-log")

    # Where.
    host: str | None = None
    inference_port: int = INFERENCE_PORT
    metrics_port: int = METRICS_PORT
    grpc_port: int | None = None
    """None: not by gRPC."""

    # Labels.
    token_key_file: Path | None = None
    token_seal_key_file: Path | None = None
    label_delay_seconds: float = 7 * 86400.0
    outcomes_bearer_file: Path | None = None

    # The first requests, counted apart.
    warm_up_requests: int = 20
    warm_up_seconds: float = 10.0

    # Bounds of one request.
    max_body_bytes: int = 16 * 2**20
    max_rows: int = 4096
    receive_seconds: float = 30.0
    deadline_seconds: float = 20.0

    # Bounds of all requests together.
    queue_seconds: float = 1.0
    """A request that would be begun later is refused."""
    queue_requests: int = 1024
    queue_rows: int = 65536
    join_rows: int = 1024
    max_connections: int = 4096
    receive_bytes: int = 64 * 2**20
    """Of all requests that a port is receiving, or that wait for their turn on a connection."""

    # The life of connections and of the process.
    connection_seconds: float = 30.0
    idle_seconds: float = 5.0
    drain_linger_seconds: float = 0.8
    drain_grace_seconds: float = 5.0
    drain_seconds: float = 25.0
    hung_seconds: float = 5.0
    hung_restart_seconds: float = 120.0

    access_log: AccessLog = "off"

    def of_compared(self) -> ServingSettings:
        """Return the settings by which the artifact of the other version is brought."""
        return replace(
            self,
            artifact_uri=self.compare_uri,
            artifact_digest=self.compare_digest,
            artifact_credentials=self.compare_credentials,
            artifact_format="",
        )


def read_settings(environment: Mapping[str, str]) -> ServingSettings:
    """Return the settings; raise SettingsInvalid with the name of the variable at fault.

    A `TRIMTAB_*` variable that nobody reads is refused, since it is misspelt; see `_is_of_others`.
    """
    read = _Environment(environment)
    settings = _settings(read)
    read.refuse_others()
    return settings


def _settings(read: _Environment) -> ServingSettings:
    compare_uri, compare_digest = read.comparison()
    return ServingSettings(
        model=read.name("MODEL"),
        version=read.name("VERSION"),
        artifact_uri=read.text("ARTIFACT_URI"),
        artifact_digest=read.digest("ARTIFACT_DIGEST"),
        artifact_format=read.text("ARTIFACT_FORMAT", ""),
        artifact_credentials=read.path("ARTIFACT_CREDENTIALS"),
        max_artifact_bytes=read.whole("MAX_ARTIFACT_BYTES", 5 * 2**30),
        fetch_seconds=read.some_seconds("FETCH_SECONDS", 120.0),
        trust_pickle=read.flag("TRUST_PICKLE"),
        compare_uri=compare_uri,
        compare_digest=compare_digest,
        compare_for=read.compare_for(),
        compare_credentials=read.path("COMPARE_ARTIFACT_CREDENTIALS")
        or read.path("ARTIFACT_CREDENTIALS"),
        compare_budget=read.share("COMPARE_BUDGET", 0.1),
        compare_until=read.seconds("COMPARE_UNTIL", 0.0),
        deployment=read.text("DEPLOYMENT", ""),
        revision=read.text("REVISION", ""),
        scratch=read.path("SCRATCH") or Path("/tmp"),
        termination_log=read.path("TERMINATION_LOG") or Path("/dev/termination-log"),
        host=read.text("HOST", "") or None,
        inference_port=read.port("INFERENCE_PORT", INFERENCE_PORT),
        metrics_port=read.port("METRICS_PORT", METRICS_PORT),
        grpc_port=read.maybe_port("GRPC_PORT"),
        token_key_file=read.path("TOKEN_KEY_FILE"),
        token_seal_key_file=read.path("TOKEN_SEAL_KEY_FILE"),
        label_delay_seconds=read.seconds("LABEL_DELAY_SECONDS", 7 * 86400.0),
        outcomes_bearer_file=read.path("OUTCOMES_BEARER_FILE"),
        warm_up_requests=read.whole("WARM_UP_REQUESTS", 20, least=0),
        warm_up_seconds=read.seconds("WARM_UP_SECONDS", 10.0),
        max_body_bytes=read.whole("MAX_BODY_BYTES", 16 * 2**20),
        max_rows=read.whole("MAX_ROWS", 4096),
        receive_seconds=read.some_seconds("RECEIVE_SECONDS", 30.0),
        deadline_seconds=read.some_seconds("DEADLINE_SECONDS", 20.0),
        queue_seconds=read.some_seconds("QUEUE_SECONDS", 1.0),
        queue_requests=read.whole("QUEUE_REQUESTS", 1024),
        queue_rows=read.whole("QUEUE_ROWS", 65536),
        join_rows=read.whole("JOIN_ROWS", 1024),
        max_connections=read.whole("MAX_CONNECTIONS", 4096),
        receive_bytes=read.whole("RECEIVE_BYTES", 64 * 2**20),
        connection_seconds=read.some_seconds("CONNECTION_SECONDS", 30.0),
        idle_seconds=read.seconds("IDLE_SECONDS", 5.0),
        drain_linger_seconds=read.seconds("DRAIN_LINGER_SECONDS", 0.8),
        drain_grace_seconds=read.seconds("DRAIN_GRACE_SECONDS", 5.0),
        drain_seconds=read.seconds("DRAIN_SECONDS", 25.0),
        hung_seconds=read.some_seconds("HUNG_SECONDS", 5.0),
        hung_restart_seconds=read.some_seconds("HUNG_RESTART_SECONDS", 120.0),
        access_log=read.access_log(),
    )


class _Environment:
    """Reads `TRIMTAB_*` variables and names the one that is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._known: set[str] = set()

    def refuse_others(self) -> None:
        """Raise SettingsInvalid where a variable is set that was not read."""
        for name, value in self._environment.items():
            if name in self._known or not name.startswith(_PREFIX) or _is_of_others(name, value):
                continue
            raise SettingsInvalid(f"{name} is no setting; {_nearest(name, self._known)}")

    def text(self, name: str, default: str | None = None) -> str:
        whole = _PREFIX + name
        self._known.add(whole)
        value = self._environment.get(whole, "").strip()
        if value and not _is_service_link(whole, value):
            return value
        if default is None:
            raise SettingsInvalid(f"TRIMTAB_{name} is not set")
        return default

    def path(self, name: str) -> Path | None:
        value = self.text(name, "")
        return Path(value) if value else None

    def flag(self, name: str) -> bool:
        value = self.text(name, "false").lower()
        if value not in ("true", "false"):
            raise SettingsInvalid(f"TRIMTAB_{name} is {value!r}; true or false is wanted")
        return value == "true"

    def name(self, name: str) -> str:
        value = self.text(name)
        if len(value.encode(errors="surrogateescape")) > _LONGEST_NAME_BYTES:
            raise SettingsInvalid(f"TRIMTAB_{name} is longer than {_LONGEST_NAME_BYTES} bytes")
        if not value.isprintable():
            raise SettingsInvalid(f"TRIMTAB_{name} is {value!r}; printable text is wanted")
        return value

    def digest(self, name: str) -> str:
        value = self.text(name)
        if not _DIGEST.fullmatch(value):
            raise SettingsInvalid(f"TRIMTAB_{name} is {value!r}; sha256:<64 hex> is wanted")
        return value

    def whole(self, name: str, default: int, least: int = 1, most: int = _LARGEST) -> int:
        value = self.text(name, str(default))
        if not value.isascii() or not value.isdigit() or len(value) > len(str(_LARGEST)):
            raise SettingsInvalid(f"TRIMTAB_{name} is {value!r}; a whole number is wanted")
        if not least <= int(value) <= most:
            raise SettingsInvalid(f"TRIMTAB_{name} is {value}; {least} to {most} is wanted")
        return int(value)

    def port(self, name: str, default: int) -> int:
        return self.whole(name, default, 0, _LARGEST_PORT)

    def maybe_port(self, name: str) -> int | None:
        return self.port(name, 0) if self.text(name, "") else None

    def seconds(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError as error:
            raise SettingsInvalid(f"TRIMTAB_{name} is {value!r}; seconds are wanted") from error
        if not 0 <= number < float("inf"):
            raise SettingsInvalid(f"TRIMTAB_{name} is {value!r}; seconds are wanted")
        return number

    def some_seconds(self, name: str, default: float) -> float:
        number = self.seconds(name, default)
        if not number:
            raise SettingsInvalid(f"TRIMTAB_{name} is 0; more than no time is wanted")
        return number

    def share(self, name: str, default: float) -> float:
        value = self.text(name, str(default))
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number <= 1:
            raise SettingsInvalid(
                f"TRIMTAB_{name} is {value!r}; a share above 0 and up to 1 is wanted"
            )
        return number

    def comparison(self) -> tuple[str, str]:
        uri = self.text("COMPARE_ARTIFACT_URI", "")
        digest = self.text("COMPARE_ARTIFACT_DIGEST", "")
        if uri:
            digest = self.digest("COMPARE_ARTIFACT_DIGEST") if digest else ""
        if bool(uri) != bool(digest):
            raise SettingsInvalid(
                "TRIMTAB_COMPARE_ARTIFACT_URI and TRIMTAB_COMPARE_ARTIFACT_DIGEST need each other"
            )
        return uri, digest

    def compare_for(self) -> CompareFor:
        value = self.text("COMPARE_FOR", "shadow")
        if value == "shadow":
            return "shadow"
        if value == "outcomes":
            return "outcomes"
        raise SettingsInvalid(f"TRIMTAB_COMPARE_FOR is {value!r}; shadow or outcomes is wanted")

    def access_log(self) -> AccessLog:
        value = self.text("ACCESS_LOG", "off")
        if value == "off":
            return "off"
        if value == "errors":
            return "errors"
        if value == "all":
            return "all"
        raise SettingsInvalid(f"TRIMTAB_ACCESS_LOG is {value!r}; off, errors or all is wanted")


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes made this variable, for a Service whose name begins with `trimtab`.

    One named `trimtab-metrics` gives `TRIMTAB_METRICS_PORT`, which is a setting as well: only the
    value tells, `tcp://10.96.0.1:9090`. Source: Kubernetes, "Accessing the Service".
    """
    if "://" in value:
        return _LINK_URL.fullmatch(name) is not None
    return _LINK_PART.fullmatch(name) is not None


def _is_of_others(name: str, value: str) -> bool:
    """Whether a variable that is no setting is none of ours to judge.

    What training is told, and by which code, may be set in an image that does both; what the
    commands read is in the shell of whoever serves on a laptop.
    """
    if _is_service_link(name, value) or name in _OF_THE_COMMANDS:
        return True
    from trimtab.contract.training import OptionalVariable, Variable

    return name in {*Variable, *OptionalVariable}


def _nearest(name: str, known: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name.upper(), sorted(known), n=1, cutoff=0)
    return f"{near[0]} is the nearest"
