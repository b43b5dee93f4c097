"""How a fit ends, which data it accepts, and the state it leaves."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, boring_dataset, descend, quiet_trainer, weights_of

import kgenre
from kgenre import TrainerError
from kgenre.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, WeightAveraging
from kgenre.training.data_module import iterate_epoch

pytestmark = pytest.mark.usefixtures("in_tmp_path")
KERNEL = "model.layers.0.kernel"


# --- how it ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known_length", [True, False])
def test_minus_one_skips_the_rest_of_the_epoch(known_length):
    seen = []

    def skip(trainer, module, batch, batch_idx):
        seen.append((trainer.current_epoch, batch_idx))
        return -1 if batch_idx == 2 else None

    batches = boring_batches(5)
    trainer = quiet_trainer(max_epochs=2, callbacks=Lambdas(on_train_batch_start=skip))
    module = BoringModule()
    trainer.fit(module, batches if known_length else Endless(batches), boring_batches(1))
    assert seen == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert (trainer.current_epoch, trainer.global_step) == (2, 4)
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches[:2] * 2)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_resumed", [False, True])
def test_minus_one_discards_accumulated_gradients(is_resumed):
    """As in Lightning, where the first batch of an accumulation group clears the gradients."""
    skip = Lambdas(on_train_batch_start=lambda trainer, module, batch, batch_idx: -1 if batch_idx == 3 else None)
    batches, options = boring_batches(4), {"accumulate_grad_batches": 2, "callbacks": skip}
    trainer, module = quiet_trainer(max_epochs=1 if is_resumed else 2, **options), BoringModule()
    trainer.fit(module, batches)
    if is_resumed:
        path, trainer, module = trainer.save_checkpoint("end"), quiet_trainer(max_epochs=2, **options), BoringModule()
        trainer.fit(module, batches, ckpt_path=path)
    assert (trainer.current_epoch, trainer.global_step) == (2, 2)
    group = {name: np.concatenate([batch[name] for batch in batches[:2]]) for name in ("x", "y")}
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend([group] * 2)[0], rtol=1e-5, atol=1e-6)


class Endless:
    """A source of unknown length."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize(
    ("hook", "epochs", "steps"),
    [
        ("on_train_batch_end", 0, 2),
        ("on_validation_end", 1, 3),
        ("on_train_epoch_end", 1, 3),
        ("on_train_epoch_start", 1, 3),
        ("on_train_start", 0, 0),
    ],
)
def test_should_stop(hook, epochs, steps):
    def stop(trainer, module, *arguments):
        if (not trainer.sanity_checking and trainer.global_step in (2, 3)) or hook == "on_train_start":
            trainer.should_stop = True

    ended = []
    callback = Lambdas(**{hook: stop}, on_train_end=lambda trainer, module: ended.append(trainer.global_step))
    trainer = quiet_trainer(max_epochs=5, callbacks=callback)
    trainer.fit(BoringModule(), boring_batches(3), boring_batches(1))
    assert (trainer.current_epoch, trainer.global_step, ended) == (epochs, steps, [steps])


def test_ctrl_c_ends_a_fit_cleanly(capsys, caplog):
    def interrupt(trainer, module, outputs, batch, batch_idx):
        if batch_idx == 1:
            raise KeyboardInterrupt

    seen = []
    callback = Lambdas(on_train_batch_end=interrupt, on_exception=lambda t, m, error: seen.append(type(error)))
    trainer = quiet_trainer(callbacks=callback)
    trainer.fit(BoringModule(), boring_batches(3))
    assert trainer.interrupted
    assert seen == [KeyboardInterrupt]
    assert "Interrupted at epoch 1, step 2" in caplog.text
    assert "Traceback" not in capsys.readouterr().err
    trainer.callbacks.clear()
    trainer.fit(trainer.module, boring_batches(2))
    assert not trainer.interrupted
    assert seen == [KeyboardInterrupt]


@pytest.mark.filterwarnings("error::DeprecationWarning")  # for users who set PYTHONWARNINGS=error
@pytest.mark.parametrize("accumulate", [1, 2])
def test_no_deprecation_warnings(accumulate):
    callbacks = [WeightAveraging(), EarlyStopping(restore_best_weights=True), LearningRateMonitor(), ModelCheckpoint()]
    trainer = quiet_trainer(
        max_epochs=2, accumulate_grad_batches=accumulate, callbacks=callbacks, enable_checkpointing=True, logger=True
    )
    trainer.fit(BoringModule(), boring_batches(3), boring_batches(1))
    trainer.test(dataloaders=boring_batches(1), verbose=False)
    trainer.predict(dataloaders=boring_batches(1))


