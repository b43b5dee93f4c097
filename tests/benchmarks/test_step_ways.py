import argparse

import pytest

pytestmark = pytest.mark.backend_free

PROGRAM = """\
HloModule step

%body.1 (state: (s32[], f32[4])) -> (s32[], f32[4]) {
  %state = (s32[], /*index=1*/f32[4]{0}) parameter(0)
  %value = f32[4]{0} get-tuple-element(%state), index=1
  %sum = f32[4]{0} fusion(%value), kind=kLoop, calls=%fused
  %start = ((f32[4]{0}), f32[4]{0}) fusion-start(%sum), kind=kLoop, calls=%fused
  %done = f32[4]{0} fusion-done(%start)
  ROOT %next = (s32[], f32[4]{0}) tuple(%count, %done)
}

ENTRY %main (x: f32[4]) -> f32[4] {
  %x = f32[4]{0} parameter(0)
  %copy.2 = f32[4]{0} copy(%x)
  %loop = (s32[], f32[4]{0}) while(%begin), body=%body.1, backend_config={"known_trip_count":{"n":"25"}}
  ROOT %out = f32[4]{0} custom-call(%loop), custom_call_target="convolution"
}
"""


def test_kernels_inside_and_outside_loops(benchmarks):
    outside, loops = benchmarks("gpu_kernels").kernels(PROGRAM)
    assert outside == {"copy": 1, "custom-call": 1}
    assert loops == [(25, {"fusion": 1, "fusion-start": 1})]


@pytest.mark.parametrize(
    "way", ["poster_cnn_2024 64 fp32", "overview_lstm 8 bf16 several=25 without=dropout,masked_lstm undonated words=9"]
)
def test_valid_ways_are_accepted(benchmarks, way):
    benchmarks("step_ways").check_ways(argparse.ArgumentParser(), [way])


@pytest.mark.parametrize("way", ["poster 64 fp32", "poster_cnn_2024 fp32", "poster_cnn_2024 64 fp32 without=cudnn"])
def test_invalid_ways_are_refused(benchmarks, way, capsys):
    with pytest.raises(SystemExit):
        benchmarks("step_ways").check_ways(argparse.ArgumentParser(), [way])
    assert f'Received: "{way}"' in capsys.readouterr().err
