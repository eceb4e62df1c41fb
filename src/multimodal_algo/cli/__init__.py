"""The ``multimodal-algo`` command. Commands import heavy libraries only when they run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from multimodal_algo import __version__
from multimodal_algo.cli.aws import aws
from multimodal_algo.cli.local import local
from multimodal_algo.cli.monitoring import drift
from multimodal_algo.cli.options import (
    FILE_OR_FOLDER,
    FOLDER,
    NEW_FOLDER,
    hyperparameter_option,
    hyperparameters_of,
    name_options,
)
from multimodal_algo.core.column_names import ColumnNames
from multimodal_algo.core.disks import failed_volume
from multimodal_algo.core.errors import MultimodalError
from multimodal_algo.core.installed import require_train
from multimodal_algo.core.log import configure_logging
from multimodal_algo.core.schema import ID, LABEL


class _Commands(click.Group):
    """A group of commands that prints a `UserError` as one sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return self._invoke(ctx)
        except MultimodalError as error:
            raise click.ClickException(str(error)) from None
        except OSError as error:  # also shutil.Error, which holds those of several files
            if (sentence := failed_volume(error, {})) is None:
                raise
            raise click.ClickException(sentence) from None

    def _invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError:
            require_train(f"multimodal-algo {ctx.invoked_subcommand}")
            raise


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Classify rows that mix text, numbers, categories and images, as a SageMaker algorithm."""


main.add_command(local)
main.add_command(aws)
main.add_command(drift)


@main.command()
def train() -> None:
    """Train as SageMaker does, in the tree below SAGEMAKER_BASE_DIR (default /opt/ml)."""
    require_train("multimodal-algo train")
    configure_logging()
    from multimodal_algo.training.program import run_training

    sys.exit(run_training())


@main.command()
def serve() -> None:
    """Serve as SageMaker does: /ping, /invocations and /execution-parameters on port 8080."""
    require_train("multimodal-algo serve")
    configure_logging()
    from multimodal_algo.serving.program import run_serving

    run_serving()


@main.command()
@click.argument("data", type=FILE_OR_FOLDER)
@click.option("--images", type=FOLDER, help="Folder of the image files that cells name.")
@click.option(
    "--problem-type",
    type=click.Choice(["auto", "binary", "multiclass", "regression"]),
    help="The hyperparameter problem_type of the job, as -p sets it.",
)
@name_options
@hyperparameter_option
def validate(data: Path, images: Path | None, problem_type: str | None, **options: Any) -> None:
    """Check training data for everything that training would refuse. Exit code 1 on errors.

    DATA is a CSV or Parquet file, or a folder of such files. Some hyperparameters of the job decide how files are read
    and which labels are allowed: for example csv_delimiter, on_bad_row, class_weights and eval_metric.
    """
    from multimodal_algo.config.hyperparameters import HyperParameters
    from multimodal_algo.tools.validate import print_inspection

    values = hyperparameters_of(options) | ({"problem_type": problem_type} if problem_type else {})
    sys.exit(print_inspection(data, images, HyperParameters.parse(values)))


@main.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File, instead of standard output.")
@click.option("--markdown", is_flag=True, help="Write the page of the documentation instead of the JSON.")
def spec(output: Path | None, markdown: bool) -> None:
    """Print the hyperparameters as CreateAlgorithm takes them (JSON), or as a page of the documentation (Markdown)."""
    from multimodal_algo.config.specification import specification_json, specification_markdown

    text = specification_markdown() if markdown else specification_json()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@main.command()
@click.argument("data", type=FILE_OR_FOLDER)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="File to write: .csv (newlines in cells become spaces) or .jsonl (cells stay as they are).",
)
@click.option("--training", is_flag=True, help="Write a training CSV, with header, label and newlines in cells.")
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="model.tar.gz with the columns to write.",
)
@click.option("--images", type=FOLDER, help="Folder of the image files that cells name.")
@click.option("--image-side", type=click.IntRange(min=1), help="Largest short side of an image in pixels (292).")
@click.option("--jpeg-quality", type=click.IntRange(1, 100), help="JPEG quality of images that are encoded again (90).")
@click.option(
    "--on-bad-image",
    type=click.Choice(["error", "empty"]),
    help="Treatment of a cell whose image is missing or cannot be read (error).",
)
def prepare(
    data: Path,
    output: Path,
    training: bool,
    model: Path | None,
    images: Path | None,
    image_side: int | None,
    jpeg_quality: int | None,
    on_bad_image: str | None,
) -> None:
    """Write inference lines: without header, label and newlines in cells. Or write a training CSV, with --training.

    DATA is a table with a header, a folder of tables, or a folder of images with a sub-folder for each class. With any
    option about images, every image becomes the base64 of a small JPEG. Without such an option, cells do not change.
    """
    from multimodal_algo.tools.prepare import ImageRules, prepare_data

    given: dict[str, Any] = {
        "folder": images,
        "side": image_side,
        "quality": jpeg_quality,
        "empty_bad": None if on_bad_image is None else on_bad_image == "empty",
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    rules = ImageRules(**chosen) if chosen else None
    click.echo(prepare_data(data, output, training=training, model=model, images=rules).sentence)


@main.command()
@click.argument("data", type=FILE_OR_FOLDER)
@click.option("--test", "share", default=0.2, show_default=True, help="Share of the rows that are test rows.")
@click.option(
    "--group",
    multiple=True,
    metavar="NAME",
    help="Column. Rows with the same value in it go into the same file. Repeatable.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the random order.")
@name_options
@hyperparameter_option
def split(data: Path, share: float, group: tuple[str, ...], seed: int, **options: Any) -> None:
    """Split DATA into NAME_train, NAME_test and NAME_test_noheader.csv next to it.

    DATA is a CSV or Parquet file, or a folder of such files. The test file has the same share of the rows of each
    class. Rows with the same content go into the same file.
    """
    from multimodal_algo.config.hyperparameters import HyperParameters
    from multimodal_algo.ingest.sources import TableFormat
    from multimodal_algo.tools.split import SplitSettings, sentences_of, split_data

    table = TableFormat.of(HyperParameters.parse(hyperparameters_of(options)))
    for sentence in sentences_of(split_data(data, SplitSettings(share, table, group, seed))):
        click.echo(sentence)


@main.command("export-backbones")
@click.argument("model", type=FILE_OR_FOLDER)
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for the networks.")
def export_backbones(model: Path, output: Path) -> None:
    """Write the frozen networks of MODEL as files for the channel "pretrained".

    MODEL is a model.tar.gz or a folder with one.
    """
    from multimodal_algo.training.continuing.export import export_backbones as export

    for sentence in export(model, output):
        click.echo(sentence)


@main.command("download-networks")
@click.argument("names", nargs=-1, required=True)
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for the networks.")
def download_networks(names: tuple[str, ...], output: Path) -> None:
    """Download pretrained networks by their NAMES in torchvision or timm, or by their ids on the Hugging Face hub."""
    from multimodal_algo.networks.downloads import download_networks as downloaded

    for path in downloaded(names, output):
        click.echo(path)


@main.command()
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for train.csv, test.csv and test_noheader.csv.")
@click.option(
    "--own-names", is_flag=True, help="Write shop.csv, whose columns have no suffixes, and a folder of photos."
)
def sample(output: Path, own_names: bool) -> None:
    """Write a small sample dataset with all four modalities."""
    from multimodal_algo.tools.sample import write_own_table, write_sample

    if own_names:
        table, photos = write_own_table(output)
        click.echo(f"{table}: 300 rows with the label category, whose photos are in {photos}")
        return
    write_sample(output)
    click.echo(f"{output}: train.csv, test.csv (with label), test_noheader.csv (the input of a batch transform)")


@main.command()
@click.argument("predictions", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("truth", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--label", default=LABEL, show_default=True, help="Name of the label in TRUTH.")
@click.option("--id", "identity", default=ID, show_default=True, help="Name of the ID in TRUTH.")
@click.option(
    "--problem-type",
    type=click.Choice(["auto", "classes", "regression"]),
    default="auto",
    show_default=True,
    help="Kind of the predictions. By default their content decides.",
)
@click.option("--review-label", default="__review__", show_default=True, help="Answer to rows left to a person.")
def score(predictions: Path, truth: Path, label: str, identity: str, problem_type: str, review_label: str) -> None:
    """Compare predictions with the labels in another file, and show how many are right.

    The predictions are the output of a transform, or the predictions.csv of a training job.
    """
    from multimodal_algo.tools.score import score_predictions

    outcome = score_predictions(
        predictions, truth, ColumnNames(label, identity), problem_type=problem_type, review_label=review_label
    )
    click.echo(outcome.sentence)


def train_program() -> None:
    """Run the container's program ``train``."""
    _run(train)


def serve_program() -> None:
    """Run the container's program ``serve``."""
    _run(serve)


def _run(command: Callable[..., Any]) -> None:
    main(args=[str(getattr(command, "name", ""))])
