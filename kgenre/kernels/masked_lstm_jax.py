"""The masked LSTM under JAX: on a GPU cuDNN with sequence lengths, or a loop whose gradient is written out.

The gradient that JAX derives from a scan adds up the weights' gradients step by step, in products that are too thin to
be fast. Here the backward loop only carries the state's gradient, both directions go through one loop, which halves the
launches, and the weights' gradients are one product over all steps after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
from jax import numpy as jnp

from kgenre.kernels import masked_lstm_jax_cpu

if TYPE_CHECKING:
    from kgenre.kernels.masked_lstm import Direction

Pair = tuple[Any, Any]


def masked_lstm(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """See `kgenre.kernels.masked_lstm`."""
    if mask is None:
        mask = jnp.ones(inputs.shape[:2], bool)
    compute = {"cudnn": _through_cudnn, "loop": _loop, "cpu": masked_lstm_jax_cpu.masked_lstm}[way(directions)]
    return jax.tree.map(lambda array: array.astype(inputs.dtype), compute(inputs, mask, directions))


def way(directions: tuple[Direction, Direction]) -> str:
    """The fastest way here: "cudnn", "loop" or "cpu".

    Raises:
        NotImplementedError: on what is neither a GPU nor a CPU, where it is Keras's own.
    """
    platform = jax.default_backend()
    if platform == "cpu":
        return "cpu"
    if platform != "gpu":
        raise NotImplementedError(platform)
    return "cudnn" if all(direction.recurrent_dropout is None for direction in directions) else "loop"


# --- cuDNN ------------------------------------------------------------------------------------------------------------


def _through_cudnn(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """Both directions in one call, which runs them side by side. In float32: JAX's cuDNN takes nothing else."""
    from jax.experimental import rnn

    states = directions[0].recurrent_kernel.shape[0]
    lengths = jnp.sum(mask, 1, dtype="int32")
    x, packed, features = cudnn_operands(inputs, directions)
    start = jnp.zeros((2, inputs.shape[0], states), "float32")
    # cuDNN refuses empty sequences; what it gives for them is masked below.
    outputs, last, _ = rnn.lstm(
        x,
        start,
        start,
        packed,
        jnp.maximum(lengths, 1),
        input_size=features,
        hidden_size=states,
        num_layers=1,
        dropout=0.0,
        bidirectional=True,
    )
    # A gap in a row would be read as words: no number is better than a wrong one.
    right_padded = jnp.all(mask == (jnp.arange(mask.shape[1]) < lengths[:, None]), 1)
    poison = jnp.where(right_padded, 0.0, jnp.nan)[:, None]  # (B, 1)
    outputs = jnp.where(mask[..., None], outputs, 0.0) + poison[..., None]
    last = jnp.where((lengths > 0)[:, None], last, 0.0) + poison
    return (outputs[..., :states], outputs[..., states:]), (last[0], last[1])


def cudnn_operands(inputs: Any, directions: tuple[Direction, Direction]) -> tuple[Any, Any, int]:
    """What `jax.experimental.rnn.lstm` takes: inputs, the packed weights, and the number of input features.

    With dropout the two directions read different inputs, cuDNN one: it gets both side by side, and each direction
    weights of zero for the other's half.
    """
    kernels = [direction.kernel for direction in directions]
    if all(direction.input_dropout is None for direction in directions):
        x = inputs
    else:
        x = jnp.concatenate([_dropped(inputs, direction) for direction in directions], -1)
        zeros = jnp.zeros_like(kernels[0])
        kernels = [jnp.concatenate([kernels[0], zeros]), jnp.concatenate([zeros, kernels[1]])]
    matrices, biases = [], []
    for kernel, direction in zip(kernels, directions, strict=True):
        matrices += [kernel.T.ravel(), direction.recurrent_kernel.T.ravel()]
        biases += [direction.bias, jnp.zeros_like(direction.bias)]  # cuDNN has two biases
    return x.astype("float32"), jnp.concatenate(matrices + biases).astype("float32"), x.shape[-1]


def _dropped(inputs: Any, direction: Direction) -> Any:
    factors = direction.input_dropout
    if factors is None:
        return inputs
    if factors.ndim == 3:
        raise NotImplementedError("cuDNN has one input for all gates.")
    return inputs * factors[:, None]


# --- the loop ---------------------------------------------------------------------------------------------------------
# Axes: t step, in the order in which a direction reads; s direction, g gate, b sequence, d input feature, h, k state.


