"""The ``multimodal-algo`` command. Heavy imports happen inside the commands that need them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from multimodal_algo import __version__
from multimodal_algo.errors import MultimodalError, UserError
from multimodal_algo.log import configure_logging

if TYPE_CHECKING:
    from multimodal_algo.local.runner import Runner

_FILE_OR_DIR = click.Path(exists=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_DIR = click.Path(file_okay=False, path_type=Path)


class _Commands(click.Group):
    """Shows what the user can fix as one sentence, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MultimodalError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Classify rows that mix text, numbers, categories and images, as a SageMaker algorithm."""


@main.command()
def train() -> None:
    """Train as SageMaker starts it, on the tree below SAGEMAKER_BASE_DIR (default /opt/ml)."""
    configure_logging()
    from multimodal_algo.sagemaker.entry import run_training
    from multimodal_algo.sagemaker.settings import Settings

    sys.exit(run_training(Settings.from_environment()))


@main.command()
def serve() -> None:
    """Serve as SageMaker starts it: /ping, /invocations, /execution-parameters on port 8080."""
    configure_logging()
    from multimodal_algo.sagemaker.settings import Settings
    from multimodal_algo.serving.server import serve as serve_forever

    serve_forever(Settings.from_environment())


@main.command()
@click.argument("data", type=_FILE_OR_DIR)
@click.option("--images", type=_FOLDER, help="Folder of the images channel, whose files cells may name.")
@click.option(
    "--problem-type",
    type=click.Choice(["auto", "binary", "multiclass", "regression"]),
    default="auto",
    help="The job's hyperparameter.",
)
def validate(data: Path, images: Path | None, problem_type: str) -> None:
    """Check training data (a CSV or Parquet file or a folder of them) as training would; exit code 1 on errors."""
    from multimodal_algo.validation_report import print_inspection

    sys.exit(print_inspection(data, images, problem_type))


@main.command()
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; standard output else.")
@click.option("--markdown", is_flag=True, help="Write the page for users instead of the platform's JSON.")
def spec(output: Path | None, markdown: bool) -> None:
    """Print the hyperparameter specification for CreateAlgorithm or the console's page."""
    from multimodal_algo.hyperparameters import specification_json, specification_markdown

    text = specification_markdown() if markdown else specification_json()
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


@main.command()
@click.argument("data", type=_FILE_OR_DIR)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Lines to write: .csv (newlines in cells become spaces) or .jsonl (cells stay as they are).",
)
@click.option(
    "--model",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="model.tar.gz whose columns are meant.",
)
def prepare(data: Path, output: Path, model: Path | None) -> None:
    """Write a table's rows as inference lines that SplitType Line may cut: without header, label and newlines."""
    from multimodal_algo.prepare import prepare_lines

    click.echo(f"{output}: {prepare_lines(data, output, model=model)} lines")


@main.command()
@click.option("--output", type=_DIR, required=True, help="Folder for train.csv, test.csv and test_noheader.csv.")
def sample(output: Path) -> None:
    """Write a small sample dataset with all four modalities."""
    from multimodal_algo.sample import write_sample

    write_sample(output)
    click.echo(f"{output}: train.csv, test.csv (with label), test_noheader.csv (as batch transform gets it)")


@main.command()
@click.argument("predictions", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("truth", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def score(predictions: Path, truth: Path) -> None:
    """Compare a transform's output with a CSV file that has the labels, row by row."""
    from multimodal_algo.score import score_predictions

    click.echo(score_predictions(predictions, truth).sentence)


@main.group()
def local() -> None:
    """Run training and batch transform jobs on this machine with the platform's rules."""


@local.command("train")
@click.option(
    "--train", "train_data", type=_FILE_OR_DIR, required=True, help="CSV file or folder of the train channel."
)
@click.option("--validation", type=_FILE_OR_DIR, help="CSV file or folder of the validation channel.")
@click.option("--images", type=_FOLDER, help="Folder of the images channel, whose files cells may name.")
@click.option("--output", type=_DIR, required=True, help="Folder for model.tar.gz and output/.")
@click.option("-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A hyperparameter; may be repeated.")
@click.option("--image", help="Train in this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_train(
    train_data: Path,
    validation: Path | None,
    images: Path | None,
    output: Path,
    parameters: tuple[str, ...],
    image: str | None,
    memory: str | None,
) -> None:
    """Train as a training job does."""
    from multimodal_algo.local import train as run

    run(
        train_data,
        validation=validation,
        images=images,
        output=output,
        hyperparameters=_pairs(parameters, "-p"),
        runner=_runner(image, memory),
    )


@local.command("transform")
@click.option(
    "--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="model.tar.gz."
)
@click.option("--input", "input_data", type=_FILE_OR_DIR, required=True, help="File or folder of header-less lines.")
@click.option("--output", type=_DIR, required=True, help="Folder for the .out files.")
@click.option("--split-type", type=click.Choice(["Line", "None"]), default="Line", show_default=True)
@click.option(
    "--strategy", type=click.Choice(["MultiRecord", "SingleRecord"]), default="MultiRecord", show_default=True
)
@click.option("--max-payload-mb", type=int, help="Payload limit in MB; what the server says, or 6, else.")
@click.option("--max-concurrent-transforms", type=int, help="Requests at a time; what the server says, or 1, else.")
@click.option("--content-type", default="text/csv", show_default=True)
@click.option("--accept", default="text/csv", show_default=True)
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment of the server; may be repeated.")
@click.option("--image", help="Serve from this container image instead of a plain process.")
@click.option("--memory", help="With --image: most memory of the container, such as 8g.")
def local_transform(
    model: Path,
    input_data: Path,
    output: Path,
    split_type: str,
    strategy: str,
    max_payload_mb: int | None,
    max_concurrent_transforms: int | None,
    content_type: str,
    accept: str,
    env: tuple[str, ...],
    image: str | None,
    memory: str | None,
) -> None:
    """Transform as a batch transform job does."""
    from multimodal_algo.local import BatchStrategy, SplitType, TransformJob
    from multimodal_algo.local import transform as run

    job = TransformJob(
        split_type=SplitType(split_type),
        strategy=BatchStrategy(strategy),
        max_payload_mb=max_payload_mb,
        max_concurrent_transforms=max_concurrent_transforms,
        content_type=content_type,
        accept=accept,
        env=_pairs(env, "--env"),
    )
    run(model, input_data, job, output=output, runner=_runner(image, memory))


def train_program() -> None:
    """The program ``train``, as the platform calls it."""
    _run(train)


def serve_program() -> None:
    """The program ``serve``, as the platform calls it."""
    _run(serve)


def _run(command: Callable[..., Any]) -> None:
    main(args=[str(getattr(command, "name", ""))])


def _runner(image: str | None, memory: str | None) -> Runner:
    from multimodal_algo.local.docker import DockerRunner
    from multimodal_algo.local.runner import ProcessRunner

    if memory and not image:
        raise UserError("--memory limits a container: give its --image too.")
    return DockerRunner(image, memory) if image else ProcessRunner()


def _pairs(options: tuple[str, ...], flag: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator or not name:
            raise UserError(f"{flag} {option}: write it as NAME=VALUE.")
        pairs[name] = value
    return pairs
