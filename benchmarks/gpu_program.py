"""What a program that XLA compiled for a GPU does: its kernels, and the memory that they read and write."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

_STARTS_NONE = ("parameter", "get-tuple-element", "bitcast", "tuple", "constant", "while")
_BITS = {"pred": 8, "bf16": 16}  # of the other types, the name says it: f32, s8, u64


@dataclass(frozen=True)
class Instruction:
    """A line of a computation."""

    name: str
    shape: str
    kind: str
    operands: list[str]
    rest: str
    is_root: bool

    @property
    def is_kernel(self) -> bool:
        """Whether it runs on the device."""
        return self.kind not in _STARTS_NONE and not self.kind.endswith("-done")


@dataclass
class Work:
    """What is done once: kernels by kind, and the bytes that they read and write."""

    kernels: Counter[str] = field(default_factory=Counter)
    traffic: int = 0


class Program:
    """A compiled program, from its text.

    Example:
        >>> lines = ["ENTRY %main {", "  %x = f32[4]{0} parameter(0)", "  %y = f32[4]{0} copy(%x)", "}"]
        >>> program = Program(chr(10).join(lines))
        >>> program.kernels, program.traffic
        (1, 32)
    """

    def __init__(self, text: str) -> None:
        self._computations: dict[str, dict[str, Instruction]] = {}
        name = ""
        for line in text.splitlines():
            head = re.match(r"(?:(ENTRY) )?(%[\w.\-]+)[^{]*\{", line)
            if head:
                name = head.group(1) or head.group(2)
                self._computations[name] = {}
            elif line.startswith("  ") and (found := _instruction(line)):
                self._computations[name][found.name] = found
        self.outside = self._work("ENTRY")
        self.loops: list[tuple[int, Work]] = []  # how often (0: unknown), and an iteration's work
        for instructions in self._computations.values():
            for loop in instructions.values():
                if loop.kind == "while":
                    times = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.rest)
                    body = re.search(r"body=(%[\w.\-]+)", loop.rest)
                    assert body, loop
                    self.loops.append((int(times.group(1)) if times else 0, self._work(body.group(1))))

    @property
    def kernels(self) -> int:
        """How many kernels it launches. Nested loops are not multiplied."""
        return self.outside.kernels.total() + sum(times * work.kernels.total() for times, work in self.loops)

    @property
    def traffic(self) -> int:
        """How many bytes its kernels read and write, as if none stayed in a cache."""
        return self.outside.traffic + sum(times * work.traffic for times, work in self.loops)

    def _work(self, computation: str) -> Work:
        instructions, work = self._computations[computation], Work()
        for one in instructions.values():
            if one.is_kernel:
                work.kernels[one.kind] += 1
                called = re.search(r"calls=(%[\w.\-]+)", one.rest)
                operands = [instructions[name].shape for name in one.operands if name in instructions]
                work.traffic += self._fused(called.group(1)) if called else sum(map(size, [one.shape, *operands]))
        return work

    def _fused(self, computation: str) -> int:
        """The bytes that a fused kernel reads and writes; of an array that it slices or updates, just that part."""
        instructions = self._computations[computation]
        users: dict[str, list[Instruction]] = {}
        for one in instructions.values():
            for operand in one.operands:
                users.setdefault(operand, []).append(one)

        def read(name: str) -> int:
            total = 0
            for user in users.get(name, []):
                if user.kind == "bitcast":
                    total += read(user.name)
                elif user.kind in ("slice", "dynamic-slice"):
                    total += size(user.shape)
                elif user.kind != "dynamic-update-slice" or user.operands[0] != name:
                    return size(instructions[name].shape)
            return min(total, size(instructions[name].shape))

        def written(one: Instruction) -> int:
            if one.kind == "tuple":
                return sum(written(instructions[name]) for name in one.operands)
            if one.kind == "bitcast":
                return written(instructions[one.operands[0]])
            return size(instructions[one.operands[1]].shape if one.kind == "dynamic-update-slice" else one.shape)

        reads = sum(read(one.name) for one in instructions.values() if one.kind == "parameter")
        return reads + sum(written(one) for one in instructions.values() if one.is_root)


def size(shape: str) -> int:
    """Return the bytes of an array or a tuple of arrays.

    Example:
        >>> size("(bf16[2,3]{1,0}, pred[])")
        13
    """
    total = 0
    for kind, dimensions in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shape):
        count = 1
        for dimension in filter(None, dimensions.split(",")):
            count *= int(dimension)
        total += count * (_BITS.get(kind) or int(re.sub(r"\D", "", kind))) // 8
    return total


def _instruction(line: str) -> Instruction | None:
    line = re.sub(r"/\*.*?\*/", "", line)
    found = re.match(r"\s*(ROOT )?(%\S+) = (.*?) ([a-z][a-z0-9\-]*)\(", line)
    if not found:
        return None
    root, name, shape, kind = found.groups()
    depth, start = 1, found.end()
    for end in range(start, len(line)):
        depth += {"(": 1, ")": -1}.get(line[end], 0)
        if not depth:
            break
    operands = re.findall(r"%[\w.\-]+", line[start:end])
    return Instruction(name, shape, kind, operands, line[end + 1 :], bool(root))
