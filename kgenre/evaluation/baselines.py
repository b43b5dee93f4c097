"""Baselines to compare a network with: they need seconds on one core, and no neural network. BASELINES lists them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from kgenre.evaluation.baseline_words import baseline_words

OnProgress = Callable[[int, int], None]


class Baseline(Protocol):
    """A predictor with scikit-learn's ``fit`` and ``predict_proba``, fitted on the network's training films.

    ``key`` names it in ``metrics.json`` (``test/baseline_<key>/loss``), ``title`` in messages and reports. ``reads`` is
    its input, "overview", "poster" or None, and decides what its ``films`` are: texts, or `poster_features`.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    reads: ClassVar[str | None]

    def fit(self, films: Any, genres: np.ndarray, on_progress: OnProgress | None = None) -> Self:
        """Fit on the inputs of n films and their (n, G) genres, 0 or 1.

        ``on_progress`` is called with (genres done, all genres) by baselines that fit each genre separately.
        """
        ...

    def predict_proba(self, films: Any) -> np.ndarray:
        """Return (n, G) float64 probabilities for the inputs of n films."""
        ...


class FrequencyBaseline:
    """Predicts each genre's share of the training films, the same for every film.

    The best prediction that ignores the film: a model with a larger loss would be better off without its input. The
    share is ``(count + 1/2) / (n + 1)`` (Krichevsky and Trofimov, 1981, https://doi.org/10.1109/TIT.1981.1056331): the
    plain share is 0 for a genre that no training film has, and a test film of that genre would cost 16 nats. On a few
    hundred films both give the same loss to three digits.

    Example:
        >>> genres = np.array([[1, 0], [1, 0], [0, 0]])
        >>> FrequencyBaseline().fit(["a", "b", "c"], genres).predict_proba(["new"])
        array([[0.625, 0.125]])
    """

    key: ClassVar[str] = "frequency"
    title: ClassVar[str] = "genre frequencies"
    reads: ClassVar[str | None] = None

    def fit(self, films: Any, genres: np.ndarray, on_progress: OnProgress | None = None) -> Self:
        """Count the genres (n, G); only the number of ``films`` matters.

        Raises:
            ValueError: ``genres`` is not (n, G) of 0 and 1.
        """
        genres = np.asarray(genres)
        if genres.ndim != 2 or 0 in genres.shape or len(genres) != len(films) or not np.isin(genres, (0, 1)).all():
            raise ValueError(
                f"A baseline needs one row of genres, 0 or 1, per training film, and at least one film. "
                f"Received: {len(films)} films, genres of shape {genres.shape}, values "
                f"{np.unique(genres)[:5].tolist()}."
            )
        self.frequencies_ = (genres.sum(axis=0) + 0.5) / (len(genres) + 1)
        return self

    def predict_proba(self, films: Any) -> np.ndarray:
        """Return the training frequencies, (n, G) float64, the same for each of the n films."""
        return np.tile(self.frequencies_, (len(films), 1))


class Top3Baseline(FrequencyBaseline):
    """Predicts the three most frequent genres of the training films, for every film.

    It returns hard decisions (1 or 0), not probabilities: metrics of probabilities and rankings do not apply to it.

    Example:
        >>> genres = np.array([[1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 0]])
        >>> Top3Baseline().fit(["a", "b", "c"], genres).predict_proba(["new"])
        array([[1., 1., 0., 1.]])
    """

    key: ClassVar[str] = "top3"
    title: ClassVar[str] = "always the three most frequent genres"

    def predict_proba(self, films: Any) -> np.ndarray:
        """Return (n, G) float64 of 1 and 0, the same for each of the n films."""
        decisions = np.zeros_like(self.frequencies_)
        decisions[np.argsort(-self.frequencies_, kind="stable")[:3]] = 1
        return np.tile(decisions, (len(films), 1))


class GenreRegressions(FrequencyBaseline):
    """One logistic regression per genre (scikit-learn); a genre that all or no training films have gets its frequency.

    A subclass fits ``regressions_`` with `_fit_each` and turns films into features (n, F) in ``_features``.
    """

    regressions_: dict[int, Any]  # by the genre's column

    def _features(self, films: Any) -> Any:
        raise NotImplementedError

    def _fit_each(self, regression: Any, features: Any, genres: np.ndarray, on_progress: OnProgress | None) -> None:
        """Fit a copy of ``regression`` for each genre. Not in threads: liblinear's results then vary now and then."""
        from sklearn.base import clone

        columns = [genre for genre, column in enumerate(genres.T) if 0 < column.sum() < len(column)]
        for genre in columns:
            self.regressions_[genre] = clone(regression).fit(features, genres[:, genre])
            if on_progress:
                on_progress(len(self.regressions_), len(columns))

    def predict_proba(self, films: Any) -> np.ndarray:
        """Return (n, G) float64 probabilities for the inputs of n films."""
        probabilities = super().predict_proba(films)
        if len(films) and self.regressions_:
            features = self._features(films)
            for genre, regression in self.regressions_.items():
                probabilities[:, genre] = regression.predict_proba(features)[:, 1]
        return probabilities


