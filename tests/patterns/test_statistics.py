"""Differences of means, and what is said where there is too little to say anything."""

import pytest

from worker.patterns.statistics import mean_difference, student


@pytest.mark.parametrize(("freedom", "quantile"), [(3, 3.1824), (5, 2.5706), (10, 2.2281), (30, 2.0423), (1e9, 1.96)])
def test_student_s_quantiles_are_those_of_the_tables(freedom: float, quantile: float) -> None:
    assert student(0.975, freedom) == pytest.approx(quantile, rel=0.01)


def test_the_interval_of_two_means_is_welch_s() -> None:
    # Variances 4 and 9: 5.85 degrees of freedom, for which tables say 2.461, and a standard error of 1.483.
    value, lower, upper = mean_difference((10, 20.0, 4.0), (5, 17.0, 9.0)) or (0, 0, 0)
    assert (value, round(lower, 2), round(upper, 2)) == (3.0, -0.65, 6.65)


def test_a_single_run_has_no_spread_and_equal_runs_none() -> None:
    assert mean_difference((1, 20.0, 0.0), (5, 17.0, 9.0)) is None
    assert mean_difference((3, 2.0, 0.0), (4, 1.0, 0.0)) == (1.0, 1.0, 1.0)