def test_errors_propagate_after_cleanup():
    closed = []

    class Data(kgenre.DataModule):
        def train_dataloader(self):
            yield from ()

        def teardown(self, stage):
            closed.append(f"data {stage}")

    class Logger(kgenre.loggers.Logger):
        def finalize(self, status):
            closed.append(f"logger {status}")

    callback = Lambdas(teardown=lambda trainer, module, stage: closed.append(f"callback {stage}"))
    trainer = quiet_trainer(callbacks=callback, logger=Logger())
    with pytest.raises(TrainerError):
        trainer.fit(BoringModule(), Data())
    assert closed == ["logger failed", "data fit", "callback fit"]


# --- several fits -------------------------------------------------------------------------------------------------


def test_second_fit_resets_counters_and_metrics_and_keeps_weights():
    def look(trainer, module):
        metrics.append(dict(trainer.callback_metrics))

    module, batches, metrics = BoringModule(), boring_batches(3), []
    trainer = quiet_trainer(max_epochs=2, callbacks=Lambdas(on_train_start=look))
    trainer.fit(module, batches)
    trainer.fit(module, batches)
    assert (trainer.current_epoch, trainer.global_step, metrics) == (2, 6, [{}, {}])
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches * 4)[0], rtol=1e-5, atol=1e-6)


def test_trainer_can_fit_another_module():
    trainer, batches = quiet_trainer(), boring_batches(3)
    first, second = BoringModule(), BoringModule(learning_rate=0.01)
    trainer.fit(first, batches)
    before = weights_of(first)
    trainer.fit(second, batches)
    np.testing.assert_array_equal(weights_of(first)[KERNEL], before[KERNEL])
    np.testing.assert_allclose(weights_of(second)[KERNEL], descend(batches, 0.01)[0], rtol=1e-5, atol=1e-6)


# --- sources of batches -------------------------------------------------------------------------------------------


def generator_class(batches):
    class Source:
        def __iter__(self):
            yield from batches

    return Source()


def py_dataset(batches):
    class Source(keras.utils.PyDataset):
        def __len__(self):
            return len(batches)

        def __getitem__(self, index):
            return batches[index]

    return Source()


def py_dataset_by_number(batches):
    class Source(keras.utils.PyDataset):
        num_batches = len(batches)

        def __getitem__(self, index):
            return batches[index]

    return Source()


def tf_dataset(batches):
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices({key: np.stack([b[key] for b in batches]) for key in batches[0]})


def tf_dataset_of_unknown_length(batches):
    return tf_dataset(batches).filter(lambda batch: True)


def array_dataset(batches):
    rows = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return kgenre.ArrayDataset(rows, batch_size=8)


def epoch_batches_without_a_length(batches):
    class Source:
        def epoch_batches(self, epoch, start_batch=0):
            yield from batches[start_batch:]

    return Source()


SOURCES = [list, tuple, generator_class, py_dataset, py_dataset_by_number, epoch_batches_without_a_length]
SOURCES += [tf_dataset, tf_dataset_of_unknown_length, array_dataset]


@pytest.mark.parametrize("make", SOURCES)
def test_sources_of_batches(make):
    batches, module = boring_batches(4), BoringModule()
    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(module, make(batches), make(boring_batches(2)))
    assert (trainer.current_epoch, trainer.global_step) == (2, 8)
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches * 2)[0], rtol=1e-4)
    assert len(trainer.predict(dataloaders=make(batches))) == 4


@pytest.mark.parametrize("make", SOURCES)
def test_sources_can_start_in_the_middle_of_an_epoch(make):
    from kgenre.training.data_module import iterate_epoch

    batches = boring_batches(4)
    found = [np.asarray(batch["x"]) for batch in iterate_epoch(make(batches), 0, 2)]
    np.testing.assert_array_equal(found, [batch["x"] for batch in batches[2:]])


def test_infinite_py_dataset_with_a_limit():
    batches = boring_batches(2)
    source = py_dataset_by_number(batches * 8)
    type(source).num_batches = None
    trainer = quiet_trainer(limit_train_batches=3)
    trainer.fit(BoringModule(), source)
    assert trainer.global_step == 3


