"""LambdaCallback: a callback made of functions."""

import pytest
from boring import BoringModule, boring_batches, quiet_trainer

import kgenre
from kgenre.callbacks import LambdaCallback


def test_functions_are_called():
    calls = []
    callback = LambdaCallback(
        setup=lambda trainer, module, stage: calls.append(stage),
        on_train_start=lambda trainer, module: calls.append(type(module).__name__),
        on_train_batch_end=lambda trainer, module, outputs, batch, batch_idx: calls.append(batch_idx),
        on_train_end=lambda trainer, module: calls.append(trainer.global_step),
    )
    quiet_trainer(callbacks=callback).fit(BoringModule(), boring_batches(2))
    assert calls == ["fit", "BoringModule", 0, 1, 2]


@pytest.mark.usefixtures("in_tmp_path")
def test_checkpoint_hooks():
    loaded = []
    trainer = quiet_trainer(
        enable_checkpointing=True,
        callbacks=LambdaCallback(
            on_save_checkpoint=lambda trainer, module, checkpoint: checkpoint.update(mine=3),
            on_load_checkpoint=lambda trainer, module, checkpoint: loaded.append(checkpoint["mine"]),
        ),
    )
    trainer.fit(BoringModule(), boring_batches(1))
    trainer.max_epochs = 2
    trainer.fit(BoringModule(), boring_batches(1), ckpt_path="last")
    assert loaded == [3]


def test_instances_do_not_share_hooks():
    first, second = LambdaCallback(on_train_start=print), LambdaCallback(on_train_end=print)
    assert (first.on_train_start, second.on_train_end) == (print, print)
    assert first.on_train_end.__func__ is kgenre.Callback.on_train_end


@pytest.mark.parametrize("name", ["on_train_epoch_ends", "state_dict", "state_key", "_hidden", "monitors"])
def test_unknown_hook_error_lists_the_hooks(name):
    with pytest.raises(
        TypeError, match=rf"LambdaCallback\({name}=...\): there is no such hook. Hooks: setup, "
    ) as error:
        LambdaCallback(**{name: print})
    listed = str(error.value).split("Hooks: ")[1].removesuffix(".").split(", ")
    assert {"teardown", "on_train_batch_end", "on_exception", "on_load_checkpoint"} <= set(listed)
    assert all(hasattr(kgenre.Callback, hook) for hook in listed)


def test_non_function_is_rejected():
    with pytest.raises(TypeError, match=r"LambdaCallback\(on_fit_end=...\) takes a function. Received: 3"):
        LambdaCallback(on_fit_end=3)
