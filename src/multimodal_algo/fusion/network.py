"""The fusion network: one answer from the concatenated vectors of all modalities.

The guide's network (input, two hidden layers of 2/3 and 1/3 of the input plus n, softmax) sees the logarithms
of the vectors and adds to a weighted sum of them. The weights are fitted first, so that on little data the
network is a logarithmic opinion pool, which it leaves only where held-out rows say so. Modality dropout makes it
survive a modality that is missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from multimodal_algo.budget import Budget
from multimodal_algo.fusion.calibration import fit_temperature, smoothed_log_loss
from multimodal_algo.fusion.folds import HeldOut

_FLOOR = 1e-4
_BATCH = 64
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 1e-2
_DROPOUT = 0.3
_MODALITY_DROPOUT = 0.05
_PATIENCE = 25
_PULL = 1.0


class FusionNetwork(nn.Module):
    """Logits of n classes from (rows, modalities, n + 1) vectors."""

    def __init__(self, modalities: int, n_classes: int) -> None:
        super().__init__()
        width = modalities * (n_classes + 1)
        first, second = 2 * width // 3 + n_classes, width // 3 + n_classes
        self.weight = nn.Parameter(torch.full((modalities,), 1.0))
        self.bias = nn.Parameter(torch.zeros(n_classes))
        self.layers = nn.Sequential(
            nn.Linear(width, first), nn.ReLU(), nn.Dropout(_DROPOUT),
            nn.Linear(first, second), nn.ReLU(), nn.Dropout(_DROPOUT),
            nn.Linear(second, n_classes),
        )  # fmt: skip
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits (rows, n) of vectors (rows, modalities, n + 1)."""
        return self.pool(vectors) + self.layers(_scaled(vectors.clamp_min(_FLOOR).log()))

    def pool(self, vectors: torch.Tensor) -> torch.Tensor:
        """Logits of the weighted sum alone; a modality that says nothing adds nothing."""
        logs = vectors[:, :, :-1].clamp_min(_FLOOR).log()
        informed = vectors[:, :, -1:] < 0.5
        return (logs * informed * self.weight[:, None]).sum(dim=1) + self.bias


def _scaled(logs: torch.Tensor) -> torch.Tensor:
    return ((logs - np.log(_FLOOR)) / -np.log(_FLOOR)).flatten(1)


class Fusion:
    """A trained fusion network with its temperature."""

    def __init__(self, network: FusionNetwork, temperature: float) -> None:
        self._network = network.eval()
        self.temperature = temperature

    @classmethod
    def fit(
        cls,
        vectors: np.ndarray,
        labels: np.ndarray,
        folds: np.ndarray,
        *,
        held_out: HeldOut | None = None,
        max_epochs: int,
        seed: int,
        budget: Budget,
    ) -> tuple[Fusion, np.ndarray]:
        """Train on out-of-fold vectors.

        Each fold is predicted by a network trained on the others; the number of epochs and the temperature are
        those that suit these held-out predictions, and the network that ships is trained on all rows. Where the user
        has held rows out, those decide instead.

        Parameters
        ----------
        vectors
            Out-of-fold vectors, float32 (rows, modalities, n + 1).
        labels
            Class indices, int (rows,).
        folds
            Fold of each row, int (rows,).
        held_out
            Rows of the validation channel.
        max_epochs
            Most epochs (the hyperparameter ``n_epochs``).
        seed
            Seed of initial weights, order and dropout.
        budget
            When to be done; epochs are cut short where it ends.

        Returns
        -------
        fusion
            The network.
        probabilities
            Held-out probabilities of each row, float32 (rows, n), calibrated: of `held_out` if given.
        """
        inputs, targets = torch.from_numpy(vectors), torch.from_numpy(labels)
        if held_out is not None:
            per_epoch = _held_out_logits(inputs, targets, held_out, max_epochs, seed, budget)
            return cls._of_best_epoch(per_epoch, held_out.labels, inputs, targets, max_epochs, seed)
        parts = np.unique(folds)
        by_fold: list[list[np.ndarray]] = []
        for number, fold in enumerate(parts):
            outside, inside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            share = budget.share(1, len(parts) + 1 - number)
            logits: list[np.ndarray] = []
            for network in _epochs(inputs[outside], targets[outside], max_epochs, seed):
                logits.append(_logits(network, inputs[inside]))
                if _is_past_best(logits, labels[inside]) or share.remaining_s == 0:
                    break
            by_fold.append(logits)
        epochs = min(len(logits) for logits in by_fold)
        per_epoch = [_gathered(by_fold, folds, parts, epoch, vectors.shape[2] - 1) for epoch in range(epochs)]
        return cls._of_best_epoch(per_epoch, labels, inputs, targets, max_epochs, seed)

    @classmethod
    def _of_best_epoch(
        cls,
        per_epoch: list[np.ndarray],
        labels: np.ndarray,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        max_epochs: int,
        seed: int,
    ) -> tuple[Fusion, np.ndarray]:
        """Train for the number of epochs whose held-out logits suit `labels` best."""
        best = int(np.argmin([_loss(logits, labels, fit_temperature(logits, labels)) for logits in per_epoch]))
        temperature = fit_temperature(per_epoch[best], labels)
        network = FusionNetwork(inputs.shape[1], inputs.shape[2] - 1)
        for epoch, network in enumerate(_epochs(inputs, targets, max_epochs, seed)):  # noqa: B007
            if epoch == best:
                break
        return cls(network, temperature), _probabilities(per_epoch[best], temperature)

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, float32 (rows, n), of vectors (rows, modalities, n + 1)."""
        return _probabilities(_logits(self._network, torch.from_numpy(vectors)), self.temperature)

    def save(self, path: Path) -> None:
        """Write weights and temperature as safetensors."""
        from safetensors.torch import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({**self._network.state_dict(), "temperature": torch.tensor(self.temperature)}, path)

    @classmethod
    def load(cls, path: Path, modalities: int, n_classes: int) -> Fusion:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        state = load_file(path)
        temperature = float(state.pop("temperature"))
        network = FusionNetwork(modalities, n_classes)
        network.load_state_dict(state)
        return cls(network, temperature)


def _epochs(inputs: torch.Tensor, targets: torch.Tensor, max_epochs: int, seed: int):
    """Fit the pool, then train all; yield the network before the first and after each epoch."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FusionNetwork(inputs.shape[1], inputs.shape[2] - 1)
        _fit_pool(network, inputs, targets)
        optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=_WEIGHT_DECAY)
        yield network.eval()
        for _ in range(max_epochs):
            network.train()
            for batch in torch.randperm(len(inputs)).split(_BATCH):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(network(_with_dropped_modalities(inputs[batch])), targets[batch])
                loss.backward()
                optimizer.step()
            yield network.eval()


