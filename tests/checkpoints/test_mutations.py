"""Damaged and hostile checkpoints: rejected with their path or read safely; no crash, no hang, no code execution.

By default about fifty mutations are tried, with ``pytest -m exhaustive`` five hundred.
"""

import hashlib
import json
import os
import random
import shutil
import struct

import numpy as np
import pytest

from kgenre.checkpoints import (
    Checkpoint,
    CheckpointError,
    newest_checkpoint,
    read_checkpoint,
    read_state,
    write_checkpoint,
)

pytestmark = pytest.mark.backend_free

ARRAYS = ("weights.safetensors", "optimizer.safetensors", "epoch.safetensors")
STATE = {"epoch": 1, "batch": 2, "global_step": 3, "validated_at": None, "callbacks": {}, "logs": None, "random": None}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    arrays = {"a.kernel": np.arange(12, dtype="float32").reshape(3, 4), "a.count": np.array(7, "int32")}
    path = tmp_path_factory.mktemp("whole") / "checkpoints" / "step=000003"
    return write_checkpoint(
        Checkpoint(arrays, {"slot": arrays["a.kernel"]}, STATE, epoch={"logs.a": arrays["a.kernel"]}), path
    )


# --- mutations: each takes the folder and a random number generator --------------------------------------------------


def truncate(folder, draw):
    file = folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])
    file.write_bytes(file.read_bytes()[: draw.randrange(file.stat().st_size)])


def flip_bits(folder, draw):
    file = folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])
    content = bytearray(file.read_bytes())
    for _ in range(draw.choice([1, 1, 8])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    file.write_bytes(bytes(content))


def append(folder, draw):
    file = folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])
    file.write_bytes(file.read_bytes() + draw.randbytes(draw.randrange(1, 100)))


def remove(folder, draw):
    (folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])).unlink()


def swap(folder, draw):
    first, second = draw.sample([*ARRAYS, "state.json", "manifest.json"], 2)
    content = (folder / first).read_bytes()
    (folder / first).write_bytes((folder / second).read_bytes())
    (folder / second).write_bytes(content)


def link(folder, draw):
    file = folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])
    file.unlink()
    file.symlink_to(draw.choice(["/etc/passwd", "/dev/zero", "/dev/stdin", "state.json", "..", "nowhere"]))


def pipe(folder, draw):
    file = folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])
    file.unlink()
    os.mkfifo(file)  # opening it would wait for a writer


def folder_for_a_file(folder, draw):
    file = folder / draw.choice([*ARRAYS, "state.json", "manifest.json"])
    file.unlink()
    file.mkdir()


def junk_manifest(folder, draw):
    manifest = json.loads((folder / "manifest.json").read_text())
    name = draw.choice([*ARRAYS, "state.json"])
    value = draw.choice([None, [], "x", -1, 2**70, 1e300, True, {"bytes": "9", "sha256": 3}, {"bytes": -1}])
    key = draw.choice(["schema", "files", "time", "file", "bytes", "sha256", "extra"])
    if key == "file":
        manifest["files"][name] = value
    elif key in ("bytes", "sha256"):
        manifest["files"][name][key] = value
    elif key == "extra":
        manifest["files"]["../../../etc/passwd"] = {"bytes": 1, "sha256": "0" * 64}
    else:
        manifest[key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))


def sparse(folder, draw):
    """A sparse file of several terabytes that takes no disk space, and a manifest that matches."""
    name = draw.choice([*ARRAYS, "state.json"])
    with (folder / name).open("r+b") as file:
        file.truncate(2 ** draw.randrange(42, 44))
    seal(folder)


def deep_manifest(folder, draw):
    (folder / "manifest.json").write_text("[" * 200_000)


# Attacks by somebody who also writes a matching manifest.


def hostile_state(folder, draw):
    content = draw.choice(
        [
            b"",
            b"[]",
            b"null",
            b"{",
            b'{"a": ' * 100_000,
            b"\xff\xfe",
            b'{"epoch": 1e999}',
            b'{"global_step": ' + b"9" * 5000 + b"}",
            b'{"__reduce__": ["os.system", "touch hacked"]}',
        ]
    )
    (folder / "state.json").write_bytes(content)
    seal(folder)


def hostile_header(folder, draw):
    header = draw.choice(
        [
            b"{}",
            b"[]",
            b"{" * 1000,
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999999]}}',
            b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,16]}}',
            b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
            b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}',
            b'{"a":{"dtype":"O","shape":[1],"data_offsets":[0,8]}}',
            b'{"a":{"dtype":"BF16","shape":[8],"data_offsets":[0,16]}}',
            b'{"a":{"dtype":"F8_E5M2","shape":[16],"data_offsets":[0,16]}}',
            b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},'
            b'"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}',
            b'{"../../a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}',
            b'{"__metadata__":{"x":1}}',
        ]
    )
    length = draw.choice([len(header), 2**63, 2**31, 0, len(header) + 9])
    (folder / draw.choice(ARRAYS)).write_bytes(struct.pack("<Q", length) + header + bytes(16))
    seal(folder)


def sealed_bits(folder, draw):
    flip_bits(folder, draw)
    seal(folder)


def seal(folder):
    """Write a manifest that matches the files."""
    files = {}
    for name in (*ARRAYS, "state.json"):
        size = (folder / name).stat().st_size
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest() if size < 2**30 else "0" * 64
        files[name] = {"bytes": size, "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps({"schema": 2, "time": 9e9, "files": files}))


MUTATIONS = [
    truncate,
    flip_bits,
    append,
    remove,
    swap,
    link,
    pipe,
    folder_for_a_file,
    junk_manifest,
    sparse,
    deep_manifest,
    hostile_state,
    hostile_header,
    sealed_bits,
]


def check(whole, root, seed):
    draw = random.Random(seed)
    folder = root / "version_0" / "checkpoints" / "step=000004"
    whole_one = shutil.copytree(whole, root / "version_0" / "checkpoints" / "step=000003")
    shutil.copytree(whole, folder)
    mutation = MUTATIONS[seed % len(MUTATIONS)]
    mutation(folder, draw)
    before = sorted(path.relative_to(root) for path in root.rglob("*"))
    errors = []
    for read in (read_checkpoint, lambda path: read_checkpoint(path, weights_only=True), read_state):
        try:
            found = read(folder)
        except CheckpointError as error:
            errors.append(str(error))
            continue
        state, arrays = (found, {}) if isinstance(found, dict) else (found.state, found.arrays)
        assert isinstance(state, dict)
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert all(str(folder) in error and len(error) < 1000 for error in errors), (mutation.__name__, errors)
    newest, refused = newest_checkpoint(root)
    assert newest.path in (folder, whole_one)
    assert [error for error in refused if str(folder) not in str(error)] == []
    assert sorted(path.relative_to(root) for path in root.rglob("*")) == before  # nothing was created or removed


@pytest.mark.parametrize("seed", range(4 * len(MUTATIONS)))
def test_mutations(whole, tmp_path, seed):
    check(whole, tmp_path, seed)


@pytest.mark.parametrize("content", [b"[]", b"null", b"3"])
def test_state_that_is_no_object(whole, tmp_path, content):
    folder = shutil.copytree(whole, tmp_path / "step=000004")
    (folder / "state.json").write_bytes(content)
    seal(folder)
    with pytest.raises(CheckpointError, match=r"state\.json is not a JSON object"):
        read_checkpoint(folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_many_mutations(whole, tmp_path, seed):
    check(whole, tmp_path, seed)
