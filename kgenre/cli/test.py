"""``kgenre test``: evaluate a checkpoint on the test films of its split."""

from functools import partial

from kgenre.cli.evaluate import run_stage

run = partial(run_stage, "test", "test")
