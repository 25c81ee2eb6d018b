"""The bootstrap over cases, and over runs and cases."""

import numpy as np

from spearhead.metrics import resample


def test_of_one_run_only_the_cases_are_drawn() -> None:
    values = np.random.default_rng(0).random((1, 300))
    one = resample.crossed(values, seed=0, draws=50)
    (sums,) = resample.totals([values.T], seed=1, draws=50)
    np.testing.assert_allclose(one, sums[:, 0] / 300)


def test_what_differs_between_runs_and_between_cases_both_widen_the_interval() -> None:
    """For values a + b of run and case, the variance of a drawn mean is var(a) / runs + var(b) / cases."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (5, 1)), rng.normal(0, 3, (1, 400))
    drawn = resample.crossed(a + b, seed=0, draws=20_000)
    wanted = a.var() / 5 + b.var() / 400
    assert 0.2 < a.var() / 5 / wanted < 0.8  # neither is there for nothing
    np.testing.assert_allclose(drawn.var(), wanted, rtol=0.05)
    np.testing.assert_allclose(drawn.mean(), (a + b).mean(), atol=0.02)
