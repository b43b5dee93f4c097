import argparse

import pytest

pytestmark = pytest.mark.backend_free


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
