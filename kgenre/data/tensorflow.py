"""TensorFlow as the input pipeline uses it: on the CPU, unless TensorFlow is also the backend.

The only module of the package that imports TensorFlow; it is imported when the first batch is made, so that parsing a
command line does not need it.
"""

from __future__ import annotations

import logging

from kgenre.engines import prepare_keras
from kgenre.engines.native_output import importing_in_notebook

prepare_keras()
with importing_in_notebook():  # on first use it looks for GPUs, and logs at length if there are none
    import keras
    import tensorflow as tf

    tf.config.list_physical_devices()

if keras.backend.backend() != "tensorflow":
    try:
        # Otherwise TensorFlow would take all memory of the GPU that the other backend trains on.
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:
        logging.getLogger("kgenre").warning(
            "TensorFlow was in use before the film data and may hold GPU memory; import kgenre first."
        )

__all__ = ["tf"]
