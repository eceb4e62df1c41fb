"""The training job, step by step as the guide lists them."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import FINE_TUNED, RECIPES, NetworkSettings, Recipe, needs_pictures
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.labels import Target
from multimodal_algo.core.memory import limit_autogluon_memory
from multimodal_algo.core.schema import FeatureSchema, Modality, modality_of
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.fusion.folds import HeldOut
from multimodal_algo.ingest.dataset import Dataset
from multimodal_algo.ingest.findings import modality_groups
from multimodal_algo.report.metrics import (
    HeldOutResults,
    Metrics,
    log_metrics,
    measure,
    write_metrics,
    write_predictions,
)
from multimodal_algo.report.page import write_page
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.class_weights import class_weights
from multimodal_algo.training.continuing.export import pretrained_networks, write_networks
from multimodal_algo.training.continuing.previous import PreviousModel
from multimodal_algo.training.distillation import Teacher
from multimodal_algo.training.fitting import FittedBranches, Fitting, without_previous
from multimodal_algo.training.output import save_model, ship_previous
from multimodal_algo.training.rows import Channels, RowReader

if TYPE_CHECKING:
    from multimodal_algo.fusion.fusion import Fusion
    from multimodal_algo.fusion.selection import Selector
    from multimodal_algo.training.continuing.comparison import Compared

__all__ = ["Channels", "train"]

_LOG = logging.getLogger(__name__)

_FUSION = "fusion"
_ANSWERS = "answers.npy"
_MEMBERS = "fusion.safetensors"
_TOLD_BEFORE = ("fused", "modalities", "without")


def train(
    channels: Channels,
    hyperparameters: HyperParameters,
    *,
    weights_dir: Path,
    checkpoints_dir: Path,
    model_dir: Path,
    output_dir: Path,
    stop: StopRequest | None = None,
    executor: Executor | None = None,
) -> Metrics:
    """Train on the data of `channels` and write the artifact.

    Parameters
    ----------
    channels
        Where the data is.
    hyperparameters
        What the job set.
    weights_dir
        Where backbone weights are baked in.
    checkpoints_dir
        Where finished parts are kept, and found by a job that starts again.
    model_dir
        Where the artifact goes.
    output_dir
        Where ``metrics.json``, ``predictions.csv`` and ``bad_rows.csv`` go.
    stop
        Tells when the process is to end.
    executor
        The hosts that work for the job; this one alone if not given.

    Raises
    ------
    UserError
        Anything that the user can fix, in the data or in the hyperparameters.
    """
    scratch = Path(tempfile.mkdtemp(prefix="multimodal-train-"))
    limit_autogluon_memory()
    watch = _Watch()
    executor = executor or LocalExecutor()
    try:
        custom = Customisation.of(hyperparameters)
        recipe = _recipe(hyperparameters, custom)
        checkpoints = Checkpoints.open(checkpoints_dir, channels.digests(executor), hyperparameters)
        previous, teacher = _artifact(channels, hyperparameters, scratch)
        backbones = _backbones(channels, previous, recipe, hyperparameters, weights_dir, scratch)
        with watch("ingest"):
            reader = RowReader(
                hyperparameters, backbones, checkpoints, channels.images, needs_pictures(recipe.models),
                scratch / "dataset", output_dir, executor,
            )  # fmt: skip
            dataset, validation = _read(reader, channels, hyperparameters, previous)
        target = _target(dataset, hyperparameters, previous)
        judge = _judge(target, hyperparameters)
        taught = None
        if teacher is not None:
            teacher.check(dataset.schema, target)
            with watch("teacher"):
                taught = teacher.shares(
                    channels, target, hyperparameters, weights_dir, checkpoints, scratch / "teacher", executor
                )
        started = time.monotonic()
        folds = _folds(dataset, target, recipe, hyperparameters)
        fitting = Fitting(
            hyperparameters, backbones.tuned(recipe), checkpoints, scratch, watch.seconds, stop or StopRequest(),
            executor,
        )  # fmt: skip
        fitted, budget = fitting.fit(dataset, target, folds, None if teacher is None else teacher.artifact)
        if previous is not None:
            fitted = fitting.adopt(fitted, previous, dataset, target, folds)
        held_out = _held_out(validation, target, fitted, hyperparameters, previous)
        with watch("fusion"):
            fusion, answers = _fusion(
                fitted, target, folds, judge, held_out, taught, hyperparameters, custom.network, budget, checkpoints
            )
        fit_s = time.monotonic() - started
        judged = _judged(dataset, validation, target, fitted, held_out, answers)
        groups = _groups(dataset.schema)
        metrics = measure(
            judged, target, fusion, fitted.branches, groups,
            eval_metric=judge.metric, seconds=watch.seconds, fit_s=fit_s,
        )  # fmt: skip
        compared = _compared(previous, judged, metrics, target, judge)
        ships_previous = compared is not None and compared.previous_is_better and hyperparameters.never_worse == "true"
        if previous is not None and compared is not None:
            if ships_previous:
                judged, metrics = _of_previous(previous, compared, judged, metrics, target, groups)
            metrics = replace(metrics, previous=compared.told(ships_previous=ships_previous))
        if previous is not None and ships_previous:
            ship_previous(model_dir, previous, metrics.as_dict())
        else:
            save_model(model_dir, dataset, target, fitted, fusion, backbones, hyperparameters, metrics, previous)
        write_metrics(metrics, output_dir)
        write_predictions(judged, target, output_dir)
        write_page(judged, target, metrics, hyperparameters.quality, output_dir)
        log_metrics(metrics)
        return metrics
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True)
class _Watch:
    """Seconds of each stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[stage] = round(time.monotonic() - started, 2)


