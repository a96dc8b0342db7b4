"""Arrays as text that a page can contain and a browser can turn back into numbers."""

import base64

import numpy as np


def packed(values):
    """Pack numbers in float32, or in one byte each if there are few distinct values."""
    values = np.asarray(values, dtype="<f4")
    shape = list(values.shape)
    distinct, indices = np.unique(values, return_inverse=True)
    if 4 * len(distinct) + values.size < 4 * values.size and len(distinct) <= 256:
        as_bytes = indices.astype(np.uint8)
        return {"shape": shape, "uint8": _base64(as_bytes), "values": packed(distinct)}
    return {"shape": shape, "float32": _base64(values)}


def unpacked(array):
    """Turn the result of `packed` back into numbers."""
    if "uint8" in array:
        indices = np.frombuffer(base64.b64decode(array["uint8"]), np.uint8)
        return unpacked(array["values"])[indices].reshape(array["shape"])
    return np.frombuffer(base64.b64decode(array["float32"]), "<f4").reshape(array["shape"])


def _base64(array):
    return base64.b64encode(array.tobytes()).decode("ascii")
