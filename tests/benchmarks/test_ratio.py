import numpy as np
import pytest

pytestmark = pytest.mark.backend_free


def test_ratios_pair_the_rounds(benchmarks):
    # The machine slows down for both contestants alike: the ratio stays the same.
    base = list(np.linspace(100, 400, 25))
    ratio, low, high = benchmarks("ratio").ratio_with_interval([1.5 * value for value in base], base)
    assert (ratio, low, high) == pytest.approx((1.5, 1.5, 1.5))


def test_the_interval_widens_with_noise(benchmarks):
    noise = np.random.default_rng(0).lognormal(0, 0.3, (2, 40))
    ratio, low, high = benchmarks("ratio").ratio_with_interval(list(200 * noise[0]), list(100 * noise[1]))
    assert low < 2 < high
    assert high - low > 0.1
    assert low < ratio < high
