"""Field types shared by the kinds: durations, shares, names, and the common base class.

Each type carries its own JSON schema, bounds and CEL rule, so that the API server and pydantic
refuse the same values with the same words.
"""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.types import JsonValue

from trimtab.api.durations import MOST_CHARACTERS, PATTERN, parse_duration

_SHARE_PATTERN = r"^([0-9]{1,2}(\.[0-9]{1,4})?|100(\.0{1,4})?)%$"
_SHARE_WORDS = "a share from 0% to 100%, such as 5%"
_TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)
_DAY_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_STORED: dict[str, bool] = {"stored": True}
"""Validation context of what came from the API server or a file, where a share is a string."""

Item = TypeVar("Item")


class Model(BaseModel):
    """Base of everything in a spec or status: frozen, camelCase, unknown fields ignored.

    Unknown fields are ignored so that an older operator can read newer objects.
    """

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any, info: ValidationInfo) -> Any:
        """Read a null as a field that is not set, as the API server does."""
        if info.context is _STORED and isinstance(data, dict) and None in data.values():
            return {name: value for name, value in data.items() if value is not None}
        return data

    @classmethod
    def read_stored(cls, data: Any) -> Self:
        """Return decoded JSON or YAML as the API server stores it; ValidationError if refused.

        Strict: `replicas: "3"` or `weight: 25` are refused here as they are at admission, so that
        what passes without a cluster passes with one.
        """
        return cls.model_validate(data, strict=True, context=_STORED)

    def to_json(self) -> dict[str, Any]:
        """Return the object as the API server stores it: camelCase, nothing that is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Kind(Model):
    """Base of the four kinds: read as strictly as the API server reads them."""

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return the object of decoded JSON or YAML, read as `read_stored` reads."""
        return super().model_validate(obj, **{"strict": True, "context": _STORED, **options})


def rule(expression: str, message: str, field: str | None = None) -> dict[str, JsonValue]:
    """Return one entry of `x-kubernetes-validations`; `field` becomes its `fieldPath`."""
    validation: dict[str, JsonValue] = {"rule": expression, "message": message}
    if field is not None:
        validation["fieldPath"] = field
    return validation


def rules(*entries: dict[str, JsonValue]) -> JsonDict:
    """Return the JSON schema extra that holds these CEL rules."""
    return {"x-kubernetes-validations": [dict(entry) for entry in entries]}


def with_rules(*entries: dict[str, JsonValue]) -> ConfigDict:
    """Return the model configuration that puts CEL rules on a class's schema."""
    return ConfigDict(json_schema_extra=rules(*entries))


def map_list(*keys: str) -> JsonDict:
    """Return the JSON schema extra of a list whose items are told apart by `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


SET_LIST: JsonDict = {"x-kubernetes-list-type": "set"}


def unique(key: Callable[[Item], object], what: str) -> AfterValidator:
    """Return a validator that refuses a list in which two items have one key."""

    def check(items: list[Item]) -> list[Item]:
        seen: set[object] = set()
        for item in items:
            if key(item) in seen:
                raise ValueError(f"two {what}: {key(item)}")
            seen.add(key(item))
        return items

    return AfterValidator(check)


# --- durations ----------------------------------------------------------------------------------


def format_duration(value: timedelta) -> str:
    """Return the shortest Go style string of whole units (`90s` as `1m30s`)."""
    milliseconds = round(value.total_seconds() * 1000)
    text = ""
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def _duration_schema(*entries: dict[str, JsonValue]) -> JsonDict:
    return {
        "type": "string",
        "maxLength": MOST_CHARACTERS,
        "pattern": PATTERN,
        **rules(
            rule("duration(self) >= duration('1ms')", "must be longer than zero, such as 30s"),
            rule("duration(self) <= duration('87600h')", "must be at most 87600h"),
            *entries,
        ),
    }


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(_duration_schema()),
]


def _at_least_a_second(value: timedelta) -> timedelta:
    if value < timedelta(seconds=1):
        raise ValueError("must be at least 1s")
    return value


Interval = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_at_least_a_second),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        _duration_schema(rule("duration(self) >= duration('1s')", "must be at least 1s"))
    ),
]
"""A duration between two looks: never below a second."""

LONGEST_TIMEOUT = timedelta(minutes=1)


def _at_most_a_minute(value: timedelta) -> timedelta:
    if value > LONGEST_TIMEOUT:
        raise ValueError("must be at most 1m")
    return value


Timeout = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    AfterValidator(_at_least_a_second),
    AfterValidator(_at_most_a_minute),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        _duration_schema(
            rule("duration(self) >= duration('1s')", "must be at least 1s"),
            rule("duration(self) <= duration('1m')", "must be at most 1m"),
        )
    ),
]
"""How long one look may take: 1s to 1m."""


# --- shares -------------------------------------------------------------------------------------


def parse_share(value: object) -> float:
    """Return the fraction in 0..1 of a string such as `0.5%`, or the fraction itself."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= 1:
            raise ValueError(f"{value} is not a fraction in 0..1")
        return float(value)
    if not isinstance(value, str) or not re.fullmatch(_SHARE_PATTERN, value, re.ASCII):
        raise ValueError(f"{value!r} is not {_SHARE_WORDS}")
    return float(value[:-1]) / 100


