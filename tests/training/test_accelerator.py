"""The devices a run computes on; training on several devices gives the same result as on one."""

import json
from contextlib import suppress

import keras
import numpy as np
import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer, weights_of

import kgenre
from kgenre import TrainerError
from kgenre.training import ArrayDataset, accelerator
from kgenre.training.limits import check_last_batch
from kgenre.training.resume import run_state

BACKEND = keras.backend.backend()
CUDA = "CUDA build of PyTorch" if BACKEND == "torch" else r"kgenre\[cuda\]"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"accelerator": "tpu"}, r"takes 'auto' or 'cpu' or 'gpu' \(CUDA, or MPS under torch\). Received: 'tpu'"),
        ({"strategy": "ddp"}, r"or 'data_parallel' \(several devices in one process, JAX only; .*\). Received: 'ddp'"),
        ({"devices": 0}, "devices must be 'auto', a number"),
        ({"devices": 10**20}, "Received: 100000000000000000000"),
        ({"devices": [10**20]}, "a list of indices such as .* Received: .100000000000000000000"),
        ({"devices": []}, r"devices must be 'auto', a number .* Received: \[\]"),
        ({"devices": [1, 1]}, r"Received: \[1, 1\]"),
        ({"devices": "cpu:0"}, "Received: 'cpu:0'"),
    ],
)
def test_invalid_flags_are_rejected_by_the_constructor(arguments, message):
    with pytest.raises(ValueError, match=message):
        quiet_trainer(**arguments)


@pytest.fixture
def with_devices(monkeypatch):
    """Return a function that makes the backend appear to have one CPU and the given GPUs."""

    keras.ops.zeros(())  # start JAX now: a test that requests several devices would split the CPU for all later tests

    def pretend(*gpus):
        found = {"cpu": ["cpu:0"], "gpu": list(gpus), None: list(gpus) or ["cpu:0"]}
        monkeypatch.setattr("kgenre.engines.devices.list_devices", lambda kind=None: found[kind])

    return pretend


@pytest.mark.parametrize(
    ("gpus", "arguments", "message"),
    [
        (
            [],
            {"accelerator": "gpu"},
            f"accelerator='gpu', but {BACKEND} finds no GPU here, only cpu:0. It needs .*{CUDA}.* accelerator='auto'",
        ),
        pytest.param(
            [],
            {"accelerator": "cpu", "devices": 3},
            "devices=3, but jax finds 1: cpu:0. .* configure_model, or start the program with JAX_NUM_CPU_DEVICES=3.",
            marks=pytest.mark.skipif(BACKEND != "jax", reason="JAX splits a CPU"),
        ),
        (["gpu:0", "gpu:1"], {"devices": [2]}, r"devices=\[2\], but .* finds 2: gpu:0, gpu:1"),
        (["gpu:0", "gpu:1"], {"devices": 2, "strategy": "single"}, "strategy='single' computes on one device"),
    ],
)
def test_unavailable_devices_are_rejected_before_training(with_devices, gpus, arguments, message):
    with_devices(*gpus)
    with pytest.raises(TrainerError, match=message):
        quiet_trainer(**arguments).fit(BoringModule(), boring_batches(1))


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ({}, ()),
        ({"accelerator": "cpu"}, ("cpu:0",)),
        ({"accelerator": "gpu"}, ("gpu:0",)),
        ({"devices": [1]}, ("gpu:1",)),
        ({"devices": 1}, ("gpu:0",)),
    ],
)
def test_choice_of_one_device(with_devices, arguments, chosen):
    from kgenre.training.accelerator import choose_devices

    with_devices("gpu:0", "gpu:1")
    trainer = quiet_trainer(**arguments)
    assert choose_devices(trainer.accelerator, trainer.devices, trainer.strategy) == chosen


@pytest.mark.skipif(BACKEND != "jax", reason="JAX splits a CPU")
@pytest.mark.parametrize(("devices", "number"), [(1, 1), (2, 2), ([0, 2], 3)])
def test_cpu_is_split_into_the_requested_devices(with_devices, monkeypatch, devices, number):
    divided = []
    monkeypatch.setattr("kgenre.engines.devices.divide_cpu", divided.append)
    with_devices()
    with suppress(TrainerError):  # divide_cpu is mocked, so the devices are missing
        accelerator.choose_devices("cpu", devices, "auto")
    assert divided == [number]


def test_fit_logs_backend_and_devices(caplog):
    trainer = quiet_trainer(accelerator="cpu")
    with caplog.at_level("INFO", "kgenre"):
        trainer.fit(BoringModule(), boring_batches(1))
        trainer.validate(BoringModule(), boring_batches(1), verbose=False)
    assert [r.message for r in caplog.records if "Backend" in r.message] == [f"Backend {BACKEND} on cpu:0."]
    assert run_state(trainer)["environment"]["devices"] == ["cpu:0"]


