"""The torch contestant of `input_pipeline.py`: PyTorch's DataLoader with two workers, in a Python that has torch."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from processes import Script


class Posters(torch.utils.data.Dataset):
    """Posters as usually read for torch: decoded in full and resized by Pillow, uint8."""

    def __init__(self, paths: list[str], size: tuple[int, int]) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            resized = image.convert("RGB").resize(self.size[::-1], Image.BILINEAR)
        return torch.from_numpy(np.asarray(resized).copy()).permute(2, 0, 1)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its workers, which end with each epoch."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    script, work = Script(), json.loads(sys.argv[1])
    paths = json.loads(Path(work["paths"]).read_text())
    loader = torch.utils.data.DataLoader(Posters(paths, work["size"]), batch_size=64, num_workers=2)
    while script.wait():
        begun, cpu = time.perf_counter(), cpu_seconds()
        count = sum(len(batch) for batch in loader)
        assert count == len(paths)
        script.answer(wall=time.perf_counter() - begun, cpu=cpu_seconds() - cpu)