def _loop(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """Products in the dtype of the inputs; sums and states in float32."""
    steps_first = jnp.swapaxes(inputs, 0, 1)
    forward, backward = (_project(steps_first, direction) for direction in directions)
    recurrent = jnp.stack([_by_gate(direction.recurrent_kernel) for direction in directions]).astype(inputs.dtype)
    factors = None
    if directions[0].recurrent_dropout is not None:
        factors = jnp.stack([direction.recurrent_dropout for direction in directions]).astype(inputs.dtype)
    live = mask.T[:, None, :, None]  # (T, 1, B, 1)
    live = jnp.concatenate([live, live[::-1]], 1)
    states = _recur(jnp.stack([forward, backward[::-1]], 1), live, recurrent, factors)  # (T, 2, B, H)
    outputs = [jnp.swapaxes(each, 0, 1) for each in (states[:, 0], states[::-1, 1])]
    first, second = (jnp.where(mask[..., None], each, 0.0) for each in outputs)
    return (first, second), (states[-1, 0], states[-1, 1])


def _by_gate(matrix: Any) -> Any:
    """(n, 4H) as (4, n, H)."""
    return jnp.stack(jnp.split(matrix, 4, -1))


def _project(steps_first: Any, direction: Direction) -> Any:
    """The inputs' part of the gates for all steps at once: float32 (T, 4, B, H)."""
    dtype, factors = steps_first.dtype, direction.input_dropout
    kernel = _by_gate(direction.kernel).astype(dtype)
    if factors is not None and factors.ndim == 2:
        steps_first, factors = steps_first * factors.astype(dtype), None
    bias = direction.bias.astype("float32").reshape(4, 1, -1)
    if factors is None:
        return jnp.einsum("tbd,gdh->tgbh", steps_first, kernel, preferred_element_type="float32") + bias
    x = steps_first[:, None] * factors.astype(dtype)
    return jnp.einsum("tgbd,gdh->tgbh", x, kernel, preferred_element_type="float32") + bias


@jax.custom_vjp
def _recur(projected: Any, live: Any, recurrent: Any, factors: Any) -> Any:
    """States after each step, float32 (T, 2, B, H); a step that is not live leaves them as they are.

    Args:
        projected: float32 (T, 2, 4, B, H).
        live: bool (T, 2, B, 1).
        recurrent: (2, 4, H, H).
        factors: (2, 4, B, H) or None.
    """
    return _recur_forward(projected, live, recurrent, factors)[0]


def _recur_forward(projected: Any, live: Any, recurrent: Any, factors: Any) -> tuple[Any, Any]:
    def step(carry: Pair, read: Pair) -> tuple[Pair, Any]:
        (state, cell), (projected, live) = carry, read  # (2, B, H) twice; (2, 4, B, H) and (2, B, 1)
        gates = projected + _through_weights(state, recurrent, factors)
        into, forget, out = (jax.nn.sigmoid(gates[:, gate]) for gate in (0, 1, 3))
        new = jnp.tanh(gates[:, 2])
        new_cell = forget * cell + into * new
        cell = jnp.where(live, new_cell, cell)
        state = jnp.where(live, out * jnp.tanh(new_cell), state)
        return (state, cell), (state, cell, jnp.stack([into, forget, new, out], 1))

    start = jnp.zeros_like(projected[0, :, 0])
    _, (states, cells, activated) = jax.lax.scan(step, (start, start), (projected, live))
    return states, (live, recurrent, factors, states, cells, activated)


def _recur_backward(residuals: Any, d_states: Any) -> tuple[Any, None, Any, None]:
    live, recurrent, factors, states, cells, activated = residuals

    def step(carry: Pair, read: Any) -> tuple[Pair, Any]:
        (d_state, d_cell), (d_output, live, cell, cell_before, activated) = carry, read
        into, forget, new, out = (activated[:, gate] for gate in range(4))
        d_state = d_state + d_output
        squashed = jnp.tanh(cell)
        d_new_cell = d_cell + d_state * out * (1 - squashed**2)
        d_gates = jnp.stack(
            [
                d_new_cell * new * into * (1 - into),
                d_new_cell * cell_before * forget * (1 - forget),
                d_new_cell * into * (1 - new**2),
                d_state * squashed * out * (1 - out),
            ],
            1,
        )
        d_gates = jnp.where(live[:, None], d_gates, 0.0)  # (2, 4, B, H)
        d_state = jnp.where(live, _back_through_weights(d_gates, recurrent, factors), d_state)
        return (d_state, jnp.where(live, d_new_cell * forget, d_cell)), d_gates

    nothing = jnp.zeros_like(states[0])
    states_before, cells_before = (jnp.concatenate([nothing[None], each[:-1]]) for each in (states, cells))
    read = d_states, live, cells, cells_before, activated
    _, d_gates = jax.lax.scan(step, (nothing, nothing), read, reverse=True)
    began, through = states_before.astype(recurrent.dtype), d_gates.astype(recurrent.dtype)
    if factors is None:
        d_recurrent = jnp.einsum("tsbh,tsgbk->sghk", began, through, preferred_element_type="float32")
    else:
        began = began[:, :, None] * factors
        d_recurrent = jnp.einsum("tsgbh,tsgbk->sghk", began, through, preferred_element_type="float32")
    return d_gates, None, d_recurrent.astype(recurrent.dtype), None


_recur.defvjp(_recur_forward, _recur_backward)


def _through_weights(state: Any, recurrent: Any, factors: Any) -> Any:
    """(2, B, H) times (2, 4, H, H): float32 (2, 4, B, H)."""
    state = state.astype(recurrent.dtype)
    if factors is None:
        return jnp.einsum("sbh,sghk->sgbk", state, recurrent, preferred_element_type="float32")
    return jnp.einsum("sgbh,sghk->sgbk", state[:, None] * factors, recurrent, preferred_element_type="float32")


def _back_through_weights(d_gates: Any, recurrent: Any, factors: Any) -> Any:
    """(2, 4, B, H) back to the state's gradient, float32 (2, B, H)."""
    d_gates = d_gates.astype(recurrent.dtype)
    if factors is None:
        return jnp.einsum("sgbk,sghk->sbh", d_gates, recurrent, preferred_element_type="float32")
    back = jnp.einsum("sgbk,sghk->sgbh", d_gates, recurrent, preferred_element_type="float32")
    return jnp.sum(back * factors, 1)
