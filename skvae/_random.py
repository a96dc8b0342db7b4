"""The one way from a `random_state` to a source of random numbers."""

import numpy as np
from sklearn.utils import check_random_state


def random_state_of(random_state):
    """Return a RandomState that draws from a seed, a RandomState or a Generator.

    None makes a new one, which leaves NumPy's global generator alone.
    """
    if random_state is None:
        return np.random.RandomState()
    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(random_state.bit_generator)
    return check_random_state(random_state)
