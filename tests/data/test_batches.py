import gc
from pathlib import Path

import numpy as np
import pytest

from kgenre.data import FilmBatches, FilmDataError, FilmTensors
from kgenre.data.augmentation import Augmentation, draw_augmentation
from kgenre.data.batch_plan import AUGMENTATION, LengthBuckets, plan_batches, rows_of_batches
from kgenre.data.poster_table import aligned_zeros
from kgenre.training.data_module import EpochBatches

pytestmark = pytest.mark.one_backend("tensorflow")

N, SIZE, LENGTH, GENRES = 50, (20, 10), 7, 3


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    return {
        "genres": rng.integers(0, 2, (N, GENRES), dtype=np.uint8),
        "posters": rng.integers(0, 256, (N, *SIZE, 3), dtype=np.uint8),
        "overviews": rng.integers(0, 99, (N, LENGTH), dtype=np.int32),
    }


@pytest.fixture(scope="module")
def tensors(arrays):
    return FilmTensors(**arrays)


def batches(tensors, rows=range(N), batch_size=8, **options):
    if "augment" in options:
        options["augment"] = Augmentation.of(options["augment"])
    return FilmBatches(tensors, np.array(rows), batch_size, **options)


def collect(dataset):
    return [{name: tensor.numpy() for name, tensor in batch.items()} for batch in dataset]


def assert_same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def test_a_batch_holds_the_rows_of_its_index(tensors, arrays):
    for batch in collect(batches(tensors, shuffle=True).epoch_batches(0)):
        assert {name: a.dtype.name for name, a in batch.items()} == {
            "poster": "uint8", "overview": "int32", "genres": "float32", "index": "int32", "weight": "float32",
        }  # fmt: skip
        np.testing.assert_array_equal(batch["poster"], arrays["posters"][batch["index"]])
        np.testing.assert_array_equal(batch["overview"], arrays["overviews"][batch["index"]])
        np.testing.assert_array_equal(batch["genres"], arrays["genres"][batch["index"]])


@pytest.mark.parametrize(("absent", "key"), [("posters", "poster"), ("overviews", "overview")])
def test_unused_inputs_are_not_in_the_batch(arrays, absent, key):
    source = batches(FilmTensors(**{**arrays, absent: None}), augment=True)
    assert key not in collect(source.epoch_batches(0))[0]


