"""Attributes and methods of Lightning's module and trainer that do not exist here, and what to write instead."""

_OPTIMIZERS = (
    "the optimizers run in the compiled step, on the loss that training_step returns; hooks can use "
    "self.trainer.learning_rates() and self.trainer.set_learning_rate(value)"
)
_DEVICE = "Keras places layers and tensors itself: leave it out"
_VARIABLES = "a layer has trainable_variables, and a Keras optimizer takes no parameters: keras.optimizers.Adam(1e-3)"
_MODE = "the mode is an argument of each call, self.model(x, training=True)"

MODULE_REPLACEMENTS = {
    **dict.fromkeys(
        ("optimizers", "lr_schedulers", "manual_backward", "toggle_optimizer", "untoggle_optimizer"), _OPTIMIZERS
    ),
    **dict.fromkeys(("device", "to", "cuda", "cpu"), _DEVICE),
    **dict.fromkeys(("parameters", "named_parameters"), _VARIABLES),
    **dict.fromkeys(("train", "training", "eval"), _MODE),
    **dict.fromkeys(
        ("modules", "named_modules", "children", "named_children", "apply"),
        "a Keras model has layers: self.model.layers",
    ),
    **dict.fromkeys(("half", "float", "double"), "write Trainer(precision=...)"),
    **dict.fromkeys(("to_onnx", "to_torchscript"), "a Keras model has export: self.model.export(path, format='onnx')"),
    "requires_grad_": "write self.freeze(), or layer.trainable = False",
    "clip_gradients": "write Trainer(gradient_clip_val=1.0), or configure_gradients in the module",
    "all_gather": "there is only one process: leave it out",
    "register_buffer": "write self.name = keras.Variable(value, trainable=False)",
    "state_dict": "write self.model.get_weights(), or trainer.save_checkpoint(path)",
    "load_state_dict": "write self.model.set_weights(weights), or load_from_checkpoint(path)",
}

_LOOPS = (
    "write trainer.current_epoch, trainer.batch_idx and trainer.global_step; limits can be set between runs: "
    "trainer.max_epochs = 5"
)
_EVALUATED = "only the running stage has it, as trainer.num_evaluation_batches"
_GIVEN = "ask what provides the batches, such as trainer.datamodule.test_dataloader()"
_ONE_PROCESS = "there is only one process: leave it out"

TRAINER_REPLACEMENTS = {
    **dict.fromkeys(("model", "lightning_module"), "write trainer.module"),
    **dict.fromkeys(("fit_loop", "validate_loop", "test_loop", "predict_loop"), _LOOPS),
    **dict.fromkeys(("num_test_batches", "num_predict_batches", "num_sanity_val_batches"), _EVALUATED),
    **dict.fromkeys(("test_dataloaders", "predict_dataloaders"), _GIVEN),
    **dict.fromkeys(("num_nodes", "node_rank"), _ONE_PROCESS),
    "lr_scheduler_configs": "write trainer.learning_rates() and trainer.set_learning_rate(value)",
    "tune": "write kgenre.tuning.Tuner(trainer).lr_find(module, batches)",
}
