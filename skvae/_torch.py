"""All of PyTorch's private names that this package uses, in one place.

A release that moves one of them breaks this file and no other, because `tests/test_house.py` lets
no other file import private names.
"""

# Running averages of many tensors in one call.
from torch import _foreach_lerp_ as lerp_all_

# AdamW on many tensors in one call. The public way to it is torch.optim.AdamW, whose first object
# in a process imports the compiler: 1 to 2 s and 70 MB, in every worker of a search too.
from torch import _fused_adamw_ as fused_adamw_

# Intercepts operations in one thread only: those that draw random numbers are given a generator.
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TorchDispatchMode", "fused_adamw_", "lerp_all_"]
