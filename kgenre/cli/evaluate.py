"""What ``kgenre validate`` and ``kgenre test`` share."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.cli import configuration
from kgenre.cli.usage import UsageError


def run_stage(stage: str, films: str, arguments: Sequence[str]) -> int:
    """Evaluate a checkpoint with ``trainer.validate`` or ``trainer.test``."""
    parser = configuration.make_parser(stage, f"Evaluate a checkpoint on the {films} films of its split.")
    parser.add_argument("--ckpt_path", type=str | None, default="best", help="a path, best, or last")
    options = configuration.parse(parser, arguments)
    ckpt_path, own_run = options.ckpt_path, configuration.run_of_config(options)
    if ckpt_path is None:
        raise UsageError(f"kgenre {stage} needs --ckpt_path: a path, best, or last.")
    if ckpt_path in ("best", "last") and own_run is not None:
        ckpt_path = own_run / "checkpoints" / ckpt_path
    configuration.start(options)
    trainer, module, data = configuration.instantiate(parser, options)
    getattr(trainer, stage)(module, datamodule=data, ckpt_path=ckpt_path)
    return 130 if trainer.interrupted else 0
