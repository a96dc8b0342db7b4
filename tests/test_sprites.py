"""Sprites are images of what their factors say."""

import numpy as np
import pytest

from skvae.datasets import SPRITE_FACTORS, make_sprites

X, factors = make_sprites(300, size=20, random_state=0)


def test_grey_levels_lie_in_0_and_1():
    assert X.shape == (300, 400)
    assert X.min() == 0
    assert X.max() == 1


def test_the_centre_of_the_ink_is_where_the_factors_say():
    images = X.reshape(-1, 20, 20)
    ink = images.sum((1, 2))
    rows = (images.sum(2) @ np.arange(20)) / ink
    columns = (images.sum(1) @ np.arange(20)) / ink
    np.testing.assert_allclose(rows, factors[:, 1], atol=0.35)
    np.testing.assert_allclose(columns, factors[:, 2], atol=0.35)


@pytest.mark.parametrize(("shape", "area"), [(0, np.pi), (1, np.pi * 8 / 9), (2, 20 / 9)])
def test_the_ink_is_the_area_of_the_shape(shape, area):
    some = factors[:, 0] == shape
    expected = area * factors[some, 3] ** 2
    ink = X[some].sum(1)
    assert np.corrcoef(ink, expected)[0, 1] > 0.97
    assert ink.mean() == pytest.approx(expected.mean(), rel=0.15)


def test_all_shapes_occur_and_none_is_cut_off():
    assert set(factors[:, 0]) == set(range(len(SPRITE_FACTORS["shape"])))
    images = X.reshape(-1, 20, 20)
    # At the border there is at most the half covered rim of a shape.
    assert max(images[:, edge].max() for edge in (0, -1)) <= 0.5 + 1e-9


def test_a_seed_is_enough_and_a_generator_goes_on():
    np.testing.assert_array_equal(
        make_sprites(5, random_state=1)[0], make_sprites(5, random_state=1)[0]
    )
    rng = np.random.RandomState(1)
    assert (make_sprites(5, random_state=rng)[0] != make_sprites(5, random_state=rng)[0]).any()


def test_an_image_without_room_is_refused():
    with pytest.raises(ValueError, match="size must be at least 8 pixels.*got 4"):
        make_sprites(size=4)


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="n_samples must be at least 1; got 0"):
        make_sprites(0)
