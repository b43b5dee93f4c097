"""Requirements of Windows and macOS, tested on the current system: text is UTF-8, and files that are moved are closed.

These tests are the core of a wider check, made once under JAX on imitations of these systems: `fit` (also resumed),
`predict`, `data prepare`, `report`, `fuse`, `sweep` and `export`. The imitation of Windows had no `fork`, SIGHUP or
`/proc`, refused to remove, replace or move open files, refused names with `:`, `*` or `?`, and had cp1252, CRLF line
ends and a clock resolution of 16 ms; most of the suite was run on it too: only tests that need pipes or links failed.
The imitation of macOS had no `/proc` or processor affinity, and its data folder was behind a symbolic link. None of
this covers what libraries do in C++.
"""

import ast
import errno
import os
import re
import shutil
from pathlib import Path

import pytest
from boring import BoringModule, Lambdas, boring_batches, quiet_trainer

import kgenre
from kgenre.callbacks import ModelCheckpoint
from kgenre.training import TrainerError

SOURCES = sorted(Path(kgenre.__file__).parent.rglob("*.py"))
REFUSED = re.compile(r'[\\<>:"|?*]|[. ]$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)', re.IGNORECASE)


def names_no_encoding(call):
    """Whether a call opens a file as text in the system's encoding, which is not UTF-8 on Windows."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in ("open", "read_text", "write_text") or any(word.arg == "encoding" for word in call.keywords):
        return False
    if name != "open":
        return True
    mode = next((word.value for word in call.keywords if word.arg == "mode"), None)
    modes = [one.value for one in (*call.args, mode) if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    others = [one for one in call.args if not isinstance(one, ast.Constant)]
    is_text = any(re.fullmatch("[rwax]t?[+]?t?", one) for one in modes)
    return is_text or (not modes and (isinstance(call.func, ast.Name) or not others))


def test_text_is_utf_8_on_every_system():
    found = [
        f"{path}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and names_no_encoding(node)
    ]
    assert found == []


@pytest.fixture
def as_on_windows(monkeypatch, tmp_path):
    """Refuse to move or remove files that this process has open, and to open folders below ``tmp_path``."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("open files are looked up in /proc")
    listdir, open_ = os.listdir, os.open
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # Windows has none

    def held(path):
        places = [os.path.realpath(f"/proc/self/fd/{number}") for number in listdir("/proc/self/fd")]
        places += [line.split()[-1] for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()]
        path = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
        return any(place == path or place.startswith(path + os.sep) for place in places)

    def refusing(real):
        def act(path, *others, **options):
            if any(held(os.fspath(one)) for one in (path, *others)):
                raise PermissionError(errno.EACCES, "another process has it open", os.fspath(path))
            return real(path, *others, **options)

        return act

    def open_file(path, *others, **options):
        if str(path).startswith(str(tmp_path)) and os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return open_(path, *others, **options)

    for name in ("unlink", "remove", "rename", "replace", "rmdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    monkeypatch.setattr(os, "open", open_file)
    monkeypatch.setattr("kgenre.checkpoints.files._PATIENCE", ())


def test_run_where_open_files_cannot_be_moved(as_on_windows, tmp_path):
    def trainer(**options):
        checkpoint = ModelCheckpoint(filename="{step:06d}-{val/a?b/loss:.2f}", save_top_k=1)
        options = {"logger": None, "enable_checkpointing": True, "default_root_dir": tmp_path / "runs"} | options
        return quiet_trainer(callbacks=[checkpoint, *options.pop("callbacks", [])], **options)

    def log(trainer, module):
        module.log("val/a?b/loss", 0.5)

    first = trainer(max_epochs=1, callbacks=[Lambdas(on_validation_epoch_end=log)])
    first.fit(BoringModule(), boring_batches(2), boring_batches(1))
    again = trainer(max_epochs=3)
    again.fit(BoringModule(), boring_batches(2), boring_batches(1), ckpt_path="last")
    assert (again.log_dir, again.global_step) == (first.log_dir, 6)
    assert len(list((first.log_dir / "checkpoints").iterdir())) == 3  # the newest and best, and the files best and last
    assert [path for path in tmp_path.rglob("*") if REFUSED.search(path.name)] == []
    shutil.rmtree(again.log_dir)

    def refuse(trainer, module):
        raise TrainerError("refused")

    with pytest.raises(TrainerError, match="refused"):
        trainer(callbacks=[Lambdas(on_train_start=refuse)]).fit(BoringModule(), boring_batches(1), boring_batches(1))
    assert not list((tmp_path / "runs").rglob("version_*"))