def _recipe(hyperparameters: HyperParameters, custom: Customisation) -> Recipe:
    import torch

    has_gpu = torch.cuda.is_available()
    recipe = RECIPES[hyperparameters.quality]
    changed = custom.apply(recipe, has_gpu=has_gpu)
    if recipe.models.keys() - changed.models.keys():
        _LOG.info(
            "quality %s: without a GPU no network is fine-tuned, unless text_ or image_hyperparameters ask for it",
            hyperparameters.quality,
        )
    return changed


def _artifact(
    channels: Channels, hyperparameters: HyperParameters, scratch: Path
) -> tuple[PreviousModel | None, Teacher | None]:
    """What the model channel holds: a model to go on from, or a teacher."""
    if hyperparameters.distill_from == "model":
        return None, Teacher.open(channels, scratch)
    return (None if channels.model is None else PreviousModel.open(channels.model, scratch / "earlier")), None


def _backbones(
    channels: Channels,
    previous: PreviousModel | None,
    recipe: Recipe,
    hyperparameters: HyperParameters,
    weights_dir: Path,
    scratch: Path,
) -> Backbones:
    """The networks: an earlier model's own, which its models need; or those of the pretrained channel; or as named."""
    networks = scratch / "networks"
    pretrained = None
    if channels.pretrained is not None:
        pretrained = pretrained_networks(channels.pretrained, networks / "pretrained")
        _LOG.info("pretrained channel: networks for %s", " and ".join(modality.value for modality in pretrained))
    if previous is not None:
        frozen = write_networks(previous.directory, previous.config, networks / "frozen", tuned=False)
        start = pretrained or {}
        if not start and FINE_TUNED & recipe.models.keys():
            start = write_networks(previous.directory, previous.config, networks / "start", tuned=True)
        return Backbones(hyperparameters, weights_dir, networks, frozen=frozen, start=start)
    return Backbones(hyperparameters, weights_dir, networks, frozen=pretrained or {}, start=pretrained or {})


def _read(
    reader: RowReader, channels: Channels, hyperparameters: HyperParameters, previous: PreviousModel | None
) -> tuple[Dataset, Dataset | None]:
    """The training rows, and those of the validation channel."""
    kind: str = hyperparameters.problem_type
    if kind == "auto" and previous is not None and previous.config.task.is_regression:
        kind = "regression"
    dataset = reader.read("train", channels.train, None, kind)
    if previous is not None:
        previous.check(dataset.schema)
    if channels.validation is None:
        return dataset, None
    of_labels = _target_of(dataset, hyperparameters, previous).task.problem_type
    return dataset, reader.read("validation", channels.validation, dataset.schema, of_labels)


