"""The Fréchet distance against matrix roots of SciPy."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from dinoir_plugin.metrics.functional.frechet import frechet_distance


def textbook(one, other):
    (m1, s1), (m2, s2) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (one, other))
    return ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * sqrtm(s1 @ s2).real)


@pytest.mark.parametrize(('count', 'more'), [(200, 300), (30, 300), (20, 9)])
def test_distance_is_that_of_the_textbook_for_many_and_for_few_samples(count, more):
    rng = np.random.default_rng(0)
    one = rng.normal(1, 2, (count, 24)) @ rng.normal(0, 1, (24, 24))
    other = rng.normal(0, 1, (more, 24)) @ rng.normal(0, 1, (24, 24))
    # the root of a singular product is only good to the root of the rounding errors
    assert frechet_distance(one, other) == pytest.approx(textbook(one, other), rel=1e-5 if more < 24 else 1e-9)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one))
    assert frechet_distance(one, one) < 1e-9 * np.trace(np.cov(one, rowvar=False))
