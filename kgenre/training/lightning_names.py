"""Attributes and methods of Lightning's module that do not exist here, and what to write instead."""

_OPTIMIZERS = (
    "the optimizers run in the compiled step, on the loss that training_step returns; hooks can use "
    "self.trainer.learning_rates() and self.trainer.set_learning_rate(value)"
)
_DEVICE = "Keras places layers and tensors itself: leave it out"
_VARIABLES = "a layer has trainable_variables, and a Keras optimizer takes no parameters: keras.optimizers.Adam(1e-3)"
_MODE = "the mode is an argument of each call, self.model(x, training=True)"

REPLACEMENTS = {
    **dict.fromkeys(("optimizers", "lr_schedulers", "manual_backward", "toggle_optimizer"), _OPTIMIZERS),
    **dict.fromkeys(("device", "to", "cuda", "cpu"), _DEVICE),
    **dict.fromkeys(("parameters", "named_parameters"), _VARIABLES),
    **dict.fromkeys(("train", "training", "eval"), _MODE),
    "clip_gradients": "write Trainer(gradient_clip_val=1.0), or configure_gradients in the module",
    "all_gather": "there is only one process: leave it out",
    "register_buffer": "write self.name = keras.Variable(value, trainable=False)",
    "state_dict": "write self.model.get_weights(), or trainer.save_checkpoint(path)",
    "load_state_dict": "write self.model.set_weights(weights), or load_from_checkpoint(path)",
}
