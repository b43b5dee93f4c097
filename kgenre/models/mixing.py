"""Mixup and CutMix, which mix the films of a batch with each other on the device."""

from __future__ import annotations

from typing import Any


def mixup(pixels: Any, genres: Any, alpha: float, seed: Any) -> tuple[Any, Any]:
    """Blend each film with another one of the batch, pixels and genres alike (https://arxiv.org/abs/1710.09412).

    Args:
        pixels: float (B, H, W, 3); the batch is in random order, and film i is mixed with film B - 1 - i.
        genres: float32 (B, G).
        alpha: each film's share is drawn from Beta(alpha, alpha).
        seed: a `keras.random.SeedGenerator` that the module holds.

    Returns:
        The mixed pixels and genres, of the same shapes.
    """
    from keras import ops, random

    share = random.beta((ops.shape(genres)[0], 1), alpha, alpha, seed=seed)  # (B, 1)
    of_pixels = ops.cast(share, pixels.dtype)[:, :, None, None]
    mixed = of_pixels * pixels + (1 - of_pixels) * ops.flip(pixels, axis=0)
    return mixed, share * genres + (1 - share) * ops.flip(genres, axis=0)


def cutmix(pixels: Any, genres: Any, alpha: float, seed: Any) -> tuple[Any, Any]:
    """Paste a rectangle of another film of the batch into each, and mix genres by area (https://arxiv.org/abs/1905.04899).

    Arguments and result as for `mixup`; a film's share is the share of its pixels that are not pasted over.
    """
    from keras import ops, random

    count, height, width = ops.shape(pixels)[0], pixels.shape[1], pixels.shape[2]
    side = ops.sqrt(1 - random.beta((count, 1), alpha, alpha, seed=seed))  # relative to the picture's
    middle = random.uniform((count, 2), seed=seed)

    def inside(size: int, centre: Any) -> Any:
        places = (ops.arange(size, dtype="float32") + 0.5) / size  # (size,)
        return ops.abs(places[None] - centre) <= side / 2  # (B, size)

    pasted = ops.logical_and(inside(height, middle[:, :1])[:, :, None], inside(width, middle[:, 1:])[:, None])
    mixed = ops.where(pasted[..., None], ops.flip(pixels, axis=0), pixels)
    share = 1 - ops.mean(ops.cast(pasted, "float32"), axis=(1, 2))[:, None]
    return mixed, share * genres + (1 - share) * ops.flip(genres, axis=0)
