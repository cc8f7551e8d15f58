"""What is on the wire is the protocol's: compared with the generated messages of a client."""

from __future__ import annotations

from typing import Any

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from trimtab.serving.grpc.protocol import ENUMS, HEALTH, ONE_OF, STRUCTURE, Messages

MESSAGES = Messages()


def theirs(name: str) -> Any:
    outer, _, inner = name.partition(".")
    found = getattr(service_pb2, outer, None) or getattr(model_config_pb2, outer)
    return (getattr(found, inner) if inner else found).DESCRIPTOR


def shown(field: Any) -> tuple[Any, ...]:
    """Return all that matters on the wire."""
    named = field.message_type or field.enum_type
    within = field.message_type.fields if is_map(field) else ()
    return (
        field.name,
        field.number,
        field.type,
        field.is_repeated,
        field.is_packed,
        named.full_name if named else "",
        [shown(one) for one in within],
    )


def is_map(field: Any) -> bool:
    return bool(field.message_type and field.message_type.GetOptions().map_entry)


@pytest.mark.parametrize("name", STRUCTURE)
def test_every_field_is_as_in_tritons_messages(name: str) -> None:
    known = {field.name: field for field in theirs(name).fields}
    own = MESSAGES.of(name).DESCRIPTOR
    assert own.full_name == theirs(name).full_name
    assert [shown(field) for field in own.fields] == [
        shown(known[field.name]) for field in own.fields
    ]


@pytest.mark.parametrize("name", ["ModelInferRequest", "ModelInferResponse", "InferParameter"])
def test_no_field_of_a_prediction_is_left_out(name: str) -> None:
    assert {one.name for one in MESSAGES.of(name).DESCRIPTOR.fields} == {
        one.name for one in theirs(name).fields
    }


def test_choices_and_names_of_numbers() -> None:
    for name, choice in ONE_OF.items():
        own, their = MESSAGES.of(name).DESCRIPTOR, theirs(name)
        assert [one.name for one in own.oneofs] == [one.name for one in their.oneofs] == [choice]
        assert [one.name for one in own.oneofs[0].fields] == [
            one.name for one in their.oneofs[0].fields
        ]
    for name, values in ENUMS.items():
        enum = getattr(model_config_pb2, name)
        assert values == {value: enum.Value(value) for value in values}


def test_health_is_the_standard_one() -> None:
    # github.com/grpc/grpc, src/proto/grpc/health/v1/health.proto
    assert MESSAGES.of("HealthCheckRequest", HEALTH)(service="a").SerializeToString() == b"\n\x01a"
    answer = MESSAGES.of("HealthCheckResponse", HEALTH)
    assert answer(status="SERVING").SerializeToString() == b"\x08\x01"
    assert answer(status="NOT_SERVING").SerializeToString() == b"\x08\x02"
