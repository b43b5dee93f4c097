"""Counting what a compiled program does; compiling for a GPU itself needs JAX with CUDA."""

import pytest

pytestmark = pytest.mark.backend_free

LOOP = """\
HloModule step

%body.1 (state: (s32[], f32[4])) -> (s32[], f32[4]) {
  %state = (s32[], /*index=1*/f32[4]{0}) parameter(0)
  %value = f32[4]{0} get-tuple-element(%state), index=1
  %sum = f32[4]{0} negate(%value)
  %start = ((f32[4]{0}), f32[4]{0}) copy-start(%sum)
  %done = f32[4]{0} copy-done(%start)
  ROOT %next = (s32[], f32[4]{0}) tuple(%count, %done)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %copy.2 = f32[4]{0} copy(%x)
  %loop = (s32[], f32[4]{0}) while(%begin), body=%body.1, backend_config={"known_trip_count":{"n":"25"}}
  ROOT %out = f32[4]{0} custom-call(%copy.2), custom_call_target="convolution"
}
"""

SLICED = """\
%fused (p0: bf16[10,8], p1: s32[], p2: f32[100], p3: f32[5]) -> (bf16[8], f32[100]) {
  %p0 = bf16[10,8]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %p2 = f32[100]{0} parameter(2)
  %p3 = f32[5]{0} parameter(3)
  %row = bf16[1,8]{1,0} dynamic-slice(%p0, %p1, %p1), dynamic_slice_sizes={1,8}
  %flat = bf16[8]{0} bitcast(%row)
  %changed = f32[100]{0} dynamic-update-slice(%p2, %p3, %p1)
  ROOT %both = (bf16[8]{0}, f32[100]{0}) tuple(%flat, %changed)
}

ENTRY %main (a: bf16[10,8], b: s32[], c: f32[100], d: f32[5]) -> (bf16[8], f32[100]) {
  %a = bf16[10,8]{1,0} parameter(0)
  %b = s32[] parameter(1)
  %c = f32[100]{0} parameter(2)
  %d = f32[5]{0} parameter(3)
  ROOT %f = (bf16[8]{0}, f32[100]{0}) fusion(%a, %b, %c, %d), kind=kLoop, calls=%fused
}
"""


def test_kernels_inside_and_outside_loops(benchmarks):
    program = benchmarks("gpu_program").Program(LOOP)
    assert program.outside.kernels == {"copy": 1, "custom-call": 1}
    assert [(times, dict(work.kernels)) for times, work in program.loops] == [(25, {"negate": 1, "copy-start": 1})]
    assert program.kernels == 2 + 25 * 2


def test_traffic_is_what_each_kernel_reads_and_writes(benchmarks):
    program = benchmarks("gpu_program").Program(LOOP)
    assert program.outside.traffic == 2 * (16 + 16)
    assert program.traffic == 64 + 25 * program.loops[0][1].traffic


def test_of_an_array_that_is_sliced_or_updated_in_place_the_part_counts(benchmarks):
    row, index, update = 8 * 2, 4, 5 * 4
    assert benchmarks("gpu_program").Program(SLICED).traffic == (row + index + update) + (row + update)


def test_table(benchmarks):
    row = {"way": "poster_cnn_2024 64 bf16 stock", "kernels": 130.0, "memory_bytes": 11e7, "traffic_bytes": 48e8}
    result = {"rows": [row | {"flops": 9e11}], "date": "2026-11-30", "commit": None, "versions": {"jax": "0.10.2"}}
    table = benchmarks("gpu_kernels").render(result)
    assert (
        table.splitlines()[-1] == "| poster_cnn_2024 | 64 | bf16 | stock | 130 | 0.11 | 4.80 | 0.26 | **1.00** | 0.91 |"
    )
