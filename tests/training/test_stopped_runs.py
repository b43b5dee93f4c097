"""Stopped anywhere, in any way, a run that goes on is the run that was never stopped: bit for bit.

Normally a few stops are tried, others on another backend, with `pytest -m exhaustive` all of them.
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
    """What a run without a stop is, for each set of options."""
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
    for _ in range(stops - 1):  # a run that goes on may be stopped again
        part.fit(root, checkpoint, ckpt_path="last", stop=part.Stop(3, how), **arguments)
    found = part.facts(part.fit(root, checkpoint, ckpt_path="last", **arguments))
    expected = dict(straight(options))
    found["callbacks"].pop("ModelCheckpoint(val/loss)")  # how often it saves is what differs
    expected["callbacks"] = {k: v for k, v in expected["callbacks"].items() if k != "ModelCheckpoint(val/loss)"}
    for what, value in expected.items():
        assert found[what] == value, what


SAMPLE = [
    (5, "ctrl-c", "all"),
    (10, "crash, saved in the background", "all"),
    (18, "sigterm", "four steps in a call"),
    # Networks of films take long to compile. The last checkpoint of the one with posters is of a step with pictures.
    (11, "crash, saved at each step", "posters") if keras.backend.backend() == "jax" else (22, "sigterm", "overviews"),
]


@pytest.mark.parametrize(("after", "way", "options"), SAMPLE, ids=str)
def test_a_stop(straight, tmp_path, after, way, options):
    check(straight, tmp_path, after, way, options, stops=2 if after == SAMPLE[0][0] else 1)


FILMS = [options for options, arguments in part.OPTIONS.items() if "films" in arguments]


def check_at_random(straight, root, trial, way, options):
    after = random.Random(f"{trial} {way} {options}").randrange(1, ALL)
    check(straight, root, after, way, options, stops=2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", [options for options in part.OPTIONS if options not in FILMS])
@pytest.mark.parametrize("way", part.WAYS)
@pytest.mark.parametrize("trial", range(3))
def test_stops_at_random_places(straight, tmp_path, trial, way, options):
    check_at_random(straight, tmp_path, trial, way, options)


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", FILMS)
@pytest.mark.parametrize("way", part.WAYS)
def test_stops_with_films(straight, tmp_path, way, options):
    check_at_random(straight, tmp_path, 0, way, options)
