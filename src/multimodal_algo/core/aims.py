"""Aims of a user for the decisions of a model: thresholds for classes, a least probability, a promised accuracy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from multimodal_algo.core.labels import positive_problem
from multimodal_algo.core.values import label_keys

REVIEW = "__review__"
"""The answer to rows that are left to a person, unless the setting ``review_label`` has another answer."""

CONFIDENCE = 0.95
"""The confidence of a promise: of all jobs that make a promise, at least this share gives a model that keeps it."""


class AimKind(StrEnum):
    """The way in which a threshold is set."""

    NUMBER = "number"
    """A threshold that the user sets as a number."""
    F1 = "f1"
    """The greatest F1 score on held-out rows."""
    PRECISION = "precision"
    """The lowest threshold for which the wanted precision can be promised."""
    RECALL = "recall"
    """The highest threshold for which the wanted recall can be promised."""
    COST = "cost"
    """The threshold at which the wrong answers on held-out rows cost least."""

    @property
    def is_promise(self) -> bool:
        """Whether the aim promises a precision or a recall on new rows."""
        return self in (AimKind.PRECISION, AimKind.RECALL)


@dataclass(frozen=True)
class Aim:
    """The aim of the threshold of a class, for example a precision of at least 0.95.

    Parameters
    ----------
    kind
        The way in which the threshold is set.
    text
        The aim as the user wrote it in a setting, for messages.
    value
        The threshold for `AimKind.NUMBER`, or the least precision or recall for these kinds. Other kinds ignore it.
    false_positive, false_negative
        Cost of a row that is wrongly answered with the class, and cost of a row of the class that is answered with
        another class. Only `AimKind.COST` uses them.
    """

    kind: AimKind
    text: str
    value: float = 0.0
    false_positive: float = 1.0
    false_negative: float = 1.0


@dataclass(frozen=True)
class DecisionSettings:
    """The settings of a user for decisions.

    Parameters
    ----------
    positive_class
        Name of the class that is sought, if there are two classes. Empty for the rarer class.
    aim
        Aim for the positive class. With more than two classes, it is the aim for every class. None if the user set no
        such aim.
    aims
        Aims by the name of the class. If there are any, `aim` is None.
    abstain_below
        Least probability of an answer. 0 answers every row.
    target_accuracy
        Promised share of right answers among the rows that are answered. 0 promises nothing.
    review_label
        The answer to rows that are left to a person.
    """

    positive_class: str = ""
    aim: Aim | None = None
    aims: Mapping[str, Aim] = field(default_factory=dict)
    abstain_below: float = 0.0
    target_accuracy: float = 0.0
    review_label: str = REVIEW

    @property
    def decides(self) -> bool:
        """Whether any setting can change an answer from the likeliest class."""
        return bool(self.aim or self.aims or self.abstain_below or self.target_accuracy)

    def aims_by_index(self, classes: Sequence[str], positive: int) -> dict[int, Aim]:
        """Return the aims by the index of their class. Classes without an aim are left out.

        Parameters
        ----------
        classes
            Names of all classes.
        positive
            Index of the positive class. Only used if there are two classes.
        """
        if self.aim is not None:
            indices = [positive] if len(classes) == 2 else range(len(classes))
            return dict.fromkeys(indices, self.aim)
        keys = list(label_keys(classes).values())
        named = label_keys(self.aims, are_like=keys)
        return {keys.index(named[label]): aim for label, aim in self.aims.items()}

    def may_review(self, classes: Sequence[str]) -> bool:
        """Return whether some rows may be left to a person, if a job with these `classes` uses the settings."""
        aims = self.aims_by_index(classes, 0)
        return bool(self.abstain_below or self.target_accuracy) or len(aims) == len(classes)

    def problem(self, classes: Sequence[str]) -> str | None:
        """Return a sentence that says why these settings do not suit data with these classes. None if they do.

        `classes` is empty for a regression.
        """
        if problem := positive_problem(self.positive_class, classes):
            return problem
        if not self.decides:
            return None
        if not classes:
            return "decision_threshold, abstain_below or target_accuracy is set, but the labels are numbers."
        keys = label_keys(classes)
        named = label_keys(self.aims, are_like=keys.values())
        if unknown := [label for label in self.aims if named[label] not in keys.values()]:
            close = difflib.get_close_matches(unknown[0], classes, n=1)
            hint = f" Did you mean '{close[0][:60]}'?" if close else ""
            return f"decision_threshold names '{unknown[0][:60]}', which is not a label of the data.{hint}"
        if self.aim and len(classes) > 2 and self.aim.kind not in (AimKind.NUMBER, AimKind.PRECISION):
            return (
                f"decision_threshold={self.aim.text[:60]} is for one class, but there are {len(classes)}. Name the "
                f'class, for example {{"{classes[0][:60]}": "{self.aim.kind}"}} with the rest of the value.'
            )
        if problem := self._clash():
            return problem
        return review_problem(self.review_label, classes) if self.may_review(classes) else None

    def _clash(self) -> str | None:
        if self.target_accuracy and self.abstain_below:
            return "abstain_below and target_accuracy both set the least probability of an answer. Set one of them."
        chosen = [aim for aim in (self.aim, *self.aims.values()) if aim and aim.kind is not AimKind.NUMBER]
        if self.target_accuracy and chosen:
            return (
                f"target_accuracy and decision_threshold={chosen[0].text[:60]} would choose two thresholds on the same "
                "rows, and neither promise would hold. Set one of them, or give decision_threshold a number."
            )
        return None


def review_problem(review_label: str, classes: Iterable[str]) -> str | None:
    """Return a sentence if `review_label`, the answer to undecided rows, is also a class. Otherwise return None."""
    if review_label not in classes:
        return None
    return (
        f"review_label is '{review_label[:60]}', which is a label of the data, so that nobody could read the answers. "
        "Set review_label to another text."
    )
