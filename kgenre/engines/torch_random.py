"""The state of torch's own generator, from which Keras draws dropout there: its seed generators are not asked."""

from __future__ import annotations


def torch_random_state() -> str | None:
    """The state of the CPU's generator in hexadecimal digits; None under another backend."""
    import keras

    if keras.backend.backend() != "torch":
        return None
    import torch

    return bytes(torch.get_rng_state().numpy()).hex()


def set_torch_random_state(state: str) -> None:
    """Put back what `torch_random_state` gave; under another backend nothing is done."""
    import keras

    if keras.backend.backend() == "torch":
        import torch

        torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state), dtype=torch.uint8))
