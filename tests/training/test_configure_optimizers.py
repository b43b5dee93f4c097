"""`configure_optimizers`: one optimizer, several by pattern, and learning rate schedules, in Lightning's forms."""

import keras
import numpy as np
import pytest
from boring import BoringModule, boring_batches, descend, quiet_trainer, weights_of
from keras import ops

from kgenre import Module, TrainerError
from kgenre.callbacks import Callback, LearningRateMonitor, ReduceLROnPlateau
from kgenre.engines.step_error import StepError
from kgenre.loggers import InMemoryLogger

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL, BIAS = "model.layers.0.kernel", "model.layers.0.bias"
SGD, Adam = keras.optimizers.SGD, keras.optimizers.Adam


def module_with(optimizers, **arguments):
    """A `BoringModule` whose ``configure_optimizers`` returns ``optimizers()``."""

    class Configured(BoringModule):
        def configure_optimizers(self):
            return optimizers()

    return Configured(**arguments)


def rates(optimizers, batches=2, max_epochs=4, validation=None, name="lr-SGD", **arguments):
    logger = InMemoryLogger()
    trainer = quiet_trainer(
        max_epochs=max_epochs,
        logger=logger,
        callbacks=LearningRateMonitor("step"),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        **arguments,
    )
    trainer.fit(module_with(optimizers), boring_batches(batches), validation)
    return [round(rate, 6) for _, rate in logger.history(name)]


# --- several optimizers -------------------------------------------------------------------------------------------


def test_each_pattern_trains_its_variables():
    batches = boring_batches(3)
    module = module_with(lambda: {".*kernel": SGD(0.1), ".*": SGD(0.0)})
    quiet_trainer().fit(module, batches)
    assert weights_of(module)[BIAS].tolist() == [0.0, 0.0]
    kernel = module_with(lambda: SGD(0.1))
    kernel.model.layers[0].bias.trainable = False
    quiet_trainer().fit(kernel, batches)
    np.testing.assert_allclose(weights_of(module)[KERNEL], weights_of(kernel)[KERNEL], rtol=1e-6)
    assert not np.allclose(weights_of(module)[KERNEL], weights_of(BoringModule())[KERNEL])


def test_first_match_wins_and_slots_are_named_after_variables():
    module = module_with(lambda: {".*bias": Adam(0.1), "model.*": SGD(0.1, momentum=0.9)})
    trainer = quiet_trainer()
    trainer.fit(module, boring_batches(1))
    slots = [name for name in trainer.engine.built.optimizer_variables if "layers" in name]
    assert slots == [
        "optimizers.0.momentums.model.layers.0.bias",
        "optimizers.0.velocities.model.layers.0.bias",
        "optimizers.1.momentums.model.layers.0.kernel",
    ]
    adam, sgd = trainer.optimizers
    assert isinstance(adam, Adam)
    assert isinstance(sgd, SGD)


@pytest.mark.parametrize("arguments", [{"gradient_clip_val": 0.05}, {"accumulate_grad_batches": 2}])
def test_clipping_and_accumulation_see_all_variables(arguments):
    """The global norm spans the variables of all optimizers, so two equal optimizers train like one."""
    batches, two, one = (
        boring_batches(4),
        module_with(lambda: {".*kernel": SGD(1.0), ".*": SGD(1.0)}),
        BoringModule(1.0),
    )
    quiet_trainer(**arguments).fit(two, batches)
    quiet_trainer(**arguments).fit(one, batches)
    for name, array in weights_of(one).items():
        np.testing.assert_allclose(weights_of(two)[name], array, rtol=1e-6)


def test_resume_with_two_optimizers_equals_uninterrupted_run():
    def make():
        return module_with(
            lambda: {
                ".*kernel": {"optimizer": Adam(0.1), "lr_scheduler": lambda epoch, rate: rate * 0.5 if epoch else rate},
                ".*": {
                    "optimizer": SGD(0.1, momentum=0.9),
                    "lr_scheduler": ReduceLROnPlateau("train/loss", patience=1),
                },
            }
        )

    batches, whole, first, second = boring_batches(3), make(), make(), make()
    trainer = quiet_trainer(max_epochs=4)
    trainer.fit(whole, batches)
    begun = quiet_trainer(max_epochs=2)
    begun.fit(first, batches)
    path = begun.save_checkpoint("middle")
    resumed = quiet_trainer(max_epochs=4)
    resumed.fit(second, batches, ckpt_path=path)
    assert resumed.learning_rates() == trainer.learning_rates()
    assert trainer.learning_rates()[0] == pytest.approx(0.0125)
    for name, array in trainer.engine.state_dict().items():
        np.testing.assert_array_equal(resumed.engine.state_dict()[name], array, err_msg=name)