class TfidfBaseline(GenreRegressions):
    """TF-IDF of the overview's words and one logistic regression per genre (scikit-learn).

    The defaults were chosen on validation films out of 2,500: words alone beat words with word pairs there,
    by .002 in binary cross-entropy with 1,000 films to train on and by .003 with 2,000, and dropping rare words did not
    help. A genre that all or none of the training films have gets its frequency, as does every genre if the overviews
    contain no words.

    Args:
        C: inverse strength of the L2 penalty.
        ngram_range: shortest and longest run of words that is a feature; `baseline_words` finds the words.
        min_df: ignore features that occur in fewer training overviews.

    Example:
        >>> films = ["a haunted house", "a wedding in spring", "the house is haunted", "spring in Paris"]
        >>> genres = np.array([[1, 0], [0, 1], [1, 0], [0, 1]])  # Horror, Romance
        >>> TfidfBaseline().fit(films, genres).predict_proba(["haunted"]).argmax()
        np.int64(0)
    """

    key: ClassVar[str] = "tfidf"
    title: ClassVar[str] = "TF-IDF + logistic regression"
    reads: ClassVar[str | None] = "overview"

    def __init__(self, C: float = 5.0, ngram_range: tuple[int, int] = (1, 1), min_df: int = 1) -> None:  # noqa: N803
        self.C = C
        self.ngram_range = ngram_range
        self.min_df = min_df

    def fit(self, films: Sequence[str], genres: np.ndarray, on_progress: OnProgress | None = None) -> Self:
        """Fit vocabulary, word weights and regressions on n overviews and their (n, G) genres.

        Raises:
            ValueError: ``genres`` is not (n, G) of 0 and 1, or an overview is not a str.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        super().fit(films, genres)
        self.regressions_ = {}
        self.vectorizer_ = TfidfVectorizer(
            sublinear_tf=True,
            ngram_range=self.ngram_range,
            min_df=self.min_df,
            tokenizer=baseline_words,
            token_pattern=None,
        )
        analyze = self.vectorizer_.build_analyzer()
        if any(analyze(text) for text in _checked_texts(films)):
            words = self.vectorizer_.fit_transform(films)
            # liblinear takes half as long as lbfgs here, for the same probabilities to two digits.
            regression = LogisticRegression(C=self.C, solver="liblinear", random_state=0)
            self._fit_each(regression, words, np.asarray(genres), on_progress)
        return self

    def _features(self, films: Sequence[str]) -> Any:
        return self.vectorizer_.transform(_checked_texts(films))


class PosterBaseline(GenreRegressions):
    """Colour and layout of the poster, about 400 numbers, and one logistic regression per genre (scikit-learn).

    A genre that all or none of the training films have gets its frequency.

    Args:
        C: inverse strength of the L2 penalty; the default was chosen on validation films out of 2,500.

    Example:
        >>> from kgenre.evaluation.poster_statistics import poster_features
        >>> red, blue = np.zeros((2, 4, 16, 16, 3), "uint8")
        >>> red[..., 0], blue[..., 2] = 200, 200
        >>> posters, genres = np.concatenate([red, blue]), np.repeat([[1, 0], [0, 1]], 4, axis=0)
        >>> PosterBaseline().fit(poster_features(posters), genres).predict_proba(poster_features(red)).argmax(axis=1)
        array([0, 0, 0, 0])
    """

    key: ClassVar[str] = "colours"
    title: ClassVar[str] = "colours and layout + logistic regression"
    reads: ClassVar[str | None] = "poster"

    def __init__(self, C: float = 0.002) -> None:  # noqa: N803
        self.C = C

    def fit(self, films: npt.NDArray[np.float32], genres: np.ndarray, on_progress: OnProgress | None = None) -> Self:
        """Fit on `poster_features` (n, F) of the training films and their (n, G) genres.

        Raises:
            ValueError: ``genres`` is not (n, G) of 0 and 1.
        """
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        super().fit(films, genres)
        self.regressions_ = {}
        self.mean_, self.scale_ = films.mean(axis=0), films.std(axis=0) + 1e-6
        regression = LogisticRegression(C=self.C, max_iter=200)
        with threadpool_limits(1):  # the matrices are small: threads wait for each other most of the time
            self._fit_each(regression, self._features(films), np.asarray(genres), on_progress)
        return self

    def _features(self, films: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return (films - self.mean_) / self.scale_


def _checked_texts(overviews: Sequence[str]) -> list[str]:
    """Return ``overviews`` as a list, or raise a ValueError that names the first that is not a str."""
    for row, text in enumerate(overviews):
        if not isinstance(text, str):
            raise ValueError(f"Every overview must be a str ('' for none). Received: {text!r} in row {row}.")
    return list(overviews)


BASELINES: tuple[type[Baseline], ...] = (FrequencyBaseline, Top3Baseline, TfidfBaseline, PosterBaseline)
