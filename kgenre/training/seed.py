"""One seed for everything that draws random numbers."""

from __future__ import annotations

from kgenre.lightning_arguments import explain_arguments

LARGEST_SEED = 2**32 - 1


@explain_arguments
def seed_everything(seed: int) -> int:
    """Seed Python, NumPy and the Keras backend; call it before layers are created. Returns the seed.

    TensorFlow and torch are seeded under any backend if they are already imported, for a ``tf.data.Dataset`` or a torch
    ``DataLoader``. An `ArrayDataset` without a seed of its own has this one. The same seed leads to different initial
    weights and dropout masks on another backend.

    Args:
        seed: 0 to 2**32 - 1.

    Raises:
        ValueError: out of range.
        BackendError: ``KERAS_BACKEND`` does not name a usable backend.

    Example:
        >>> seed_everything(7)
        7
    """
    seed = int(seed)  # a NumPy integer: TensorFlow takes Python's only
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(f"seed_everything(seed) takes a whole number from 0 to {LARGEST_SEED}. Received: {seed}")
    from kgenre.engines import prepare_keras
    from kgenre.engines.random_state import seed_keras, set_global_seed

    set_global_seed(seed)
    prepare_keras()
    seed_keras(seed)
    return seed
