"""The one way from a `random_state` to a source of random numbers."""

import numpy as np
from sklearn.utils import check_random_state


def random_state_of(random_state):
    """Return a RandomState; None makes a new one and leaves NumPy's global generator alone."""
    return np.random.RandomState() if random_state is None else check_random_state(random_state)
