"""The search space of a sweep, and the trials chosen from it."""

import math
from collections import Counter

import pytest

from kgenre.cli.search_space import Range, grid, is_numeric, optuna_next, random_search, read_space
from kgenre.cli.usage import UsageError

pytestmark = pytest.mark.backend_free

SPACE = read_space(
    {"lr": {"min": 1e-4, "max": 1.0, "log": True}, "model": {"units": {"min": 2, "max": 9}, "act": ["a", "b"]}}
)


def test_nested_sections_become_dotted_names():
    assert {"lr": Range(1e-4, 1.0, log=True), "model.units": Range(2, 9), "model.act": ["a", "b"]} == SPACE


def test_a_grid_is_every_combination():
    space = read_space({"lr": {"min": 0.001, "max": 1.0, "log": True, "steps": 4}, "on": [True, False]})
    trials = grid(space)
    assert [trial["lr"] for trial in trials[::2]] == [0.001, 0.01, 0.1, 1.0]
    assert [trial["on"] for trial in trials[:2]] == [True, False]
    assert len(trials) == 8


def test_random_draws_stay_in_range_and_are_reproducible():
    trials = list(random_search(SPACE, 200, seed=3))
    assert trials[:50] == list(random_search(SPACE, 50, seed=3))
    assert trials != list(random_search(SPACE, 200, seed=4))
    assert all(1e-4 <= trial["lr"] <= 1 for trial in trials)
    assert {trial["model.units"] for trial in trials} == set(range(2, 10))
    assert {trial["model.act"] for trial in trials} == {"a", "b"}
    below = sum(trial["lr"] < 1e-2 for trial in trials)
    assert 70 <= below <= 130, "half of them below the geometric middle"


def test_all_whole_numbers_of_a_range_are_drawn_equally_often():
    drawn = Counter(trial["units"] for trial in random_search({"units": Range(1, 4)}, 2000, seed=0))
    assert set(drawn) == {1, 2, 3, 4}
    assert all(400 < count < 600 for count in drawn.values()), drawn
    drawn = Counter(trial["units"] for trial in random_search({"units": Range(1, 64, log=True)}, 2000, seed=0))
    assert (min(drawn), max(drawn)) == (1, 64)
    below_8 = sum(count for units, count in drawn.items() if units < 8)
    assert abs(below_8 / 2000 - math.log(7.5 / 0.5) / math.log(64.5 / 0.5)) < 0.03, "evenly on a log scale"


def test_is_numeric():
    assert is_numeric(Range(0, 1))
    assert is_numeric([1, 2.5])
    assert not is_numeric([None, 0.5])
    assert not is_numeric([True, False])


@pytest.mark.parametrize(
    "section",
    [
        {"a": 3},
        {"a": []},
        {"a": {"min": 1}},
        {"a": {"min": 2, "max": 1}},
        {"a": {"min": 0, "max": 1, "log": True}},
        {"a": {"min": 0, "max": math.inf}},
        {"a": {"min": math.nan, "max": 1}},
        {"a": {"min": 0, "max": 1, "stepps": 3}},
        {"a": {"min": "x", "max": 1}},
        {"a": {"min": 0, "max": 1, "steps": 1}},
        {"a": {"min": 0, "max": 1, "steps": 2.5}},
        {"a": {"min": 0, "max": 1, "steps": "many"}},
        {"a": {"min": 0, "max": 1, "steps": 10**20}},
    ],
    ids=str,
)
def test_error_neither_a_list_nor_a_range(section):
    with pytest.raises(UsageError, match=r"sweep\.a takes a list"):
        read_space(section)


def test_a_grid_tries_no_whole_number_twice():
    assert grid(read_space({"units": {"min": 1, "max": 3, "steps": 5}})) == [{"units": n} for n in (1, 2, 3)]


def test_a_grid_over_a_range_needs_steps():
    with pytest.raises(UsageError, match="--method random"):
        grid({"a": Range(0, 1)})


def test_a_grid_of_too_many_combinations_is_refused():
    with pytest.raises(UsageError, match="The grid has 1,000,000 combinations: use --method random --trials 20"):
        grid(read_space({name: {"min": 0, "max": 1.5, "steps": 100} for name in "abc"}))


def test_optuna_improves_and_uses_finished_trials():
    pytest.importorskip("optuna", reason="the extra kgenre[optuna] is not installed")
    space = read_space({"x": {"min": -4.0, "max": 4.0}, "kind": ["far", ["near"]]})
    done = []
    for trial in range(30):
        values = optuna_next(space, 0, trial, "min", done)
        done.append((values, (values["x"] - 1) ** 2 + 9 * (values["kind"] == "far")))
    assert optuna_next(space, 0, 7, "min", done) == optuna_next(space, 0, 7, "min", done)
    early, late = done[:10], done[-10:]
    assert math.fsum(score for _, score in late) < math.fsum(score for _, score in early)
    assert optuna_next(space, 0, 7, "min", done) != optuna_next(space, 0, 7, "max", done)


def test_optuna_tries_other_values_with_each_seed():
    pytest.importorskip("optuna", reason="the extra kgenre[optuna] is not installed")
    space, tried = read_space({"x": {"min": 0.0, "max": 1.0}}), []
    for seed in range(4):
        done = []
        for trial in range(8):
            values = optuna_next(space, seed, trial, "min", done)
            done.append((values, values["x"]))
        tried += [values["x"] for values, _ in done]
    assert len(set(tried)) == len(tried)
