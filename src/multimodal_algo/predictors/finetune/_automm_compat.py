"""Private interfaces of AutoGluon's AutoMM 1.6.3 and of Lightning 2.6 that this package relies on.

No other module of this folder touches them. ``tests/unit/predictors/test_compat.py`` fails when they change.
AutoMM is the library behind ``MultiModalPredictor``. Its learner holds the network and trains it with Lightning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from multimodal_algo.predictors.finetune.pickled_classes import AUTOMM
from multimodal_algo.predictors.pickled_classes import SHARED
from multimodal_algo.predictors.pickles import Pickles

PICKLES = Pickles(SHARED, AUTOMM)
"""Loads the pickles of AutoMM's predictors."""

# A sentence network does not use its own pooling layer. Plain "ddp" would refuse the second step.
_STRATEGY = "ddp_find_unused_parameters_true"


@cache
def admit_pickles() -> None:
    """Let AutoMM load only admitted pickles. Unchanged, it loads any pickle.

    A saved predictor says which of AutoMM's modules loads it, so all modules that load pickles are changed.
    """
    from autogluon.multimodal.learners import base, ensemble, few_shot_svm, matching

    for module in (base, ensemble, few_shot_svm, matching):
        module.pickle = PICKLES


def learner_of(predictor: Any) -> Any:
    """Return AutoMM's learner inside a ``MultiModalPredictor``. There is no public way to it."""
    return predictor._learner


def config_of(learner: Any) -> Any:
    """Return the settings of `learner` as an OmegaConf object. AutoMM saves them with the predictor."""
    return learner._config


def network_of(learner: Any) -> Any:
    """Return the torch module of a learner.

    AutoMM's public ``dump_model`` is not enough: it writes only some kinds of networks.
    """
    return learner._model


def required_columns(learner: Any) -> set[str]:
    """Return the names of the columns that a learner was fitted to."""
    return set(learner._df_preprocessor.required_feature_names)


def processors_of(learner: Any, label: str) -> dict[str, list[Any]]:
    """Return AutoMM's processors by modality. They turn cells into a batch of tensors.

    The label's processor is left out.
    """
    return {name: each for name, each in learner._data_processors.items() if name != label}


def columns_of(learner: Any, modality: str) -> tuple[str, ...]:
    """Return the columns of one of AutoMM's modalities, in the order in which a network reads them."""
    return tuple(learner._df_preprocessor.get_column_names(modality))


def generators_of(learner: Any) -> dict[str, Any]:
    """Return the fitted transformers of number and category columns, by column name."""
    return dict(learner._df_preprocessor._feature_generators)


def batch_of(learner: Any, rows: pd.DataFrame, label: str) -> dict[str, Any]:
    """Return rows as the batch of tensors that the network takes."""
    processors = processors_of(learner, label)
    batch = learner.process_batch(data=rows, df_preprocessor=learner._df_preprocessor, data_processors=processors)
    return dict(batch)


def output_of(network: Any, batch: dict[str, Any]) -> Any:
    """Return a network's outputs for a batch, a float32 tensor (rows, outputs). The network stays on its device.

    AutoMM's public ``predict_batch`` would move the network to a GPU and compute in half precision there.
    """
    from autogluon.multimodal.models.utils import run_model

    return run_model(network, batch)[network.prefix]["logits"].float()


@contextmanager
def any_rows_traced() -> Iterator[None]:
    """Let torch trace an ``ft_transformer`` so that the exported graph takes any number of rows.

    AutoMM reads the number of rows with ``len``. A trace would store the result as a fixed number.
    """
    import torch
    from autogluon.multimodal.models import custom_transformer

    def length(value: Any) -> Any:
        return value.shape[0] if isinstance(value, torch.Tensor) else len(value)

    custom_transformer.len = length  # a name of the module is found before that of the language
    try:
        yield
    finally:
        del custom_transformer.len


def logits_of(learner: Any, rows: pd.DataFrame, label: str) -> np.ndarray:
    """Return the outputs of the learner's network for rows, float32 (rows, outputs).

    AutoMM's public ``predict_proba`` starts a Lightning trainer in every call, which takes seconds.
    """
    import torch

    batch = batch_of(learner, rows, label)
    has_gpu = torch.cuda.is_available()
    precision = learner._config.env.precision if has_gpu else 32
    output = learner.predict_batch(batch=batch, model=learner._model, precision=precision, num_gpus=int(has_gpu))
    return np.asarray(output["logits"].float().cpu().numpy())


def numbers_of(learner: Any, logits: np.ndarray) -> np.ndarray:
    """Return the predicted numbers of a regression in their original unit. AutoMM learns standardised numbers."""
    return np.asarray(learner._df_preprocessor.transform_prediction(logits))


def forget_teacher(learner: Any) -> None:
    """Remove the teacher network from a fitted learner. Otherwise it would be saved with the learner."""
    learner._teacher_learner = None


