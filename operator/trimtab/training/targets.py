"""Several targets a row: how their outputs are called, which is counted, what each is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trimtab.contract.artifact import Interval, Signature, Target, Tensor
from trimtab.training.columns import MOST_CLASSES, Task, class_output, make_labels, make_signature
from trimtab.training.errors import CodeBroken, DataBroken
from trimtab.training.evaluation import Predictions, accuracy, value_error


def names_of_targets(given: Any, targets: int) -> list[str]:
    """Return the names of a table's columns, else `y0`, `y1`, ..."""
    columns = getattr(given, "columns", None)
    names = [str(name) for name in columns] if columns is not None else []
    return names if len(names) == targets else [f"y{place}" for place in range(targets)]


def make_targets(truths: NDArray[Any], task: Task, names: Sequence[str]) -> NDArray[Any]:
    """Return truths [n, T] as they are learned; raise DataBroken naming the target."""
    columns = [
        make_labels(pd.Series(truths[:, place], name=name).infer_objects(), task)
        for place, name in enumerate(names)
    ]
    kinds = {column.dtype.kind for column in columns}
    if len(kinds) > 1:
        raise DataBroken("the targets are of different kinds: make all of them texts, or numbers")
    return np.column_stack(columns)


def place_of(counted: str | None, names: Sequence[str]) -> int:
    """Return the place of the target that is counted, the first unless named; raise CodeBroken."""
    if counted is None:
        return 0
    if not names:
        raise CodeBroken(f"counted={counted!r} is for several targets, and y has one; leave it out")
    if counted not in names:
        raise CodeBroken(f"counted={counted!r} is no target; there is {', '.join(names[:20])}")
    return list(names).index(counted)


@dataclass(frozen=True)
class SeveralClasses:
    """The classes of each of several targets [T][K], in the order of their probabilities."""

    names: Sequence[str]
    classes: list[list[Any]]
    counted: int


def signature_of(
    inputs: Sequence[Tensor],
    task: Task,
    classes: Sequence[Any],
    several: SeveralClasses,
    *,
    has_probabilities: bool,
) -> Signature:
    """Complete the inputs with the outputs of one target, or of each of several.

    classes: of the one, or the one that is counted. several: its names are those of several
    targets, none of one; its classes are empty where these are values.
    """
    if several.classes:
        return _several_classes_signature(inputs, several, has_probabilities=has_probabilities)
    if several.names and task == "regression":
        return _several_values_signature(inputs, several.names, several.counted)
    return make_signature(inputs, task, classes, has_probabilities=has_probabilities)


def _several_classes_signature(
    inputs: Sequence[Tensor], several: SeveralClasses, *, has_probabilities: bool
) -> Signature:
    """Return a signature with one class, and its probabilities, for each target."""
    outputs: list[Tensor] = []
    targets: list[Target] = []
    taken = set(several.names)
    for name, classes in zip(several.names, several.classes, strict=True):
        if not 1 <= len(classes) <= MOST_CLASSES:
            raise DataBroken(f"{name} has {len(classes)} classes; 2 to {MOST_CLASSES} are wanted")
        outputs.append(class_output(name, classes))
        beside = None
        if has_probabilities:
            beside = f"{name}_probabilities"
            while beside in taken:
                beside += "_"
            taken.add(beside)
            outputs.append(Tensor(name=beside, datatype="FP64", shape=[len(classes)]))
        targets.append(
            Target(output=name, classes=[str(one) for one in classes], probabilities=beside)
        )
    return Signature(
        task="classification",
        inputs=list(inputs),
        outputs=outputs,
        classes=targets[several.counted].classes,
        targets=targets,
        counted=several.counted,
    )


def _several_values_signature(
    inputs: Sequence[Tensor], names: Sequence[str], counted: int
) -> Signature:
    """Return a signature with one value for each target."""
    outputs = [Tensor(name=name, datatype="FP64") for name in names]
    return Signature(task="regression", inputs=list(inputs), outputs=outputs, counted=counted)


def renamed(signature: Signature, outputs: Mapping[str, str | None]) -> Signature:
    """Return the signature with outputs called otherwise, or (None) left out.

    Raise CodeBroken for a name that is no output, and for one that is given twice.
    """
    known = [tensor.name for tensor in signature.outputs]
    for name in outputs:
        if name not in known:
            raise CodeBroken(f"outputs: {name!r} is no output; there is {', '.join(known[:20])}")
    new = {name: outputs.get(name, name) for name in known}
    given = [name for name in new.values() if name is not None]
    twice = next((name for name in given if given.count(name) > 1), None)
    if twice is not None:
        raise CodeBroken(f"outputs: {twice!r} is the name of two outputs")
    dropped = [name for name, called in new.items() if called is None]
    answers = {t.name for t in signature.outputs if not t.shape or signature.task == "regression"}
    lost = next((name for name in dropped if name in answers), None)
    if lost is not None:
        raise CodeBroken(f"outputs: {lost!r} cannot be left out; only probabilities can")
    return signature.model_copy(
        update={
            "outputs": [
                tensor.model_copy(update={"name": new[tensor.name]})
                for tensor in signature.outputs
                if new[tensor.name] is not None
            ],
            "targets": [
                target.model_copy(
                    update={
                        "output": new[target.output],
                        "probabilities": new[target.probabilities]
                        if target.probabilities is not None
                        else None,
                    }
                )
                for target in signature.targets
            ],
        }
    )


def others_metrics(
    actual: NDArray[Any], answers: Predictions, signature: Signature
) -> list[Interval]:
    """Return accuracy or RMSE of each target [n, T] but the counted one, as a slice of its name."""
    if answers.all_predicted is None:
        return []
    names = (
        [target.output for target in signature.targets]
        if signature.targets
        else [tensor.name for tensor in signature.outputs]
    )
    found = []
    for place, name in enumerate(names):
        if place == signature.counted:
            continue
        truths, predicted = actual[:, place], answers.all_predicted[:, place]
        metric = (
            accuracy(truths, predicted) if signature.targets else value_error(truths, predicted)
        )
        found.append(metric.model_copy(update={"slice": f"output={name}"}))
    return found


def called_like(signature: Signature, before: Signature) -> Signature:
    """Return the signature with its outputs called as those of the version before.

    A client of that version goes on with this one. Raise CodeBroken where the targets are others.
    """
    if signature.task == "regression":
        return _values_like(signature, before)
    if len(signature.targets) != len(before.targets):
        raise CodeBroken(
            f"{len(signature.targets) or 1} targets, the serving version has "
            f"{len(before.targets) or 1}"
        )
    names: dict[str, str | None] = {}
    if signature.targets:
        for new, old in zip(signature.targets, before.targets, strict=True):
            names[new.output] = old.output
            if new.probabilities is not None:
                names[new.probabilities] = old.probabilities
        return renamed(signature, names)
    known = {bool(tensor.shape): tensor.name for tensor in reversed(before.outputs)}
    for tensor in signature.outputs:
        if not tensor.shape:
            names[tensor.name] = known.get(False, tensor.name)
        else:
            names[tensor.name] = known.get(True)
    return renamed(signature, names)


def _values_like(signature: Signature, before: Signature) -> Signature:
    columns = [sum(prod(tensor.shape) for tensor in one.outputs) for one in (signature, before)]
    if columns[0] != columns[1]:
        raise CodeBroken(f"{columns[0]} targets, the serving version has {columns[1]}")
    return signature.model_copy(update={"outputs": before.outputs, "counted": before.counted})
