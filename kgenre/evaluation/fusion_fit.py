"""Weights for combining several models, genre by genre, fitted to films that none was trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def fit_fusion(
    true: npt.NDArray[np.bool_], evidence: Floats, prior: Floats, expected: Sequence[float], strength: float = 10.0
) -> tuple[Floats, Floats]:
    """Fit ``logit = prior + bias + sum_m weight_m evidence_m`` to held-out films, by penalised likelihood.

    Most genres have only a handful of validation films: each genre's weight is shrunk towards a weight shared by all
    genres, that one weakly towards ``expected``, and each bias towards 0. The penalty
    ``strength / 2 (weight - shared)^2`` is that of a Gaussian prior with variance ``1 / strength`` (ridge). With one
    model and ``expected=[1]`` this is Platt scaling per genre (Platt, 1999).

    Args:
        true: bool (n, G).
        evidence: (M, n, G), each model's log-odds minus ``prior``.
        prior: (G,), log-odds of the genres' frequencies among the training films.
        expected: M prior weights: 1 for models that read different inputs, 1/k for k that read the same.
        strength: how strongly the genres are tied together. In cross-validation on 247 films, the loss is flat from 20
            to 300; on other films 10 is as good or better.

    Returns:
        weights (M, G) and bias (G,). No weight is below 0: a model that is worse than chance on a few films must not be
        inverted.

    Example:
        >>> weights, bias = fit_fusion(true, log_odds - prior, prior, expected=[1.0, 1.0])
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    models, _, genres = evidence.shape
    target = np.asarray(expected, float)

    def loss(x: Floats) -> tuple[float, Floats]:
        shared, weights, bias = x[:models], x[models:-genres].reshape(models, genres), x[-genres:]
        logit = prior + bias + np.einsum("mg,mng->ng", weights, evidence)
        wrong = expit(logit) - true
        apart, away = weights - shared[:, None], shared - target
        value = np.logaddexp(0, logit).sum() - logit[true].sum()
        value += strength / 2 * ((apart**2).sum() + (bias**2).sum() + (away**2).sum())
        slope_weights = np.einsum("ng,mng->mg", wrong, evidence) + strength * apart
        slope_shared = strength * (away - apart.sum(axis=1))
        return value, np.concatenate([slope_shared, slope_weights.ravel(), wrong.sum(axis=0) + strength * bias])

    first = np.concatenate([target, np.repeat(target, genres), np.zeros(genres)])
    bounds = [(0, None)] * (models + models * genres) + [(None, None)] * genres
    found = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 500}).x
    return found[models:-genres].reshape(models, genres), found[-genres:]
