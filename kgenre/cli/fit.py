"""``kgenre fit``: train a model."""

from __future__ import annotations

from collections.abc import Sequence

from kgenre.cli import configuration


def run(arguments: Sequence[str]) -> int:
    """Train, and with ``--test`` evaluate the best checkpoint on the test films."""
    parser = configuration.make_parser("fit", "Train a model; without --data.path on the built-in sample films.")
    parser.add_argument(
        "--ckpt_path", type=str | None, default=None, help="go on from a checkpoint: a path, best, or last"
    )
    parser.add_argument("--test", type=bool, default=False, help="test the best checkpoint when training is over")
    options = configuration.parse(parser, arguments)
    configuration.start(options)
    trainer, module, data = configuration.instantiate(parser, options)
    trainer.on_run_opened(lambda run_dir: configuration.save_config(parser, options, run_dir))

    ckpt_path = options.ckpt_path
    own_run = configuration.run_of_config(options)
    if ckpt_path in ("best", "last") and own_run is not None:
        ckpt_path = own_run / "checkpoints" / ckpt_path
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)
    if trainer.interrupted:
        return 130
    if options.test and not trainer.fast_dev_run:
        trainer.test(module, datamodule=data, ckpt_path="best")
    return 0