def _read_share(value: object, info: ValidationInfo) -> float:
    """Code hands over fractions; objects that were read may not: `1` could mean 1% or 100%."""
    if info.context is _STORED and not isinstance(value, str):
        raise ValueError(f"{value!r} is not {_SHARE_WORDS}")
    return parse_share(value)


def format_share(value: float) -> str:
    """Return a fraction in 0..1 with a percent sign and at most four decimals."""
    return f"{value * 100:.4f}".rstrip("0").rstrip(".") + "%"


_PERCENT = "double(self.substring(0, size(self) - 1))"
"""CEL: the number in front of the percent sign."""


def _share_schema(*entries: dict[str, JsonValue]) -> JsonDict:
    # The pattern alone would be refused with the regular expression and no word about it.
    fits = rule(f"self.matches(r'{_SHARE_PATTERN}')", f"must be {_SHARE_WORDS}")
    schema: JsonDict = {"type": "string", "maxLength": 9, "pattern": _SHARE_PATTERN}
    return {**schema, **rules(fits, *entries)}


def _is_confidence(value: float) -> float:
    if not 0.5 <= value < 1:
        raise ValueError("confidence must be at least 50% and below 100%")
    return value


def _is_weight(value: float) -> float:
    if value < 0.01:
        raise ValueError("weight must be 1% to 100%")
    return value


Share = Annotated[
    float,
    BeforeValidator(_read_share),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema(_share_schema()),
]

Confidence = Annotated[
    float,
    BeforeValidator(_read_share),
    AfterValidator(_is_confidence),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema(
        _share_schema(
            rule(
                f"{_PERCENT} >= 50.0 && {_PERCENT} < 100.0",
                "confidence must be at least 50% and below 100%",
            )
        )
    ),
]

Weight = Annotated[
    float,
    BeforeValidator(_read_share),
    AfterValidator(_is_weight),
    PlainSerializer(format_share, return_type=str),
    WithJsonSchema(_share_schema(rule(f"{_PERCENT} >= 1.0", "weight must be 1% to 100%"))),
]


# --- time ---------------------------------------------------------------------------------------


def parse_time(value: object) -> datetime:
    """Return the instant of an RFC 3339 string; ValueError without a time zone."""
    if isinstance(value, str) and re.fullmatch(_TIME_PATTERN, value, re.ASCII):
        return datetime.fromisoformat(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value
    raise ValueError(f"{value!r} is not a time such as 2026-11-01T00:00:00Z")


def format_time(value: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds only where they are not zero."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "maxLength": 40, "pattern": _TIME_PATTERN}
    ),
]


def parse_day(value: object) -> date:
    """Return the day of a string such as 2027-06-30; ValueError if there is no such day."""
    if isinstance(value, str) and re.fullmatch(_DAY_PATTERN, value, re.ASCII):
        return date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError(f"{value!r} is not a day such as 2027-06-30")


Day = Annotated[
    date,
    BeforeValidator(parse_day),
    PlainSerializer(date.isoformat, return_type=str),
    WithJsonSchema({"type": "string", "format": "date", "maxLength": 10, "pattern": _DAY_PATTERN}),
]
"""A day of the calendar, without a time zone."""


# --- strings ------------------------------------------------------------------------------------

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN_PATTERN = rf"^{_LABEL}(\.{_LABEL})*$"

Name = Annotated[str, Field(min_length=1, max_length=63, pattern=rf"^{_LABEL}$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN_PATTERN)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Text = Annotated[str, Field(max_length=1024)]
ShortText = Annotated[str, Field(max_length=256)]
MetricName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z][a-zA-Z0-9_]*$")]
LabelValue = Annotated[
    str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
]
Image = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$")
]
Quantity = Annotated[
    str,
    Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"),
]


def _stays_inside(value: str) -> str:
    if ".." in value:
        raise ValueError("must not contain '..'")
    return value


Uri = Annotated[
    str,
    # The bounds come before the validator: behind it, they would be missing in the JSON schema.
    Field(
        min_length=1,
        max_length=1024,
        pattern=r"^(s3|gs|az|https|pvc)://[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?"
        r"(/[A-Za-z0-9._~%+=@-]*)*$",
        json_schema_extra=rules(rule("!self.contains('..')", "must not contain '..'")),
    ),
    AfterValidator(_stays_inside),
]
"""Where files lie: the schemes that a store speaks, and no way out of the folder."""


# --- others -------------------------------------------------------------------------------------

AnyObject = Annotated[
    dict[str, Any],
    Field(max_length=64),
    WithJsonSchema(
        {"type": "object", "maxProperties": 64, "x-kubernetes-preserve-unknown-fields": True}
    ),
]
"""An object whose fields another API defines, such as a pod template."""


def interval(value: list[float]) -> list[float]:
    """Return `value` if it is two ascending numbers."""
    if len(value) != 2 or value[0] > value[1]:
        raise ValueError("an interval is two ascending numbers")
    return value


Bounds = Annotated[
    list[float],
    Field(
        min_length=2,
        max_length=2,
        json_schema_extra=rules(
            rule("self[0] <= self[1]", "an interval is two ascending numbers"),
        ),
    ),
    AfterValidator(interval),
]
"""An interval: lower and upper end."""
