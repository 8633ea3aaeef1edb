"""What becomes of memory that a training process frees.

Each step allocates the same large tensors as the one before. By default glibc gives much of what is freed back to the
system, which clears and maps each page anew when the next step asks. It does not know tensors.
"""

import ctypes
import os

# mallopt's numbers for its settings (malloc.h)
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENAS = -1, -3, -8
NEVER = -1
LARGEST = 32 << 20  # bytes of a pool's largest piece: as far as glibc's own threshold grows
BY_HAND = ("MALLOC_", "GLIBC_TUNABLES")  # how whoever runs this sets the same


def keep_freed_memory() -> None:
    """Have this process keep what it frees for its next step, so that between steps it holds as much as within.

    One pool serves the threads that start from now on: what one frees another uses. Another C library, and settings
    in the environment, are left alone.
    """
    if any(name.startswith(BY_HAND) for name in os.environ):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return
    for setting, value in ((ARENAS, 1), (TRIM_THRESHOLD, NEVER), (MMAP_THRESHOLD, LARGEST)):
        mallopt(setting, value)
