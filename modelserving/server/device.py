"""What an error says of the device: whether memory ran out, and whether it computes at all any more.

Does not know checkpoints or requests.
"""

import errno

import torch


def is_out_of_memory(raised: BaseException) -> bool:
    """CUDA says it by type, the CPU allocator by text."""
    if isinstance(raised, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(raised, OSError):  # a file that is mapped
        return raised.errno == errno.ENOMEM
    texts = ("not enough memory", "can't allocate memory")
    return isinstance(raised, RuntimeError) and any(text in str(raised) for text in texts)


def still_computes(device: torch.device) -> bool:
    """False after an error that CUDA answers everything with until the process ends."""
    try:
        return torch.ones(1, device=device).item() == 1.0
    except RuntimeError as raised:
        return is_out_of_memory(raised)