def test_resumed_run_has_the_schedule_that_is_configured_now():
    def module(rate):
        return module_with(lambda: SGD(keras.optimizers.schedules.ExponentialDecay(rate, 1, 0.5)))

    begun, resumed = quiet_trainer(max_epochs=1), quiet_trainer(max_epochs=2)
    begun.fit(module(0.8), boring_batches(1))
    resumed.fit(module(0.4), boring_batches(1), ckpt_path=begun.save_checkpoint("middle"))
    assert resumed.learning_rates() == pytest.approx([0.4 * 0.5**2])


def test_freezing_the_variables_of_one_optimizer():
    class Freezes(BoringModule):
        def configure_optimizers(self):
            return {".*kernel": SGD(0.1), ".*": SGD(0.1)}

        def on_train_epoch_start(self):
            if self.current_epoch == 1:
                self.model.layers[0].bias.trainable = False
                self.frozen = weights_of(self)

    module = Freezes()
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, boring_batches(2))
    np.testing.assert_array_equal(weights_of(module)[BIAS], module.frozen[BIAS])
    assert not np.array_equal(weights_of(module)[KERNEL], module.frozen[KERNEL])
    assert [int(optimizer.iterations) for optimizer in trainer.optimizers] == [4, 2]


def test_rates_of_both_optimizers_are_logged():
    optimizers = lambda: {".*kernel": SGD(0.1), ".*": {"optimizer": SGD(0.2), "lr_scheduler": lambda i, rate: 0.3}}  # noqa: E731
    assert rates(optimizers, max_epochs=1, name="lr-SGD-0") == [0.1, 0.1]
    assert rates(optimizers, max_epochs=1, name="lr-SGD-1") == [0.3, 0.3]


def test_plateau_reduces_the_rate_of_its_own_optimizer():
    plateau = scheduled(ReduceLROnPlateau(factor=0.5, patience=1, min_delta=10.0), monitor="train/loss")
    optimizers = lambda: {".*kernel": SGD(0.1), ".*": plateau()}  # noqa: E731
    assert rates(optimizers, max_epochs=3, name="lr-SGD-0") == [0.1] * 6
    assert rates(optimizers, max_epochs=3, name="lr-SGD-1") == [1.0] * 4 + [0.5] * 2


# --- schedules --------------------------------------------------------------------------------------------------


def scheduled(scheduler, **more):
    given = {"scheduler": scheduler, **more} if more else scheduler
    return lambda: {"optimizer": SGD(1.0), "lr_scheduler": given}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0, 0, 1, 1, 2, 2, 3, 3]),
        ({"frequency": 2}, [0, 0, 0, 0, 1, 1, 1, 1]),
        ({"interval": "step"}, [0, 1, 2, 3, 4, 5, 6, 7]),
        ({"interval": "step", "frequency": 3}, [0, 0, 0, 1, 1, 1, 2, 2]),
    ],
)
def test_when_a_schedule_function_is_called(options, expected):
    assert rates(scheduled(lambda index, rate: index / 10, **options)) == [index / 10 for index in expected]


@pytest.mark.parametrize(
    ("options", "expected"), [({}, [1, 1, 0.5, 0.5]), ({"interval": "step"}, [1, 0.5, 0.25, 0.125])]
)
def test_a_keras_schedule_counts_epochs_or_steps(options, expected):
    """The monitor logs the rate of the update just made, also if the compiled optimizer evaluates the schedule."""
    halves = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    assert rates(scheduled(halves, **options), max_epochs=2) == expected


def test_reduce_on_plateau_with_a_monitor():
    plateau = scheduled(ReduceLROnPlateau(factor=0.5, patience=1, min_delta=10.0), monitor="train/loss")
    assert rates(plateau, max_epochs=3) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_monitor_beside_the_scheduler():
    plateau = ReduceLROnPlateau(factor=0.5, patience=1, min_delta=10.0)
    optimizers = {"optimizer": SGD(1.0), "lr_scheduler": plateau, "monitor": "train/loss"}
    assert rates(lambda: optimizers, max_epochs=3) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(("interval", "expected"), [("epoch", [1, 1, 0.5, 0.5]), ("step", [1, 0.5, 0.25, 0.125])])
