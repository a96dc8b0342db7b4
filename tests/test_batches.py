"""Rows arrive whole, once and in the right units, whatever they came from."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.preprocessing import StandardScaler
from torch.testing import assert_close

from skvae._data.rows import Batch, Rows
from skvae._data.units import Marginals, Units, chunk_slices

CPU = torch.device("cpu")
some = settings(max_examples=60, deadline=None, derandomize=True)


def data(n_rows=20, n_columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, n_columns))


def units_of(X, weight=None):
    marginals = Marginals(X, weight)
    return Units(marginals.mean, marginals.scale)


def plain(n_columns):
    return Units(np.zeros(n_columns), np.ones(n_columns))


def rows_of(X, weight=None):
    return Rows(X, plain(X.shape[1]), weight, CPU)


def numbered(n_rows):
    """Rows that hold their own number."""
    return np.arange(n_rows, dtype=float)[:, None]


def shuffled(rows, batch_size, seed=0):
    return list(rows.shuffled(batch_size, torch.Generator().manual_seed(seed)))


def pairs(one, other):
    for name in ("mean", "scale", "constant"):
        yield getattr(one, name), getattr(other, name)
    yield one.log1p().mean, other.log1p().mean
    yield one.log_total(), other.log_total()


# -- marginals and units -------------------------------------------------------------------


def test_marginals_are_numpys():
    X = 3 * data() + 7
    marginals = Marginals(X)
    np.testing.assert_allclose(marginals.mean, X.mean(0), rtol=1e-12)
    np.testing.assert_allclose(marginals.scale, X.std(0), rtol=1e-12)
    assert not marginals.constant.any()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.7, 1e8, 1e-30, 0.1])
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_a_constant_column_is_known_as_one(value, form):
    X = data()
    X[:, 1] = value
    marginals = Marginals(form(X))
    assert marginals.constant.tolist() == [False, True, False]
    assert marginals.scale[1] == 1.0


def test_a_single_row_is_constant():
    assert Marginals(data(1)).constant.all()


def test_weighted_marginals_are_those_of_repeated_rows():
    X, counts = abs(data(5)), np.array([1, 2, 1, 4, 2])
    weighted, repeated = Marginals(X, counts), Marginals(np.repeat(X, counts, axis=0))
    for one, other in pairs(weighted, repeated):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("weight", [None, np.arange(1.0, 21.0)])
def test_marginals_of_csr_are_those_of_the_array(weight):
    X = data()
    X[X < 0] = 0.0
    dense, sparse = Marginals(X, weight), Marginals(csr_matrix(X), weight)
    for one, other in pairs(dense, sparse):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1e8, 1), (-1e8, 1e-3), (0, 1e-30), (0, 1e30), (1e30, 1e28)]
)
def test_units_make_columns_standard_however_far_or_large(offset, scale):
    X = offset + scale * data(200)
    x = units_of(X).tensor(X, torch.float32)
    lost = 1e-15 * abs(offset) / scale  # of the data themselves, in double precision
    assert_close(x.mean(0), torch.zeros(3), atol=1e-6 + lost, rtol=0)
    assert_close(x.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1e8, 1), (-1e8, 1e-3), (0, 1e-30), (0, 1e30), (1e30, 1e28)]
)
def test_units_there_and_back(offset, scale):
    X = offset + scale * data()
    units = units_of(X)
    back = units.array(units.tensor(X, torch.float64))
    np.testing.assert_allclose(back, X, rtol=1e-12, atol=1e-12 * scale)


def test_units_are_standard_scalers():
    X = 5 + 2 * data()
    expected = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(units_of(X).tensor(X, torch.float64), expected, rtol=1e-10)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
@some
def test_shift_and_scale_of_a_column_do_not_show(shift, scale):
    X = data()
    moved = shift + scale * X
    one, other = units_of(X).tensor(X, torch.float64), units_of(moved).tensor(moved, torch.float64)
    lost = 1e-15 * (1 + abs(shift) / scale)
    assert_close(other, one, rtol=0, atol=100 * lost)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_units_give_the_precision_asked_for(dtype):
    units = units_of(data())
    assert units.tensor(data(), dtype).dtype == dtype
    back = units.array(units.tensor(data(), dtype))
    assert torch.from_numpy(back).dtype == dtype


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_take_either_precision_of_csr(dtype):
    X = csr_matrix(data().astype(dtype))
    dense = units_of(X).tensor(X.toarray(), torch.float64)
    assert_close(units_of(X).tensor(X, torch.float64), dense)


def test_log_jacobian_is_the_change_of_a_log_density():
    scale = (0.5, 2.0, 10.0)
    units = Units(np.array([1.0, 2.0, 3.0]), np.array(scale))
    X = data()
    x = units.tensor(X, torch.float64).numpy()
    # log density of a normal at the data, directly and through the units
    direct = -0.5 * np.square((X - units.offset) / scale).sum(1) - np.log(scale).sum()
    np.testing.assert_allclose(-0.5 * np.square(x).sum(1) + units.log_jacobian(), direct)


def test_rows_have_the_log_jacobian_of_their_units():
    units = Units(np.zeros(2), np.array([2.0, 3.0]))
    assert Rows(data(4, 2), units, None, CPU).log_jacobian() == pytest.approx(-np.log(6.0))


# -- what arrays may look like -------------------------------------------------------------


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


LAYOUTS = {
    "read-only": read_only,
    "negative strides": lambda X: X[::-1].copy()[::-1],
    "negative column strides": lambda X: X[:, ::-1].copy()[:, ::-1],
    "fortran": np.asfortranarray,
    "slice": lambda X: np.repeat(X, 2, axis=0)[::2],
    "float32": lambda X: X.astype(np.float32),
    "csr": csr_matrix,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_tensor(layout):
    X = data().astype(np.float32).astype(float)
    x = plain(3).tensor(LAYOUTS[layout](X), torch.float64)
    assert_close(x, torch.from_numpy(X), rtol=0, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_batches(layout):
    X = data().astype(np.float32).astype(float)
    expected = shuffled(rows_of(X), 6)
    for batch, other in zip(shuffled(rows_of(LAYOUTS[layout](X)), 6), expected, strict=True):
        assert_close(batch.x, other.x, rtol=0, atol=0)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_data_are_not_written_to(layout):
    X = LAYOUTS[layout](data())
    before = X.copy()
    rows = Rows(X, Units(np.ones(3), np.full(3, 2.0)), None, CPU)
    for batch in [*shuffled(rows, 6), *rows.in_order(torch.float64)]:
        batch.x.zero_()
    assert abs(X - before).max() == 0.0


# -- shuffled batches ----------------------------------------------------------------------

sizes = given(st.integers(1, 200), st.integers(1, 50))


@sizes
@some
def test_every_row_comes_once(n_rows, batch_size):
    batches = shuffled(rows_of(numbered(n_rows)), batch_size)
    seen = torch.cat([batch.x for batch in batches]).flatten()
    assert sorted(seen.tolist()) == list(range(n_rows))


@sizes
@some
def test_batches_differ_by_at_most_one_row(n_rows, batch_size):
    lengths = [len(batch.x) for batch in shuffled(rows_of(numbered(n_rows)), batch_size)]
    assert max(lengths) - min(lengths) <= 1


@given(st.integers(2, 200), st.integers(2, 50))
@some
def test_no_batch_has_a_single_row(n_rows, batch_size):
    batches = shuffled(rows_of(numbered(n_rows)), batch_size)
    assert min(len(batch.x) for batch in batches) >= 2


@pytest.mark.parametrize("n_rows", [3, 5, 7, 101])
def test_batches_of_two_have_a_third_row_rather_than_one_alone(n_rows):
    lengths = [len(batch.x) for batch in shuffled(rows_of(numbered(n_rows)), 2)]
    assert sorted(lengths) == [2] * (len(lengths) - 1) + [3]


@given(st.integers(1, 200), st.integers(3, 50))
@some
def test_no_batch_is_larger_than_asked_for(n_rows, batch_size):
    batches = shuffled(rows_of(numbered(n_rows)), batch_size)
    assert max(len(batch.x) for batch in batches) <= batch_size


@pytest.mark.parametrize(("n_rows", "batch_size"), [(1, 1), (1, 32), (5, 1)])
def test_single_rows_are_given_where_there_is_no_other_way(n_rows, batch_size):
    lengths = [len(batch.x) for batch in shuffled(rows_of(numbered(n_rows)), batch_size)]
    assert lengths == [1] * n_rows


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_the_order_is_the_seeds(form):
    rows = rows_of(form(numbered(50)))
    first, same, other = (
        torch.cat([batch.x for batch in shuffled(rows, 8, seed)]).flatten().tolist()
        for seed in (1, 1, 2)
    )
    assert first == same
    assert first != other
    assert first != list(range(50))


def test_one_generator_gives_each_epoch_another_order():
    rows, generator = rows_of(numbered(50)), torch.Generator().manual_seed(0)
    epochs = [torch.cat([b.x for b in rows.shuffled(8, generator)]).tolist() for _ in range(2)]
    assert epochs[0] != epochs[1]


def test_csr_gives_the_batches_of_its_array():
    X = data()
    X[X < 0] = 0.0
    units = units_of(X)
    dense, sparse = (Rows(form(X), units, None, CPU) for form in (np.asarray, csr_matrix))
    for one, other in zip(shuffled(dense, 6), shuffled(sparse, 6), strict=True):
        assert_close(one.x, other.x, rtol=0, atol=0)


def test_weights_stay_with_their_rows():
    rows = rows_of(numbered(20), np.arange(1.0, 21.0))
    for batch in shuffled(rows, 6):
        assert_close(batch.weight * 10.5, batch.x.flatten() + 1)


def test_weights_are_relative_to_their_mean():
    X, weight = data(), np.arange(1.0, 21.0)
    one, other = rows_of(X, weight), rows_of(X, 1e6 * weight)
    assert_close(one.weight, other.weight)
    assert one.weight.mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_training_batches_are_single_precision(form):
    assert {batch.x.dtype for batch in shuffled(rows_of(form(data())), 6)} == {torch.float32}


# -- rows in order -------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_in_order_gives_all_rows_in_order(form, dtype):
    X = data(10_000, 2)
    units = units_of(X)
    batches = list(Rows(form(X), units, None, CPU).in_order(dtype))
    assert len(batches) > 1
    assert_close(torch.cat([b.x for b in batches]), units.tensor(X, dtype), rtol=0, atol=0)


def test_in_order_weights_stay_with_their_rows():
    weight = np.arange(1.0, 10_001.0)
    rows = rows_of(numbered(10_000), weight)
    for batch in rows.in_order(torch.float64):
        assert batch.weight.dtype == torch.float64
        assert_close(batch.weight * weight.mean(), batch.x.flatten() + 1, rtol=1e-6, atol=0)


def test_in_order_and_shuffled_rows_are_the_same():
    X = 1e8 + data()
    rows = Rows(X, units_of(X), None, CPU)
    (in_order,) = rows.in_order(torch.float32)
    batches = torch.cat([batch.x for batch in shuffled(rows, 6)])
    assert_close(batches.sort(0).values, in_order.x.sort(0).values, rtol=0, atol=0)


@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_a_subset_has_those_rows_and_weights(form):
    index = np.array([5, 3, 11])
    subset = rows_of(form(numbered(20)), np.arange(1.0, 21.0)).subset(index)
    (batch,) = subset.in_order(torch.float64)
    assert len(subset) == 3
    assert batch.x.flatten().tolist() == [5.0, 3.0, 11.0]
    assert_close(
        batch.weight, torch.tensor([6.0, 4.0, 12.0]).double() / (22 / 3), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(("n", "numbers"), [(5, [0, 1, 2, 3, 4]), (23, [0, 5, 10, 15])])
@pytest.mark.parametrize("form", [np.asarray, csr_matrix])
def test_a_few_rows_come_from_everywhere(form, n, numbers):
    some_rows = rows_of(form(numbered(n))).evenly_spaced(len(numbers) if n > 5 else 16)
    (batch,) = some_rows.in_order(torch.float64)
    assert batch.x.flatten().tolist() == numbers


@given(st.integers(1, 10_000), st.integers(1, 10**8))
@some
def test_chunks_cut_all_rows_once_and_to_a_bounded_size(n_rows, n_columns):
    pieces = [range(n_rows)[piece] for piece in chunk_slices(n_rows, n_columns)]
    assert [row for piece in pieces for row in piece] == list(range(n_rows))
    assert max(map(len, pieces)) * n_columns <= max(2**22, n_columns)


def test_sparse_rows_are_made_dense_one_batch_at_a_time():
    lengths = []

    class Watched(Units):
        def tensor(self, X, *args):
            lengths.append(X.shape[0])
            return super().tensor(X, *args)

    shuffled(Rows(csr_matrix(data(200)), Watched(np.zeros(3), np.ones(3)), None, CPU), 8)
    assert lengths == [8] * 25


def test_context_stays_with_its_rows():
    X = np.arange(20.0).reshape(20, 1)
    rows = Rows(X, Units.identity(1), None, torch.device("cpu"), context=-X)
    generator = torch.Generator().manual_seed(0)
    for batches in (
        rows.shuffled(6, generator),
        rows.in_order(torch.float64),
        rows.subset([3, 1]).in_order(torch.float32),
    ):
        for batch in batches:
            assert batch.context.dtype == batch.x.dtype
            assert torch.equal(batch.context, -batch.x)


def test_a_batch_has_neither_weight_nor_context_unless_told():
    assert Batch(torch.zeros(1, 1))[1:] == (None, None)
