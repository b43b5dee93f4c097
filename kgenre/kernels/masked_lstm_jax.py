"""The masked LSTM under JAX: cuDNN with sequence lengths, or a loop whose gradient is written out.

The gradient that JAX derives from a scan adds up the weights' gradients step by step, in products that are too thin to
be fast. Here the backward loop only carries the state's gradient; the weights' gradients are one product over all steps
after it. The loop ends with the longest sequence of the batch.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
from jax import numpy as jnp

if TYPE_CHECKING:
    from kgenre.kernels.masked_lstm import Direction

Pair = tuple[Any, Any]
Each = tuple[Any, ...]  # one for each direction
Ways = tuple[bool, ...]


def masked_lstm(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """See `kgenre.kernels.masked_lstm`."""
    if mask is None:
        mask = jnp.ones(inputs.shape[:2], bool)
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and all(direction.recurrent_dropout is None for direction in directions):
        outputs, last = _through_cudnn(inputs, mask, directions)
    else:
        outputs, last = _loop(inputs, mask, directions, on_gpu)
    cast = partial(jax.tree.map, lambda array: array.astype(inputs.dtype))
    return cast(outputs), cast(last)


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
# Axes: s direction (S of them: 1 or 2), g gate, t step, b sequence, d input feature, h and k state.


def _loop(inputs: Any, mask: Any, directions: tuple[Direction, Direction], on_gpu: bool) -> tuple[Pair, Pair]:
    # Half precision pays on a GPU only; on a CPU it makes an LSTM slower. Sums and states are float32 on both.
    dtype = inputs.dtype if on_gpu else jnp.dtype("float32")
    steps_first = jnp.swapaxes(inputs, 0, 1).astype(dtype)
    mask = mask.T[..., None]  # (T, B, 1)
    # A GPU would have to tell the host after each step whether it was the last one.
    steps = None if on_gpu else jnp.max(jnp.where(mask, jnp.arange(mask.shape[0])[:, None, None] + 1, 0))
    # On a GPU one loop for both halves the launches; on a CPU two loops run on two cores.
    states, last = [], []
    for together in ((0, 1),) if on_gpu else ((0,), (1,)):
        members = [directions[index] for index in together]
        projected = tuple(_project(steps_first, direction, dtype) for direction in members)
        recurrent = jnp.stack([_by_gate(direction.recurrent_kernel) for direction in members]).astype(dtype)
        factors = None
        if members[0].recurrent_dropout is not None:
            factors = jnp.stack([direction.recurrent_dropout for direction in members]).astype(dtype)
        ways = tuple(index == 1 for index in together)
        after, ends = _recur(ways, projected, mask, recurrent, factors, steps)
        states += after
        last += list(ends)
    outputs = [jnp.swapaxes(jnp.where(mask, state, 0.0), 0, 1) for state in states]
    return (outputs[0], outputs[1]), (last[0], last[1])


def _by_gate(matrix: Any) -> Any:
    """(n, 4H) as (4, n, H)."""
    return jnp.stack(jnp.split(matrix, 4, -1))


def _project(steps_first: Any, direction: Direction, dtype: Any) -> Any:
    """The inputs' part of the gates for all steps at once: float32 (4, T, B, H)."""
    kernel, factors = _by_gate(direction.kernel).astype(dtype), direction.input_dropout
    if factors is not None and factors.ndim == 2:
        steps_first, factors = steps_first * factors.astype(dtype), None
    equation = "tbd,gdh->gtbh" if factors is None else "gtbd,gdh->gtbh"
    x = steps_first if factors is None else steps_first * factors.astype(dtype)[:, None]
    bias = direction.bias.astype("float32").reshape(4, 1, 1, -1)
    return jnp.einsum(equation, x, kernel, preferred_element_type="float32") + bias


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _recur(ways: Ways, projected: Each, mask: Any, recurrent: Any, factors: Any, steps: Any) -> tuple[Each, Any]:
    """States after each step, S times (T, B, H) in the order of the input, and the last ones (S, B, H).

    Args:
        ways: for each direction, whether it reads from the end.
        projected: for each direction, float32 (4, T, B, H).
        mask: (T, B, 1).
        recurrent: (S, 4, H, H).
        factors: (S, 4, B, H) or None.
        steps: how many are worth computing; None: all T.
    """
    return _recur_forward(ways, projected, mask, recurrent, factors, steps)[0]


def _recur_forward(ways: Ways, projected: Each, mask: Any, recurrent: Any, factors: Any, steps: Any) -> tuple[Any, Any]:
    _, total, batch, size = projected[0].shape
    steps = total if steps is None else steps

    def step(count: Any, carry: Any) -> Any:
        state, cell, kept = carry  # (S, B, H) twice
        times = tuple(steps - 1 - count if backward else count for backward in ways)
        gates = _read(projected, times, 1) + _through_weights(state, recurrent, factors)  # (S, 4, B, H)
        into, forget, out = (jax.nn.sigmoid(gates[:, gate]) for gate in (0, 1, 3))
        new = jnp.tanh(gates[:, 2])
        live = _read((mask,) * len(ways), times, 0)
        new_cell = forget * cell + into * new
        cell = jnp.where(live, new_cell, cell)
        state = jnp.where(live, out * jnp.tanh(new_cell), state)
        activated = jnp.stack([into, forget, new, out], 1)
        kept = _write(kept[0], state, times, 0), _write(kept[1], cell, times, 0), _write(kept[2], activated, times, 1)
        return state, cell, kept

    start = jnp.zeros((len(ways), batch, size), "float32")
    empty = jnp.zeros((total, batch, size), "float32"), jnp.zeros((4, total, batch, size), "float32")
    kept = tuple((array,) * len(ways) for array in (empty[0], *empty))
    last, _, kept = jax.lax.fori_loop(0, steps, step, (start, start, kept))
    return (kept[0], last), (mask, recurrent, factors, None if steps is total else steps, kept)


