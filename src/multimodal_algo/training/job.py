"""The training job. The function `train` is the list of its steps."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from multimodal_algo.artifact import peek_description
from multimodal_algo.branches.registry import FINE_TUNED, is_fine_tuned, needs_pictures
from multimodal_algo.config.customisation import Customisation
from multimodal_algo.config.hyperparameters import HyperParameters
from multimodal_algo.config.recipes import RECIPES, Recipe
from multimodal_algo.core.checkpointing import StopRequest
from multimodal_algo.core.disks import check_volumes, failed_volume, may_fail, require_temporary_directory
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.memory import limit_autogluon_memory
from multimodal_algo.core.schema import Modality
from multimodal_algo.execution.local import LocalExecutor
from multimodal_algo.execution.protocol import Executor
from multimodal_algo.fusion.selection import Selector
from multimodal_algo.ingest.column_kinds import find_kinds, names_of_previous
from multimodal_algo.ingest.groups import with_group_keys
from multimodal_algo.ingest.sources import TableFormat
from multimodal_algo.monitoring.making import sketch
from multimodal_algo.monitoring.model_monitor import STATISTICS, write_baseline
from multimodal_algo.monitoring.sketches import Sketches
from multimodal_algo.predictors.finetune.start import Starts
from multimodal_algo.report.evaluation import EVALUATION, write_evaluation
from multimodal_algo.report.importance import Importance
from multimodal_algo.report.labels import LABEL_ISSUES, LabelIssues, find_label_issues
from multimodal_algo.report.metrics import (
    HeldOutResults,
    Metrics,
    log_metrics,
    measure,
    write_metrics,
    write_predictions,
)
from multimodal_algo.report.page import PAGE, write_page
from multimodal_algo.report.section import ReportedJob
from multimodal_algo.training.backbones import Backbones
from multimodal_algo.training.calibrating import calibrate
from multimodal_algo.training.checkpoints import Checkpoints
from multimodal_algo.training.context import OUTPUT, JobContext, JobDirectories, StageTimes
from multimodal_algo.training.continuing.continued import ContinuedModel
from multimodal_algo.training.continuing.export import Networks, pretrained_networks
from multimodal_algo.training.continuing.previous import PreviousModel
from multimodal_algo.training.data import TrainingData, ValidationRows, log_labels
from multimodal_algo.training.deciding import decided, positive_target
from multimodal_algo.training.distillation import NoTeacher, Teacher, Teaching
from multimodal_algo.training.fitting import FittedBranches, Fitting
from multimodal_algo.training.fusing import Fused, fuse, selector_of
from multimodal_algo.training.importance import FittedModel, column_importance
from multimodal_algo.training.label_noise import folds_for_fits
from multimodal_algo.training.languages import describe_languages
from multimodal_algo.training.output import NewArtifact
from multimodal_algo.training.rows import ChannelPaths, RowReader
from multimodal_algo.training.start import FreshStart, Outcome, Start

__all__ = ["ChannelPaths", "JobDirectories", "train"]

_LOG = logging.getLogger(__name__)


def train(
    channels: ChannelPaths,
    hyperparameters: HyperParameters,
    directories: JobDirectories,
    *,
    stop: StopRequest | None = None,
    executor: Executor | None = None,
) -> Metrics:
    """Train a model on the data of the input `channels`. Write the artifact, the metrics and the report.

    Parameters
    ----------
    channels
        Paths of the channels.
    hyperparameters
        Hyperparameters of the job.
    directories
        Directories of weights, checkpoints, artifact and output.
    stop
        The request to save the state and end soon. None if nobody can make such a request.
    executor
        The hosts that do the job's work items. None for this process alone.

    Raises
    ------
    UserError
        Anything that the user can fix, in the data or in the hyperparameters.
    """
    limit_autogluon_memory()
    hyperparameters = _with_kinds(hyperparameters, channels)
    with _job(channels, hyperparameters, directories, stop or StopRequest(), executor or LocalExecutor()) as context:
        start, teaching = _open_model_channel(channels, context)
        backbones = start.backbones(context, _pretrained(channels, context))
        data = _read_data(channels, start, backbones, context)
        trained = _train(channels, data, start, teaching, backbones, context)
        issues = _label_issues(trained, data, context)
        new = _measure(trained, data, context)
        outcome = start.choose(new, data.target, trained.selector, hyperparameters)
        outcome = decided(outcome, data.target, hyperparameters.decisions)
        artifact = _artifact(trained, data, start, backbones, context, new.results, _sketches(data, context))
        start.ship(outcome, directories.model, artifact.write)
        _report(outcome, trained, data, issues, context)
        return outcome.metrics


@dataclass(frozen=True)
class _Trained:
    """The new model: its branches (partial models) and fusion, the metric that chose it, and the seconds of fitting."""

    fitted: FittedBranches
    fused: Fused
    selector: Selector
    seconds: float


@contextmanager
def _job(
    channels: ChannelPaths,
    hyperparameters: HyperParameters,
    directories: JobDirectories,
    stop: StopRequest,
    executor: Executor,
) -> Iterator[JobContext]:
    """Check the settings and open the checkpoints.

    Yield the values that the steps share, and remove temporary files at the end.
    """
    with _scratch(directories) as scratch:
        customisation = Customisation.of(hyperparameters)
        recipe = _recipe(hyperparameters, customisation)
        recipe = _with_starts(recipe, Starts(directories.weights, scratch / "starts"))
        checkpoints = Checkpoints.open(directories.checkpoints, channels.digests(executor), hyperparameters)
        yield JobContext(
            hyperparameters=hyperparameters,
            recipe=recipe,
            network=customisation.network,
            directories=directories,
            checkpoints=checkpoints,
            executor=executor,
            scratch=scratch,
            stop=stop,
            times=StageTimes(),
        )


def _with_kinds(hyperparameters: HyperParameters, channels: ChannelPaths) -> HyperParameters:
    """Return the hyperparameters with the kinds of all columns that have the user's own names, for the artifact.

    Kinds come from the previous model, if there is one. The other kinds are found from the cells.
    """
    if channels.model is not None:
        hyperparameters = _with_previous_names(hyperparameters, channels.train, channels.model)
    finding = find_kinds(TableFormat.of(hyperparameters), channels.train)
    for sentence in finding.sentences:
        _LOG.info("%s", sentence)
    if not finding.kinds:
        return hyperparameters
    return hyperparameters.with_names(hyperparameters.column_names.with_kinds(finding.kinds))


def _with_previous_names(hyperparameters: HyperParameters, train: Path, model: Path) -> HyperParameters:
    with suppress(UserError):  # an artifact that cannot be read is reported where it is opened
        table = TableFormat.of(hyperparameters)
        names = names_of_previous(table, train, peek_description(model).names)
        if names != table.names:
            _LOG.info("model channel: names and kinds of columns are those of the previous model")
            return hyperparameters.with_names(names)
    return hyperparameters


@contextmanager
def _scratch(directories: JobDirectories) -> Iterator[Path]:
    """Yield a directory for temporary files.

    Check all volumes first, and explain errors of a volume, such as a full disk.

    Raises
    ------
    UserError
        A volume cannot be written to, or is full, or fails.
    """
    require_temporary_directory()
    with tempfile.TemporaryDirectory(prefix="multimodal-train-", ignore_cleanup_errors=True) as scratch:
        volumes = directories.volumes(Path(scratch).parent)
        check_volumes(volumes, optional=OUTPUT)
        try:
            yield Path(scratch)
        except Exception as error:
            sentence = failed_volume(error, volumes)
            if sentence is None:
                raise
            raise UserError(sentence) from error


def _with_starts(recipe: Recipe, starts: Starts) -> Recipe:
    """Return the recipe (models of each branch), with directories instead of names for weights to start from."""
    models = {
        branch: starts.of(settings) if is_fine_tuned(branch) else settings for branch, settings in recipe.models.items()
    }
    return replace(recipe, models=models)


def _recipe(hyperparameters: HyperParameters, customisation: Customisation) -> Recipe:
    import torch

    recipe = RECIPES[hyperparameters.quality]
    changed = customisation.apply(recipe, fine_tuned=FINE_TUNED, has_gpu=torch.cuda.is_available())
    if recipe.models.keys() - changed.models.keys():
        _LOG.info(
            "quality %s: without a GPU no network is fine-tuned, unless text_ or image_hyperparameters ask for it",
            hyperparameters.quality,
        )
    return changed


def _open_model_channel(channels: ChannelPaths, context: JobContext) -> tuple[Start, Teaching]:
    """Open the artifact that the user gave in the input ``model``: a model to continue from, or a teacher."""
    if context.hyperparameters.distill_from == "model":
        return FreshStart(), Teacher.open(channels, context)
    if channels.model is None:
        return FreshStart(), NoTeacher()
    return ContinuedModel(PreviousModel.open(channels.model, context.scratch / "previous")), NoTeacher()


def _pretrained(channels: ChannelPaths, context: JobContext) -> Networks:
    """Return the networks that the user gave in the input ``pretrained``. Empty without this input."""
    if channels.pretrained is None:
        return {}
    networks = pretrained_networks(channels.pretrained, context.scratch / "networks" / "pretrained")
    _LOG.info("pretrained channel: networks for %s", " and ".join(modality.value for modality in networks))
    return networks


def _read_data(channels: ChannelPaths, start: Start, backbones: Backbones, context: JobContext) -> TrainingData:
    """Read the training rows and the validation rows, and deal the training rows to folds."""
    hyperparameters, recipe = context.hyperparameters, context.recipe
    groups = hyperparameters.group_columns
    with context.times.stage("ingest"):
        reader = RowReader(
            context,
            backbones,
            images=channels.images,
            keep_images=needs_pictures(recipe.models),
            scratch=context.scratch / "dataset",
            known_classes=start.known_classes,
        )
        problem_type = start.problem_type(hyperparameters.problem_type)
        backbones.suit_languages(channels.train)
        dataset = reader.read("train", channels.train, None, problem_type)
        start.check(dataset.schema)
        if dataset.schema.of(Modality.TEXT):
            languages = describe_languages(dataset, backbones.text_languages(dataset.schema))
            dataset = replace(dataset, warnings=(*dataset.warnings, *languages))
        dataset = with_group_keys(dataset.with_number_categories(start.number_categories(dataset)), groups)
        target = positive_target(start.target(dataset.labels, hyperparameters), hyperparameters.decisions)
        validation = None
        if channels.validation is not None:
            validation = reader.read("validation", channels.validation, dataset.schema, target.task.problem_type)
            validation = with_group_keys(validation.with_number_categories(dataset.number_categories), groups)
    log_labels(target, hyperparameters.problem_type)
    return TrainingData.of(
        dataset, target, None if validation is None else ValidationRows.of(validation, target),
        count=recipe.folds, seed=hyperparameters.seed,
    )  # fmt: skip


def _train(
    channels: ChannelPaths,
    data: TrainingData,
    start: Start,
    teaching: Teaching,
    backbones: Backbones,
    context: JobContext,
) -> _Trained:
    """Fit all branches (partial models), then the fusion that combines their votes."""
    selector = selector_of(data.target, context.hyperparameters)
    soft_labels = teaching.soft_labels(channels, data, context)
    started = time.monotonic()
    fitting = Fitting.of(context, backbones.fine_tuned(context.recipe))
    folds = folds_for_fits(data, context)
    fitted, budget = fitting.fit(data.dataset, data.target, folds, teaching.model)
    fitted = start.adopt(fitted, data, context.hyperparameters.min_completeness)
    fused = fuse(fitted, data, start, selector, soft_labels, budget, context)
    return _Trained(fitted, fused, selector, time.monotonic() - started)


def _measure(trained: _Trained, data: TrainingData, context: JobContext) -> Outcome:
    """Return the new model's results and scores on held-out rows."""
    fitted, fused = trained.fitted, trained.fused
    results = fused.results(data, fitted)
    metrics = measure(
        results, data.target, fused.fusion, fitted.branches,
        eval_metric=trained.selector.metric, seconds=context.times.seconds, fit_s=trained.seconds,
    )  # fmt: skip
    return Outcome(results, metrics)