@pytest.mark.parametrize(
    ("arguments", "variables", "tools", "said"),
    [
        ({}, {}, True, True),
        ({"accelerator": "cpu"}, {}, True, False),
        ({}, {"CUDA_VISIBLE_DEVICES": "-1"}, True, False),
        ({}, {}, False, False),
    ],
)
def test_warning_if_the_backend_does_not_find_the_gpu(
    with_devices, monkeypatch, caplog, arguments, variables, tools, said
):
    with_devices()
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(accelerator.shutil, "which", {"nvidia-smi": "/usr/bin/nvidia-smi" if tools else None}.get)
    monkeypatch.setattr(accelerator.Path, "glob", lambda folder, pattern: iter([folder / "nvidia0"]))
    accelerator.log_devices(**{"accelerator": "auto"} | arguments, chosen=(), precision="32-true")
    assert ("has an NVIDIA GPU" in caplog.text) is said


@pytest.mark.parametrize(
    ("precision", "capability", "said"),
    [("bf16-mixed", 7.5, True), ("16-mixed", 7.5, False), ("bf16-mixed", 9.0, False)],
)
def test_warning_if_the_gpu_lacks_bfloat16(with_devices, monkeypatch, caplog, precision, capability, said):
    with_devices("gpu:0")
    monkeypatch.setattr("kgenre.engines.devices._details", lambda device: ("Tesla T4", capability))
    with caplog.at_level("INFO", "kgenre"):
        accelerator.log_devices("auto", (), precision)
    assert caplog.messages[0] == f"Backend {BACKEND} on gpu:0 (Tesla T4)."
    assert ("Use precision='16-mixed'" in caplog.text) is said


@pytest.mark.skipif(BACKEND == "jax", reason="JAX trains on several devices")
@pytest.mark.parametrize("gpus", [[], ["gpu:0", "gpu:1"]])
@pytest.mark.parametrize("arguments", [{"devices": 2}, {"strategy": "data_parallel"}])
def test_several_devices_require_jax(with_devices, arguments, gpus):
    with_devices(*gpus)
    with pytest.raises(TrainerError, match=f"only KERAS_BACKEND=jax trains on several devices together, not {BACKEND}"):
        quiet_trainer(**arguments).fit(BoringModule(), boring_batches(1))


def test_last_batch_that_devices_cannot_share_is_refused_at_the_start():
    whole, odd = np.zeros((8, 4)), np.zeros((9, 4))
    refused = [ArrayDataset(odd, 4), [whole[:4], odd[:3]], [odd[0:1]], ArrayDataset(odd, 3)]
    fine = [ArrayDataset(odd, 4, drop_last=True), ArrayDataset(whole, 4), ArrayDataset(whole, 32), [whole], [1, 2]]
    for source, devices in [(source, 2) for source in fine] + [(source, 1) for source in refused]:
        check_last_batch(source, len(source), "train", devices)
    for source in refused:
        check_last_batch(source, len(source) - 1, "train", 2)  # the limit leaves the last one out
        with pytest.raises(TrainerError, match=r"among 2 devices\. The last train batch has (1 row|3 rows): make"):
            check_last_batch(source, len(source), "train", 2)


class Notes(BoringModule):
    """Under JAX, notes the device that its step is compiled for; "none" leaves the choice to JAX."""

    device = "cpu:0"

    def training_step(self, batch, batch_idx):
        if BACKEND == "jax":  # from TensorFlow, other devices are hidden
            import jax

            self.device = str(jax.config.jax_default_device).lower()
        return super().training_step(batch, batch_idx)


def test_accelerator_cpu_trains_like_the_default():
    trainer = quiet_trainer(accelerator="cpu", max_epochs=2)
    plain = quiet_trainer(max_epochs=2)
    for each in (trainer, plain):
        each.fit(Notes(), boring_batches(3))
        each.test(dataloaders=boring_batches(1), verbose=False)
    assert [each.engine.options.devices for each in (trainer, plain)] == [("cpu:0",), ()]
    assert "cpu" in trainer.module.device
    assert BACKEND != "jax" or plain.module.device == "none"
    assert trainer.callback_metrics == pytest.approx(plain.callback_metrics, rel=1e-6)


class Late(BoringModule):
    """Creates its layers in `configure_model`, where the Trainer's device is known."""

    def __init__(self):
        kgenre.Module.__init__(self)
        self.learning_rate, self.model = 0.1, None

    def configure_model(self):
        if self.model is None:
            dropout = keras.layers.Dropout(0.5, seed=1)  # its seed is a variable of integers
            self.model = keras.Sequential([keras.Input((4,)), dropout, keras.layers.Dense(2)])


def test_accelerator_cpu_with_layers_of_configure_model():
    def freeze(trainer, module):
        module.model.trainable = False

    module, weights = Late(), []
    for callback in (None, Lambdas(on_fit_start=freeze)):
        quiet_trainer(accelerator="cpu", callbacks=callback).fit(module, boring_batches(3))
        weights.append(weights_of(module))
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0] if "kernel" in name)


