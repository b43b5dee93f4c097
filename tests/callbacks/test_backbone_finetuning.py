import logging
import math

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, weights_of
from keras import ops

from kgenre.callbacks import BackboneFinetuning, ModelCheckpoint


class Transfer(BoringModule):
    def __init__(self, inside_frozen=False):
        super().__init__()
        eye = keras.initializers.Constant(np.eye(4))
        first = keras.layers.Dense(4, kernel_initializer=eye, trainable=not inside_frozen)
        second = keras.layers.Dense(4, kernel_initializer=eye)
        self.backbone = keras.Sequential([keras.Input((4,)), first, keras.layers.BatchNormalization(), second])

    def error(self, batch, training=False):
        return ops.mean((self.model(self.backbone(batch["x"], training=training)) - batch["y"]) ** 2)

    def configure_optimizers(self):
        return {"backbone.*": keras.optimizers.SGD(0.5), ".*": keras.optimizers.SGD(0.1)}


def train(finetuning, epochs=4, module=None, ckpt_path=None):
    """Train, and return each epoch's changed variables and backbone learning rate, and the trainer."""
    module = module or Transfer()
    state = {"before": weights_of(module)}
    changed, rates = [], []

    def compare(trainer, module):
        after = weights_of(module)
        changed.append({name for name, array in after.items() if not np.array_equal(array, state["before"][name])})
        state["before"] = after
        rates.append(trainer.learning_rates()[0])

    trainer = quiet_trainer(max_epochs=epochs, callbacks=[finetuning, Lambdas(on_train_epoch_end=compare)])
    trainer.fit(module, boring_batches(2), ckpt_path=ckpt_path)
    return changed, rates, trainer


HEAD = {"model.layers.0.kernel", "model.layers.0.bias"}
DENSE = {f"backbone.layers.{layer}.{name}" for layer in (0, 2) for name in ("kernel", "bias")}
NORM = {f"backbone.layers.1.{name}" for name in ("gamma", "beta")}
STATISTICS = {f"backbone.layers.1.moving_{name}" for name in ("mean", "variance")}


def test_backbone_is_trained_from_the_given_epoch():
    changed, rates, _ = train(BackboneFinetuning(unfreeze_backbone_at_epoch=2))
    # A Dense bias right before BatchNormalization has a gradient of (nearly) zero.
    aside = {"backbone.layers.0.bias"}
    assert [names - aside for names in changed[:2]] == [HEAD | NORM | STATISTICS] * 2
    assert [names - aside for names in changed[2:]] == [(HEAD | NORM | STATISTICS | DENSE) - aside] * 2
    # The first rate is the head's 0.1 x the ratio 0.1; it doubles each epoch, up to the head's rate.
    assert rates == pytest.approx([0.5, 0.5, 0.01, 0.02])


def test_layer_inside_a_network_is_found_by_its_name(caplog):
    class Inside(BoringModule):
        def __init__(self):
            super().__init__()
            self.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="body"), *self.model.layers])

        def configure_optimizers(self):
            return {"model.layers.0.*": keras.optimizers.SGD(0.5), ".*": keras.optimizers.SGD(0.1)}

    finetuning = BackboneFinetuning(unfreeze_backbone_at_epoch=1, backbone="body", verbose=True)
    with caplog.at_level(logging.INFO, "kgenre"):
        changed, rates, _ = train(finetuning, epochs=2, module=Inside())
    body, head = ({f"model.layers.{layer}.{name}" for name in ("kernel", "bias")} for layer in (0, 1))
    assert changed == [head, body | head]
    assert rates == pytest.approx([0.5, 0.01])
    assert "Epoch 2: learning rate 0.1, backbone 0.01." in caplog.text


def test_train_bn_false_freezes_batch_normalization():
    changed, _, _ = train(BackboneFinetuning(unfreeze_backbone_at_epoch=9, train_bn=False), epochs=2)
    assert changed == [HEAD] * 2


