"""The masked LSTM under TensorFlow: a loop with a hand-written gradient, the only part that XLA compiles.

TensorFlow itself runs some eighty small operations for each step of Keras's loop and its derived gradient. XLA compiles
them into a few; the rest of the network stays with TensorFlow's own kernels, which are faster for it on a CPU. On a CPU
the loop ends with the longest sequence of the batch. On a GPU without recurrent dropout the LSTM is left to Keras,
which uses cuDNN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from kgenre.kernels.tensorflow_gradient import with_gradient

if TYPE_CHECKING:
    from kgenre.kernels.masked_lstm import Direction

Pair = tuple[Any, Any]


def masked_lstm(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """See `kgenre.kernels.masked_lstm`."""
    on_gpu = bool(tf.config.list_logical_devices("GPU"))
    if on_gpu and directions[0].recurrent_dropout is None:
        raise NotImplementedError("Keras's own LSTM uses cuDNN.")
    dtype = inputs.dtype if on_gpu else tf.float32  # half precision makes an LSTM slower on a CPU
    if mask is None:
        mask = tf.ones(tf.shape(inputs)[:2], tf.bool)
    mask = tf.transpose(mask)[..., None]  # (T, B, 1)
    steps_first = tf.transpose(tf.cast(inputs, dtype), (1, 0, 2))
    projected = tuple(_project(steps_first, direction, dtype) for direction in directions)
    recurrent = tf.stack([_by_gate(tf.cast(direction.recurrent_kernel, dtype)) for direction in directions])
    factors = [direction.recurrent_dropout for direction in directions if direction.recurrent_dropout is not None]
    factors = [tf.cast(tf.stack(factors), dtype)] if factors else []
    *states, last = _recur(*projected, mask, recurrent, *factors)
    outputs = [tf.transpose(tf.where(mask, state, 0.0), (1, 0, 2)) for state in states]
    outputs, last = [tf.cast(array, inputs.dtype) for array in outputs], tf.cast(last, inputs.dtype)
    return (outputs[0], outputs[1]), (last[0], last[1])


def _by_gate(matrix: Any) -> Any:
    """Reshape (n, 4H) to (4, n, H)."""
    return tf.stack(tf.split(matrix, 4, -1))


def _project(steps_first: Any, direction: Direction, dtype: Any) -> Any:
    """Compute the inputs' part of the gates for all steps at once: float32 (4, T, B, H)."""
    factors = direction.input_dropout
    each = [None] * 4
    if factors is not None and len(factors.shape) == 2:
        steps_first = steps_first * tf.cast(factors, dtype)
    elif factors is not None:
        each = tf.unstack(tf.cast(factors, dtype))
    gates = [
        tf.tensordot(steps_first if dropout is None else steps_first * dropout, kernel, 1)
        for kernel, dropout in zip(tf.split(tf.cast(direction.kernel, dtype), 4, -1), each, strict=True)
    ]
    bias = tf.reshape(tf.cast(direction.bias, tf.float32), (4, 1, 1, -1))
    return tf.cast(tf.stack(gates), tf.float32) + bias


@with_gradient
def _recur(first: Any, second: Any, mask: Any, recurrent: Any, *factors: Any) -> tuple[Any, Any]:
    """Return the states after each step, two arrays (T, B, H) in the order of the input, and the last ones (2, B, H).

    Args:
        first: projected inputs of the forward direction, float32 (4, T, B, H).
        second: projected inputs of the backward direction.
        mask: bool (T, B, 1).
        recurrent: (2, 4, H, H).
        *factors: of the recurrent dropout, (2, 4, B, H), if there is any.
    """
    *outputs, cells_1, cells_2, activated_1, activated_2 = _forward(first, second, mask, recurrent, *factors)

    def gradient(*gradients: Any) -> tuple[Any, ...]:
        d_gates = _backward(*gradients, cells_1, cells_2, activated_1, activated_2, mask, recurrent, *factors)
        d_gates = [tf.transpose(d_gate, (1, 0, 2, 3)) for d_gate in d_gates]  # (4, T, B, H)
        # Here and not in what XLA compiles, whose products of large matrices take twice as long.
        d_recurrent = []
        for direction, states in enumerate(_shifted(tuple(outputs[:2]), _steps(mask))):
            states = states * tf.cast(factors[0][direction][:, None], states.dtype) if factors else states[None]
            states, d_gate = (
                tf.cast(tf.reshape(x, (x.shape[0], -1, x.shape[-1])), recurrent.dtype)
                for x in (states, d_gates[direction])
            )
            d_recurrent.append(tf.matmul(states, d_gate, transpose_a=True))  # (4, H, H)
        return *d_gates, None, tf.stack(d_recurrent), *(None for _ in factors)

    return tuple(outputs), gradient


def _steps(mask: Any) -> Any:
    """Return the number of steps of the longest sequence; on a GPU all steps, a number known when XLA compiles.

    Any other number the host would read from the device before each iteration.
    """
    if tf.config.list_logical_devices("GPU"):
        return tf.shape(mask)[0]
    times = tf.range(1, tf.shape(mask)[0] + 1)[:, None, None]
    return tf.reduce_max(tf.where(mask, times, 0))


