"""Field types shared by the kinds: durations, shares, names, and the common base class.

Each type carries its own JSON schema, bounds and CEL rule, so that the API server and pydantic
refuse the same values with the same words.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHARE = re.compile(r"^[0-9]{1,3}(\.[0-9]{1,4})?%$")


class Model(BaseModel):
    """Base of everything in a spec or status: frozen, camelCase, unknown fields ignored.

    Unknown fields are ignored so that an older operator can read newer objects.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )

    def to_json(self) -> dict[str, Any]:
        """Return the object as the API server stores it: camelCase, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def rule(expression: str, message: str, field: str | None = None) -> dict[str, str]:
    """Return one entry of `x-kubernetes-validations`; `field` becomes its `fieldPath`."""
    validation = {"rule": expression, "message": message}
    if field is not None:
        validation["fieldPath"] = field
    return validation


def with_rules(*rules: dict[str, str]) -> ConfigDict:
    """Return the model configuration that puts CEL rules on a class's schema."""
    return ConfigDict(json_schema_extra={"x-kubernetes-validations": [dict(r) for r in rules]})


def parse_duration(value: object) -> timedelta:
    """Return the duration of a Go style string such as `1h30m`; ValueError if it is not positive."""
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not _DURATION.match(value):
        raise ValueError(f"{value!r} is not a duration such as 30s, 5m or 24h")
    seconds = sum(float(n) * _UNIT_SECONDS[unit] for n, unit in _DURATION_PART.findall(value))
    if seconds <= 0:
        raise ValueError("a duration must be longer than zero")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Return the shortest Go style string of whole units (`90s` as `1m30s`)."""
    milliseconds = round(value.total_seconds() * 1000)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def parse_share(value: object) -> float:
    """Return the fraction in 0..1 of a string such as `0.5%`."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str) or not _SHARE.match(value):
        raise ValueError(f"{value!r} is not a share such as 5% or 0.5%")
    share = float(value[:-1]) / 100
    if share > 1:
        raise ValueError("a share is at most 100%")
    return share


def format_share(value: float) -> str:
    """Return a fraction in 0..1 with a percent sign and at most four decimals."""
    return f"{value * 100:.4f}".rstrip("0").rstrip(".") + "%"


def format_time(value: datetime) -> str:
    """Return RFC 3339 in UTC with whole microseconds only where needed."""
    text = value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 20,
            "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
            "x-kubernetes-validations": [
                rule("duration(self) > duration('0s')", "must be longer than zero, such as 30s")
            ],
        }
    ),
]

Share = Annotated[
    float,
    BeforeValidator(parse_share),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 9,
            "pattern": r"^([0-9]{1,2}(\.[0-9]{1,4})?|100(\.0{1,4})?)%$",
        }
    ),
]

Time = Annotated[
    datetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 40}),
]

Name = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
]
ObjectName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Text = Annotated[str, Field(max_length=1024)]
ShortText = Annotated[str, Field(max_length=256)]
MetricName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z][a-zA-Z0-9_]*$")]

AnyObject = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""An object whose fields another API defines, such as a pod template."""


def uri_type(*schemes: str) -> object:
    """Return a string type that admits URIs of these schemes without `..` segments."""
    pattern = (
        rf"^({'|'.join(schemes)})://[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9._~%+=@-]*)*$"
    )
    return Annotated[
        str,
        Field(
            min_length=1,
            max_length=1024,
            pattern=pattern,
            json_schema_extra={
                "x-kubernetes-validations": [
                    rule("!self.contains('..')", "must not contain '..'"),
                ]
            },
        ),
    ]


def interval(value: list[float]) -> list[float]:
    """Return `value` if it is two ascending numbers."""
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError("an interval is two ascending numbers")
    return value
