"""Average precision and ROC AUC against scikit-learn's, on inputs that hypothesis generates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from kgenre.evaluation import average_precision, roc_auc

pytestmark = pytest.mark.backend_free


@st.composite
def films(draw, max_films=12, max_genres=5):
    """Labels and probabilities; few distinct probabilities, so that ties are common."""
    shape = (draw(st.integers(1, max_films)), draw(st.integers(1, max_genres)))
    levels = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1)
    return draw(arrays(np.int8, shape, elements=st.integers(0, 1))), draw(arrays(np.float64, shape, elements=levels))


@settings(deadline=None)  # scikit-learn's first call is slow: it imports much
@given(films())
def test_equals_scikit_learn(case):
    true, prob = case
    ours = average_precision(true, prob)
    for genre, value in enumerate(ours):
        if true[:, genre].any():
            assert value == pytest.approx(average_precision_score(true[:, genre], prob[:, genre]), abs=1e-12)
        else:
            assert np.isnan(value)
    for genre, value in enumerate(roc_auc(true, prob)):
        if true[:, genre].any() and not true[:, genre].all():
            assert value == pytest.approx(roc_auc_score(true[:, genre], prob[:, genre]), abs=1e-12)
        else:
            assert np.isnan(value)


def test_no_warning_without_positives(recwarn):
    assert np.isnan(average_precision(np.zeros((3, 1)), np.zeros((3, 1)))).all()
    assert not recwarn.list
