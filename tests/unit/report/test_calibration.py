import numpy as np

from multimodal_algo.report.calibration import bins_of


def test_bins_have_equal_counts_and_rise() -> None:
    sure = np.random.default_rng(0).uniform(0.5, 1, 1003)
    bins = bins_of(np.zeros(1003, dtype=int), np.stack([sure, 1 - sure], axis=1))
    assert len(bins) == 10
    assert {each.rows for each in bins} == {100, 101}
    assert [each.probability for each in bins] == sorted(each.probability for each in bins)


def test_an_interval_has_the_share_of_right_rows_inside_and_tells_a_wrong_probability() -> None:
    generator = np.random.default_rng(0)
    sure = np.full(2000, 0.8)
    for share, is_off in ((0.8, False), (0.6, True)):
        targets = (generator.random(2000) > share).astype(int)
        bins = bins_of(targets, np.stack([sure, 1 - sure], axis=1))
        assert all(each.low <= each.right <= each.high for each in bins)
        assert sum(each.is_off for each in bins) > 7 if is_off else sum(each.is_off for each in bins) < 4


def test_few_rows_share_one_bin() -> None:
    (only,) = bins_of(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert (only.rows, only.right) == (2, 0.5)
    assert 0 <= only.low < 0.5 < only.high <= 1
