"""``kgenre fit``: train a model."""

from __future__ import annotations

import os
from argparse import SUPPRESS
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kgenre.cli import configuration
from kgenre.cli.advise import advise
from kgenre.cli.arguments import read_pipes
from kgenre.cli.given_checkpoint import checkpoint_path
from kgenre.cli.next_step import print_next_command
from kgenre.cli.parser import Parser
from kgenre.cli.standard_streams import fault_tolerant_streams
from kgenre.cli.usage import writing_below


def make_parser() -> Parser:
    """Create the parser of ``kgenre fit``."""
    parser = configuration.make_parser("fit", "Train a model; without --data.path on the built-in sample films.")
    parser.add_argument(
        "--advise",
        action="store_true",
        default=SUPPRESS,  # not a setting of the run: keep it out of its config
        help="do not train: measure a few steps on TensorFlow and JAX, in float32 and bfloat16, and say what is faster",
    )
    return parser


def _test(trainer: Any, module: Any, data: Any) -> None:
    """Test the best checkpoint, or else the last; without checkpointing, the current weights."""
    saved = None if trainer.checkpoint_callback is None else trainer.run_dir if trainer.global_step else "best"
    trainer.test(module, datamodule=data, ckpt_path=saved)


def _run_around(path: str | Path) -> Path | None:
    """Return the run that is resumed in its own folder, given the path of this or of a checkpoint in it."""
    given = Path(os.path.expanduser(path))
    return next((place for place in (given, given.parent.parent) if (place / "checkpoints").is_dir()), None)


def run(arguments: Sequence[str]) -> int:
    """Train, and with ``--test true`` evaluate the best checkpoint on the test films."""
    parser, arguments = make_parser(), read_pipes(arguments)
    options = configuration.parse(parser, arguments)
    if "advise" in options:
        return advise([word for word in arguments if word != "--advise"], options.trainer.precision)
    trainer, module, data = configuration.instantiate(parser, options)
    trainer.on_run_opened(lambda trainer: configuration.save_config(parser, options, trainer))
    path = checkpoint_path(options.ckpt_path, options, to_fit=True) if options.ckpt_path else None
    place, instead = trainer.default_root_dir, "give a folder for runs with --trainer.default_root_dir"
    if path not in (None, "best", "last") and (run := _run_around(path)) is not None:
        place, instead = run, "resume a copy of the run elsewhere"
    with fault_tolerant_streams(), writing_below(place, instead):
        trainer.fit(module, datamodule=data, ckpt_path=path)
        if trainer.interrupted:
            return 130
        if options.test:
            _test(trainer, module, data)
    print_next_command(trainer)
    return 0
