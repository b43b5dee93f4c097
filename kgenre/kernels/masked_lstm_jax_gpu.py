"""The masked LSTM under JAX on a GPU: one loop for both directions, few kernels per step, a hand-written gradient.

On a GPU a small step of a loop costs what its kernels cost to launch, some 2 µs each, and a large one the memory that
they read and write. So eight steps form one iteration, whose results are written together: without recurrent dropout,
2.5 kernels per step forward and 2.8 backward, where Keras's loop and the gradient that JAX derives from it have dozens.
What is kept for the gradient has the dtype of the inputs; the gates replace the inputs' part of them in its array, and
the gates' gradients later replace the gates; arrays of all steps begin with the axes (direction, step), in which large
products can read them as they are. `benchmarks/gpu_kernels.py` counts kernels and traffic.

cuDNN, which JAX offers in ``jax.experimental.rnn``, is slower: each call waits for the device to learn the lengths of
the sequences, and launches some 500 kernels itself. A training step of the course's LSTM without recurrent dropout
(batch 64, 68 words, H200) took 19 ms with cuDNN and 4 ms with an earlier version of this loop of 15 kernels per step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
from jax import lax
from jax import numpy as jnp

if TYPE_CHECKING:
    from kgenre.kernels.masked_lstm import Direction

Pair = tuple[Any, Any]
_UNROLL = 8  # steps in one iteration
# Axes: s direction, t step, in the order in which a direction reads; b sequence, g gate, d input feature; h, k state.
# The gates of a sequence are adjacent, as in Keras's weights and in a product with them.


def masked_lstm(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """See `kgenre.kernels.masked_lstm`. Products in the dtype of the inputs; sums and cells in float32."""
    projected = _project(_both(inputs), directions)
    bias = jnp.stack([direction.bias.reshape(4, -1) for direction in directions]).astype("float32")
    recurrent = jnp.stack([_by_gate(direction.recurrent_kernel) for direction in directions]).astype(inputs.dtype)
    factors = None
    if directions[0].recurrent_dropout is not None:
        factors = jnp.stack([direction.recurrent_dropout for direction in directions]).astype(inputs.dtype)
    states = _recur(projected, bias, _both(mask[..., None]), recurrent, factors)
    outputs = [jnp.swapaxes(each, 0, 1) for each in (states[0], states[1, ::-1])]
    first, second = (jnp.where(mask[..., None], each, jnp.zeros_like(each)) for each in outputs)
    return (first, second), (states[0, -1], states[1, -1])


def _both(sequences: Any) -> Any:
    """Return (B, T, D) as each direction reads it: (2, T, B, D)."""
    forward = jnp.swapaxes(sequences, 0, 1)
    return jnp.stack([forward, forward[::-1]])


def _by_gate(matrix: Any) -> Any:
    """Reshape (n, 4H) to (n, 4, H)."""
    return matrix.reshape(matrix.shape[0], 4, -1)


def _project(x: Any, directions: Sequence[Direction]) -> Any:
    """Compute the inputs' part of the gates for all steps at once: (2, T, B, D) to (2, T, B, 4, H)."""
    kernel = jnp.stack([_by_gate(direction.kernel) for direction in directions]).astype(x.dtype)
    if directions[0].input_dropout is not None:
        factors = jnp.stack([direction.input_dropout for direction in directions]).astype(x.dtype)
        if factors.ndim == 4:  # separate ones for each gate
            return jnp.einsum("stgbd,sdgk->stbgk", x[:, :, None] * factors[:, None], kernel)
        x = x * factors[:, None]
    return jnp.einsum("stbd,sdgk->stbgk", x, kernel)


