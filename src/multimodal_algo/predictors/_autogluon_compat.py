"""Private interfaces of AutoGluon 1.6.3 that this package relies on.

No other module of this folder touches them. ``tests/unit/predictors/test_compat.py`` fails when they change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from multimodal_algo.predictors.lightgbm_library import Booster
from multimodal_algo.predictors.stored_models import BoostedTrees, StoredModel

if TYPE_CHECKING:
    import pandas as pd

from multimodal_algo.core.disks import disk_error
from multimodal_algo.predictors.pickled_classes import SHARED, TABULAR
from multimodal_algo.predictors.pickles import Pickles

PICKLES = Pickles(SHARED, TABULAR)
"""Loads the pickles of tabular models."""


@cache
def tabular_predictor() -> Any:
    """Return AutoGluon's class ``TabularPredictor``, with two changes for security and speed.

    It loads only admitted pickles, instead of any pickle. And it reads the descriptions of all installed packages once,
    instead of at each save and load, which takes longer than many fits.
    """
    from autogluon.common.loaders import load_pkl
    from autogluon.tabular.models.automm import automm_model
    from autogluon.tabular.models.rf.compilers import native as forests
    from autogluon.tabular.models.tabular_nn.compilers import native as networks
    from autogluon.tabular.predictor import predictor

    # All modules of AutoGluon that load pickles of tabular models. The two compilers load a second pickle of a model.
    for module in (load_pkl, forests, networks):
        module.pickle = PICKLES
    automm_model.try_import_autogluon_multimodal = _import_automm
    predictor.get_autogluon_metadata = cache(predictor.get_autogluon_metadata)
    return predictor.TabularPredictor


def refuse_full_disk(predictor: Any, directory: Path) -> None:
    """If AutoGluon could not save a model because of the disk, for example a full one, raise the disk's error.

    AutoGluon itself only skips such a model, and goes on with the other ones.

    Raises
    ------
    OSError
        A model could not be saved.
    """
    for failure in predictor.model_failures().get("exc_str", ()):
        if (number := disk_error(RuntimeError(str(failure)))) is not None:
            raise OSError(number, os.strerror(number), str(directory))


def _import_automm() -> None:
    """Import AutoMM, which the tabular model FT_TRANSFORMER uses, and let AutoMM load admitted pickles alone."""
    from multimodal_algo.predictors.finetune.files import multimodal

    multimodal()


@dataclass(frozen=True)
class MeanOfModels:
    """The best model of a ``TabularPredictor``: a weighted mean of models.

    Parameters
    ----------
    learner
        AutoGluon's learner, which prepares tables.
    ensemble
        AutoGluon's ensemble, which knows the calibration temperature.
    models
        Weight and model of each member.
    labels
        Classes in the order of the predictions. Empty for a regression.
    """

    learner: Any
    ensemble: Any
    models: list[tuple[float, Any]]
    labels: list[Any]

    def prepare(self, inputs: pd.DataFrame) -> pd.DataFrame:
        """Return the inputs as the table that the models take."""
        prepared: pd.DataFrame = self.learner.transform_features(inputs)
        return prepared

    @property
    def categories(self) -> dict[str, list[str]]:
        """The values of each category, in the order of the numbers that AutoGluon gave to these values.

        AutoGluon's feature generators have no public way to these numbers.
        """
        from autogluon.features.generators import CategoryFeatureGenerator

        generators = [generator for stage in self.learner.feature_generator.generators for generator in stage]
        maps = [generator.category_map for generator in generators if isinstance(generator, CategoryFeatureGenerator)]
        return {str(column): values.tolist() for known in maps for column, values in (known or {}).items()}

    def stored(self, model: Any) -> StoredModel | None:
        """Return a model in the form that predicts without AutoGluon. Return None if it has no such form."""
        from autogluon.tabular.models import LGBModel

        from multimodal_algo.predictors.linear_model import MixedLinearModel
        from multimodal_algo.predictors.tree_model import MixedTreeModel

        # A regression is not normalised, and `Ensemble` normalises probabilities as AutoGluon does.
        if model.temperature_scalar is not None or model.normalize_pred_probas is not bool(self.labels):
            return None
        if isinstance(model, MixedLinearModel | MixedTreeModel):
            return model.predictor
        # Other columns than those of the table may come from AutoGluon's generators.
        if type(model) is LGBModel and model._model_specific_feature_generators is None:
            # AutoGluon 1.6.3 renames columns whose names LightGBM refuses.
            column_of = {renamed: column for column, renamed in (model._features_internal_map or {}).items()}
            columns = [column_of.get(name, name) for name in model._features_internal]
            return BoostedTrees(columns, Booster(model.model.model_to_string()))
        return None

    def scaled(self, predictions: np.ndarray) -> np.ndarray:
        """Return predictions to which the calibration temperature of the ensemble is applied.

        ``predict_proba`` applies the temperature too, but only after checks that take longer than the models do.
        """
        if self.ensemble.temperature_scalar is None:
            return predictions
        return np.asarray(self.ensemble._apply_temperature_scaling(predictions))


def mean_of_models(predictor: Any) -> MeanOfModels | None:
    """Return the best model of a ``TabularPredictor`` as a weighted mean of models in memory.

    Return None if the best model has another structure. AutoGluon has no public way to reach the members of an ensemble
    and their weights.
    """
    from autogluon.core.models import WeightedEnsembleModel

    learner = predictor._learner
    trainer = learner.load_trainer()
    ensemble = trainer.load_model(predictor.model_best)
    if not isinstance(ensemble, WeightedEnsembleModel) or len(ensemble.models) != 1 or ensemble.conformalize:
        return None
    (mean,) = ensemble.models
    if not hasattr(mean, "weights_") or mean.temperature_scalar is not None:
        return None
    models = []
    for name, weight in zip(mean.base_model_names, mean.weights_, strict=True):
        model = _model_of(trainer.load_model(ensemble.stack_column_prefix_to_model_map[name]))
        if model is None:
            return None
        models.append((float(weight), model))
    labels = [] if predictor.problem_type == "regression" else list(predictor.class_labels)
    return MeanOfModels(learner, ensemble, models, labels)


def _model_of(bag: Any) -> Any:
    """Return the one model of a bag.

    Return None if the bag has several models, or reads the predictions of other models.
    """
    from autogluon.core.models import BaggedEnsembleModel

    is_single = isinstance(bag, BaggedEnsembleModel) and len(bag.models) == 1 and bag.temperature_scalar is None
    return bag.load_child(bag.models[0]) if is_single and not bag.base_model_names else None


@dataclass(frozen=True)
class FoldFit:
    """The fits of one bag: one model per fold, fitted to the rows of the other folds.

    AutoGluon prepares these fits, and would run them here, one after the other. With the methods of this class, the
    caller runs them on any host, and AutoGluon gets the same results. AutoGluon's own way to do so is not used, because
    it brings models back through S3 or a shared file system.

    Parameters
    ----------
    strategy
        AutoGluon's ``SequentialLocalFoldFittingStrategy``. It can be pickled.
    """

    strategy: Any

    @property
    def name(self) -> str:
        """Name that AutoGluon gives to the model."""
        return str(self.strategy.model_base.name)

    @property
    def folds(self) -> int:
        """Number of folds of the bag."""
        return len(self.strategy.jobs)

    @property
    def started(self) -> float:
        """Time at which AutoGluon started the fit, in seconds of ``time.time``."""
        return float(self.strategy.time_start)

    @property
    def limit_s(self) -> float | None:
        """Seconds for the fits of all folds. None for no limit."""
        limit_s: float | None = self.strategy.time_limit
        return limit_s

    @property
    def share_of_limit(self) -> float:
        """Share of a fold's time limit that AutoGluon lets the fit of the model use."""
        return float(self.strategy.time_limit_fold_ratio)

    def fit(self, fold: int, started: float, limit_s: float | None) -> tuple[Any, np.ndarray]:
        """Fit the model of one fold to the rows of all other folds.

        Parameters
        ----------
        fold
            Number of the fold, from 0.
        started, limit_s
            Start of all fits, on ``time.time``, and the seconds that they may take. None for no limit.

        Returns
        -------
        model, predictions
            The model, and its predictions for the rows of the fold.
        """
        strategy = self.strategy
        # AutoGluon checks after each fold whether the time is enough for the next ones. One fold cannot know that.
        context = {**strategy.jobs[fold], "is_last_fold": True}
        model = strategy._fit(strategy.model_base, started, limit_s, context, strategy.model_base_kwargs)
        model, predictions = strategy._predict_oof(model, context)
        return model, np.asarray(predictions)

    def add(self, fold: int, directory: str, predictions: np.ndarray) -> None:
        """Add the fitted model of a fold to the bag. `directory` holds the saved model."""
        strategy = self.strategy
        model = type(strategy.model_base).load(directory, verbose=False)
        model.set_contexts(str(Path(strategy.bagged_ensemble_model.path) / model.name))
        strategy._update_bagged_ensemble(model, predictions, strategy.jobs[fold])


@contextmanager
def folds_fitted_by(fit_folds: Callable[[FoldFit], None]) -> Iterator[None]:
    """Let `fit_folds` run the fits of each bag that AutoGluon starts inside the block.

    AutoGluon chooses the strategy of a bag by a name, and its list of names cannot be extended. So the class behind the
    name ``sequential_local`` is replaced inside the block.
    """
    from autogluon.core.models.ensemble import bagged_ensemble_model

    sequential = bagged_ensemble_model.SequentialLocalFoldFittingStrategy

    class Strategy(sequential):  # type: ignore[misc, valid-type]
        def after_all_folds_scheduled(self) -> None:
            plain = sequential.__new__(sequential)  # this class cannot be pickled
            plain.__dict__.update(self.__dict__)
            fit_folds(FoldFit(plain))

    bagged_ensemble_model.SequentialLocalFoldFittingStrategy = Strategy
    try:
        yield
    finally:
        bagged_ensemble_model.SequentialLocalFoldFittingStrategy = sequential