@pytest.mark.parametrize(
    ("arguments", "rates"),
    [
        ({"backbone_initial_ratio_lr": 0.5}, [0.05, 0.1, 0.1, 0.1]),
        ({"backbone_initial_ratio_lr": 0.5, "should_align": False}, [0.05, 0.1, 0.2, 0.4]),
        ({"backbone_initial_lr": 0.001, "lambda_func": lambda epoch: epoch}, [0.001, 0.002, 0.006, 0.024]),
    ],
    ids=["ratio", "not aligned", "a rate of its own"],
)
def test_backbone_learning_rates(arguments, rates):
    assert train(BackboneFinetuning(unfreeze_backbone_at_epoch=0, **arguments))[1] == pytest.approx(rates, rel=1e-5)


def test_layers_frozen_before_stay_frozen():
    module = Transfer(inside_frozen=True)
    changed, _, _ = train(BackboneFinetuning(unfreeze_backbone_at_epoch=1), epochs=2, module=module)
    assert not any(name.startswith("backbone.layers.0") for names in changed for name in names)
    assert "backbone.layers.2.kernel" in changed[1]
    assert [layer.trainable for layer in module.backbone.layers] == [False, True, True]


def test_resumed_run_equals_uninterrupted_run(tmp_path):
    _, whole, other = train(BackboneFinetuning(unfreeze_backbone_at_epoch=1), epochs=4)
    _, first, trainer = train(BackboneFinetuning(unfreeze_backbone_at_epoch=1), epochs=3)
    path = trainer.save_checkpoint(tmp_path / "checkpoint")
    _, rest, again = train(BackboneFinetuning(unfreeze_backbone_at_epoch=1), epochs=4, ckpt_path=path)
    assert first + rest == pytest.approx(whole)
    for name, array in other.engine.state_dict().items():
        np.testing.assert_array_equal(again.engine.state_dict()[name], array, err_msg=name)


def test_epoch_whose_first_step_failed_sets_its_rate_once(in_tmp_path):
    class Fails(Transfer):
        def on_train_batch_start(self, batch, batch_idx):
            if self.trainer.global_step == 4 and not self.trainer.resumed:
                raise RuntimeError("failed")

    def fit(ckpt_path=None):
        finetuning = BackboneFinetuning(unfreeze_backbone_at_epoch=1)
        checkpoint = ModelCheckpoint(every_n_train_steps=100, save_on_exception=True)
        trainer = quiet_trainer(max_epochs=3, callbacks=[finetuning, checkpoint], enable_checkpointing=True)
        trainer.fit(Fails(), boring_batches(2), ckpt_path=ckpt_path)
        return trainer.learning_rates()[0]

    with pytest.raises(RuntimeError, match="failed"):
        fit()
    assert fit("last") == pytest.approx(0.02)  # 0.01 in the epoch before


def test_a_second_fit_can_train_the_backbone():
    module = Transfer()
    train(BackboneFinetuning(unfreeze_backbone_at_epoch=9), epochs=1, module=module)
    assert module.backbone.trainable
    assert train(BackboneFinetuning(unfreeze_backbone_at_epoch=0), epochs=1, module=module)[0][0] >= HEAD | NORM


def test_needs_a_backbone_with_its_own_optimizer():
    class Shared(Transfer):
        def configure_optimizers(self):
            return keras.optimizers.SGD(0.1)

    with pytest.raises(ValueError, match=r"needs its own optimizer: return {'backbone"):
        quiet_trainer(callbacks=BackboneFinetuning()).fit(Shared(), boring_batches(1))
    module = Shared()
    module.backbone.trainable = False
    with pytest.raises(ValueError, match=r"backbone has no trainable weights: it was frozen before the fit"):
        quiet_trainer(callbacks=BackboneFinetuning()).fit(module, boring_batches(1))
    with pytest.raises(ValueError, match=r"needs a Keras layer or model as BoringModule.backbone, or one of this name"):
        quiet_trainer(callbacks=BackboneFinetuning()).fit(BoringModule(), boring_batches(1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"unfreeze_backbone_at_epoch": -1},
        {"backbone_initial_ratio_lr": 0},
        {"backbone_initial_lr": -0.1},
        {"backbone_initial_lr": math.inf},
    ],
    ids=str,
)
def test_wrong_numbers(wrong):
    with pytest.raises(ValueError, match=rf"BackboneFinetuning takes .*Received: .*{next(iter(wrong.values()))}"):
        BackboneFinetuning(**wrong)
