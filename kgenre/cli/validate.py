"""``kgenre validate``: evaluate a checkpoint on the validation films of its split."""

from functools import partial

from kgenre.cli.evaluate import run_stage

run = partial(run_stage, "validate", "validation")