def _held_out_logits(
    inputs: torch.Tensor, targets: torch.Tensor, held_out: HeldOut, max_epochs: int, seed: int, budget: Budget
) -> list[np.ndarray]:
    """Logits of the held-out rows after each epoch; half of the budget is left for training once more."""
    share = budget.share(1, 2)
    rows = torch.from_numpy(held_out.vectors)
    logits: list[np.ndarray] = []
    for network in _epochs(inputs, targets, max_epochs, seed):
        logits.append(_logits(network, rows))
        if _is_past_best(logits, held_out.labels) or share.remaining_s == 0:
            break
    return logits


def _fit_pool(network: FusionNetwork, inputs: torch.Tensor, targets: torch.Tensor) -> None:
    """Fit the weights of the pool, drawn towards 1 and its biases towards 0 as by one row each."""
    optimizer = torch.optim.LBFGS([network.weight, network.bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        away = (network.weight - 1).square().sum() + network.bias.square().sum()
        loss = nn.functional.cross_entropy(network.pool(inputs), targets) + _PULL * away / len(inputs)
        loss.backward()
        return loss

    optimizer.step(closure)


def _with_dropped_modalities(vectors: torch.Tensor) -> torch.Tensor:
    dropped = torch.rand(vectors.shape[:2]) < _MODALITY_DROPOUT
    # Never all of a row's modalities: there would be nothing to learn from it.
    dropped &= ~dropped.all(dim=1, keepdim=True)
    nothing = torch.zeros(vectors.shape[2])
    nothing[-1] = 1.0
    return torch.where(dropped[:, :, None], nothing, vectors)


def _logits(network: FusionNetwork, inputs: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return network(inputs).numpy()


def _loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return smoothed_log_loss(log_softmax(logits / temperature, axis=1), labels)


def _is_past_best(logits: list[np.ndarray], labels: np.ndarray) -> bool:
    if len(logits) <= _PATIENCE:
        return False
    losses = [_loss(one, labels, 1.0) for one in logits]
    return int(np.argmin(losses)) < len(losses) - _PATIENCE


def _gathered(
    held_out: list[list[np.ndarray]], folds: np.ndarray, parts: np.ndarray, epoch: int, n_classes: int
) -> np.ndarray:
    logits = np.empty((len(folds), n_classes), dtype=np.float32)
    for fold, fold_logits in zip(parts, held_out, strict=True):
        logits[folds == fold] = fold_logits[epoch]
    return logits


def _probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    return softmax(logits / temperature, axis=1).astype(np.float32)
