"""One thread: on small nets more only wait for each other. Set before torch is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # else scikit-learn skips one of its checks

import pytest
import torch

collect_ignore = ["typed_use.py"]  # for type checkers; nothing runs it


def pytest_collection_modifyitems(items):
    """What opens a page needs a browser, which not every machine has: `-m browser` runs it."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws from PyTorch's own generator is the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
