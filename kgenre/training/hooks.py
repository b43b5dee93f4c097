"""Call hooks in order: callbacks, then the module, then callbacks that save or monitor what the module logs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Integral
from typing import TYPE_CHECKING, Any

from kgenre.callbacks import ProgressBar
from kgenre.callbacks.callback import HOOKS, Callback, overrides
from kgenre.training.cleanup import Part, attempt, cleaning_up
from kgenre.training.errors import TrainerError
from kgenre.training.module import Module

if TYPE_CHECKING:
    from kgenre.training.trainer import Trainer

# The two hooks of checkpoints are called where the checkpoint's state is at hand.
_CALLED = [name for name in HOOKS if name not in ("on_save_checkpoint", "on_load_checkpoint")]
_ONE_BY_ONE = {"setup", "teardown", "on_exception"}  # methods: if one of the calls fails, others depend on it
_Chain = list[tuple[Any, Callable[..., Any]]]
# Lightning's hooks that nothing here can call. Ignoring one silently would train something else than the user wrote.
_IN_THE_STEP = "the step is compiled as a whole; write configure_gradients, a traced method of the module"
_BY_THE_ENGINE = "the engine moves batches; change them in the data pipeline or in the step"
_NEVER_CALLED = {
    "on_before_zero_grad": _IN_THE_STEP,
    "on_before_backward": _IN_THE_STEP,
    "on_after_backward": _IN_THE_STEP,
    "on_before_optimizer_step": _IN_THE_STEP,
    "optimizer_step": _IN_THE_STEP,
    "optimizer_zero_grad": _IN_THE_STEP,
    "backward": _IN_THE_STEP,
    "configure_gradient_clipping": _IN_THE_STEP,
    "lr_scheduler_step": _IN_THE_STEP,
    "on_before_batch_transfer": _BY_THE_ENGINE,
    "transfer_batch_to_device": _BY_THE_ENGINE,
    "on_after_batch_transfer": _BY_THE_ENGINE,
    **{f"{stage}_step_end": "do it in the step" for stage in ("training", "validation", "test")},
    **{f"on_{what}": f"write on_train_{what}" for what in ("epoch_start", "epoch_end", "batch_start", "batch_end")},
    "training_epoch_end": "write on_train_epoch_end",
    "validation_epoch_end": "write on_validation_epoch_end",
    "test_epoch_end": "write on_test_epoch_end",
    **{
        f"on_{stage}_model_{mode}": "pass training=True or training=False to layers in the step"
        for stage in ("validation", "test", "predict")
        for mode in ("train", "eval")
    },
}
_OF_PROGRESS_BARS = {
    **{
        f"init_{stage}_tqdm": "the bar is not tqdm's; override the hooks of ProgressBar"
        for stage in ("train", "validation", "test", "predict", "sanity")
    },
    "get_metrics": "the bar shows what self.log(name, value, prog_bar=True) logs; override its hooks for more",
}


class Hooks:
    """Each hook as a method: ``hooks.on_train_start()`` calls it on all callbacks and on the module.

    Only overridden hooks are called, so a hook that nobody wrote costs nothing.

    Raises:
        TrainerError: the module, the datamodule or a callback defines a Lightning hook that would never be called.
    """

    def __init__(self, trainer: Trainer, module: Module, callbacks: Sequence[Callback]) -> None:
        for owner in (module, trainer.datamodule, *callbacks):
            _reject_uncalled_hooks(owner)
        self._trainer = trainer
        self._owners: list[tuple[Any, type]] = [(module, Module), *((callback, Callback) for callback in callbacks)]
        self._chains = {name: self._chain(name, trainer, module, callbacks) for name in _CALLED}
        for name, chain in self._chains.items():
            if name in _ONE_BY_ONE:
                continue
            call = _calling([hook for _, hook in chain])
            batch_hook = re.fullmatch(r"on_(\w+)_batch_(start|end)", name)
            if batch_hook and self.has_users_batch_hooks(batch_hook[1]):
                call = _seeing_weights(call, trainer, is_after_step=batch_hook[2] == "end")
            setattr(self, name, call)

    def setup(self, stage: str) -> None:
        """Set up each, and note in ``trainer.set_up`` who was."""
        for owner, hook in self._chains["setup"]:
            hook(stage)
            self._trainer.set_up.add(id(owner))

    def teardowns(self, stage: str) -> Iterator[Part]:
        """The calls of ``teardown``, all of which are to be made: none where an object's ``setup`` did not finish."""
        waiting = {id(owner) for owner, _ in self._chains["setup"]} - self._trainer.set_up
        for owner, hook in self._chains["teardown"]:
            if id(owner) not in waiting:
                yield f"{type(owner).__name__}.teardown", partial(hook, stage)

    def on_exception(self, exception: BaseException) -> None:
        """Tell everyone, although some fail: checkpoints are saved here, and the exception is what is to be raised."""
        named = [(f"{type(owner).__name__}.on_exception", hook) for owner, hook in self._chains["on_exception"]]
        # `attempt` logs an error; after ``sys.exit()`` in a hook, too, the others are called.
        with cleaning_up((name, partial(attempt, name, partial(hook, exception))) for name, hook in named):
            pass

    def has_users_batch_hooks(self, stage: str) -> bool:
        """Whether hooks of a stage's batches may read and assign weights. kgenre's own do not, or sync themselves."""
        return any(
            overrides(owner, name, base) and not _is_kgenres(getattr(owner, name))
            for name in (f"on_{stage}_batch_start", f"on_{stage}_batch_end")
            for owner, base in self._owners
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"There is no hook {name!r}.")

    @staticmethod
    def _chain(name: str, trainer: Trainer, module: Module, callbacks: Sequence[Callback]) -> _Chain:
        """Everyone who overrides a hook, in order, with the hook."""

        def measured(owner: str, hook: Callable[..., Any]) -> Callable[..., Any]:
            return hook if trainer.profiler is None else trainer.profiler.profiled(f"{owner}.{name}", hook)

        def bound(callback: Callback) -> Callable[..., Any]:
            hook = measured(
                f"[Callback]{callback.state_key}", _as_written(getattr(callback, name), getattr(Callback, name))
            )
            return lambda *arguments: hook(trainer, module, *arguments)

        written = [callback for callback in callbacks if overrides(callback, name)]
        # At the end of an epoch or a validation the module may log the value that a callback monitors.
        late = [c for c in written if c.saves or (c.monitors and name in ("on_train_epoch_end", "on_validation_end"))]
        # Checkpoints that a run can be resumed from know of those of weights only: these are written first.
        late.sort(key=lambda callback: not getattr(callback, "save_weights_only", True))
        chain: _Chain = [(c, bound(c)) for c in written if c not in late]
        if overrides(module, name, Module):
            hook = _as_written(getattr(module, name), getattr(Module, name))
            chain.append((module, measured(f"[Module]{type(module).__name__}", hook)))
        return chain + [(callback, bound(callback)) for callback in late]