def _target_of(dataset: Dataset, hyperparameters: HyperParameters, previous: PreviousModel | None) -> Target:
    if previous is None or hyperparameters.problem_type == "regression":
        return Target.of(dataset.labels, hyperparameters.problem_type)
    if previous.config.task.is_regression:
        is_open = hyperparameters.problem_type == "auto"
        return Target.of(dataset.labels, "regression" if is_open else hyperparameters.problem_type)
    before = previous.config.classes
    knows_all = set(dataset.labels) <= set(before)
    return Target.of(dataset.labels, hyperparameters.problem_type, before if knows_all else ())


def _target(dataset: Dataset, hyperparameters: HyperParameters, previous: PreviousModel | None) -> Target:
    target = _target_of(dataset, hyperparameters, previous)
    if previous is not None:
        _warn_of_forgetting(previous, dataset, target)
    if not target.task.is_regression:
        _LOG.info("labels: %d classes", len(target.classes))
        return target
    _LOG.info("labels: numbers from %.7g to %.7g, a regression", target.values.min(), target.values.max())
    if hyperparameters.problem_type == "auto" and np.all(target.values == target.values.round()):
        _LOG.warning("labels: whole numbers, taken for amounts; set problem_type=multiclass if they name classes")
    return target


def _warn_of_forgetting(previous: PreviousModel, dataset: Dataset, target: Target) -> None:
    if target.task.is_regression or previous.config.task.is_regression:
        return
    before = previous.config.classes
    if target.classes != before:
        new = len(set(target.classes) - set(before))
        _LOG.info("model channel: a new task, %d of whose %d classes are new", new, len(target.classes))
    missing = sorted(set(before) - set(dataset.labels))
    if missing:
        told = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        remedy = "Add rows of them, or their answers get worse" if target.classes == before else "It cannot answer them"
        _LOG.warning(
            "model channel: no row has these %d of the earlier model's classes: %s. The new model forgets them. %s.",
            len(missing), told, remedy,
        )  # fmt: skip


def _judge(target: Target, hyperparameters: HyperParameters) -> Selector:
    from multimodal_algo.core.metrics import default_metric, metrics_of
    from multimodal_algo.fusion.selection import Selector

    metric: str = hyperparameters.eval_metric
    if metric == "auto":
        metric = default_metric(target.task)
    elif metric not in metrics_of(target.task):
        raise UserError(
            f"eval_metric is {metric}, but the labels ask for {target.task.problem_type}: choose one of "
            f"{', '.join(metrics_of(target.task))}, or set problem_type."
        )
    return Selector(target.task, metric, class_weights(hyperparameters.weights_of_classes(), target))


def _groups(schema: FeatureSchema) -> dict[str, tuple[str, ...]]:
    """The columns of each modality (image column, for images)."""
    groups = modality_groups(schema)
    return {
        columns[0] if modality_of(columns[0]) is Modality.IMAGE else str(modality_of(columns[0])): columns
        for columns in groups
    }


def _folds(dataset: Dataset, target: Target, recipe: Recipe, hyperparameters: HyperParameters) -> np.ndarray:
    from multimodal_algo.fusion.folds import stratified_folds
    from multimodal_algo.training.duplicates import find_duplicates

    groups = find_duplicates(dataset.keys)
    copies = len(groups) - len(np.unique(groups))
    if copies:
        _LOG.info("folds: %d rows share a text or an image with others, and a fold", copies)
    return stratified_folds(target.values, recipe.folds, hyperparameters.seed, groups)


def _known(validation: Dataset, target: Target) -> np.ndarray:
    """Positions of the rows of the validation channel that have a label of training."""
    values = target.values_of(validation.labels)
    return np.arange(len(values)) if target.task.is_regression else np.flatnonzero(values >= 0)