def test_nested_run_restores_the_trainer_of_module_and_datamodule():
    class Nested(BoringModule):
        def on_train_epoch_end(self):
            quiet_trainer().validate(self, self.trainer.datamodule, verbose=False)
            assert self.trainer is self.trainer.datamodule.trainer is trainer
            self.log("epoch", self.current_epoch)

    class Data(kgenre.DataModule):
        def train_dataloader(self):
            return boring_batches(1)

        val_dataloader = train_dataloader

    trainer = quiet_trainer(max_epochs=2)
    trainer.fit(Nested(), Data())
    assert trainer.module.trainer is trainer
    assert trainer.callback_metrics["epoch"] == 1


def test_fits_in_threads_train_as_they_do_alone():
    def fit(seed):
        module, batches = BoringModule(), boring_batches(4, seed=seed)
        trainer = quiet_trainer(max_epochs=3)
        trainer.fit(module, batches, batches)
        return [weight.tolist() for weight in weights_of(module).values()], trainer.callback_metrics

    alone = [fit(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(fit, range(4))) == alone


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the others have no such option")
def test_steps_are_optimised_while_another_thread_draws_its_weights():
    import jax

    class Drawn(BoringModule):
        def configure_model(self):
            used.append(jax.config.read("jax_disable_most_optimizations"))
            super().configure_model()

    def fit_another(trainer, module):
        with ThreadPoolExecutor(1) as thread:
            thread.submit(quiet_trainer(max_epochs=1).fit, Drawn(), boring_batches(1)).result()

    used = []
    jax.config.update("jax_disable_most_optimizations", False)  # conftest.py sets it before each test
    quiet_trainer(max_epochs=1, callbacks=Lambdas(on_fit_start=fit_another)).fit(Drawn(), boring_batches(1))
    assert used == [True, False]


def test_batches_may_be_tuples():
    class Tuples(BoringModule):
        def training_step(self, batch, batch_idx):
            x, y = batch
            return self.error({"x": x, "y": y})

    batches = boring_batches(2)
    module = Tuples()
    quiet_trainer().fit(module, [(batch["x"], batch["y"]) for batch in batches])
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches)[0], rtol=1e-5, atol=1e-6)


def test_steps_may_omit_batch_idx():
    class Short(BoringModule):
        def training_step(self, batch):
            return self.error(batch)

        def validation_step(self, *arguments):
            self.log("val/arguments", len(arguments))

    batches, module = boring_batches(2), Short()
    trainer = quiet_trainer()
    trainer.fit(module, batches, batches)
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches)[0], rtol=1e-5, atol=1e-6)
    assert trainer.callback_metrics["val/arguments"] == 2


def test_float64_and_python_numbers_in_batches():
    class Numbers(BoringModule):
        def training_step(self, batch, batch_idx):
            return self.error(batch) * batch["scale"] * keras.ops.cast(batch["count"], "float32")

    batches, module = boring_batches(2), Numbers()
    wide = [{key: array.astype("float64") for key, array in batch.items()} for batch in batches]
    quiet_trainer().fit(module, [batch | {"scale": 0.5, "count": 2} for batch in wide])
    np.testing.assert_allclose(weights_of(module)[KERNEL], descend(batches)[0], rtol=1e-5, atol=1e-6)


def test_one_shot_iterators_are_rejected():
    with pytest.raises(TrainerError, match="train batches come from a generator, which can be read only once"):
        quiet_trainer().fit(BoringModule(), (batch for batch in boring_batches(2)))
    with pytest.raises(TrainerError, match="val batches come from a list_iterator"):
        quiet_trainer().fit(BoringModule(), boring_batches(1), iter(boring_batches(1)))


@pytest.mark.parametrize("name", ["train", "val"])
def test_exhausted_source_is_detected(name):
    class Spent:
        def __init__(self):
            self.batches = iter(boring_batches(2))

        def __iter__(self):
            return self.batches

    sources = {"train": boring_batches(2), "val": boring_batches(1)} | {name: Spent()}
    with pytest.raises(TrainerError, match=f"The {name} data yielded no batches when they were read again"):
        quiet_trainer(max_epochs=3).fit(BoringModule(), *sources.values())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((6, 3), "float32"), r"one ndarray of shape \(6, 3\)"),
        ((np.zeros((6, 3)), np.zeros(6)), r"a tuple of arrays of shapes \(6, 3\), \(6,\)"),
        ({"x": np.zeros((6, 3)), "y": np.zeros((6, 1))}, r"a dict of arrays"),
    ],
    ids=["array", "tuple", "dict"],
)
def test_arrays_instead_of_batches_are_rejected(source, words):
    with pytest.raises(
        TrainerError, match=rf"The train batches are {words}.*kgenre\.ArrayDataset\(arrays, batch_size=32"
    ):
        quiet_trainer().fit(BoringModule(), source)
    with pytest.raises(TrainerError, match=r"ArrayDataset\(arrays, batch_size=32"):
        quiet_trainer().fit(BoringModule(), boring_batches(1), source)