SCRIPT = """
import json
import jax, keras, kgenre
from kgenre.models.layers import Conv2D
from boring import BoringModule, Lambdas, boring_batches, boring_dataset, quiet_trainer

class Net(BoringModule):
    def __init__(self):  # BoringModule's makes layers
        kgenre.Module.__init__(self)
    def configure_model(self):
        layers = keras.layers
        drawn = [keras.initializers.RandomNormal(seed=seed) for seed in range(3)]
        self.model = keras.Sequential([keras.Input((4,)), layers.Reshape((2, 2, 1)),
            Conv2D(3, 2, padding="same", kernel_initializer=drawn[0]), layers.Flatten(),
            layers.Dense(8, activation="relu", kernel_initializer=drawn[1]), layers.BatchNormalization(),
            layers.Dropout(0.3, seed=3), layers.Dense(2, kernel_initializer=drawn[2])])
    def configure_optimizers(self):
        return keras.optimizers.Adam(0.01)

def losses(max_steps, ckpt_path=None, **arguments):
    seen, spread = [], set()
    def note(trainer, module, outputs, *_):
        seen.append(outputs["loss"])
        if trainer.global_step == 6 and ckpt_path is None and arguments:
            trainer.save_checkpoint(FOLDER)
        spread.add(len(trainer.engine._state["trainable"][0].devices()))
    trainer = quiet_trainer(max_epochs=9, max_steps=max_steps, callbacks=Lambdas(on_train_batch_end=note), **arguments)
    module = Net()
    trainer.fit(module, boring_dataset(), boring_dataset(), ckpt_path=ckpt_path)
    module.model(boring_dataset().arrays["x"])  # the variables are the user's again
    return trainer, [float(x) for x in trainer.engine.to_host(seen)], spread

both = {"devices": 2, "accelerator": "cpu"}
two, together, spread = losses(9, **both)
one, alone, _ = losses(9)
_, resumed, _ = losses(9, ckpt_path=FOLDER, **both)
_, elsewhere, _ = losses(9, ckpt_path=FOLDER)
quiet_trainer(**both).fit(Net(), [{**batch, "scale": 1.0} for batch in boring_batches(2)])  # scalars are not divided
keras.distribution.set_distribution(keras.distribution.DataParallel())
_, distributed, _ = losses(3, **both)
keras.distribution.set_distribution(None)
class UnknownLength:
    def __iter__(self):
        return iter(boring_dataset(rows=15))
def refused(stage, *sources):
    trainer = quiet_trainer(strategy="data_parallel")
    try:
        getattr(trainer, stage)(Net(), *sources)
    except Exception as error:
        return trainer.global_step, f"{type(error).__name__}: {error}"
odd, even = boring_dataset(rows=15), boring_dataset()
messages = [refused("fit", odd), refused("fit", even, odd), refused("test", odd), refused("fit", UnknownLength())]
print(json.dumps({"alone": alone, "together": together, "spread": sorted(spread),
    "resumed": resumed, "elsewhere": elsewhere, "distributed": distributed,
    "messages": messages, "val": [one.callback_metrics["val/loss"],
    two.callback_metrics["val/loss"]], "devices": one.engine.options.devices + two.engine.options.devices}))
"""


def test_two_devices_compute_the_same_as_one(run_python, tmp_path):
    if BACKEND != "jax":
        pytest.skip("JAX trains on several devices")
    script = f"FOLDER = {str(tmp_path / 'checkpoint')!r}\n" + SCRIPT
    result = json.loads(run_python(script, JAX_PLATFORMS="cpu").splitlines()[-1])
    assert result["devices"] == ["cpu:0", "cpu:1"]
    assert result["spread"] == [2]
    assert result["together"] == pytest.approx(result["alone"], rel=1e-4)
    assert len(set(result["together"])) == 9
    assert result["val"][1] == pytest.approx(result["val"][0], rel=1e-4)
    assert result["resumed"] == result["together"][6:]  # bit for bit
    assert result["distributed"] == pytest.approx(result["together"][:3], rel=1e-4)
    assert result["elsewhere"] == pytest.approx(result["resumed"], rel=1e-4)
    divided = "Error: Each batch is divided among 2 devices. "
    for name, (steps, message) in zip(("train", "val", "test"), result["messages"], strict=False):
        assert (steps, message[: message.index(":", 20)]) == (0, f"Trainer{divided}The last {name} batch has 7 rows")
    assert result["messages"][3][0] == 1
    assert result["messages"][3][1].startswith(f"Step{divided}Received one of 7 rows")


@pytest.mark.parametrize("kind", ["DataParallel", "ModelParallel"])
def test_distribution_of_keras_is_rejected(kind):
    mesh = keras.distribution.DeviceMesh((1, 2), ["batch", "model"], ["cpu:0", "cpu:1"])
    found = (
        keras.distribution.DataParallel(devices=["cpu:0", "cpu:1"])
        if kind == "DataParallel"
        else keras.distribution.ModelParallel(layout_map=keras.distribution.LayoutMap(mesh), batch_dim_name="batch")
    )
    module = BoringModule()
    keras.distribution.set_distribution(found)
    try:
        with pytest.raises(TrainerError, match=rf"with a {kind}, .* use Trainer\(devices=2\)\.$"):
            quiet_trainer().fit(module, boring_batches(1))
    finally:
        keras.distribution.set_distribution(None)
