"""What ``kgenre validate`` and ``kgenre test`` share."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.cli import configuration


def run_stage(stage: str, films: str, arguments: Sequence[str]) -> int:
    """Evaluate a checkpoint with ``trainer.validate`` or ``trainer.test``."""
    parser = configuration.make_parser(
        stage, f"Evaluate a checkpoint (default: best) on the {films} films of its split."
    )
    options = configuration.parse(parser, arguments)
    configuration.start(options)
    trainer, module, data = configuration.instantiate(parser, options)
    getattr(trainer, stage)(module, datamodule=data, ckpt_path=configuration.checkpoint_path(options, default="best"))
    return 130 if trainer.interrupted else 0