def _held_out(
    validation: Dataset | None,
    target: Target,
    fitted: FittedBranches,
    hyperparameters: HyperParameters,
    previous: PreviousModel | None,
) -> HeldOut | None:
    """The vectors of the validation channel's rows; rows of classes that training did not see are left out."""
    if validation is None:
        return None
    known = _known(validation, target)
    if len(known) < len(validation):
        _LOG.warning(
            "validation: %d of %d rows have a label that no training row has; they are left out",
            len(validation) - len(known), len(validation),
        )  # fmt: skip
    if not len(known):
        raise UserError("No row of the validation channel has a label that a training row has. Check the channels.")
    features = validation.features.take(known)
    vectors = fitted.predict(features, hyperparameters.min_completeness)
    if previous is not None:
        vectors = without_previous(vectors, fitted.branches, ~previous.is_new(validation.keys[known]))
    return HeldOut(vectors, target.values_of(validation.labels)[known])


def _fusion(
    fitted: FittedBranches,
    target: Target,
    folds: np.ndarray,
    judge: Selector,
    held_out: HeldOut | None,
    taught: np.ndarray | None,
    hyperparameters: HyperParameters,
    network: NetworkSettings,
    budget: Budget,
    checkpoints: Checkpoints,
) -> tuple[Fusion, np.ndarray]:
    """The fusion and its held-out answers, of this start of the job or an earlier one."""
    from multimodal_algo.fusion.fusion import Fusion

    part = checkpoints.find(_FUSION)
    if part is not None:
        _LOG.info("fusion: taken from the checkpoint of an earlier start")
        return Fusion.load(part / _MEMBERS), np.load(part / _ANSWERS)
    fusion, answers, comparison = Fusion.fit(
        fitted.vectors,
        target.values,
        folds,
        judge=judge,
        columns=list(fitted.branches.values()),
        names=list(fitted.branches),
        held_out=held_out,
        taught=taught,
        max_epochs=hyperparameters.n_epochs,
        settings=network,
        seed=hyperparameters.seed,
        budget=budget,
    )
    _LOG.info(
        "fusion: %s (%s%s)%s",
        comparison.chosen,
        judge.told + ": ", ", ".join(f"{name} {loss:.3f}" for name, loss in comparison.losses.items()),
        "" if fusion.finish is None else f", temperature {fusion.finish.temperature:.2f}",
    )  # fmt: skip

    def write(directory: Path) -> None:
        fusion.save(directory / _MEMBERS)
        np.save(directory / _ANSWERS, answers)

    checkpoints.keep(_FUSION, write)
    return fusion, answers


def _judged(
    dataset: Dataset,
    validation: Dataset | None,
    target: Target,
    fitted: FittedBranches,
    held_out: HeldOut | None,
    answers: np.ndarray,
) -> HeldOutResults:
    if validation is None or held_out is None:
        rows = np.arange(len(dataset))
        return HeldOutResults("training rows, out of fold", answers, fitted.vectors, target.values, dataset, rows)
    rows = _known(validation, target)
    return HeldOutResults("validation channel", answers, held_out.vectors, held_out.targets, validation, rows)


def _compared(
    previous: PreviousModel | None, judged: HeldOutResults, metrics: Metrics, target: Target, judge: Selector
) -> Compared | None:
    """The earlier model beside the new one, where both know the same classes."""
    from multimodal_algo.training.continuing.comparison import compare

    if previous is None or (previous.config.task, previous.config.classes) != (target.task, target.classes):
        return None
    return compare(previous, judged, metrics, target, judge)


def _of_previous(
    previous: PreviousModel,
    compared: Compared,
    judged: HeldOutResults,
    metrics: Metrics,
    target: Target,
    groups: dict[str, tuple[str, ...]],
) -> tuple[HeldOutResults, Metrics]:
    """What is told of the earlier model where it ships: on the rows of the comparison, or as it was told before."""
    _LOG.warning("model channel: the earlier model is better, so it ships as it was (never_worse=true)")
    if compared.judged is None:
        return judged, replace(metrics, **{name: previous.config.metrics[name] for name in _TOLD_BEFORE})
    branches = {entry.name: entry.columns for entry in previous.config.branches}
    return compared.judged, measure(
        compared.judged, target, previous.fusion, branches, groups,
        eval_metric=metrics.eval_metric, seconds=metrics.seconds, fit_s=metrics.fit_s,
    )  # fmt: skip
