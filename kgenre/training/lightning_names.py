"""Attributes and methods of Lightning's module that do not exist here, and what to write instead."""

_OPTIMIZERS = (
    "the optimizers act in the compiled step, on the loss that training_step returns; hooks have "
    "self.trainer.learning_rates() and self.trainer.set_learning_rate(value)"
)
_DEVICE = "Keras puts layers and tensors where it computes: leave it out"
_VARIABLES = "Keras's optimizers are given none, keras.optimizers.Adam(1e-3); a layer has trainable_variables"
_MODE = "layers are told in each call, self.model(x, training=True)"

INSTEAD = {
    **dict.fromkeys(("optimizers", "lr_schedulers", "manual_backward", "toggle_optimizer"), _OPTIMIZERS),
    **dict.fromkeys(("device", "to", "cuda", "cpu"), _DEVICE),
    **dict.fromkeys(("parameters", "named_parameters"), _VARIABLES),
    **dict.fromkeys(("train", "training", "eval"), _MODE),
    "clip_gradients": "write Trainer(gradient_clip_val=1.0), or configure_gradients in the module",
    "all_gather": "there is one process, which has everything: leave it out",
    "register_buffer": "write self.name = keras.Variable(value, trainable=False)",
    "state_dict": "write self.model.get_weights(), or trainer.save_checkpoint(path)",
    "load_state_dict": "write self.model.set_weights(weights), or load_from_checkpoint(path)",
}
