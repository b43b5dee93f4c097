"""One cell of `throughput.py`: one contestant trains one network at one batch size, in a separate process.

A round is an epoch of training steps and as many inference steps, on batches that are on the device before the clock
starts or come from the film pipeline.
"""

from __future__ import annotations

import time

_STARTED = time.perf_counter()

import json  # noqa: E402 - the imports belong to the time to the first step
import sys  # noqa: E402

from machine import imported_versions  # noqa: E402
from processes import Script  # noqa: E402
from throughput_contestants import CONTESTANTS, import_lightning  # noqa: E402
from throughput_device import check_device, device_facts  # noqa: E402
from throughput_rounds import Cell, Clock  # noqa: E402


def main() -> None:
    """Measure one cell, as described by the JSON in the first argument."""
    cell = Cell(**json.loads(sys.argv[1]))
    script = Script()
    clock = Clock(script, _STARTED)
    try:
        if cell.contestant not in ("lightning", "input"):
            import keras  # noqa: F401 - for the time it takes
        if cell.is_kgenre:
            import kgenre.training  # noqa: F401
        if cell.contestant == "lightning":
            import_lightning()
        imported = time.perf_counter() - _STARTED
        clock.wait_for_the_script()
        check_device(cell)
        CONTESTANTS[cell.contestant](cell, clock)
    except (NotImplementedError, ModuleNotFoundError) as error:
        script.answer(not_measured=str(error))
        return
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower():
            script.answer(not_measured="out of device memory")
            return
        raise
    # Keras's own Bidirectional imports TensorFlow if it is installed; kgenre must not.
    if cell.is_kgenre and cell.backend == "jax" and cell.source == "device":
        assert "tensorflow" not in sys.modules, "TensorFlow was imported under JAX without need"
    script.answer(
        **clock.parts,
        **clock.facts,
        input_wait=clock.input_wait,
        import_seconds=imported,
        versions=imported_versions(),
        **device_facts(cell),
    )


if __name__ == "__main__":
    main()
