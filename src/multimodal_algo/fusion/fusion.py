"""The fusion: it combines the votes of the branches into one calibrated prediction.

Combiners are compared on rows that they were not fitted to. The best one goes into the artifact, or the mean of the
best ones. On these rows it is never worse than the best branch alone. A row that lacks a modality gets a combination
that was fitted without this modality.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from multimodal_algo.fusion.combiners import Average, BestBranch, Combiner, HuberMean, Mean, Pool, Stacker
from multimodal_algo.fusion.network import Network
from multimodal_algo.fusion.patterns import Pattern, patterns_of, rows_of
from multimodal_algo.fusion.selection import Finish
from multimodal_algo.fusion.votes import Votes

COMBINERS: Mapping[str, type[Combiner]] = {
    combiner.name: combiner for combiner in (BestBranch, Average, Pool, Stacker, Network, Mean, HuberMean)
}
"""All combiners by name."""


class Fusion:
    """A fitted fusion, which combines the votes of all branches (partial models) into the answer.

    It has combiners for each pattern (the set of branches that vote on a row), and the calibration. `fit.fit_fusion`
    chooses and fits them.

    Parameters
    ----------
    combinations
        Fitted combiners for each pattern. The mean of their predictions counts. A row with another pattern uses the
        largest known pattern among its voting branches.
    prior
        Share of each class, float32 (n,), or the mean number, float64 (1,). It is the prediction if no branch has a
        vote.
    finish
        The calibration, which is the last step. None for a regression.
    partial
        Patterns whose combination is only for rows with exactly this pattern, see `partial_patterns`.
    """

    def __init__(
        self,
        combinations: Mapping[Pattern, Sequence[Combiner]],
        prior: np.ndarray,
        finish: Finish | None,
        partial: Collection[Pattern] = (),
    ) -> None:
        self._combinations = combinations
        self._partial = frozenset(partial) & combinations.keys()
        self.prior = prior
        self.finish = finish

    def predict(self, votes: Votes) -> np.ndarray:
        """Return the calibrated predictions: probabilities, float32 (rows, n), or numbers, float64 (rows, 1)."""
        predictions = np.tile(self.prior, (len(votes), 1))
        for row_pattern in patterns_of(votes):
            pattern = self._combination_for(row_pattern)
            if pattern is None:
                continue
            rows = rows_of(row_pattern, votes)
            vectors = votes.probabilities(rows, pattern)
            combined = [combiner.predict(vectors) for combiner in self._combinations[pattern]]
            predictions[rows] = np.mean(combined, axis=0)
        return predictions if self.finish is None else self.finish(predictions)

    def _combination_for(self, row_pattern: Pattern) -> Pattern | None:
        """Return the known pattern (set of branches) whose combiners rows with `row_pattern` use.

        None if no pattern suits.
        """
        if row_pattern in self._combinations:
            return row_pattern
        inside = [pattern for pattern in self._combinations.keys() - self._partial if set(pattern) <= set(row_pattern)]
        return max(sorted(inside), key=len, default=None)

    def save(self, path: Path) -> None:
        """Write the fusion to a file of the format safetensors."""
        from safetensors.numpy import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"prior": self.prior}
        for pattern, combiners in self._combinations.items():
            for combiner in combiners:
                for name, value in combiner.tensors().items():
                    key = f"{'-'.join(map(str, pattern))}/{combiner.name}/{name}"
                    dtype = np.float64 if value.dtype == np.float64 else np.float32
                    tensors[key] = np.ascontiguousarray(value, dtype=dtype)
        metadata: dict[str, Any] = {"temperature": None, "partial": sorted(self._partial)}
        if self.finish is not None:
            metadata["temperature"] = self.finish.temperature
            if self.finish.class_weights is not None:
                tensors["class_weights"] = self.finish.class_weights
        save_file(tensors, path, {"fusion": json.dumps(metadata)})

    @classmethod
    def load(cls, path: Path) -> Fusion:
        """Read the fusion that `save` wrote."""
        from safetensors import safe_open

        by_pattern: dict[Pattern, dict[str, dict[str, np.ndarray]]] = {}
        with safe_open(path, framework="numpy") as stored:
            metadata = json.loads(stored.metadata()["fusion"])
            tensors = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
        prior, class_weights = tensors.pop("prior"), tensors.pop("class_weights", None)
        for key, tensor in tensors.items():
            branches, combiner, name = key.split("/")
            pattern = tuple(int(branch) for branch in branches.split("-"))
            by_pattern.setdefault(pattern, {}).setdefault(combiner, {})[name] = tensor
        combinations = {
            pattern: [COMBINERS[name].from_tensors(stored) for name, stored in combiners.items()]
            for pattern, combiners in by_pattern.items()
        }
        temperature = metadata["temperature"]
        finish = None if temperature is None else Finish(temperature, class_weights)
        return cls(combinations, prior, finish, [tuple(pattern) for pattern in metadata["partial"]])
