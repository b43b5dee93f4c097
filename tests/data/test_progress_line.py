from types import SimpleNamespace

import pytest

from kgenre.data import progress_line
from kgenre.data.progress_line import ProgressLine

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_appears_where_the_work_takes_more_than_three_seconds(monkeypatch, is_terminal):
    now, shown, asked = 100.0, [], []
    bar = SimpleNamespace(
        open=lambda *state: shown.append(("open", *state)),
        update=lambda done: shown.append(("update", done)),
        close=lambda: shown.append("close"),
    )
    monkeypatch.setattr(progress_line, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(progress_line, "choose_bar", lambda: asked.append(now) or (bar if is_terminal else None))
    with ProgressLine("Reading posters") as progress:
        for done in range(5):
            progress(done, 9)
            now += 1
    with ProgressLine("Reading overviews") as quick:
        quick(9, 9)
    assert asked == [103.0]
    assert shown == [("open", "Reading posters", 9, 3), ("update", 3), ("update", 4), "close"] * is_terminal
