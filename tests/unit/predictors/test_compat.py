"""The private interfaces of AutoGluon, AutoMM and Lightning that we use are those of the installed versions.

A failing test names the function of `_autogluon_compat` or `_automm_compat` to look at.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from multimodal_algo.predictors._autogluon_compat import FoldFit, folds_fitted_by, tabular_predictor
from multimodal_algo.predictors.finetune._automm_compat import (
    Training,
    move_best_checkpoints,
    rank_restored,
    replace_training,
    resume_from,
    use_process_group,
)


def parameters(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_a_tabular_predictor_lists_the_installed_packages_once() -> None:
    from autogluon.tabular.predictor import predictor

    assert tabular_predictor() is predictor.TabularPredictor
    for method in (predictor.TabularPredictor._save_metadata_file, predictor.TabularPredictor.load):
        assert "get_autogluon_metadata()" in inspect.getsource(method)
    first = predictor.get_autogluon_metadata()
    assert first["packages"]["pandas"]
    assert predictor.get_autogluon_metadata() is first


def test_the_sequential_strategy_fits_folds_with_these_methods() -> None:
    from autogluon.core.models.ensemble.bagged_ensemble_model import SequentialLocalFoldFittingStrategy as Strategy

    assert parameters(Strategy._fit) == ["model_base", "time_start_fold", "time_limit_fold", "fold_ctx", "kwargs"]
    assert parameters(Strategy._predict_oof) == ["fold_model", "fold_ctx"]
    assert parameters(Strategy._update_bagged_ensemble) == ["fold_model", "pred_proba", "fold_ctx"]
    assert parameters(Strategy.after_all_folds_scheduled) == []
    source = "".join(inspect.getsource(base) for base in Strategy.__mro__[:2])
    for attribute in (
        "jobs", "model_base", "model_base_kwargs", "time_start", "time_limit", "time_limit_fold_ratio",
        "bagged_ensemble_model",
    ):  # fmt: skip
        assert f"self.{attribute} =" in source, attribute


def test_the_strategy_is_replaced_in_the_block_alone() -> None:
    from autogluon.core.models.ensemble import bagged_ensemble_model

    before = bagged_ensemble_model.SequentialLocalFoldFittingStrategy
    calls: list[FoldFit] = []
    with folds_fitted_by(calls.append):
        replaced = bagged_ensemble_model.SequentialLocalFoldFittingStrategy
        assert replaced is not before
        strategy = replaced.__new__(replaced)
        strategy.jobs = [{}, {}]
        strategy.after_all_folds_scheduled()
    assert bagged_ensemble_model.SequentialLocalFoldFittingStrategy is before
    assert [(type(bag.strategy), bag.folds) for bag in calls] == [(before, 2)]
    # AutoGluon finds the class by this name when the strategy is sequential_local.
    assert "SequentialLocalFoldFittingStrategy" in inspect.getsource(
        bagged_ensemble_model.BaggedEnsembleModel._get_fold_fitting_strategy
    )


def test_an_ensemble_is_a_weighted_mean_that_can_be_reached() -> None:
    from autogluon.core.models import AbstractModel, BaggedEnsembleModel
    from autogluon.core.models.ensemble.stacker_ensemble_model import StackerEnsembleModel
    from autogluon.core.models.greedy_ensemble.greedy_weighted_ensemble_model import GreedyWeightedEnsembleModel
    from autogluon.tabular import TabularPredictor

    assert "self.weights_" in inspect.getsource(GreedyWeightedEnsembleModel)
    assert "self.base_model_names" in inspect.getsource(GreedyWeightedEnsembleModel)
    assert "self.stack_column_prefix_to_model_map" in inspect.getsource(StackerEnsembleModel)
    assert parameters(BaggedEnsembleModel.load_child)[0] == "model"
    assert parameters(AbstractModel._apply_temperature_scaling) == ["y_pred_proba"]
    for attribute in ("temperature_scalar", "conformalize"):
        assert f"self.{attribute}" in inspect.getsource(AbstractModel)
    assert "self._learner" in inspect.getsource(TabularPredictor)


def test_stored_models_take_these_attributes_of_autogluon() -> None:
    from autogluon.core.models import AbstractModel
    from autogluon.features.generators import BulkFeatureGenerator, CategoryFeatureGenerator
    from autogluon.tabular.models import LGBModel

    source = inspect.getsource(AbstractModel)
    for attribute in ("_features_internal", "_model_specific_feature_generators", "normalize_pred_probas"):
        assert f"self.{attribute}" in source, attribute
    assert "normalize_pred_probas(y_pred_proba" in inspect.getsource(AbstractModel._predict_proba_internal)
    assert "self.model.predict(X" in inspect.getsource(LGBModel._predict_proba)
    assert "self.category_map" in inspect.getsource(CategoryFeatureGenerator)
    assert "self.generators" in inspect.getsource(BulkFeatureGenerator)


def test_automms_learner_has_these_attributes_and_methods() -> None:
    from autogluon.multimodal.learners.base import BaseLearner
    from autogluon.multimodal.predictor import MultiModalPredictor

    source = inspect.getsource(BaseLearner)
    for attribute in (
        "_config", "_model", "_df_preprocessor", "_data_processors", "_save_path", "_resume", "_ckpt_path",
        "_teacher_learner",
    ):  # fmt: skip
        assert f"self.{attribute}" in source, attribute
    assert "self._learner" in inspect.getsource(MultiModalPredictor)
    assert {"data", "df_preprocessor", "data_processors"} <= set(parameters(BaseLearner.process_batch))
    assert {"batch", "model", "precision", "num_gpus"} <= set(parameters(BaseLearner.predict_batch))


def test_automm_trains_through_these_two_methods() -> None:
    from autogluon.multimodal.learners.base import BaseLearner

    assert parameters(BaseLearner.run_trainer)[:3] == ["trainer", "litmodule", "datamodule"]
    assert {"config", "strategy"} <= set(parameters(BaseLearner.init_trainer_per_run))
    fit = inspect.getsource(BaseLearner.fit_per_run)
    assert fit.index("self.init_trainer_per_run(") < fit.index("self.run_trainer(")
    assert "datamodule=datamodule" in inspect.getsource(BaseLearner.run_trainer)


def test_lora_layers_have_these_weights() -> None:
    import torch
    from autogluon.multimodal.models.adaptation_layers import LoRALinear

    layer = LoRALinear(4, 3, r=2, lora_alpha=4)
    layer.lora_B.data.normal_()
    layer.train(False)  # as the eval() of a whole network does, which merges nothing
    rows = torch.ones(1, 4)
    merged = layer.weight.data + layer.lora_B.data @ layer.lora_A.data * layer.scaling
    plain = torch.nn.functional.linear(rows, merged, layer.bias)
    assert torch.allclose(layer(rows), plain, atol=1e-6)


class Learner:
    """The methods of AutoMM's learner that are replaced."""

    def __init__(self) -> None:
        self.trained: list[Any] = []

    def run_trainer(self, trainer: Any, litmodule: Any, datamodule: Any, **options: Any) -> None:
        self.trained.append(trainer)

    def init_trainer_per_run(self, *, config: Any, strategy: Any) -> Any:
        return SimpleNamespace(strategy=SimpleNamespace(name=strategy), checkpoint_callback=SimpleNamespace())