@pytest.mark.parametrize(
    ("batch_size", "rows"), [(1, 1), (7, 7), (8, 8), (25, 25), (50, 50), (60, 60), (64, 64), (200, 56), (4096, 64)]
)
def test_every_film_counts_once_and_shapes_are_static(tensors, batch_size, rows):
    source = batches(tensors, batch_size=batch_size, shuffle=True)
    got = collect(source.epoch_batches(3))
    assert len(got) == len(source) == -(-N // batch_size)
    assert {batch["poster"].shape for batch in got} == {(rows, *SIZE, 3)}
    index, weight = (np.concatenate([batch[name] for batch in got]) for name in ("index", "weight"))
    assert sorted(index[weight == 1]) == list(range(N))
    assert set(weight) <= {0.0, 1.0}
    assert source.epoch_batches(0).element_spec["poster"].shape == (rows, *SIZE, 3)


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_no_rows_give_no_batches(tensors, drop_remainder):
    source = batches(tensors, rows=np.array([], int), drop_remainder=drop_remainder)
    assert len(source) == 0
    assert collect(source.epoch_batches(0)) == []


def test_smaller_batches_divide_among_as_many_devices():
    for films in range(1, 200):
        for batch_size in range(1, 200):
            rows = rows_of_batches(films, batch_size)
            assert rows == batch_size if films >= batch_size else films <= rows <= batch_size
            assert rows < films + 48
            assert not [n for n in (2, 3, 4, 6, 8, 12, 16) if batch_size % n == 0 and rows % n]


@pytest.mark.parametrize(("batch_size", "full"), [(1, 50), (7, 7), (8, 6), (25, 2), (50, 1), (64, 0)])
@pytest.mark.parametrize("bucketed", [False, True])
def test_drop_remainder_drops_incomplete_batches(tensors, buckets, batch_size, full, bucketed):
    options = {"batch_size": batch_size, "shuffle": True, "buckets": buckets if bucketed else None}
    source = batches(tensors, drop_remainder=True, **options)
    got = collect(source.epoch_batches(3))
    assert len(got) == len(source) == full
    index = [i for batch in got for i in batch["index"]]
    assert len(set(index)) == len(index) == full * batch_size
    assert all((batch["weight"] == 1).all() for batch in got)
    # Other films are dropped in other epochs; a resumed epoch yields the same remaining batches.
    if 0 < full * batch_size < N:
        dropped = [set(range(N)) - {i for row in plan for i in row} for plan in orders_of(source, epochs=9)]
        assert not set.intersection(*dropped)
    assert_same(collect(source.epoch_batches(3, start_batch=full // 2)), got[full // 2 :])


def orders_of(source, epochs):
    options = (source.batch_size, True, source.seed)
    return [
        plan_batches(source.rows, *options, epoch, source.buckets, source.drop_remainder).rows
        for epoch in range(epochs)
    ]


def test_only_the_given_rows(tensors):
    rows = np.array([40, 3, 17])
    (batch,) = collect(batches(tensors, rows, 4).epoch_batches(0))
    assert batch["index"].tolist() == [40, 3, 17, 40]
    assert batch["weight"].tolist() == [1, 1, 1, 0]


def test_the_order_depends_on_seed_and_epoch():
    def order(seed, epoch):
        return plan_batches(np.arange(N), 10, True, seed, epoch).rows.ravel().tolist()

    orders = [order(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(o) for o in orders}) == 9
    assert all(sorted(o) == list(range(N)) for o in orders)
    assert order(1, 2) == order(1, 2)


@pytest.fixture(scope="module")
def buckets():
    lengths = np.random.default_rng(1).integers(1, LENGTH + 1, N).astype(np.int32)
    return LengthBuckets(lengths, (3, 5, LENGTH))


@pytest.mark.parametrize("batch_size", [1, 7, 8, 25, 50, 64])
@pytest.mark.parametrize("shuffle", [False, True])
def test_with_buckets_every_film_counts_once_and_none_is_cut(tensors, buckets, batch_size, shuffle):
    source = batches(tensors, batch_size=batch_size, shuffle=shuffle, buckets=buckets)
    got = collect(source.epoch_batches(3))
    assert len(got) == len(source) == -(-N // batch_size)
    index, weight = (np.concatenate([batch[name] for batch in got]) for name in ("index", "weight"))
    assert sorted(index[weight == 1]) == list(range(N))
    assert sum((batch["weight"] == 0).any() for batch in got) <= 1
    for batch in got:
        width = batch["overview"].shape[1]
        assert width in buckets.widths
        assert buckets.lengths[batch["index"][batch["weight"] == 1]].max() <= width
    if batch_size == 1:
        assert sum(batch["overview"].shape[1] for batch in got) < 0.85 * N * LENGTH


def test_only_leftover_films_are_in_a_longer_bucket(buckets):
    plan = plan_batches(np.arange(N), 8, True, 0, 0, buckets)
    own = np.searchsorted(buckets.widths, buckets.lengths[plan.rows])
    batch_bucket = np.searchsorted(buckets.widths, plan.widths)
    assert (own <= batch_bucket[:, None]).all()
    strangers = (own < batch_bucket[:, None]) & (plan.weights > 0)
    assert strangers.sum() <= 2 * (8 - 1)
    assert len({tuple(plan_batches(np.arange(N), 8, True, 0, e, buckets).widths) for e in range(5)}) > 1


def test_buckets_are_chosen_from_the_training_films():
    lengths = np.arange(1, 69, dtype=np.int32).repeat(20)
    found = LengthBuckets.choose(lengths, np.arange(len(lengths)), 16, 4, 68)
    assert found.widths == (20, 36, 52, 68)
    assert LengthBuckets.choose(lengths, np.arange(240), 16, 4, 68) is None  # 15 batches: not worth it
    assert len(LengthBuckets.choose(lengths, np.arange(len(lengths)), 64, 4, 68).widths) == 2
    assert LengthBuckets.choose(np.full(999, 68, np.int32), np.arange(999), 8, 4, 68) is None
    assert LengthBuckets.choose(np.full(999, 67, np.int32), np.arange(999), 8, 4, 67) is None


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("bucketed", [False, True])
def test_a_resumed_epoch_yields_the_remaining_batches_bit_for_bit(tensors, buckets, augment, bucketed):
    options = {"shuffle": True, "augment": augment, "seed": 5, "buckets": buckets if bucketed else None}
    whole = collect(batches(tensors, **options).epoch_batches(2))
    resumed = batches(tensors, **options)
    for start in (0, 1, 4, 6, 7):
        assert_same(collect(resumed.epoch_batches(2, start)), whole[start:])


def by_film(got):
    return {int(i): p for b in got for i, p, w in zip(b["index"], b["poster"], b["weight"], strict=True) if w}


def test_augmentation_does_not_depend_on_the_batch(tensors):
    small = by_film(collect(batches(tensors, augment=True, batch_size=4).epoch_batches(1)))
    large = by_film(collect(batches(tensors, augment=True, shuffle=True, batch_size=16).epoch_batches(1)))
    later = by_film(collect(batches(tensors, augment=True, batch_size=4).epoch_batches(2)))
    for film in range(N):
        np.testing.assert_array_equal(small[film], large[film])
    assert sum((small[film] != later[film]).any() for film in range(N)) > N // 2


def test_augmentation_flips_and_shifts_with_repeated_edges(tensors, arrays):
    augment = Augmentation(flip=0.5, shift=0.3)
    got = by_film(collect(batches(tensors, augment=augment, seed=9).epoch_batches(4)))
    drawn = draw_augmentation(augment, N, SIZE, (9, 4, AUGMENTATION))["geometry"]
    (height, width), pad = SIZE, ((6, 6), (3, 3), (0, 0))
    assert np.abs(drawn[:, 1:3]).max(axis=0).tolist() == [6, 3]
    assert {-1, 1} <= set(np.sign(drawn[:, 1:3]).ravel().tolist())
    assert 0.2 < drawn[:, 0].mean() < 0.8
    for film in range(N):
        poster = arrays["posters"][film]
        flip, down, right = drawn[film, :3]
        if flip:
            poster = poster[:, ::-1]
        padded = np.pad(poster, pad, mode="edge")
        expected = padded[6 - down : 6 - down + height, 3 - right : 3 - right + width]
        np.testing.assert_array_equal(got[film], expected)


def test_flip_without_shift(tensors, arrays):
    got = by_film(collect(batches(tensors, augment={"flip": 0.5}).epoch_batches(0)))
    flipped = 0
    for film, poster in got.items():
        is_flipped = (poster != arrays["posters"][film]).any()
        flipped += is_flipped
        np.testing.assert_array_equal(
            poster, arrays["posters"][film][:, ::-1] if is_flipped else arrays["posters"][film]
        )
    assert 0 < flipped < N


def test_crop_enlarges_the_middle(tensors, arrays):
    augment = Augmentation(crop=0.5)
    got = by_film(collect(batches(tensors, augment=augment).epoch_batches(0)))
    drawn = draw_augmentation(augment, N, SIZE, (0, 0, AUGMENTATION))["geometry"]
    assert drawn[:, 3].min() >= SIZE[0] / 2
    assert len(set(drawn[:, 3].tolist())) > 5
    for film in range(N):
        rows, columns = (
            (np.arange(side) * 2 + 1) * window // (2 * side) + (side - window) // 2
            for side, window in zip(SIZE, drawn[film, 3:], strict=True)
        )
        np.testing.assert_array_equal(got[film], arrays["posters"][film][rows][:, columns])


def test_color_is_a_factor_and_an_offset_for_each_channel(tensors, arrays):
    augment = Augmentation(color=0.3)
    got = by_film(collect(batches(tensors, augment=augment).epoch_batches(0)))
    drawn = draw_augmentation(augment, N, SIZE, (0, 0, AUGMENTATION))["color"]
    for film in range(N):
        factor, offset = drawn[film]
        expected = np.clip(arrays["posters"][film] * factor + offset, 0, 255)
        assert np.abs(got[film] - expected).max() <= 0.51
    assert 0.2 < np.abs(drawn[:, 0] - 1).max() < 0.5


def test_erasing_paints_one_grey_rectangle(tensors, arrays):
    got = by_film(collect(batches(tensors, augment={"erase": 0.5}).epoch_batches(0)))
    erased = 0
    for film, poster in got.items():
        changed = (poster != arrays["posters"][film]).any(axis=2)
        if changed.any():
            erased += 1
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            window = poster[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            assert set(window.ravel()) == {128}
            assert window.shape[0] * window.shape[1] < 0.35 * SIZE[0] * SIZE[1]
    assert 0.2 * N < erased < 0.8 * N


def test_a_missing_poster_stays_black(arrays):
    """Networks that work without a poster recognise a missing one by its black pixels."""
    posters = arrays["posters"].copy()
    posters[::2] = 0
    shares = {"flip": 0.5, "crop": 0.2, "color": 0.3, "erase": 0.5}
    got = by_film(collect(batches(FilmTensors(**arrays | {"posters": posters}), augment=shares).epoch_batches(0)))
    assert [bool(got[film].any()) for film in range(N)] == [film % 2 == 1 for film in range(N)]


@pytest.mark.parametrize("wrong", [{"flipp": 1}, {"shift": 0.95}, {"color": -1}, {"erase": "yes"}])
def test_error_augmentation(wrong):
    with pytest.raises(FilmDataError, match=r"augment: .*must be"):
        Augmentation.of(wrong)


def test_film_batches_are_epoch_batches(tensors):
    source = batches(tensors)
    assert isinstance(source, EpochBatches)
    assert_same(collect(source), collect(source.epoch_batches(0)))


def test_epochs_leak_no_objects(tensors):
    source = batches(tensors, shuffle=True, augment=True)
    collect(source.epoch_batches(0))
    counts = []
    for epoch in range(16):
        dataset = source.epoch_batches(epoch)
        next(iter(dataset))
        if epoch in (3, 15):
            del dataset
            gc.collect()
            counts.append(len(gc.get_objects()))
    assert counts[1] - counts[0] < 120  # as if ten objects were kept in each of 12 epochs


def test_an_epoch_does_not_copy_the_poster_table():
    def peak():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def epoch(films):
        table = aligned_zeros((films, 128, 128, 3))
        table[:] = 1
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = peak()
        source = batches(FilmTensors(np.zeros((films, 2), np.uint8), table), range(films), 32, shuffle=True)
        assert sum(len(batch["weight"]) for batch in source.epoch_batches(0)) == films
        return peak() - before

    try:
        epoch(64)  # warm-up: TensorFlow allocates some memory only once
    except OSError:
        pytest.skip("memory is looked up in Linux's /proc")
    assert epoch(4096) < 96, "megabytes, of a table of 192"