def test_hooks_see_the_rate_of_what_begins(interval, expected):
    seen = {hook: [] for hook in ("epoch", "step")}

    class Seen(Callback):
        def on_train_epoch_start(self, trainer, module):
            seen["epoch"] += trainer.learning_rates()

        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            seen["step"] += trainer.learning_rates()

    module = module_with(scheduled(lambda index, rate: 0.5**index, interval=interval))
    quiet_trainer(max_epochs=2, callbacks=Seen()).fit(module, boring_batches(2))
    assert seen["step"] == expected
    assert interval == "step" or seen["epoch"] == [1, 0.5]


@pytest.mark.parametrize("form", [lambda o, s: ([o], [s]), lambda o, s: [{"optimizer": o, "lr_scheduler": s}]])
def test_lightnings_list_forms(form):
    assert rates(lambda: form(SGD(1.0), lambda epoch, rate: 0.5**epoch), max_epochs=2) == [1, 1, 0.5, 0.5]


def test_dict_with_only_an_optimizer():
    module, batches = module_with(lambda: {"optimizer": SGD(0.1)}), boring_batches(2)
    quiet_trainer().fit(module, batches)
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches)[0], rtol=1e-5, atol=1e-6)


# --- errors -------------------------------------------------------------------------------------------------------


def with_one_plateau():
    plateau = ReduceLROnPlateau()
    return {pattern: {"optimizer": SGD(), "lr_scheduler": plateau} for pattern in (".*kernel", ".*")}


def multi_optimizer():
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(SGD()))


@pytest.mark.parametrize(
    ("optimizers", "message"),
    [
        (lambda: None, "must return an optimizer, .*Received: None"),
        (lambda: [SGD(), SGD()], "a dict of these by pattern.*Received"),
        (lambda: {}, "must return an optimizer"),
        (lambda: {".*": "sgd"}, "Received: 'sgd'"),
        (lambda: {"optimizer": SGD(), "scheduler": 1}, "Received the key 'scheduler'"),
        (lambda: {"optimizer": SGD(), "lr_scheduler": {"scheduler": min, "every": 1}}, "lr_scheduler takes.*'every'"),
        (lambda: {"optimizer": SGD(), "lr_scheduler": {"scheduler": min, "strict": 1}}, "no key 'strict'.*leave it"),
        (lambda: {"optimizer": SGD(), "lr_scheduler": {"scheduler": min, "name": "lr"}}, "no key 'name'.*lr-Adam"),
        (lambda: {"optimizer": SGD(), "lr_scheduler": max, "monitor": "val/loss"}, "needs ReduceLROnPlateau"),
        (lambda: {"optimizer": SGD(), "monitor": "val/loss"}, "needs ReduceLROnPlateau. Received: None"),
        (scheduled(keras.callbacks.ReduceLROnPlateau()), "or a kgenre.callbacks.ReduceLROnPlateau. Received: <keras"),
        (lambda: {"optimizer": SGD(), "lr_scheduler": 0.1}, "a scheduler must be a function"),
        (scheduled(lambda step: 0.5**step), r"a function .index, .*LambdaLR takes: lambda index.*Received: <function"),
        (scheduled(max, interval="batch"), "'epoch' or 'step'. Received: 'batch'"),
        (scheduled(max, frequency=0), "must be at least 1. Received: 0"),
        (scheduled(max, monitor="val/loss"), "monitor='val/loss' needs ReduceLROnPlateau"),
        (scheduled(ReduceLROnPlateau(), interval="step"), "checks each validation"),
        (lambda: dict.fromkeys((".*kernel", ".*"), SGD()), "one optimizer for several patterns"),
        (with_one_plateau, "one ReduceLROnPlateau for several optimizers: create one for each"),
        (lambda: SGD(lambda: 0.1), "the learning rate is a function.*as 'lr_scheduler'"),
        (lambda: SGD(use_ema=True), "use_ema=True"),
        (multi_optimizer, "returned a MultiOptimizer.*by pattern"),
        (lambda: keras.optimizers.LossScaleOptimizer(SGD()), r"precision='16-mixed'\) scales the loss"),
    ],
)
def test_other_forms_are_rejected(optimizers, message):
    with pytest.raises(TrainerError, match=message):
        quiet_trainer().fit(module_with(optimizers), boring_batches(1))


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        ((".*kernel",), r"no optimizer for model\.layers\.0\.bias"),
        ((".*", "head.*"), r"'head\.\*' has no variable left to train.*model\.layers\.0\.kernel"),
        (("m.*", "model.*"), r"'model\.\*' has no .*: 'm\.\*' comes first and matches model\.layers\.0\.kernel too"),
        (("*kernel", ".*"), r"'\*kernel' is not a regular expression .nothing to repeat.*as in '\.\*bias'"),
        (("kernel", ".*"), "'kernel' has no variable left"),
    ],
)
def test_unmatched_variables_and_patterns_are_named(patterns, message):
    with pytest.raises(ValueError, match=message):
        quiet_trainer().fit(module_with(lambda: {pattern: SGD() for pattern in patterns}), boring_batches(1))


