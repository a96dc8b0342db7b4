"""The one way from a `random_state` to a source of random numbers."""

import numpy as np
from sklearn.utils import check_random_state


def random_state_of(random_state):
    """Return the RandomState that a seed, a RandomState or a Generator stands for.

    None stands for a new one: unlike in scikit-learn, NumPy's global generator stays untouched.
    """
    if random_state is None:
        return np.random.RandomState()
    if isinstance(random_state, np.random.Generator):
        return np.random.RandomState(random_state.bit_generator)
    return check_random_state(random_state)
