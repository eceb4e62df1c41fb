"""Pickles of an artifact that somebody else made: they run no code that they bring."""

from __future__ import annotations

import io
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from multimodal_algo.artifact import CONFIG, read_description
from multimodal_algo.core.budget import Budget
from multimodal_algo.core.errors import UserError
from multimodal_algo.core.files import sha256
from multimodal_algo.core.task import Task
from multimodal_algo.predictors._autogluon_compat import PICKLES, tabular_predictor
from multimodal_algo.predictors.base import FitSettings
from multimodal_algo.predictors.ensemble import DESCRIPTION
from multimodal_algo.predictors.finetune._automm_compat import PICKLES as AUTOMM_PICKLES
from multimodal_algo.predictors.tabular import AutoGluonPredictor
from multimodal_algo.predictors.tokens import Tokens
from multimodal_algo.serving.loaded_model import LoadedModel


def calling(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls ``module.name(argument)`` when it is loaded."""
    texts = [f"X{len(text).to_bytes(4, 'little').decode()}{text}".encode() for text in (module, name, argument)]
    return b"\x80\x04" + texts[0] + texts[1] + b"\x93" + texts[2] + b"\x85R."


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved predictor whose model has no form but AutoGluon's pickles."""
    folder = tmp_path_factory.mktemp("pickled")
    table = pd.DataFrame({"a_num": np.arange(60.0)})
    settings = FitSettings("num", Task.of_classes(2), {"XT": {}}, 0, folder / "fit", Budget.starting_now(60))
    AutoGluonPredictor.fit(table, np.arange(60) % 2, np.arange(60) % 3, settings)[0].save(folder / "saved")
    return folder / "saved"


def planted(artifact: Path, pickled: Path, directory: Path, name: str, content: bytes) -> Path:
    """A copy of an artifact with a pickled predictor, one file of which is another one, and with the right hashes."""
    shutil.copytree(artifact, directory)
    (directory / "text" / DESCRIPTION).unlink()
    shutil.copytree(pickled, directory / "text", dirs_exist_ok=True)
    assert (directory / name).is_file()
    (directory / name).write_bytes(content)
    config = read_description(directory)
    paths = [path for path in directory.rglob("*") if path.is_file() and path.name != CONFIG]
    files = {path.relative_to(directory).as_posix(): sha256(path) for path in paths}
    (directory / CONFIG).write_text(config.model_copy(update={"files": files}).model_dump_json())
    return directory


@pytest.mark.fits
@pytest.mark.parametrize("name", ["predictor.pkl", "learner.pkl", "models/trainer.pkl"])
def test_an_artifact_that_runs_a_command_is_refused_with_a_sentence(
    artifact: Path, pickled: Path, tmp_path: Path, name: str
) -> None:
    ran = tmp_path / "ran"
    attack = calling("os", "system", f"touch {ran}")
    pickle.loads(attack)
    ran.unlink()  # the attack works where nothing stands against it
    directory = planted(artifact, pickled, tmp_path / "planted", f"text/predictor/{name}", attack)
    with pytest.raises(UserError, match=rf"{Path(name).name}: the pickle names os.system, which no model of this pack"):
        LoadedModel.load(directory)
    assert not ran.exists()


@pytest.mark.parametrize("pickles", [PICKLES, AUTOMM_PICKLES], ids=["tabular", "AutoMM"])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("posix", "system"),
        ("numpy", "load"),
        ("numpy", "ndarray.dump"),
        ("pandas", "read_pickle"),
        ("pandas.core.frame", "DataFrame.eval"),
        ("torch", "load"),
        ("subprocess", "Popen"),
        ("multimodal_algo.core.linear", "Linear.__init__.__globals__"),
    ],
)
def test_only_listed_classes_are_found(pickles: type(PICKLES), module: str, name: str) -> None:  # type: ignore[valid-type]
    with pytest.raises(UserError, match="which no model of this package holds"):
        pickles.load(io.BytesIO(calling(module, name, "1")))


def enumeration(name: str) -> bytes:
    """A pickle of a member of `Tokens`, as Python 3.11.2 of Debian 12 writes it: by `getattr`."""
    return f"cbuiltins\ngetattr\n(cmultimodal_algo.predictors.tokens\nTokens\nV{name}\ntR.".encode()


def test_members_of_enumerations_are_loaded_and_nothing_else_of_their_classes() -> None:
    assert PICKLES.loads(enumeration("WORDS")) is Tokens.WORDS
    for name in ("__init__", "mro", "__subclasses__"):
        with pytest.raises(UserError, match="which no model of this package holds"):
            PICKLES.loads(enumeration(name))
    with pytest.raises(UserError, match="which no model of this package holds"):
        PICKLES.loads(b"cbuiltins\ngetattr\n(cbuiltins\ndict\nVget\ntR.")


def test_the_second_pickle_of_a_forest_is_checked_too(tmp_path: Path) -> None:
    tabular_predictor()
    from autogluon.tabular.models.rf.compilers.native import AbstractNativeCompiler

    (tmp_path / "model_native.pkl").write_bytes(calling("os", "system", f"touch {tmp_path}/ran"))
    with pytest.raises(UserError, match=r"names os\.system"):
        AbstractNativeCompiler.load(str(tmp_path))
    assert not (tmp_path / "ran").exists()


def test_all_modules_of_autogluon_that_load_pickles_are_covered() -> None:
    """A new version may load pickles elsewhere: see `tabular_predictor` and `admit_pickles`."""
    (root,) = find_spec("autogluon").submodule_search_locations  # type: ignore[union-attr]
    loading = {
        path.relative_to(root).as_posix()
        for path in Path(root).rglob("*.py")
        if "pickle.load" in path.read_text(encoding="utf-8")
    }
    assert loading == {
        "common/loaders/load_pkl.py",
        "tabular/models/rf/compilers/native.py",
        "tabular/models/tabular_nn/compilers/native.py",
        "multimodal/learners/base.py",
        "multimodal/learners/ensemble.py",
        "multimodal/learners/few_shot_svm.py",
        "multimodal/learners/matching.py",
        # not reached when a model is loaded: the search of hyperparameters, and folds that Ray fits
        "core/models/ensemble/fold_fitting_strategy.py",
        "core/searcher/local_searcher.py",
    }