def test_a_training_is_replaced_once() -> None:
    learner = Learner()
    seen: list[Training] = []
    replace_training(learner, seen.append)
    learner.run_trainer("fit", None, None, resume=True)
    learner.run_trainer("predict", None, None)
    assert [training.trainer for training in seen] == ["fit"]
    assert learner.trained == ["predict"]
    seen[0].run()
    assert learner.trained == ["predict", "fit"]


def test_a_trainer_of_a_process_group_is_made_once() -> None:
    learner = Learner()
    use_process_group(learner, "cpu", is_first=False)
    config = SimpleNamespace(env=SimpleNamespace(num_nodes=2))
    trainer = learner.init_trainer_per_run(config=config, strategy="auto")
    assert trainer.strategy.name == "ddp_find_unused_parameters_true"
    assert trainer.strategy.parallel_devices == ["cpu"]
    assert config.env.num_nodes == 1
    assert trainer.checkpoint_callback.to_yaml() is None
    assert learner.init_trainer_per_run(config=config, strategy="auto").strategy.name == "auto"


def test_a_fit_resumes_from_a_checkpoint_of_ours(tmp_path: Path) -> None:
    learner = SimpleNamespace(_save_path=str(tmp_path / "fit"), _resume=False, _ckpt_path=None)
    resume_from(learner, lambda directory: directory / "last.ckpt")
    assert (learner._resume, learner._ckpt_path) == (True, str(tmp_path / "fit/last.ckpt"))
    assert (tmp_path / "fit").is_dir()