def _calling(hooks: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        stop = None
        for hook in hooks:
            returned = hook(*arguments)
            if isinstance(returned, Integral) and returned == -1:  # a lambda may return anything, such as a tensor
                stop = -1
        return stop

    return call


def _seeing_weights(call: Callable[..., Any], trainer: Trainer, is_after_step: bool) -> Callable[..., Any]:
    """Let a hook of batches read the module's weights, and take over what it assigns."""

    def call_and_sync(*arguments: Any) -> Any:
        if is_after_step:
            trainer.engine.sync_module()
        stop = call(*arguments)
        trainer.engine.pull()
        return stop

    return call_and_sync


def _as_written(hook: Callable[..., Any], base: Callable[..., Any]) -> Callable[..., Any]:
    """Drop the last argument, ``dataloader_idx``, for a hook that does not take it."""
    expected = list(inspect.signature(base).parameters)[1:]
    if "dataloader_idx" not in expected:
        return hook
    takes = inspect.signature(hook).parameters.values()
    if any(p.kind is p.VAR_POSITIONAL for p in takes) or len(takes) >= len(expected):
        return hook
    return lambda *arguments: hook(*arguments[:-1])


def _reject_uncalled_hooks(owner: Any) -> None:
    never_called = _NEVER_CALLED | (_OF_PROGRESS_BARS if isinstance(owner, ProgressBar) else {})
    for name, instead in never_called.items():
        if callable(getattr(type(owner), name, None)):
            raise TrainerError(f"{type(owner).__name__}.{name} would never be called: {instead}.")
    if not getattr(owner, "automatic_optimization", True):
        raise TrainerError(
            f"{type(owner).__name__}.automatic_optimization=False: the optimizers run in the compiled step. Return the "
            "loss from training_step; for several optimizers, see configure_optimizers."
        )


def _is_kgenres(hook: Callable[..., Any]) -> bool:
    return (getattr(hook, "__module__", None) or "").startswith("kgenre.")  # None: of built-in or executed code