def _sketches(data: TrainingData, context: JobContext) -> Sketches:
    """Make the sketches of the training rows, with which new rows are later compared."""
    with context.times.stage("sketches"):
        return sketch(data.dataset, data.folds, data.groups.groups)


def _artifact(
    trained: _Trained,
    data: TrainingData,
    start: Start,
    backbones: Backbones,
    context: JobContext,
    results: HeldOutResults,
    sketches: Sketches,
) -> NewArtifact:
    """Return the content of the new model's artifact, not yet written. `results` are the new model's held-out rows."""
    hyperparameters, fusion = context.hyperparameters, trained.fused.fusion
    return NewArtifact(
        data.dataset, data.target, trained.fitted, fusion, backbones, hyperparameters,
        start.known_keys(data.groups.keys), start.known_categories(data.dataset),
        partial(calibrate, results, data, data.target.task, fusion.prior, hyperparameters.coverage),
        sketches,
        (context.directories.checkpoints,),
    )  # fmt: skip


def _label_issues(trained: _Trained, data: TrainingData, context: JobContext) -> LabelIssues:
    """Find the training labels that out-of-fold predictions contradict, and log their number."""
    with context.times.stage("label issues"):
        fused = trained.fused
        predictions = fused.predictions if fused.held_out is None else fused.fusion.predict(trained.fitted.votes)
        issues = find_label_issues(data.dataset, data.target, predictions)
    issues.log()
    return issues


