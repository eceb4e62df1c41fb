"""How the budget is dealt to branches, and GPUs to fits."""

from __future__ import annotations

import pytest

from multimodal_algo.branches.registry import SPECS, BranchSpec
from multimodal_algo.config.recipes import Branch
from multimodal_algo.execution.protocol import Resources
from multimodal_algo.training.scheduling import BranchPlan, ranks_of_each, seconds_of_each


@pytest.mark.parametrize(
    ("efforts", "places", "expected"),
    [
        ([2.0, 1.0, 1.0], 1, [50.0, 25.0, 25.0]),
        ([2.0, 1.0, 1.0], 2, [100.0, 50.0, 50.0]),
        ([3.0, 2.0, 2.0], 2, [75.0, 50.0, 50.0]),
        ([5.0], 4, [100.0]),
        ([], 4, []),
    ],
)
def test_branches_that_are_fitted_at_once_are_all_done_in_time(
    efforts: list[float], places: int, expected: list[float]
) -> None:
    assert seconds_of_each(efforts, places, 100.0) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("fits", "gpus", "of_host", "nodes", "expected"),
    [
        (3, 0, 0, 1, 1),  # no GPU
        (3, 0, 0, 2, 2),  # asked for on hosts without
        (3, 2, 2, 1, 1),  # fewer GPUs than fits
        (3, 8, 8, 1, 2),  # one host with many
        (3, 64, 8, 1, 8),  # not over hosts
        (3, 64, 8, 2, 16),  # unless asked for
        (0, 4, 4, 1, 4),
    ],
)
def test_how_many_processes_fine_tune_a_network(fits: int, gpus: int, of_host: int, nodes: int, expected: int) -> None:
    assert ranks_of_each(fits, gpus, of_host, nodes) == expected


def specs(*branches: Branch) -> list[BranchSpec]:
    return [SPECS[branch] for branch in branches]


ALL = specs(Branch.TEXT, Branch.NUM, Branch.CAT, Branch.TEXT_FINE_TUNED)


def test_one_host_fits_one_branch_after_the_other_in_proportion_to_their_efforts() -> None:
    plan = BranchPlan.of(ALL, Resources(("here",), in_process=True), nodes=1)
    assert plan.seconds(ALL, 140.0) == pytest.approx([20.0, 10.0, 10.0, 100.0])
    assert (plan.parts_at_once, plan.ranks, plan.folds_at_once(ALL)) == (1, 1, 0)


def test_with_gpus_both_kinds_of_branches_have_all_the_time() -> None:
    plan = BranchPlan.of(ALL, Resources(("a", "b"), width=2, gpus=2, gpus_per_host=1), nodes=1)
    # The three parts of the network take turns on two GPUs.
    assert plan.seconds(ALL, 100.0) == pytest.approx([100.0, 50.0, 50.0, 150.0])


def test_without_gpus_all_branches_share_the_cores_of_the_hosts() -> None:
    plan = BranchPlan.of(ALL, Resources(("a", "b"), width=2), nodes=1)
    tabular, network = 4 / 14, 10 / 14
    expected = [100 * tabular, 50 * tabular, 50 * tabular, 150 * network]
    assert plan.seconds(ALL, 100.0) == pytest.approx(expected)


def test_hosts_that_have_no_branch_of_their_own_fit_folds() -> None:
    plan = BranchPlan.of(specs(Branch.NUM), Resources(tuple("abcd"), width=4), nodes=1)
    assert plan.folds_at_once(specs(Branch.NUM)) == 4
    assert plan.folds_at_once(specs(Branch.NUM, Branch.CAT, Branch.TEXT)) == 1
