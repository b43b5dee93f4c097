import os
from pathlib import Path

import pytest

pytestmark = pytest.mark.backend_free
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ECHO = """
import json, sys
sys.path.insert(0, sys.argv.pop())
from processes import Script
work, script = json.loads(sys.argv[1]), Script()
print("for the log", flush=True)
while (word := script.wait()) != "fail":
    script.answer(word=word, **work)
raise ValueError("it was told to")
"""


@pytest.fixture
def contestant(benchmarks, tmp_path):
    file = tmp_path / "echo.py"
    file.write_text(ECHO.replace("sys.argv.pop()", repr(str(BENCHMARKS))))
    started = benchmarks("processes").Contestant("an echo", str(file), {"given": 7}, tmp_path / "new", dict(os.environ))
    yield started
    started.end()


def test_contestant_works_when_it_is_told_to(contestant):
    assert contestant.go() == {"word": "go", "given": 7}
    contestant.tell("once more")
    assert contestant.answer()["word"] == "once more"
    assert contestant.log() == ["for the log"], "what it prints is not among the answers"


def test_contestant_that_ends_is_named_with_its_log(contestant):
    with pytest.raises(SystemExit, match=r"(?s)an echo ended with code 1:.*for the log.*told to"):
        contestant.go("fail")
    assert contestant.read() is None
    assert contestant.log()[-1] == "ValueError: it was told to"


def test_result_of_a_program_is_its_last_line(benchmarks):
    result_of, failed = benchmarks("processes").result_of, benchmarks("processes").Failed
    environment = os.environ | {"ANSWER": "42"}
    code = "import os; print('a greeting'); print([int(os.environ['ANSWER'])])"
    assert result_of("-c", code, environment=environment) == [42]
    with pytest.raises(failed, match="ended with code 3"):
        result_of("-c", "import sys; sys.exit(3)")
    with pytest.raises(failed, match=r"(?s)Traceback.*no such thing$"):
        result_of("-c", "raise SystemError('no such thing')")


def test_logged_values_have_their_steps(benchmarks, tmp_path):
    (tmp_path / "metrics.csv").write_text("step,val/loss,train/loss\n2,,0.9\n4,0.8,0.7\n")
    found = benchmarks("kgenre_fit").logged(tmp_path, "val/loss", "train/loss", "input_wait")
    assert found["train/loss"] == [0.9, 0.7]
    assert found["train/loss/step"] == [2, 4]
    assert found["val/loss"] == [0.8]
    assert "input_wait" not in found