@jax.custom_vjp
def _recur(projected: Any, bias: Any, valid: Any, recurrent: Any, factors: Any) -> Any:
    """Return the states after each step, (2, T, B, H); a masked step changes no state.

    Args:
        projected: (2, T, B, 4, H).
        bias: float32 (2, 4, H).
        valid: bool (2, T, B, 1), false at masked steps.
        recurrent: (2, H, 4, H).
        factors: (2, 4, B, H) or None.
    """

    def step(carry: Pair, read: Sequence[Any]) -> tuple[Pair, list[Any]]:
        state, cell, _ = _step(carry, read, bias, recurrent, factors)
        return (state, cell), [state]

    written = [jnp.zeros_like(projected[:, :, :, 0])]
    return _loop(step, _start(projected), (projected, valid), written)[0]


def _recur_forward(projected: Any, bias: Any, valid: Any, recurrent: Any, factors: Any) -> tuple[Any, Any]:
    def step(carry: Pair, read: Sequence[Any]) -> tuple[Pair, list[Any]]:
        state, cell, recurred = _step(carry, read, bias, recurrent, factors)
        return (state, cell), [recurred, jnp.stack([state, cell.astype(state.dtype)], 2)]

    def write(before: list[Any], results: list[Any]) -> list[Any]:
        # Added here for all steps at once, not in `step`, which would need another kernel.
        (projected, _), (recurred, kept) = before, results
        return [projected + recurred, kept]

    written = [projected, jnp.zeros_like(projected[:, :, :, :2])]
    gates, kept = _loop(step, _start(projected), (None, valid), written, write)
    return kept[:, :, :, 0], (gates, bias, valid, recurrent, factors, kept)


def _recur_backward(residuals: Any, d_states: Any) -> tuple[Any, Any, None, Any, None]:
    gates, bias, valid, recurrent, factors, kept = residuals  # the gates without their biases
    before = jnp.concatenate([jnp.zeros_like(kept[:, :1]), kept[:, :-1]], 1)  # what was kept one step earlier

    def step(carry: Pair, read: Sequence[Any]) -> tuple[Pair, list[Any]]:
        (d_state, d_cell), (gates, d_output, valid, cell, cell_before) = carry, read
        input_gate, forget_gate, candidate, output_gate = _activate(gates + bias[:, None])
        d_state = d_state + d_output
        squashed = jnp.tanh(cell.astype("float32"))
        d_new_cell = d_cell + d_state * output_gate * (1 - squashed**2)
        d_gates = [
            d_new_cell * candidate * input_gate * (1 - input_gate),
            d_new_cell * cell_before * forget_gate * (1 - forget_gate),
            d_new_cell * input_gate * (1 - candidate**2),
            d_state * squashed * output_gate * (1 - output_gate),
        ]
        d_gates = jnp.where(valid[..., None], jnp.stack(d_gates, 2), 0.0).astype(gates.dtype)  # (2, B, 4, H)
        d_state = jnp.where(valid, _back_through_weights(d_gates, recurrent, factors), d_state)
        return (d_state, jnp.where(valid, d_new_cell * forget_gate, d_cell)), [d_gates]

    nothing = jnp.zeros(d_states[:, 0].shape)
    read = None, d_states, valid, kept[:, :, :, 1], before[:, :, :, 1]
    (d_gates,) = _loop(step, (nothing, nothing), read, [gates], reverse=True)
    states = before[:, :, :, 0]
    if factors is None:
        d_recurrent = jnp.einsum("stbh,stbgk->shgk", states, d_gates)
    else:
        d_recurrent = jnp.einsum("stgbh,stbgk->shgk", states[:, :, None] * factors[:, None], d_gates)
    return d_gates, jnp.sum(d_gates, (1, 2), "float32"), None, d_recurrent, None


_recur.defvjp(_recur_forward, _recur_backward)


def _start(projected: Any) -> Pair:
    """Return the first state and cell."""
    directions, _, sequences, _, units = projected.shape
    return jnp.zeros((directions, sequences, units), projected.dtype), jnp.zeros((directions, sequences, units))


