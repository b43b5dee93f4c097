"""The masked LSTM under JAX on a CPU: one loop for both directions, with a hand-written gradient.

Keras runs one scan after the other, and XLA computes the small products of each on one core. Here one iteration does a
step of both directions, whose products do not depend on each other, so that XLA computes them in parallel. Inputs and
state are multiplied by their weights in one product within the step, where they are in the cache: projecting the inputs
before the loop would move them through main memory. The gradient needs six saved arrays per direction; Keras's scan
saves eighteen, each filled with zeros before it is written. Altogether this takes three quarters of Keras's time.
The loop ends with the longest sequence of the batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
from jax import lax
from jax import numpy as jnp

if TYPE_CHECKING:
    from kgenre.kernels.masked_lstm import Direction

Pair = tuple[Any, Any]

# Axes: T steps, B sequences, D input features, H states.


class Products(NamedTuple):
    """The matrix products of one direction's step: one for all four gates, or four where each gate has its own dropout.

    Args:
        weights: per product, (D + H, n H) for n gates.
        biases: per product, (n H,).
        factors: per product, dropout factors on the inputs and the state, (B, D + H) or None.
    """

    weights: tuple[Any, ...]
    biases: tuple[Any, ...]
    factors: tuple[Any, ...]


def masked_lstm(inputs: Any, mask: Any, directions: tuple[Direction, Direction]) -> tuple[Pair, Pair]:
    """See `kgenre.kernels.masked_lstm`. Computes in at least float32: half precision is slower on a CPU."""
    dtype = jnp.promote_types(inputs.dtype, "float32")
    inputs, directions = jax.tree.map(lambda array: jnp.asarray(array, dtype), (inputs, directions))
    valid = mask.T[..., None]  # (T, B, 1)
    products = tuple(_products(direction, inputs.shape) for direction in directions)
    states, last = _recur(jnp.swapaxes(inputs, 0, 1), valid, products)
    first, second = (jnp.swapaxes(jnp.where(valid, each, 0.0), 0, 1) for each in states)
    return (first, second), last


def _products(direction: Direction, shape: tuple[int, ...]) -> Products:
    weights = jnp.concatenate([direction.kernel, direction.recurrent_kernel])
    on_input, on_state = direction.input_dropout, direction.recurrent_dropout
    if on_state is None:
        on_both = None if on_input is None else _joined(on_input, jnp.ones((shape[0], len(direction.recurrent_kernel))))
        return Products((weights,), (direction.bias,), (on_both,))
    if on_input is None:
        on_input = (jnp.ones((shape[0], shape[2])),) * 4
    factors = tuple(_joined(on_input[gate], on_state[gate]) for gate in range(4))
    return Products(tuple(jnp.split(weights, 4, 1)), tuple(jnp.split(direction.bias, 4)), factors)


def _joined(*arrays: Any) -> Any:
    return jnp.concatenate(arrays, 1)


@jax.custom_vjp
def _recur(inputs: Any, valid: Any, products: tuple[Products, Products]) -> tuple[Pair, Pair]:
    """Return the states after each step, (T, B, H) per direction, and the last ones; a masked step changes no state.

    Args:
        inputs: (T, B, D).
        valid: bool (T, B, 1), false at masked steps.
        products: of the forward and of the backward direction.
    """
    return _recur_forward(inputs, valid, products)[0]


def _recur_forward(inputs: Any, valid: Any, products: tuple[Products, Products]) -> tuple[tuple[Pair, Pair], Any]:
    total, batch, features = inputs.shape
    steps = jnp.max(jnp.where(valid, jnp.arange(1, total + 1)[:, None, None], 0), initial=0)  # a batch may be empty

    def step(number: Any, carry: Any) -> Any:
        after = []
        for (state, cell, kept), product, time in zip(carry, products, (number, steps - 1 - number), strict=True):
            read = _joined(_at(inputs, time), state)
            gates = [_dropped(read, factors) @ weights + bias for weights, bias, factors in zip(*product, strict=True)]
            gates = jnp.split(gates[0], 4, 1) if len(gates) == 1 else gates
            input_gate, forget_gate, output_gate = (jax.nn.sigmoid(gates[gate]) for gate in (0, 1, 3))
            candidate = jnp.tanh(gates[2])
            new_cell = forget_gate * cell + input_gate * candidate
            cell = jnp.where(_at(valid, time), new_cell, cell)
            state = jnp.where(_at(valid, time), output_gate * jnp.tanh(new_cell), state)
            values = state, cell, input_gate, forget_gate, candidate, output_gate
            after.append((state, cell, tuple(_put(*each, time) for each in zip(kept, values, strict=True))))
        return tuple(after)

    start = jnp.zeros((batch, products[0].weights[0].shape[0] - features), inputs.dtype)
    kept = (jnp.zeros((total, *start.shape), start.dtype),) * 6
    (last_1, _, kept_1), (last_2, _, kept_2) = lax.fori_loop(0, steps, step, ((start, start, kept),) * 2)
    return ((kept_1[0], kept_2[0]), (last_1, last_2)), (inputs, valid, products, steps, (kept_1, kept_2))


def _recur_backward(residuals: Any, gradients: tuple[Pair, Pair]) -> tuple[Any, None, tuple[Products, Products]]:
    inputs, valid, products, steps, kept = residuals
    d_states, d_last = gradients
    total, _, features = inputs.shape

    def step(number: Any, carry: Any) -> Any:
        after = []
        begins = number == steps - 1  # the direction's first step, whose previous state is zero
        for direction, (d_state, d_cell, d_inputs, d_weights, d_biases) in enumerate(carry):
            time, before = ((steps - 1 - number, steps - 2 - number), (number, number + 1))[direction]
            states, cells, *gates = kept[direction]
            # At `begins` there is no previous step: any index in range will do.
            state, cell_before = (
                jnp.where(begins, 0.0, _at(each, jnp.clip(before, 0, total - 1))) for each in (states, cells)
            )
            input_gate, forget_gate, candidate, output_gate = (_at(gate, time) for gate in gates)
            is_valid = _at(valid, time)
            d_state = d_state + _at(d_states[direction], time)
            d_output = jnp.where(is_valid, d_state, 0.0)
            squashed = jnp.tanh(_at(cells, time))
            d_new_cell = jnp.where(is_valid, d_cell, 0.0) + d_output * output_gate * (1 - squashed**2)
            d_gates = [
                d_new_cell * candidate * input_gate * (1 - input_gate),
                d_new_cell * cell_before * forget_gate * (1 - forget_gate),
                d_new_cell * input_gate * (1 - candidate**2),
                d_output * squashed * output_gate * (1 - output_gate),
            ]
            weights, _, factors = products[direction]
            if len(weights) == 1:
                d_gates = [_joined(*d_gates)]
            read = _joined(_at(inputs, time), state)
            d_read = sum(
                _dropped(d_gate @ weight.T, factor)
                for d_gate, weight, factor in zip(d_gates, weights, factors, strict=True)
            )
            d_weights = tuple(
                d_weight + _dropped(read, factor).T @ d_gate
                for d_weight, factor, d_gate in zip(d_weights, factors, d_gates, strict=True)
            )
            d_biases = tuple(d_bias + jnp.sum(d_gate, 0) for d_bias, d_gate in zip(d_biases, d_gates, strict=True))
            d_state = jnp.where(is_valid, d_read[:, features:], d_state)
            d_cell = jnp.where(is_valid, d_new_cell * forget_gate, d_cell)
            after.append((d_state, d_cell, _put(d_inputs, d_read[:, :features], time), d_weights, d_biases))
        return tuple(after)

    nothing = jnp.zeros_like(inputs)
    start = tuple(
        (d_end, jnp.zeros_like(d_end), nothing, *jax.tree.map(jnp.zeros_like, product[:2]))
        for d_end, product in zip(d_last, products, strict=True)
    )
    ends = lax.fori_loop(0, steps, step, start)
    none = (None,) * len(products[0].factors)
    first, second = (Products(d_weights, d_biases, none) for *_, d_weights, d_biases in ends)
    return ends[0][2] + ends[1][2], None, (first, second)


_recur.defvjp(_recur_forward, _recur_backward)


def _dropped(array: Any, factors: Any) -> Any:
    return array if factors is None else array * factors


def _at(array: Any, time: Any) -> Any:
    return lax.dynamic_index_in_dim(array, time, keepdims=False)


def _put(array: Any, value: Any, time: Any) -> Any:
    return lax.dynamic_update_index_in_dim(array, value, time, 0)
