"""What ``kgenre validate`` and ``kgenre test`` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kgenre.checkpoints import CheckpointError, find_checkpoint
from kgenre.checkpoints.files import whole_file
from kgenre.cli import configuration
from kgenre.cli.given_checkpoint import checkpoint_path
from kgenre.cli.next_step import print_next_command
from kgenre.cli.standard_streams import fault_tolerant_streams
from kgenre.cli.usage import UsageError, writing_below


def run_stage(stage: str, films: str, arguments: Sequence[str]) -> int:
    """Evaluate a checkpoint with ``trainer.validate`` or ``trainer.test``."""
    parser = configuration.make_parser(
        stage, f"Evaluate a checkpoint (default: best) on the {films} films of its split."
    )
    options = configuration.parse(parser, arguments, to_fit=False)
    trainer, module, data = configuration.instantiate(parser, options)
    path = checkpoint_path(options.ckpt_path or "best", options)
    by_name = path in ("best", "last")
    run = trainer.default_root_dir if by_name else find_checkpoint(path).parent.parent
    try:
        place = writing_below(run, f"{stage} a writable copy of the run, as the results are saved there")
        with fault_tolerant_streams(), place:
            getattr(trainer, stage)(module, datamodule=data, ckpt_path=path)
            if trainer.results_dir not in (None, trainer.run_dir):  # the run's own config is that of its fit
                options.ckpt_path = str(trainer.ckpt_path)
                text = configuration.dump(parser, configuration.as_used(options, trainer))
                with whole_file(trainer.results_dir / "config.yaml") as partial:
                    partial.write_text(text, encoding="utf-8")
            print_next_command(trainer)
    except CheckpointError as error:
        if by_name and not options.config and options.trainer.name is None and not trainer.experiment_dir.exists():
            raise UsageError(_which_run(stage, trainer.default_root_dir)) from error
        raise
    return 0


def _which_run(stage: str, root: Path) -> str:
    """Return the message for arguments that do not identify a run."""
    runs = sorted(root.glob("*/version_*"), key=lambda run: run.stat().st_mtime)[-3:]
    known = f" The newest runs: {', '.join(map(str, runs[::-1]))}." if runs else f" None in {root}: train first."
    return f"kgenre {stage} needs a run: set --ckpt_path RUN, or the --config that it was trained with.{known}"
