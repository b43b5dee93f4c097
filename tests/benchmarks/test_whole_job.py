import pytest

pytestmark = pytest.mark.backend_free


def test_table_of_whole_jobs(benchmarks):
    render = benchmarks("whole_job").render
    row = {
        "config": "configs/poster_cnn_2024.yaml",
        "backend": "jax",
        "seconds": 100.0,
        "val_loss": [0.4, 0.2, 0.3],
        "epoch_seconds": [9.0, 2.0, 4.0],
        "input_wait": [0.9, 0.01, 0.03],
        "train_films": 300,
        "frequency_loss": 0.25,
        "versions": {"jax": "1.0", "torch": None},
    }
    failed = {"config": "configs/other.yaml", "backend": "jax", "not_measured": "no memory"}
    result = {"gpu": None, "cpu": "a CPU", "cores": 2, "driver": None, "date": "2026-01-01", "git_commit": None}
    lines = render(result | {"films": "real films", "rows": [row, failed]}).splitlines()
    assert "jax 1.0" in lines[0]
    assert "torch" not in lines[0]
    cells = [cell.strip() for cell in lines[4].strip("| ").split("|")]
    assert cells == [
        "poster_cnn_2024",
        "jax",
        "300",
        "3",
        "100.0",
        "9.00",
        "3",
        "100",
        "2.0%",
        "0.2000",
        "2",
        "96.0",
        "0.2500",
    ]
    assert "not measured: no memory" in lines[5]
    assert lines[5].count("|") == lines[2].count("|")
