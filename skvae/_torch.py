"""Everything of PyTorch that is not public, in one place, each with the reason it is used.

A release that moves one of these breaks this file and no other; `tests/test_house.py` says which.
"""

# AdamW on many tensors in one call. The public way to it is torch.optim.AdamW, whose first object
# in a process imports the compiler: 1 to 2 s and 70 MB, in every worker of a search too.
from torch import _foreach_lerp_ as lerp_all_  # running averages of many tensors in one call
from torch import _fused_adamw_ as fused_adamw_

# Operations that draw random numbers, to be given a generator of their own in one thread only.
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["TorchDispatchMode", "fused_adamw_", "lerp_all_"]
