"""Rows that stay in a file: the same results, block by block."""

import dask.array
import h5py
import numpy as np
import pytest
import torch
import zarr
from scipy.sparse import csr_array, random_array

from skvae import BNVAEEstimator
from skvae._data import streams
from skvae._data.rows import Rows, fingerprint
from skvae._data.streams import Stream, is_stream, open_stream
from skvae._data.units import Marginals, Units, in_chunks


def rows(n_samples=500, n_features=6, seed=0):
    rng = np.random.RandomState(seed)
    return rng.randn(n_samples, 2) @ rng.randn(2, n_features) + 0.5 * rng.randn(
        n_samples, n_features
    )


def small(**parameters):
    return BNVAEEstimator(
        **{
            "n_components": 2,
            "hidden_layer_sizes": (8,),
            "max_iter": 2,
            "random_state": 0,
            **parameters,
        }
    )


@pytest.fixture
def tiny_memory(monkeypatch):
    """So little memory that small data stay where they are."""
    for name, n_bytes in {"IN_MEMORY": 0, "CHUNK": 4000, "BLOCK": 400, "BUFFER": 6000}.items():
        monkeypatch.setattr(streams, name, n_bytes)


def as_memmap(X, path):
    found = np.memmap(path / "rows", dtype=X.dtype, mode="w+", shape=X.shape)
    found[:] = X
    return found


def as_h5py(X, path):
    return h5py.File(path / "rows.h5", "w").create_dataset("rows", data=X, chunks=(10, 2))


def as_zarr(X, path):
    array = zarr.create_array(path / "rows.zarr", shape=X.shape, chunks=(10, 2), dtype=X.dtype)
    array[:] = X
    return array


def as_dask(X, path):
    return dask.array.from_array(X, chunks=(10, 2))


class Slices:
    """The least that a stream is."""

    def __init__(self, X):
        self.X, self.shape, self.dtype, self.asked = X, X.shape, X.dtype, []

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        self.asked.append(len(range(*rows.indices(len(self.X)))))
        return self.X[rows]


SOURCES = [as_memmap, as_h5py, as_zarr, as_dask, lambda X, path: Slices(X)]
IDS = ["memmap", "h5py", "zarr", "dask", "slices"]


# -- what is a stream ----------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_arrays_that_are_not_in_memory_are_streams(source, tmp_path):
    assert is_stream(source(rows(), tmp_path))


@pytest.mark.parametrize(
    "X", [rows(), rows().tolist(), csr_array(rows()), torch.ones(3, 2), np.float64(1.0), None]
)
def test_arrays_in_memory_are_no_streams(X):
    assert not is_stream(X)


def test_frames_are_no_streams():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    assert not is_stream(pandas.DataFrame(rows()))
    assert not is_stream(polars.DataFrame(rows()))
    assert not is_stream(pandas.Series([1.0]))


def test_what_is_small_is_read():
    np.testing.assert_array_equal(open_stream(Slices(rows())), rows())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, bool, np.float16])
def test_rows_are_of_single_precision_only_if_they_were(dtype):
    expected = np.float32 if dtype == np.float32 else np.float64
    assert Stream(Slices(rows().astype(dtype)))[:3].dtype == expected


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (0, 3), (3, 0)])
def test_what_is_no_table_is_an_error(shape):
    with pytest.raises(ValueError, match=r"must have two dimensions .* got the shape"):
        open_stream(Slices(np.ones(shape)))


