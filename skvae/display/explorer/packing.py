"""Arrays as text: what a page can hold and a browser turns back into numbers."""

import base64

import numpy as np


def packed(values):
    """Pack numbers in float32, or exactly in a byte each where they take few values.

    Parameters
    ----------
    values : array-like
        Of any shape.

    Returns
    -------
    dict
        The "shape", and base64 of the numbers as "float32"; or of their places as "uint8" in a
        list of "values", which is packed too.

    Examples
    --------
    >>> from skvae.display.explorer.packing import packed, unpacked
    >>> unpacked(packed([[0.5, 1.5]])).tolist()
    [[0.5, 1.5]]
    """
    values = np.asarray(values, dtype="<f4")
    shape = list(values.shape)
    different, places = np.unique(values, return_inverse=True)
    if 4 * len(different) + values.size < 4 * values.size and len(different) <= 256:
        bytes_ = places.astype(np.uint8)
        return {"shape": shape, "uint8": _base64(bytes_), "values": packed(different)}
    return {"shape": shape, "float32": _base64(values)}


def unpacked(array):
    """Turn what `packed` returned back into numbers.

    Parameters
    ----------
    array : dict
        As `packed` returns it.

    Returns
    -------
    ndarray
        In float32.
    """
    if "uint8" in array:
        places = np.frombuffer(base64.b64decode(array["uint8"]), np.uint8)
        return unpacked(array["values"])[places].reshape(array["shape"])
    return np.frombuffer(base64.b64decode(array["float32"]), "<f4").reshape(array["shape"])


def _base64(array):
    return base64.b64encode(array.tobytes()).decode("ascii")
