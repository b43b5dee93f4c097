"""A resumed run equals an uninterrupted one, bit for bit, however and at whichever step it was stopped.

By default a few stops are tried, not the same on each backend; `pytest -m exhaustive` tries every way to stop.
"""

import importlib.util
import random
from pathlib import Path

import keras
import pytest

PART = Path(__file__).with_name("stopped_run.py")
_spec = importlib.util.spec_from_file_location("stopped_run", PART)
part = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(part)

ALL = part.EPOCHS * part.BATCHES


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The facts of an uninterrupted run, for each set of options."""
    known = {}

    def facts(options):
        if options not in known:
            root = tmp_path_factory.mktemp("straight")
            known[options] = part.facts(part.fit(root, {}, **part.OPTIONS[options]))
        return known[options]

    return facts


def check(straight, root, after, way, options, stops=1):
    how, checkpoint = part.WAYS[way]
    arguments = part.OPTIONS[options]
    part.fit(root, checkpoint, stop=part.Stop(after, how), **arguments)
    for _ in range(stops - 1):  # a resumed run may be stopped again
        part.fit(root, checkpoint, ckpt_path="last", stop=part.Stop(3, how), **arguments)
    found = part.facts(part.fit(root, checkpoint, ckpt_path="last", **arguments))
    expected = dict(straight(options))
    found["callbacks"].pop("ModelCheckpoint(val/loss)")  # the runs save at different intervals
    expected["callbacks"] = {k: v for k, v in expected["callbacks"].items() if k != "ModelCheckpoint(val/loss)"}
    for what, value in expected.items():
        assert found[what] == value, what


SAMPLE = [
    (5, "ctrl-c", "all"),
    (10, "crash, saved in the background", "all"),
    (18, "sigterm", "four steps in a call"),
    # Film networks are slow to compile: one per backend. The posters' last checkpoint is of a step with pictures.
    (11, "crash, saved at each step", "posters") if keras.backend.backend() == "jax" else (22, "sigterm", "overviews"),
]


@pytest.mark.parametrize(("after", "way", "options"), SAMPLE, ids=str)
def test_resumed_run_equals_uninterrupted_run(straight, tmp_path, after, way, options):
    check(straight, tmp_path, after, way, options, stops=2 if after == SAMPLE[0][0] else 1)


FILMS = [options for options, arguments in part.OPTIONS.items() if "films" in arguments]


def check_at_random(straight, root, trial, way, options):
    after = random.Random(f"{trial} {way} {options}").randrange(1, ALL)
    check(straight, root, after, way, options, stops=2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", [options for options in part.OPTIONS if options not in FILMS])
@pytest.mark.parametrize("way", part.WAYS)
@pytest.mark.parametrize("trial", range(3))
def test_stops_at_random_steps(straight, tmp_path, trial, way, options):
    check_at_random(straight, tmp_path, trial, way, options)


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", FILMS)
@pytest.mark.parametrize("way", part.WAYS)
def test_stops_with_films(straight, tmp_path, way, options):
    check_at_random(straight, tmp_path, 0, way, options)
