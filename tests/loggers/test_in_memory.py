"""Metrics in a list."""

from kgenre.loggers import InMemoryLogger


def test_history():
    logger = InMemoryLogger()
    values = {"a": 1.0, "b": 2.0}
    logger.log_metrics(values, 1)
    values["a"] = 9.0  # the logger keeps what it was given
    logger.log_metrics({"a": 3.0}, 2)
    logger.log_hyperparams({"rate": 0.1})
    logger.log_text("note", "text", 2)
    assert logger.history("a") == [(1, 1.0), (2, 3.0)]
    assert logger.history("b") == [(1, 2.0)]
    assert logger.history("nothing") == []
    assert (logger.hyperparams, logger.texts) == ({"rate": 0.1}, {"note": "text"})
