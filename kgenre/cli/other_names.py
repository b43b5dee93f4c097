"""Names that other programs use for the options of ``kgenre``, for error messages that suggest the right one."""

from __future__ import annotations

from collections.abc import Collection

_OTHER_NAMES = {
    "trainer.max_epochs": ("epochs", "epoch", "num_epochs", "n_epochs", "num_train_epochs"),
    "trainer.max_steps": ("steps", "num_steps", "n_steps", "iterations", "max_iter"),
    "trainer.devices": ("gpus", "gpu", "num_gpus", "n_gpus", "device_ids"),
    "trainer.accelerator": ("device", "cuda"),
    "trainer.precision": ("fp16", "bf16", "amp", "half", "mixed_precision", "dtype"),
    "trainer.default_root_dir": ("output", "output_dir", "out", "out_dir", "log_dir", "logdir", "save_dir", "root"),
    "trainer.name": ("run_name", "experiment", "experiment_name"),
    "trainer.gradient_clip_val": ("clip", "clipnorm", "grad_clip", "gradient_clip", "max_grad_norm"),
    "trainer.accumulate_grad_batches": ("accumulate", "grad_accum", "gradient_accumulation_steps"),
    "model.learning_rate": ("lr", "base_lr", "max_lr"),
    "model.weight_decay": ("wd", "l2"),
    "model.network_args.dropout": ("dropout", "dropout_rate"),
    "model.loss weighted_binary_crossentropy": ("class_weight", "class_weights", "pos_weight"),
    "model.network": ("net", "arch", "architecture", "backbone"),
    "data.path": ("data_dir", "data_path", "dataset", "dataset_path", "folder", "films", "input"),
    "data.batch_size": ("bs", "batch", "batchsize"),
    "data.image_size": ("img_size", "image_shape", "resolution"),
    "data.sequence_length": ("max_len", "maxlen", "max_length", "seq_len"),
    "ckpt_path": ("checkpoint", "ckpt", "resume", "resume_from_checkpoint", "weights", "model_path", "run"),
    "seed_everything": ("seed", "random_seed", "random_state"),
}


def option_for_alias(name: str, options: Collection[str]) -> str | None:
    """Return the option that another program's name means, "trainer.max_epochs" for "epochs", if it exists.

    Args:
        name: as given by the user.
        options: the command's options.
    """
    plain = name.rpartition(".")[2].replace("-", "_").lower()
    meant = next((option for option, names in _OTHER_NAMES.items() if plain in names), "")
    option = ".".join(meant.partition(" ")[0].split(".")[:2])  # without its value, or a network's argument
    return meant if option in options else None