def test_automms_checkpoint_reader_does_not_take_weights_only() -> None:
    """Lightning passes it. When AutoMM's reader takes it too, ours can go."""
    from autogluon.multimodal.utils.checkpoint import AutoMMModelCheckpointIO
    from lightning.pytorch.strategies import Strategy

    assert parameters(AutoMMModelCheckpointIO.load_checkpoint) == ["path", "map_location"]
    assert "weights_only" in parameters(Strategy.load_checkpoint)
    read: list[dict[str, Any]] = []
    reader = SimpleNamespace(load_checkpoint=lambda path, **options: read.append({"path": path, **options}))
    network = SimpleNamespace(trainable_param_names=["a"])
    trainer = SimpleNamespace(strategy=SimpleNamespace(checkpoint_io=reader))
    Training(trainer, network, None, lambda: None).accept_own_checkpoints()
    trainer.strategy.checkpoint_io.load_checkpoint("x.ckpt", weights_only=True)
    assert read == [{"path": "x.ckpt", "map_location": "cpu"}]
    assert network.strict_loading is False


def test_lightnings_rank_is_restored() -> None:
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    before = getattr(rank_zero_only, "rank", 0)
    with rank_restored():
        rank_zero_only.rank = 3
    assert rank_zero_only.rank == before


def test_lightning_has_these_strategies_and_devices() -> None:
    from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry

    assert "ddp_find_unused_parameters_true" in StrategyRegistry.available_strategies()
    strategy = DDPStrategy()
    strategy.parallel_devices = ["cpu"]
    strategy.cluster_environment = None
    assert (strategy.parallel_devices, strategy.cluster_environment) == (["cpu"], None)


def test_best_checkpoints_are_moved_to_the_new_directory(tmp_path: Path) -> None:
    import torch
    from lightning.pytorch.callbacks import ModelCheckpoint

    callback = ModelCheckpoint(dirpath=str(tmp_path / "new"), monitor="loss")
    state = ModelCheckpoint(dirpath=str(tmp_path / "old"), monitor="loss").state_dict()
    state["best_k_models"] = {"/old/a.ckpt": torch.tensor(1.0)}
    state["best_model_path"] = "/old/a.ckpt"
    state["kth_best_model_path"] = ""
    checkpoint = {"callbacks": {callback.state_key: state}}
    move_best_checkpoints(SimpleNamespace(checkpoint_callback=callback), checkpoint, "last.ckpt")
    callback.load_state_dict(state)
    assert list(callback.best_k_models) == [str(tmp_path / "new/a.ckpt")]
    assert callback.best_model_path == str(tmp_path / "new/a.ckpt")
    assert callback.kth_best_model_path == ""
    assert callback.last_model_path == str(tmp_path / "new/last.ckpt")
    assert callable(callback.to_yaml)