@pytest.mark.parametrize(
    "source", [{"x": [[0.0], [1.0]], "y": [0, 1]}, {"a": boring_batches(1), "b": boring_batches(1)}]
)
def test_dict_of_training_data_is_rejected(source):
    names = ", ".join(map(repr, source))
    with pytest.raises(
        TrainerError, match=f"train batches come from a dict of {names}, .*ArrayDataset.*several data pipelines"
    ):
        quiet_trainer().fit(BoringModule(), source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (5, "from a int, which cannot be iterated"),
        (lambda: boring_batches(1), "from a function, which cannot"),
        (kgenre.ArrayDataset, "from the class ArrayDataset. Pass an object of it."),
    ],
    ids=["int", "function", "class"],
)
def test_non_iterables_are_rejected(source, message):
    with pytest.raises(TrainerError, match=f"The train batches come {message}"):
        quiet_trainer().fit(BoringModule(), source)


def test_source_without_batches_is_rejected():
    with pytest.raises(TrainerError, match=r"The train data yielded no batches. Check them and limit_train_batches\."):
        quiet_trainer().fit(BoringModule(), [])


def test_dataloader_without_return():
    class Forgetful(kgenre.DataModule):
        def train_dataloader(self):
            boring_batches(2)

        test_dataloader = train_dataloader

    with pytest.raises(TrainerError, match="The train batches come from a NoneType, which cannot be iterated"):
        quiet_trainer().fit(BoringModule(), datamodule=Forgetful())
    with pytest.raises(TrainerError, match=r"Forgetful\.test_dataloader\(\) must return .*\. Received: None"):
        quiet_trainer().test(BoringModule(), Forgetful())
    with pytest.raises(TrainerError, match=r"Forgetful\.val_dataloader\(\) must return a data pipeline"):
        quiet_trainer().validate(BoringModule(), datamodule=Forgetful())


def test_list_of_one_source_and_full_limit_on_unknown_length():
    trainer = quiet_trainer(limit_train_batches=1.0)
    trainer.fit(BoringModule(), [boring_dataset()])
    assert trainer.global_step == 4
    trainer.fit(BoringModule(), Endless(boring_batches(3)))
    assert trainer.global_step == 3


def test_batch_that_cannot_be_read_after_the_last_step_is_no_error():
    class Breaks:
        def __iter__(self):
            yield from boring_batches(3)
            raise OSError("The rest cannot be read.")

    trainer = quiet_trainer(max_steps=3, max_epochs=2)
    trainer.fit(BoringModule(), Breaks())
    assert (trainer.global_step, trainer.current_epoch) == (3, 0)


def test_invalid_combinations_of_data_arguments():
    class Data(kgenre.DataModule):
        pass

    with pytest.raises(TrainerError, match=r"trainer.fit\(\) takes either batches or a datamodule. Received: neither"):
        quiet_trainer().fit(BoringModule())
    with pytest.raises(TrainerError, match="Received: both"):
        quiet_trainer().fit(BoringModule(), boring_batches(1), datamodule=Data())
    with pytest.raises(TypeError, match=r"trainer.fit\(\) needs Data.train_dataloader\(\), which is not defined"):
        quiet_trainer().fit(BoringModule(), Data())
    with pytest.raises(TrainerError, match=r"trainer.test\(\) takes a kgenre.Module. Received: list"):
        quiet_trainer().test(boring_batches(1), boring_batches(1))
    with pytest.raises(TrainerError, match=r"Received: the class BoringModule: create an object"):
        quiet_trainer().fit(BoringModule, boring_batches(1))