def test_what_holds_no_numbers_is_an_error():
    with pytest.raises(TypeError, match="must hold real numbers; got the dtype <U1"):
        open_stream(Slices(np.array([["a"]])))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_cell_that_is_not_finite_is_named_by_its_place(tiny_memory, bad):
    X = rows()
    X[321, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinity between rows 320 and 400"):
        small().fit(Slices(X))


# -- reading -------------------------------------------------------------------------------


def test_chunks_and_blocks_cover_all_rows_in_order(tiny_memory):
    X = rows()
    stream = Stream(Slices(X))
    np.testing.assert_array_equal(np.concatenate([*in_chunks(stream)]), X)
    np.testing.assert_array_equal(np.concatenate([stream[b] for b in stream.blocks()]), X)
    assert len(stream.blocks()) > 50


def test_blocks_are_whole_chunks(tiny_memory, tmp_path):
    assert Stream(as_zarr(rows(), tmp_path)).block_size == 10
    assert Stream(as_dask(rows(), tmp_path)).block_size == 10


@pytest.mark.parametrize("index", [np.array([400, 3, 77, 78]), np.arange(500) % 7 == 0])
def test_some_rows_of_a_stream_are_a_stream_in_ascending_order(tiny_memory, index):
    X = rows()
    some = Stream(Slices(X))[index]
    np.testing.assert_array_equal(some[:], X[np.sort(np.arange(500)[index])])
    np.testing.assert_array_equal(some[1:3], some[:][1:3])
    np.testing.assert_array_equal(some[np.array([0, 2])][:], some[:][[0, 2]])


def test_a_fingerprint_knows_a_stream(tiny_memory):
    prints = [fingerprint(Stream(Slices(X))) for X in (rows(), rows(), rows() + 1, rows(499))]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


# -- shuffling -----------------------------------------------------------------------------


def numbered(n, seed=0, batch_size=20):
    """Batches of the numbers of n rows, drawn from a stream."""
    X = np.arange(float(n))[:, None] * np.ones(6)
    found = Rows(Stream(Slices(X)), Units.identity(6), np.arange(1.0, n + 1), torch.device("cpu"))
    batches = [*found.shuffled(batch_size, torch.Generator().manual_seed(seed))]
    return [batch.x[:, 0].numpy() for batch in batches], batches


@pytest.mark.parametrize("n", [2, 3, 21, 41, 500, 501])
def test_every_row_is_drawn_once_in_batches_of_like_size(tiny_memory, n):
    drawn, _ = numbered(n)
    assert sorted(np.concatenate(drawn)) == list(range(n))
    sizes = [len(batch) for batch in drawn]
    assert len(sizes) == max(1, min(-(-n // 20), n // 2))
    assert max(sizes) - min(sizes) <= 1


def test_weights_go_with_their_rows(tiny_memory):
    _, batches = numbered(500)
    for batch in batches:
        torch.testing.assert_close(batch.weight * 250.5, batch.x[:, 0] + 1)


def test_each_epoch_has_another_order_and_a_seed_the_same(tiny_memory):
    first, again, other = (np.concatenate(numbered(500, seed)[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def test_batches_of_sorted_rows_come_from_everywhere(tiny_memory):
    # The mean of a batch of 20 of the numbers 0 to 4999 has a deviation of 1443 / sqrt(20) = 323
    # if all are drawn from all. Here blocks of 8 neighbours are in 31 places at a time.
    means = np.array([batch.mean() for batch in numbered(5000)[0]])
    assert means.mean() == pytest.approx(2499.5)
    assert means.std() < 1.5 * 323


def test_little_is_read_at_a_time_and_each_row_once_an_epoch(tiny_memory):
    source = Slices(rows(5000))
    found = Rows(Stream(source), Units.identity(6), None, torch.device("cpu"))
    for _ in found.shuffled(20, torch.Generator()):
        pass
    assert max(source.asked) == 8
    assert sum(source.asked) == 5000


# -- estimators ----------------------------------------------------------------------------


def test_a_few_rows_are_read_at_once(tiny_memory):
    source = Slices(np.arange(2000.0).reshape(1000, 2))
    few = Rows(Stream(source), Units.identity(2), None, torch.device("cpu")).evenly_spaced()
    (batch,) = few.in_order(torch.float64)
    assert batch.x[:, 0].tolist() == list(range(0, 32, 2))
    assert source.asked == [16]


@pytest.mark.parametrize("weight", [None, np.arange(500.0)])
def test_marginals_are_those_of_rows_in_memory(tiny_memory, weight):
    X = rows()
    X[:, 3] = 2.0
    found, expected = Marginals(Stream(Slices(X)), weight), Marginals(X, weight)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.scale, expected.scale, rtol=1e-12)
    assert found.constant.tolist() == [False, False, False, True, False, False]


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_what_is_small_is_fitted_as_an_array(source, tmp_path):
    X = rows(100)
    found = small().fit(source(X, tmp_path))
    np.testing.assert_array_equal(found.transform(X), small().fit(X).transform(X))


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_what_is_small_may_have_missing_cells_as_an_array(source, tmp_path):
    X = rows(100)
    X[::7, 2] = np.nan
    found = small().fit(source(X, tmp_path))
    np.testing.assert_array_equal(found.transform(X), small().fit(X).transform(X))


@pytest.mark.parametrize("source", SOURCES, ids=IDS)
def test_a_stream_is_encoded_and_scored_as_an_array(tiny_memory, source, tmp_path):
    X = rows()
    model, stream = small().fit(X), source(X, tmp_path)
    np.testing.assert_array_equal(model.transform(stream), model.transform(X))
    np.testing.assert_array_equal(model.score_samples(stream), model.score_samples(X))


def test_a_stream_is_fitted_as_well_as_an_array(tiny_memory, tmp_path):
    X = rows()[np.argsort(rows()[:, 0])]  # sorted: the worst order for blocks
    model = small(max_iter=60, learning_rate=5e-3).fit(as_memmap(X, tmp_path))
    whole = small(max_iter=60, learning_rate=5e-3).fit(X)
    assert model.lower_bound_ == pytest.approx(whole.lower_bound_, abs=0.05)
    assert model.kl_per_component_.sum() >= model.kl_floor_


@pytest.mark.parametrize("source", SOURCES[:4], ids=IDS[:4])
@pytest.mark.parametrize("n_bytes", [0, 2**30])
def test_rows_of_weight_0_are_left_out_of_a_file(
    tiny_memory, monkeypatch, n_bytes, source, tmp_path
):
    monkeypatch.setattr(streams, "IN_MEMORY", n_bytes)
    X, weight = rows(100), np.repeat([1.0, 0.0], [70, 30])
    (tmp_path / "some").mkdir()
    found = small().fit(source(X, tmp_path), sample_weight=weight)
    expected = small().fit(source(X[:70], tmp_path / "some"), sample_weight=weight[:70])
    np.testing.assert_array_equal(found.transform(X), expected.transform(X))


@pytest.mark.parametrize("source", SOURCES[1:4], ids=IDS[1:4])
def test_every_kind_of_stream_is_fitted(tiny_memory, source, tmp_path):
    X = rows()
    model = small().fit(source(X, tmp_path))
    assert model.kl_per_component_.sum() >= model.kl_floor_
    np.testing.assert_allclose(model.transform(X).mean(0), 0.0, atol=1e-6)


@pytest.mark.parametrize(
    "parameters",
    [
        {"early_stopping": True, "n_iter_no_change": 1, "tol": 1e9, "max_iter": 10},
        {"tau": (0.1, 0.9)},
        {"likelihood": "bernoulli"},
        {"likelihood": "negative_binomial"},
        {"likelihood": "student_t"},
    ],
    ids=str,
)
def test_parameters_work_on_streams(tiny_memory, parameters):
    X = (rows() > 0).astype(float)
    model = small(**parameters).fit(Slices(X), sample_weight=np.arange(500.0))
    assert np.isfinite(model.score(Slices(X)))


def test_data_outside_the_support_are_refused(tiny_memory):
    with pytest.raises(ValueError, match="likelihood='bernoulli' takes values from 0 to 1"):
        small(likelihood="bernoulli").fit(Slices(rows()))


def test_a_stream_of_other_columns_is_refused(tiny_memory):
    with pytest.raises(ValueError, match="X has 5 features"):
        small().fit(Slices(rows())).transform(Slices(rows(n_features=5)))


def test_columns_of_different_kinds_need_memory(tiny_memory):
    with pytest.raises(TypeError, match="need rows in memory; X is a stream of 500 rows"):
        small(likelihood="auto").fit(Slices(rows()))


def test_chunks_of_a_stream_go_through_partial_fit():
    X, model = rows(), small()
    for chunk in in_chunks(Stream(Slices(X))):
        model.partial_fit(chunk)
    assert np.isfinite(model.score(X))


def test_a_checkpoint_of_a_stream_goes_on_to_the_bit(tiny_memory, tmp_path):
    X = Slices(rows())
    small(checkpoint=tmp_path / "a").fit(X)
    content = (tmp_path / "a").read_bytes()
    again = small(checkpoint=tmp_path / "a").fit(X)
    assert (tmp_path / "a").read_bytes() == content
    np.testing.assert_array_equal(again.transform(X), small().fit(X).transform(X))


def test_a_sparse_matrix_over_mapped_files_is_fitted_as_one_in_memory(tmp_path):
    X = random_array((300, 50), density=0.1, format="csr", random_state=0)
    parts = []
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / f"{name}.npy", getattr(X, name))
        parts.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    mapped = csr_array(tuple(parts), shape=X.shape)
    np.testing.assert_array_equal(
        small().fit(mapped).transform(mapped), small().fit(X).transform(X)
    )


# -- output --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [*SOURCES[:3], lambda X, path: X], ids=[*IDS[:3], "array"])
def test_results_go_to_a_given_array(source, tmp_path):
    X = rows()
    model = small().fit(X)
    out = source(np.zeros((500, 2)), tmp_path)
    assert model.transform(X, out=out) is out
    np.testing.assert_array_equal(out[:], model.transform(X))


def test_scores_go_to_a_given_array():
    X, out = rows(), np.zeros(500)
    model = small().fit(X)
    assert model.score_samples(X, out=out) is out
    np.testing.assert_array_equal(out, model.score_samples(X))


@pytest.mark.parametrize("out", [np.zeros((500, 3)), np.zeros((499, 2)), []])
def test_an_array_of_another_shape_is_refused(out):
    with pytest.raises(ValueError, match=r"out must have the shape \(500, 2\); got"):
        small().fit(rows()).transform(rows(), out=out)


def test_a_given_array_is_no_metadata():
    assert "out" not in str(small().get_metadata_routing())