def merge_adaptations(learner: Any) -> None:
    """Merge LoRA's low-rank weights and IA3's factors into the layers that they adapt.

    AutoMM could load an unmerged network only together with the checkpoint that fine-tuning started from.
    """
    import torch
    from autogluon.multimodal.models import adaptation_layers as adapted

    for parent in list(learner._model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) not in (adapted.LoRALinear, adapted.IA3Linear, adapted.IA3LoRALinear):
                continue
            weight, bias = layer.weight.data, layer.bias
            if hasattr(layer, "lora_A"):
                weight = weight + layer.lora_B.data @ layer.lora_A.data * layer.scaling
            if hasattr(layer, "lora_b"):
                weight = weight * layer.lora_b.data
                bias = None if bias is None else torch.nn.Parameter(bias.data * layer.lora_b.data.flatten())
            plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=bias is not None)
            plain.weight.data, plain.bias = weight, bias
            setattr(parent, name, plain)
    learner._config.optim.peft = None


def correct_learner(learner: Any) -> None:
    """Correct three errors of AutoMM 1.6.3 in a learner that is not fitted yet, so that it does what its settings say.

    - If several checkpoints are kept, AutoMM takes the one with the largest loss first. It believes that all of
      AutoGluon's metrics grow when a model gets better. Given only the metric's name, it knows the right direction.
    - It never mixes images (``data.mixup``). It looks for images in a list in a wrong way, and calls a function of timm
      that has other parameters now.
    - It cannot save a network that torch has compiled as a new module (``env.compile``).
    """
    average = learner.top_k_average

    def top_k_average(*args: Any, **kwargs: Any) -> None:
        metric, learner._eval_metric_func = learner._eval_metric_func, None
        try:
            average(*args, **kwargs)
        finally:
            learner._eval_metric_func = metric

    learner.top_k_average = top_k_average
    learner.get_mixup_func_per_run = partial(_mixup_of, learner)
    learner.compile_model_per_run = _compile


def finish_learner(learner: Any) -> None:
    """Prepare a fitted learner for saving, and for rows without an image, which then get a black one."""
    for name in ("top_k_average", "get_mixup_func_per_run", "compile_model_per_run"):
        learner.__dict__.pop(name, None)
    learner._model._compiled_call_impl = None
    for processor in learner._data_processors.get("image", ()):
        processor.missing_value_strategy = "zero"


def _compile(config: Any, model: Any) -> Any:
    """Compile the network in place if the settings ask for it. Return the network in any case."""
    settings = config.env.compile
    if settings.turn_on:
        model.compile(mode=settings.mode, dynamic=settings.dynamic, backend=settings.backend)
    return model


def _mixup_of(learner: Any, config: Any) -> tuple[bool, Any]:
    """Return whether training mixes pairs of images (mixup), and the function that mixes a batch."""
    mixup, networks, classes = config.data.mixup, list(config.model.names), learner._output_shape
    sees_images_alone = all(list(getattr(config.model, name).data_types or ()) == ["image"] for name in networks)
    is_on = mixup.turn_on and (mixup.mixup_alpha > 0 or mixup.cutmix_alpha > 0 or mixup.cutmix_minmax is not None)
    # AutoMM would mix the labels of texts and numbers, and not these themselves.
    if not (is_on and sees_images_alone and len(networks) == 1 and learner._problem_type in ("binary", "multiclass")):
        return False, None
    from autogluon.multimodal.data.mixup import MixupModule
    from timm.data.mixup import mixup_target

    class ImageMixup(MixupModule):
        """AutoMM's mixing of images, for batches of one network, (rows, images, 3, height, width)."""

        def __call__(self, x: Any, target: Any, lam: Any = None) -> tuple[Any, Any]:
            images = x.flatten(1, 2)  # a view, which is changed in place
            lam = self._mix_elem(images, lam) if self.mode == "elem" else self._mix_batch(images, lam)
            return x, mixup_target(target, self.num_classes, lam, self.label_smoothing)

    options = ("mixup_alpha", "cutmix_alpha", "cutmix_minmax", "prob", "switch_prob", "mode", "label_smoothing")
    return True, ImageMixup(**{option: getattr(mixup, option) for option in options}, num_classes=classes)


def resume_from(learner: Any, copy_checkpoints: Callable[[Path], Path]) -> None:
    """Let the next fit of a learner continue from a checkpoint.

    AutoMM's public way, ``load(resume=True)``, takes only a whole directory that AutoMM wrote.

    Parameters
    ----------
    learner
        A learner that is not fitted yet.
    copy_checkpoints
        Called with a directory. It copies the checkpoints there and returns the path of the last one.
    """
    directory = Path(learner._save_path)
    directory.mkdir(parents=True, exist_ok=True)
    learner._resume = True
    learner._ckpt_path = str(copy_checkpoints(directory))


