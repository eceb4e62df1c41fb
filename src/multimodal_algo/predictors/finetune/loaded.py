"""Fine-tuned networks, loaded to answer: as an ONNX graph if an engine can run it, otherwise with AutoMM and torch."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from multimodal_algo.config.inference import Engine
from multimodal_algo.core.task import Task
from multimodal_algo.networks.engines import Unavailable, choose_engine
from multimodal_algo.networks.graphs import torch_has_gpu
from multimodal_algo.networks.stored import GRAPH
from multimodal_algo.predictors.finetune.exported import ExportedNetwork
from multimodal_algo.predictors.finetune.files import read_predictor
from multimodal_algo.predictors.finetune.prediction import predictions_of

_LOG = logging.getLogger(__name__)


class TorchNetwork:
    """A fine-tuned network that AutoMM and torch run.

    Parameters
    ----------
    directory
        Directory that `write_predictor` wrote.
    """

    engine = "torch"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._predictor = read_predictor(directory)

    def predict(self, table: pd.DataFrame, task: Task) -> np.ndarray:
        """Return the class probabilities of each row, or predicted numbers, float32 (rows, n)."""
        return predictions_of(self._predictor, table, task)


LoadedNetwork = ExportedNetwork | TorchNetwork
"""A network that predicts, with the ``directory`` of its files and the name of its ``engine``."""


def load_network(directory: Path, engine: Engine) -> LoadedNetwork:
    """Load the fine-tuned network in `directory`. Torch and AutoMM are imported only if the engine cannot run it.

    Raises
    ------
    UserError
        See `NetworkDescription.read`.
    """
    wanted, name = choose_engine(engine, has_gpu=torch_has_gpu()), f"{directory.parent.name}/{directory.name}"
    if wanted is Engine.TORCH or not (directory / GRAPH).is_file():
        return TorchNetwork(directory)
    try:
        network = ExportedNetwork.load(directory, wanted)
    except Unavailable as reason:
        _LOG.warning("%s: run by torch instead of %s, since %s", name, wanted.value, reason)
        return TorchNetwork(directory)
    _LOG.info("%s: run by %s", name, network.engine)
    return network
