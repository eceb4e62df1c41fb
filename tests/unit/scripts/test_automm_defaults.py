"""The lists by which a job is checked are those of the installed libraries, also where these are not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from autogluon.tabular.registry import ag_model_registry

from multimodal_algo.config.customisation import TABULAR_MODELS

ROOT = Path(__file__).parents[3]


def test_the_committed_keys_of_automm_are_those_of_the_installed_version() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/automm_defaults.py"], capture_output=True, text=True, check=True
    )
    committed = ROOT / "src/multimodal_algo/config/automm_defaults.json"
    assert done.stdout == committed.read_text(encoding="utf-8"), "run `make spec`"


def test_autogluon_knows_the_models_for_tables_that_a_job_may_name() -> None:
    assert {*TABULAR_MODELS} - {"WIDE"} <= {*ag_model_registry.keys}