def test_pattern_that_matches_only_frozen_variables():
    module = module_with(lambda: {"frozen.*": SGD(), ".*": SGD()})
    module.frozen = keras.layers.Dense(1, trainable=False)
    module.frozen.build((None, 3))
    with pytest.raises(
        ValueError, match=r"'frozen\.\*' matches only variables that are frozen, such as frozen\.kernel"
    ):
        quiet_trainer().fit(module, boring_batches(1))


def test_optimizer_built_for_other_variables_is_rejected():
    held = keras.optimizers.Adam()
    module = module_with(lambda: held)
    for _ in range(2):  # a second fit of the same module is allowed
        quiet_trainer().fit(module, boring_batches(1))
    with pytest.raises(ValueError, match=r"returned an Adam that was built for different variables: .* for each fit\."):
        quiet_trainer().fit(module_with(lambda: held), boring_batches(1))


@pytest.mark.parametrize("both", [True, False], ids=["both losses", "the critic's alone"])
def test_generators_loss_does_not_train_the_critic(both):
    class Adversaries(Module):
        def __init__(self):
            self.generator, self.critic = keras.layers.Dense(4), keras.layers.Dense(1)
            for seed, layer in enumerate((self.generator, self.critic)):
                layer.build((None, 4))
                layer.kernel.assign(np.random.default_rng(seed).normal(size=layer.kernel.shape))

        def training_step(self, batch, batch_idx):
            made = self.generator(batch["x"])
            loss = ops.mean(self.critic(ops.stop_gradient(made)) ** 2) - ops.mean(self.critic(batch["x"]))
            held = [ops.stop_gradient(v) for v in self.critic.trainable_variables]
            judged, _ = self.critic.stateless_call(held, self.critic.non_trainable_variables, made)
            return loss + ops.mean((judged - 1) ** 2) * both

        def configure_optimizers(self):
            return {"generator.*": SGD(0.1), "critic.*": SGD(0.05)}

    batch, module, start = boring_batches(1)[0], Adversaries(), weights_of(Adversaries())
    quiet_trainer(max_steps=1).fit(module, [batch])
    x, after = batch["x"], weights_of(module)
    made = x @ start["generator.kernel"]
    gradient = 2 * made.T @ (made @ start["critic.kernel"]) / len(x) - x.mean(0)[:, None]
    np.testing.assert_allclose(after["critic.kernel"], start["critic.kernel"] - 0.05 * gradient, rtol=1e-4, atol=1e-6)
    assert np.array_equal(after["generator.kernel"], start["generator.kernel"]) is not both


@pytest.mark.parametrize(
    ("optimizer", "argument", "value"),
    [("Adam", "beta_1", None), ("Adam", "epsilon", None), ("RMSprop", "momentum", None), ("AdamW", "beta_2", "high")],
)
def test_arguments_that_an_optimizer_cannot_use_are_named(optimizer, argument, value):
    module = module_with(lambda: getattr(keras.optimizers, optimizer)(0.1, **{argument: value}))
    with pytest.raises(StepError, match=rf"^{optimizer}\({argument}={value!r}\) cannot update the weights: \S"):
        quiet_trainer(max_epochs=1).fit(module, boring_batches(2))


def test_an_error_in_the_users_own_optimizer_is_raised_as_it_is():
    class Mine(keras.optimizers.SGD):
        def update_step(self, *given, **named):
            raise ValueError("not written yet")

    with pytest.raises(ValueError, match=r"^not written yet"):
        quiet_trainer(max_epochs=1).fit(module_with(lambda: Mine(0.1)), boring_batches(2))
