"""Aims of a user for the decisions of a model: thresholds by class, a least probability, a promised accuracy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from multimodal_algo.core.labels import positive_problem
from multimodal_algo.core.values import label_keys

REVIEW = "__review__"
"""The answer to rows that a person should look at, unless a setting names another one."""

CONFIDENCE = 0.95
"""The confidence of a promise: at least this share of all jobs that make it gives a model for which it holds."""


class AimKind(StrEnum):
    """The way in which a threshold is set."""

    NUMBER = "number"
    """The threshold itself."""
    F1 = "f1"
    """The greatest F1 score on held-out rows."""
    PRECISION = "precision"
    """The lowest threshold whose precision is promised."""
    RECALL = "recall"
    """The highest threshold whose recall is promised."""
    COST = "cost"
    """The least cost of wrong rows on held-out rows."""

    @property
    def is_promise(self) -> bool:
        """Whether a share must hold on new rows."""
        return self in (AimKind.PRECISION, AimKind.RECALL)


@dataclass(frozen=True)
class Aim:
    """The aim of one threshold.

    Parameters
    ----------
    kind
        The way in which the threshold is set.
    text
        The aim in words, as a setting has it.
    value
        The threshold, or the least precision or recall. Not used by other kinds.
    false_positive, false_negative
        Costs of a row that is wrongly answered with the class, and of one of the class that is not. Not used by kinds
        other than `AimKind.COST`.
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
        The class that is sought, of two. Empty for the rarer one.
    aim
        Aim for the positive class, or for every class where there are more than two. None where no setting has one.
    aims
        Aims by the name of the class. `aim` is None where there are any.
    abstain_below
        Least probability of an answer. 0 for none.
    target_accuracy
        Share of right rows among those that are answered, which is promised. 0 for none.
    review_label
        The answer to rows that are not decided.
    """

    positive_class: str = ""
    aim: Aim | None = None
    aims: Mapping[str, Aim] = field(default_factory=dict)
    abstain_below: float = 0.0
    target_accuracy: float = 0.0
    review_label: str = REVIEW

    @property
    def decides(self) -> bool:
        """Whether anything but the likeliest class is answered."""
        return bool(self.aim or self.aims or self.abstain_below or self.target_accuracy)

    def aims_by_index(self, classes: Sequence[str], positive: int) -> dict[int, Aim]:
        """Return the aim of each class that has one, by the index of the class.

        Parameters
        ----------
        classes
            Names of all classes.
        positive
            Index of the positive class of two.
        """
        if self.aim is not None:
            indices = [positive] if len(classes) == 2 else range(len(classes))
            return dict.fromkeys(indices, self.aim)
        keys = list(label_keys(classes).values())
        named = label_keys(self.aims, are_like=keys)
        return {keys.index(named[label]): aim for label, aim in self.aims.items()}

    def may_review(self, classes: Sequence[str]) -> bool:
        """Whether a row may be left without a decision."""
        aims = self.aims_by_index(classes, 0)
        return bool(self.abstain_below or self.target_accuracy) or len(aims) == len(classes)

    def problem(self, classes: Sequence[str]) -> str | None:
        """Return the reason why these settings do not suit data with these classes, as a sentence.

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
    """Return the problem of an answer for undecided rows that is also the name of a class."""
    if review_label not in classes:
        return None
    return (
        f"review_label is '{review_label[:60]}', which is a label of the data, so that nobody could read the answers. "
        "Set review_label to another text."
    )