@tf.function(jit_compile=True, autograph=False)
def _forward(first: Any, second: Any, mask: Any, recurrent: Any, *factors: Any) -> tuple[Any, ...]:
    projected, steps = (first, second), _steps(mask)
    shape = tf.shape(first)
    total, state_shape = shape[1], tf.stack([2, shape[2], shape[3]])

    def step(count: Any, state: Any, cell: Any, *kept: Any) -> tuple[Any, ...]:
        times = count, steps - 1 - count
        gates = _read(projected, times, 1) + _through_weights(state, recurrent, factors)  # (2, 4, B, H)
        input_gate, forget_gate, output_gate = (tf.sigmoid(gates[:, gate]) for gate in (0, 1, 3))
        candidate = tf.tanh(gates[:, 2])
        valid = _read((mask, mask), times, 0)
        new_cell = forget_gate * cell + input_gate * candidate
        cell = tf.where(valid, new_cell, cell)
        state = tf.where(valid, output_gate * tf.tanh(new_cell), state)
        activated = tf.stack([input_gate, forget_gate, candidate, output_gate], 1)
        values = (*tf.unstack(state), *tf.unstack(cell), *tf.unstack(activated))
        written = [array.write(time, value) for array, time, value in zip(kept, times * 3, values, strict=True)]
        return count + 1, state, cell, *written

    start = tf.zeros(state_shape)
    one, four = start[0], tf.zeros(tf.concat([[4], state_shape[1:]], 0))
    kept = [_array(total, value) for value in (one, one, one, one, four, four)]
    _, last, _, *kept = tf.while_loop(lambda count, *_: count < steps, step, (tf.constant(0), start, start, *kept))
    states_1, states_2, *others = (array.stack() for array in kept)
    return states_1, states_2, last, *others


@tf.function(jit_compile=True, autograph=False)
def _backward(
    d_states_1: Any,
    d_states_2: Any,
    d_last: Any,
    cells_1: Any,
    cells_2: Any,
    activated_1: Any,
    activated_2: Any,
    mask: Any,
    recurrent: Any,
    *factors: Any,
) -> tuple[Any, ...]:
    """Return the gradients of the gates at each step of both directions, (T, 4, B, H)."""
    steps = _steps(mask)
    d_outputs, cells, activated = (d_states_1, d_states_2), (cells_1, cells_2), (activated_1, activated_2)
    cells_before = _shifted(cells, steps)

    def step(count: Any, d_state: Any, d_cell: Any, *d_gates: Any) -> tuple[Any, ...]:
        times = steps - 1 - count, count
        valid = _read((mask, mask), times, 0)
        gates = _read(activated, times, 0)
        input_gate, forget_gate, candidate, output_gate = (gates[:, gate] for gate in range(4))
        d_state = d_state + _read(d_outputs, times, 0)
        squashed = tf.tanh(_read(cells, times, 0))
        d_new_cell = d_cell + d_state * output_gate * (1 - squashed**2)
        d_gate = tf.stack(
            [
                d_new_cell * candidate * input_gate * (1 - input_gate),
                d_new_cell * _read(cells_before, times, 0) * forget_gate * (1 - forget_gate),
                d_new_cell * input_gate * (1 - candidate**2),
                d_state * squashed * output_gate * (1 - output_gate),
            ],
            1,
        )
        d_gate = tf.where(valid[:, None], d_gate, 0.0)  # (2, 4, B, H)
        d_state = tf.where(valid, _back_through_weights(d_gate, recurrent, factors), d_state)
        d_cell = tf.where(valid, d_new_cell * forget_gate, d_cell)
        written = [
            array.write(time, value) for array, time, value in zip(d_gates, times, tf.unstack(d_gate), strict=True)
        ]
        return count + 1, d_state, d_cell, *written

    arrays = [_array(tf.shape(mask)[0], activated_1[0]) for _ in range(2)]
    start = (tf.constant(0), d_last, tf.zeros_like(d_last), *arrays)
    _, _, _, *arrays = tf.while_loop(lambda count, *_: count < steps, step, start)
    return tuple(array.stack() for array in arrays)


def _through_weights(state: Any, recurrent: Any, factors: tuple[Any, ...]) -> Any:
    """Multiply (2, B, H) by (2, 4, H, H): float32 (2, 4, B, H)."""
    state = tf.cast(state, recurrent.dtype)[:, None]  # (2, 1, B, H)
    return tf.cast(tf.matmul(state * factors[0] if factors else state, recurrent), tf.float32)


def _back_through_weights(d_gate: Any, recurrent: Any, factors: tuple[Any, ...]) -> Any:
    """Map the gates' gradient (2, 4, B, H) to the state's, float32 (2, B, H)."""
    back = tf.matmul(tf.cast(d_gate, recurrent.dtype), recurrent, transpose_b=True)
    return tf.cast(tf.reduce_sum(back * factors[0] if factors else back, 1), tf.float32)


def _array(size: Any, like: Any) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, size, element_shape=like.shape, clear_after_read=False)


def _read(pair: Pair, times: Pair, axis: int) -> Any:
    """Stack each direction's array at its own step."""
    return tf.stack([tf.gather(array, time, axis=axis) for array, time in zip(pair, times, strict=True)])


def _shifted(pair: Pair, steps: Any) -> Pair:
    """Return the values of the step that each direction reads before; zero before its first step."""
    zeros = tf.zeros_like(pair[0][:1])
    at_the_end = tf.range(tf.shape(pair[1])[0])[:, None, None] == steps - 1
    from_the_right = tf.where(at_the_end, 0.0, tf.concat([pair[1][1:], zeros], 0))
    return tf.concat([zeros, pair[0][:-1]], 0), from_the_right
