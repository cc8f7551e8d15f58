"""The messages of gRPC, made when the port is opened; there is no generated code.

A pool of their own holds them, since a process may know another `inference` package already: that
of a client. Fields that are not read here are left out, as protobuf allows.

Sources: github.com/kserve/open-inference-protocol, `protocol/open_inference_grpc.proto`; Triton
Inference Server, `grpc_service.proto` and `model_config.proto` (index, statistics, configuration);
github.com/grpc/grpc, `health.proto`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

INFERENCE: Final = "inference"
INFERENCE_SERVICE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1"
HEALTH_SERVICE: Final = "grpc.health.v1.Health"

Fields = Mapping[str, tuple[int, str]]
"""By name: number, and type as `proto3` writes it. `map X` is a map from strings to messages X."""

_NAMED: Final[Fields] = {"name": (1, "string"), "version": (2, "string")}
_READY: Final[Fields] = {"ready": (1, "bool")}
_TENSOR: Final[Fields] = {
    "name": (1, "string"),
    "datatype": (2, "string"),
    "shape": (3, "repeated int64"),
}
_DATA: Final[Fields] = {
    **_TENSOR,
    "parameters": (4, "map InferParameter"),
    "contents": (5, "InferTensorContents"),
}
_CONFIGURED: Final[Fields] = {"name": (1, "string"), "data_type": (2, "DataType")}

STRUCTURE: Final[Mapping[str, Fields]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": _READY,
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": _READY,
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {**_NAMED, "extensions": (3, "repeated string")},
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "repeated string"),
        "platform": (3, "string"),
        "inputs": (4, "repeated ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "repeated ModelMetadataResponse.TensorMetadata"),
    },
    "ModelMetadataResponse.TensorMetadata": _TENSOR,
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map InferParameter"),
        "inputs": (5, "repeated ModelInferRequest.InferInputTensor"),
        "outputs": (6, "repeated ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "repeated bytes"),
    },
    "ModelInferRequest.InferInputTensor": _DATA,
    "ModelInferRequest.InferRequestedOutputTensor": {
        "name": (1, "string"),
        "parameters": (2, "map InferParameter"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map InferParameter"),
        "outputs": (5, "repeated ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "repeated bytes"),
    },
    "ModelInferResponse.InferOutputTensor": _DATA,
    "InferParameter": {
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
        "uint64_param": (5, "uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "repeated bool"),
        "int_contents": (2, "repeated int32"),
        "int64_contents": (3, "repeated int64"),
        "uint_contents": (4, "repeated uint32"),
        "uint64_contents": (5, "repeated uint64"),
        "fp32_contents": (6, "repeated float"),
        "fp64_contents": (7, "repeated double"),
        "bytes_contents": (8, "repeated bytes"),
    },
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "RepositoryIndexResponse": {"models": (1, "repeated RepositoryIndexResponse.ModelIndex")},
    "RepositoryIndexResponse.ModelIndex": {
        **_NAMED,
        "state": (3, "string"),
        "reason": (4, "string"),
    },
    "ModelStatisticsRequest": _NAMED,
    "ModelStatisticsResponse": {"model_stats": (1, "repeated ModelStatistics")},
    "ModelStatistics": {
        **_NAMED,
        "last_inference": (3, "uint64"),
        "inference_count": (4, "uint64"),
        "execution_count": (5, "uint64"),
        "inference_stats": (6, "InferStatistics"),
    },
    "InferStatistics": {
        "success": (1, "StatisticDuration"),
        "fail": (2, "StatisticDuration"),
        "queue": (3, "StatisticDuration"),
        "compute_input": (4, "StatisticDuration"),
        "compute_infer": (5, "StatisticDuration"),
        "compute_output": (6, "StatisticDuration"),
        "cache_hit": (7, "StatisticDuration"),
        "cache_miss": (8, "StatisticDuration"),
    },
    "StatisticDuration": {"count": (1, "uint64"), "ns": (2, "uint64")},
    "ModelConfigRequest": _NAMED,
    "ModelConfigResponse": {"config": (1, "ModelConfig")},
    "ModelConfig": {
        "name": (1, "string"),
        "platform": (2, "string"),
        "max_batch_size": (4, "int32"),
        "input": (5, "repeated ModelInput"),
        "output": (6, "repeated ModelOutput"),
        "backend": (17, "string"),
    },
    "ModelInput": {**_CONFIGURED, "dims": (4, "repeated int64")},
    "ModelOutput": {**_CONFIGURED, "dims": (3, "repeated int64")},
}
ONE_OF: Final = {"InferParameter": "parameter_choice"}
"""Messages whose fields exclude each other."""
ENUMS: Final[Mapping[str, Mapping[str, int]]] = {
    "DataType": {
        "TYPE_INVALID": 0,
        "TYPE_BOOL": 1,
        "TYPE_INT32": 8,
        "TYPE_INT64": 9,
        "TYPE_FP32": 11,
        "TYPE_FP64": 12,
        "TYPE_STRING": 13,
    }
}

_HEALTH_STRUCTURE: Final[Mapping[str, Fields]] = {
    "HealthCheckRequest": {"service": (1, "string")},
    "HealthCheckResponse": {"status": (1, "HealthCheckResponse.ServingStatus")},
}
_HEALTH_ENUMS: Final[Mapping[str, Mapping[str, int]]] = {
    "HealthCheckResponse.ServingStatus": {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2}
}

_PLAIN: Final = {
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "string": FieldDescriptorProto.TYPE_STRING,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "uint64": FieldDescriptorProto.TYPE_UINT64,
}


class Messages:
    """The classes of messages, by name within their package."""

    def __init__(self) -> None:
        self._pool = DescriptorPool()
        self._pool.Add(_file("inference.proto", INFERENCE, STRUCTURE, ENUMS))
        self._pool.Add(_file("health.proto", HEALTH, _HEALTH_STRUCTURE, _HEALTH_ENUMS))

    def of(self, name: str, package: str = INFERENCE) -> Any:
        """Return the class of a message."""
        return GetMessageClass(self._pool.FindMessageTypeByName(f"{package}.{name}"))


def _file(
    name: str,
    package: str,
    structure: Mapping[str, Fields],
    enums: Mapping[str, Mapping[str, int]],
) -> FileDescriptorProto:
    file = FileDescriptorProto(name=name, package=package, syntax="proto3")
    made: dict[str, DescriptorProto] = {}
    for full, fields in structure.items():
        within, _, own = full.rpartition(".")
        message = made[within].nested_type.add() if within else file.message_type.add()
        message.name = own
        made[full] = message
        if full in ONE_OF:
            message.oneof_decl.add(name=ONE_OF[full])
        for field, (number, kind) in fields.items():
            _add_field(message, f"{package}.{full}", field, number, kind, package, enums)
            if full in ONE_OF:
                message.field[-1].oneof_index = 0
    for full, values in enums.items():
        within, _, own = full.rpartition(".")
        enum = (made[within] if within else file).enum_type.add(name=own)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    return file


def _add_field(
    message: DescriptorProto,
    full: str,
    name: str,
    number: int,
    kind: str,
    package: str,
    enums: Mapping[str, Mapping[str, int]],
) -> None:
    what, _, bare = kind.rpartition(" ")
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if what else field.LABEL_OPTIONAL
    if what == "map":
        # On the wire a map is a list of pairs.
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "", "key", 1, "string", package, enums)
        _add_field(entry, "", "value", 2, bare, package, enums)
        field.type, field.type_name = field.TYPE_MESSAGE, f".{full}.{entry.name}"
    elif bare in _PLAIN:
        field.type = _PLAIN[bare]
    else:
        field.type = field.TYPE_ENUM if bare in enums else field.TYPE_MESSAGE
        field.type_name = f".{package}.{bare}"
