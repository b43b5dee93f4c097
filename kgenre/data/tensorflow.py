"""TensorFlow as the input pipeline has it: on the CPU, unless TensorFlow also trains.

The only module of the package that imports it; imported where a batch is first made, so that a command line
can be parsed without.
"""

from __future__ import annotations

import logging

import keras

from kgenre.engines.native_output import quiet_notebook

with quiet_notebook():  # it looks for GPUs when it is first used, and says at length that there are none
    import tensorflow as tf

    tf.config.list_physical_devices()

if keras.backend.backend() != "tensorflow":
    try:
        # TensorFlow would take all memory of the GPU that the other backend trains on.
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        logging.getLogger("kgenre").warning(
            "TensorFlow was in use before the film data and may hold GPU memory; import kgenre first."
        )

__all__ = ["tf"]