@dataclass(frozen=True)
class Training:
    """A training that AutoMM's learner has prepared but not started.

    Parameters
    ----------
    trainer
        Lightning's trainer.
    network
        Lightning's module that wraps the network.
    data
        AutoMM's data module, which loads the rows.
    run
        Starts the training.
    """

    trainer: Any
    network: Any
    data: Any
    run: Callable[[], None]

    def add_callback(self, callback: Any) -> None:
        """Add a Lightning callback after those of AutoMM, which does not take callbacks from its caller."""
        self.trainer.callbacks.append(callback)

    def accept_own_checkpoints(self) -> None:
        """Let Lightning load the checkpoints that this training wrote.

        Lightning would refuse them for two reasons. AutoMM's checkpoints of an adapted network lack the weights that
        are not trained. And Lightning 2.6 passes an argument ``weights_only`` that AutoMM's reader does not take.
        """
        self.network.strict_loading = not getattr(self.network, "trainable_param_names", None)
        reader = self.trainer.strategy.checkpoint_io
        load = reader.load_checkpoint
        reader.load_checkpoint = lambda path, weights_only=None: load(path, map_location="cpu")

    def replace_loader(self, share: Callable[[Any], Any]) -> None:
        """Replace the loader of the training rows by `share` of it, which gives each process its own rows.

        Lightning could do that too, but only after AutoMM has counted the steps over which the learning rate falls.
        """
        loader = self.data.train_dataloader
        self.data.train_dataloader = lambda: share(loader())

    def leave_process_group(self) -> None:
        """Let AutoMM finish after the process group has ended.

        Otherwise it would ask the group for the process's number.
        """
        self.trainer.strategy.cluster_environment = None


def replace_training(learner: Any, train: Callable[[Training], None]) -> None:
    """Let `train` run the next training of a learner in AutoMM's place, once.

    AutoMM makes its trainer inside ``fit`` and shows it to nobody. Predictions go through the replaced method too, so
    the replacement removes itself before the training.
    """
    run_trainer = learner.run_trainer

    def run(trainer: Any, litmodule: Any, datamodule: Any, *args: Any, **kwargs: Any) -> None:
        del learner.run_trainer
        run_as_before = partial(run_trainer, trainer, litmodule, datamodule, *args, **kwargs)
        train(Training(trainer, litmodule, datamodule, run_as_before))

    learner.run_trainer = run


def use_process_group(learner: Any, device: Any, *, is_first: bool) -> None:
    """Let the next training of a learner run in torch's process group, in which several processes train one network.

    Parameters
    ----------
    learner
        A learner that is not fitted yet, with AutoMM's settings of several hosts.
    device
        The torch device of this process. Lightning would derive it from the rank.
    is_first
        Whether this process has rank 0. Other processes must not write the list of checkpoints, because the directory
        of rank 0 may be on another host.
    """
    init_trainer = learner.init_trainer_per_run

    def init(*args: Any, config: Any, **kwargs: Any) -> Any:
        del learner.init_trainer_per_run
        trainer = init_trainer(*args, config=config, **{**kwargs, "strategy": _STRATEGY})
        trainer.strategy.parallel_devices = [device]
        config.env.num_nodes = 1  # after the fit the learner predicts alone
        if not is_first:
            trainer.checkpoint_callback.to_yaml = lambda *_: None
        return trainer

    learner.init_trainer_per_run = init


@contextmanager
def rank_restored() -> Iterator[None]:
    """After the block, restore the rank (number) that Lightning stores for this process.

    Otherwise later fits of this process would neither log nor write.
    """
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    before = getattr(rank_zero_only, "rank", 0)
    try:
        yield
    finally:
        setattr(rank_zero_only, "rank", before)  # noqa: B010 - a function, for which no attribute is declared


def move_best_checkpoints(trainer: Any, checkpoint: dict[str, Any], last: str) -> None:
    """Change the paths in a loaded checkpoint, so that they name the directory of this trainer's checkpoints.

    Otherwise Lightning would not restore its list of best checkpoints, and would only warn.

    Parameters
    ----------
    trainer
        Lightning's trainer, which loads the checkpoint.
    checkpoint
        Content of the checkpoint.
    last
        File name of the last checkpoint.
    """
    callback = trainer.checkpoint_callback
    state = checkpoint["callbacks"][callback.state_key]
    here = Path(callback.dirpath)

    def moved(path: str) -> str:
        return str(here / Path(path).name) if path else path

    state["dirpath"] = callback.dirpath
    state["best_k_models"] = {moved(path): score for path, score in state["best_k_models"].items()}
    for key in ("best_model_path", "kth_best_model_path"):
        state[key] = moved(state[key])
    state["last_model_path"] = str(here / last)


def best_checkpoints(trainer: Any) -> list[str]:
    """Return the paths of the best checkpoints that the trainer has kept so far."""
    return list(trainer.checkpoint_callback.best_k_models)


def list_best_checkpoints(trainer: Any) -> None:
    """Write the file that lists the best checkpoints. AutoMM takes the final network from this list.

    Lightning itself writes the file only when a new checkpoint is better than all before.
    """
    if trainer.checkpoint_callback.best_k_models:
        trainer.checkpoint_callback.to_yaml()