def _report(outcome: Outcome, trained: _Trained, data: TrainingData, issues: LabelIssues, context: JobContext) -> None:
    """Write metrics, predictions and the report into the output directory, and log the metrics."""
    directory = context.output_dir
    log_metrics(outcome.metrics)
    # The model is there. A disk that does not take the rest does not cost it.
    with may_fail("metrics.json", directory):
        write_metrics(outcome.metrics, directory)
    with may_fail("predictions.csv", directory):
        write_predictions(outcome.results, data.target, directory, outcome.decision)
    with may_fail(LABEL_ISSUES, directory):
        issues.write(directory)
    with may_fail(EVALUATION, directory):
        write_evaluation(outcome.metrics, data.target.task, directory)
    with may_fail(STATISTICS, directory):
        write_baseline(data.dataset, context.hyperparameters.column_names, directory)
    with may_fail(PAGE, directory):
        write_page(
            ReportedJob(
                outcome.results, data.target, outcome.metrics, context.hyperparameters, len(data.dataset),
                data.warnings, _importance(outcome, trained, data, context),
                outcome.decision, issues,
            ),
            directory,
        )  # fmt: skip


def _importance(outcome: Outcome, trained: _Trained, data: TrainingData, context: JobContext) -> Sequence[Importance]:
    """Measure the importance of each column. The result is empty if the previous model goes into the artifact."""
    if outcome.ships_previous:
        return ()
    model = FittedModel(trained.fitted, trained.fused.fusion, context.hyperparameters.min_completeness)
    return column_importance(
        model, outcome.results, data.target.task, outcome.metrics.eval_metric, context.hyperparameters.column_names,
        fit_s=trained.seconds,
    )  # fmt: skip