def _recur_backward(ways: Ways, residuals: Any, gradients: Any) -> tuple[Any, None, Any, Any, None]:
    mask, recurrent, factors, steps, (states, cells, activated) = residuals
    outputs_gradient, state_gradient = gradients
    steps = mask.shape[0] if steps is None else steps
    # What each step began with: the states before it, in the order in which a direction reads.
    before = tuple(_shifted(each, ways, steps) for each in (states, cells))

    def step(count: Any, carry: Any) -> Any:
        d_state, d_cell, d_gates = carry
        times = tuple(count if backward else steps - 1 - count for backward in ways)
        live = _read((mask,) * len(ways), times, 0)
        gates = _read(activated, times, 1)
        into, forget, new, out = (gates[:, gate] for gate in range(4))
        d_state = d_state + _read(outputs_gradient, times, 0)
        squashed = jnp.tanh(_read(cells, times, 0))
        d_new_cell = d_cell + d_state * out * (1 - squashed**2)
        d_gate = jnp.stack(
            [
                d_new_cell * new * into * (1 - into),
                d_new_cell * _read(before[1], times, 0) * forget * (1 - forget),
                d_new_cell * into * (1 - new**2),
                d_state * squashed * out * (1 - out),
            ],
            1,
        )
        d_gate = jnp.where(live[:, None], d_gate, 0.0)  # (S, 4, B, H)
        d_state = jnp.where(live, _back_through_weights(d_gate, recurrent, factors), d_state)
        d_cell = jnp.where(live, d_new_cell * forget, d_cell)
        return d_state, d_cell, _write(d_gates, d_gate, times, 1)

    nothing = tuple(jnp.zeros_like(gates) for gates in activated)
    start = state_gradient, jnp.zeros_like(state_gradient), nothing
    _, _, d_gates = jax.lax.fori_loop(0, steps, step, start)
    d_recurrent = []
    for direction in range(len(ways)):
        began = before[0][direction].astype(recurrent.dtype)
        through = d_gates[direction].astype(recurrent.dtype)
        if factors is None:
            product = jnp.einsum("tbh,gtbk->ghk", began, through, preferred_element_type="float32")
        else:
            began = began * factors[direction][:, None]
            product = jnp.einsum("gtbh,gtbk->ghk", began, through, preferred_element_type="float32")
        d_recurrent.append(product)
    return d_gates, None, jnp.stack(d_recurrent).astype(recurrent.dtype), None, None


_recur.defvjp(_recur_forward, _recur_backward)


def _through_weights(state: Any, recurrent: Any, factors: Any) -> Any:
    """(S, B, H) times (S, 4, H, H): float32 (S, 4, B, H)."""
    state = state.astype(recurrent.dtype)
    if factors is None:
        return jnp.einsum("sbh,sghk->sgbk", state, recurrent, preferred_element_type="float32")
    return jnp.einsum("sgbh,sghk->sgbk", state[:, None] * factors, recurrent, preferred_element_type="float32")


def _back_through_weights(d_gate: Any, recurrent: Any, factors: Any) -> Any:
    """(S, 4, B, H) back to the state's gradient, float32 (S, B, H)."""
    d_gate = d_gate.astype(recurrent.dtype)
    if factors is None:
        return jnp.einsum("sgbk,sghk->sbh", d_gate, recurrent, preferred_element_type="float32")
    back = jnp.einsum("sgbk,sghk->sgbh", d_gate, recurrent, preferred_element_type="float32")
    return jnp.sum(back * factors, 1)


def _read(each: Each, times: Each, axis: int) -> Any:
    """Each direction's array at its own step, stacked."""
    read = partial(jax.lax.dynamic_index_in_dim, axis=axis, keepdims=False)
    return jnp.stack([read(array, time) for array, time in zip(each, times, strict=True)])


def _write(each: Each, values: Any, times: Each, axis: int) -> Each:
    """Put each direction's value where `_read` finds it; XLA does it in place."""
    write = partial(jax.lax.dynamic_update_index_in_dim, axis=axis)
    return tuple(write(array, value, time) for array, value, time in zip(each, values, times, strict=True))


def _shifted(each: Each, ways: Ways, steps: Any) -> Each:
    """The values one step earlier: forward from the left, backward from the right; zero before the first."""
    zeros = jnp.zeros_like(each[0][:1])
    last = jnp.arange(each[0].shape[0])[:, None, None] == steps - 1
    return tuple(
        jnp.where(last, 0.0, jnp.concatenate([array[1:], zeros])) if backward else jnp.concatenate([zeros, array[:-1]])
        for array, backward in zip(each, ways, strict=True)
    )