def _step(carry: Pair, read: Sequence[Any], bias: Any, recurrent: Any, factors: Any) -> tuple[Any, Any, Any]:
    """Return the new state and cell, (2, B, H), and the state's part of the gates, (2, B, 4, H)."""
    (state, cell), (projected, valid) = carry, read  # (2, B, H) twice; (2, B, 4, H) and (2, B, 1)
    recurred = _through_weights(state, recurrent, factors)
    gates = projected.astype("float32") + recurred + bias[:, None]
    input_gate, forget_gate, candidate, output_gate = _activate(gates)
    new_cell = forget_gate * cell + input_gate * candidate
    new_state = (output_gate * jnp.tanh(new_cell)).astype(state.dtype)
    return jnp.where(valid, new_state, state), jnp.where(valid, new_cell, cell), recurred


def _loop(
    step: Callable[[Any, Sequence[Any]], tuple[Any, Sequence[Any]]],
    carry: Any,
    read: Sequence[Any],
    written: Sequence[Any],
    write: Callable[[list[Any], list[Any]], list[Any]] = lambda before, results: results,
    reverse: bool = False,
) -> list[Any]:
    """Run ``step`` at each index of the second axis, and return ``written`` with its results there.

    Unlike in `jax.lax.scan`, results may replace what was read: where ``read`` has None, the step gets what is at its
    index in ``written`` (in the same place of that list). ``write`` maps what is in ``written`` and the results of
    several steps to what is to be there.
    """
    length = written[0].shape[1]

    def several(first: Any, size: int, carry: Any, written: list[Any]) -> tuple[Any, list[Any]]:
        results = []
        for index in reversed(range(size)) if reverse else range(size):
            arrays = [written[place] if array is None else array for place, array in enumerate(read)]
            here = [lax.dynamic_index_in_dim(array, first + index, 1, keepdims=False) for array in arrays]
            carry, result = step(carry, here)
            results.append(result)
        stacked = [jnp.stack(each[::-1] if reverse else each, 1) for each in zip(*results, strict=True)]
        before = [lax.dynamic_slice_in_dim(array, first, size, 1) for array in written]
        pairs = zip(written, write(before, stacked), strict=True)
        return carry, [lax.dynamic_update_slice_in_dim(array, new, first, 1) for array, new in pairs]

    iterations, rest = divmod(length, _UNROLL)
    state = carry, list(written)
    if rest and reverse:
        state = several(length - rest, rest, *state)

    def body(index: Any, state: Any) -> Any:
        return several((iterations - 1 - index if reverse else index) * _UNROLL, _UNROLL, *state)

    if iterations:
        state = lax.fori_loop(0, iterations, body, state)
    if rest and not reverse:
        state = several(length - rest, rest, *state)
    return state[1]


def _activate(gates: Any) -> tuple[Any, Any, Any, Any]:
    """Split (..., 4, H) into the four gates, (..., H) each, and apply their activations."""
    input_gate, forget_gate, candidate, output_gate = (gates[..., gate, :] for gate in range(4))
    return jax.nn.sigmoid(input_gate), jax.nn.sigmoid(forget_gate), jnp.tanh(candidate), jax.nn.sigmoid(output_gate)


def _through_weights(state: Any, recurrent: Any, factors: Any) -> Any:
    """Multiply (2, B, H) by (2, H, 4, H): (2, B, 4, H)."""
    if factors is None:
        return jnp.einsum("sbh,shgk->sbgk", state, recurrent)
    gates = jnp.einsum("sgbh,sghk->sgbk", state[:, None] * factors, jnp.swapaxes(recurrent, 1, 2))
    return jnp.swapaxes(gates, 1, 2)


def _back_through_weights(d_gates: Any, recurrent: Any, factors: Any) -> Any:
    """Map the gates' gradient (2, B, 4, H) to the state's, float32 (2, B, H)."""
    if factors is None:
        return jnp.einsum("sbgk,shgk->sbh", d_gates, recurrent, preferred_element_type="float32")
    by_gate = jnp.swapaxes(d_gates, 1, 2), jnp.swapaxes(recurrent, 1, 2)
    back = jnp.einsum("sgbk,sghk->sgbh", *by_gate, preferred_element_type="float32")
    return jnp.sum(back * factors, 1)
