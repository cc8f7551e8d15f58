"""What an estimator answers for the matrix of a request: the rule of training and serving."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab.contract.answers import Answers, Floats, Indices
from trimtab.contract.artifact import Signature
from trimtab.contract.estimators.decisions import decision_of, has_decision
from trimtab.contract.estimators.forests import forest_of
from trimtab.contract.estimators.linear import linear_of
from trimtab.contract.estimators.refused import ModelRefused
from trimtab.contract.estimators.rule import choice_of, is_clear, tied
from trimtab.contract.estimators.several import Several, index_in
from trimtab.contract.estimators.tables import Feeding


class AnsweringEstimator:
    """An estimator or pipeline; raises ModelRefused where its classes are not the signature's.

    `keeps_whole` is False: scikit-learn was trained on one table, whole numbers beside others
    were doubles there, too.
    """

    keeps_whole = False

    def __init__(self, estimator: Any, signature: Signature) -> None:
        if not hasattr(estimator, "predict"):
            raise ModelRefused("Malformed", f"{type(estimator).__name__} has no predict")
        self.estimator = estimator
        self._is_classifier = signature.task == "classification"
        self.has_probabilities = self._is_classifier and hasattr(estimator, "predict_proba")
        self.has_decision = (
            self._is_classifier
            and not self.has_probabilities
            and not signature.targets
            and has_decision(estimator)
        )
        self._choice = choice_of(estimator)
        self._quick = forest_of(estimator) or linear_of(estimator)
        """Gives the same bits sooner, where there is such a way."""
        self._index: dict[str, int] = {name: i for i, name in enumerate(signature.classes)}
        self.fed = Feeding(estimator, signature)
        """Makes of the rows of a request what the estimator takes."""
        self._checks_inputs = not any(tensor.missing_allowed for tensor in signature.inputs)
        self._several = Several(estimator, signature) if signature.targets else None
        if self._is_classifier and self._several is None:
            _check_classes(estimator, signature)

    def prepare_thread(self) -> None:
        """Spare scikit-learn its own search for NaN where validation has done it already."""
        if self._checks_inputs:
            import sklearn

            sklearn.set_config(assume_finite=True)  # holds for the calling thread only

    def answers(self, rows: NDArray[Any]) -> Answers:
        """Return the answers for `rows` (n, columns of the signature)."""
        table = self.fed(rows)
        if not self._is_classifier:
            values = self._numbers(table, self.estimator.predict)
            return Answers(values=values.reshape(len(rows), -1))
        if self._several is not None:
            return self._several.answers(table, len(rows))
        if not self.has_probabilities:
            decision = None
            if self.has_decision:
                decision = decision_of(self.estimator, table, len(self._index))
            return Answers(chosen=self._own_choice(table), decision=decision)
        raw = self._numbers(table, self.estimator.predict_proba)
        return Answers(chosen=self._chosen(rows, table, raw), probabilities=raw)

    def _numbers(self, table: Any, ask: Callable[[Any], Any]) -> Floats:
        """Return what `ask` of the estimator gives, without asking where there is a quick way."""
        known = None if self._quick is None else self._quick.means(table)
        return np.asarray(ask(table) if known is None else known, dtype=np.float64)

    def _chosen(self, rows: NDArray[Any], table: Any, probabilities: Floats) -> Indices | None:
        """Return what `predict` says, None where that is the largest probability of every row."""
        if self._choice == "always":
            return None
        if self._choice == "never":
            return self._own_choice(table)
        if is_clear(probabilities):
            return None
        unclear = tied(probabilities)
        if self.fed.makes_table:
            return self._own_choice(table)  # types of columns may be found from all of the rows
        chosen: Indices = probabilities.argmax(axis=1)
        chosen[unclear] = self._own_choice(self.fed(rows[unclear]))
        return chosen

    def _own_choice(self, table: Any) -> Indices:
        names = np.asarray(self.estimator.predict(table)).reshape(-1).tolist()
        return np.array([index_in(self._index, name) for name in names], dtype=np.intp)


def silence_names() -> None:
    """Rows come as plain arrays, in the order of the signature: scikit-learn need not say so."""
    warnings.filterwarnings("ignore", message="X does not have valid feature names")


def _check_classes(estimator: Any, signature: Signature) -> None:
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return
    named = [str(name) for name in classes]
    if named != signature.classes:
        raise ModelRefused(
            "ClassesDiffer", f"the model knows {named[:10]}, the signature {signature.classes[:10]}"
        )
