"""A normal distribution in a shorter time than by its constructor."""

from torch.distributions import Distribution, Normal


def normal(loc, scale, cls=Normal):
    """Make a normal distribution of two tensors, most often of one shape.

    The constructor would broadcast them, which takes longer than the rest of it, and again as long
    in the backward pass.
    """
    if loc.shape != scale.shape:
        return cls(loc, scale, validate_args=False)
    q = cls.__new__(cls)
    q.loc, q.scale = loc, scale
    Distribution.__init__(q, loc.shape, validate_args=False)
    return q
