"""``multimodal-algo local``: jobs on this machine with the platform's rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from multimodal_algo.cli.options import FILE_OR_FOLDER, FOLDER, NEW_FOLDER, pairs
from multimodal_algo.errors import UserError

if TYPE_CHECKING:
    from multimodal_algo.local.runner import Runner


@click.group()
def local() -> None:
    """Run training and batch transform jobs on this machine with the platform's rules."""


@local.command("train")
@click.option(
    "--train", "train_data", type=FILE_OR_FOLDER, required=True, help="CSV file or folder of the train channel."
)
@click.option("--validation", type=FILE_OR_FOLDER, help="CSV file or folder of the validation channel.")
@click.option("--images", type=FOLDER, help="Folder of the images channel, whose files cells may name.")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for model.tar.gz and output/.")
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
        hyperparameters=pairs(parameters, "-p"),
        runner=_runner(image, memory),
    )


@local.command("transform")
@click.option(
    "--model", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True, help="model.tar.gz."
)
@click.option("--input", "input_data", type=FILE_OR_FOLDER, required=True, help="File or folder of header-less lines.")
@click.option("--output", type=NEW_FOLDER, required=True, help="Folder for the .out files.")
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
        env=pairs(env, "--env"),
    )
    run(model, input_data, job, output=output, runner=_runner(image, memory))


def _runner(image: str | None, memory: str | None) -> Runner:
    from multimodal_algo.local.docker import DockerRunner
    from multimodal_algo.local.runner import ProcessRunner

    if memory and not image:
        raise UserError("--memory limits a container: give its --image too.")
    return DockerRunner(image, memory) if image else ProcessRunner()