def test_datamodule_with_a_length_that_is_empty_before_setup():
    class Data(kgenre.DataModule):
        batches = ()

        def __len__(self):
            return len(self.batches)

        def setup(self, stage):
            self.batches = boring_batches(2)

        def train_dataloader(self):
            return self.batches

        val_dataloader = train_dataloader

    trainer = quiet_trainer()
    trainer.fit(BoringModule(), Data())
    assert trainer.num_val_batches == 2


def test_dataloaders_of_the_module_complete_the_given_ones():
    class Own(BoringModule):
        def train_dataloader(self):
            return boring_batches(2)

    class OwnValidation(BoringModule):
        def val_dataloader(self):
            return boring_batches(3)

    trainer = quiet_trainer(num_sanity_val_steps=0)
    trainer.fit(Own(), val_dataloaders=boring_batches(3))
    assert (trainer.num_training_batches, trainer.num_val_batches) == (2, 3)
    for given, used in ((None, 3), (boring_batches(1), 1)):
        trainer.fit(OwnValidation(), boring_batches(2), given)
        assert (trainer.num_training_batches, trainer.num_val_batches) == (2, used)
    with pytest.raises(TrainerError, match=r"either val_dataloaders or a datamodule. Received: both"):
        trainer.fit(BoringModule(), kgenre.DataModule(), val_dataloaders=boring_batches(3))


def test_each_epoch_shuffles_all_rows():
    seen = []

    def note(trainer, module, outputs, batch, batch_idx):
        seen.append(keras.ops.convert_to_numpy(batch["x"]))

    data = boring_dataset(rows=24, batch_size=8, shuffle=True)
    quiet_trainer(max_epochs=2, callbacks=Lambdas(on_train_batch_end=note)).fit(BoringModule(), data)
    first, second = np.concatenate(seen[:3]), np.concatenate(seen[3:])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(data.arrays["x"], axis=0))


class Waiting(keras.utils.PyDataset):
    """Its first batch is not ready before two others have been read."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.read, self.others = [], threading.Semaphore(0)

    def __len__(self):
        return 6

    def __getitem__(self, index):
        self.read.append(index)
        if index == 0:
            assert self.others.acquire(timeout=20)
            assert self.others.acquire(timeout=20)
        elif index == 5:
            raise OSError("batch 5 cannot be read")
        else:
            self.others.release()
        return boring_batches(6)[index]


def test_workers_of_a_py_dataset_read_ahead_in_order():
    data, seen = Waiting(workers=3, max_queue_size=4), []
    batches = iter(iterate_epoch(data, 0))
    seen.append(next(batches))
    seen += itertools.islice(batches, 4)
    for batch, expected in zip(seen, boring_batches(6), strict=False):
        np.testing.assert_array_equal(batch["x"], expected["x"])
    with pytest.raises(OSError, match="batch 5 cannot be read"):
        next(batches)
    assert sorted(data.read) == [0, 1, 2, 3, 4, 5]


def test_workers_of_a_py_dataset_read_no_more_than_asked():
    data = Waiting(workers=3, max_queue_size=4)
    batches = iter(iterate_epoch(data, 0))
    next(batches)
    batches.close()
    assert {0, 1, 2} <= set(data.read) <= {0, 1, 2, 3, 4}


def test_processes_of_a_py_dataset_are_threads():
    data = Waiting(workers=3, use_multiprocessing=True)
    with pytest.warns(UserWarning, match="use_multiprocessing=True, but the workers of a PyDataset are threads"):
        quiet_trainer(limit_train_batches=4).fit(BoringModule(), data)
    assert {0, 1, 2, 3} <= set(data.read)


def test_epoch_hooks_of_a_py_dataset_are_called():
    class Told(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.told = []

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return boring_batches(2)[index]

        def on_epoch_begin(self):
            self.told.append("begin")

        def on_epoch_end(self):
            self.told.append("end")

    data = Told()
    quiet_trainer(max_epochs=2).fit(BoringModule(), data)
    assert data.told[-4:] == ["begin", "end"] * 2


@pytest.mark.parametrize(
    ("argument", "instead"),
    [({"gradient_accumulation_steps": 2}, "accumulate_grad_batches"), ({"use_ema": True}, "Leave it out")],
)
def test_ignored_optimizer_arguments_are_rejected(argument, instead):
    class Net(BoringModule):
        def configure_optimizers(self):
            return keras.optimizers.SGD(0.1, **argument)

    with pytest.raises(kgenre.TrainerError, match=instead):
        quiet_trainer().fit(Net(), boring_batches(1))
