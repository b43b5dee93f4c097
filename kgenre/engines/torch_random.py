"""The state of torch's own generator: Keras draws dropout from it on torch, a ``DataLoader`` its order anywhere."""

from __future__ import annotations

import sys


def torch_random_state() -> str | None:
    """The state of the CPU's generator in hexadecimal digits; None where torch is not imported."""
    torch = sys.modules.get("torch")
    return None if torch is None else bytes(torch.get_rng_state().numpy()).hex()


def set_torch_random_state(state: str) -> None:
    """Put back what `torch_random_state` gave; where torch is not imported nothing is done."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_rng_state(torch.frombuffer(bytearray.fromhex(state), dtype=torch.uint8))
