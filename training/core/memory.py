"""What becomes of memory that a training process frees.

Each step allocates the same large tensors as the one before. By default glibc gives much of what is freed back to the
system, which clears and maps each page anew when the next step asks. It does not know tensors.
"""

import ctypes

# mallopt's numbers for its settings (malloc.h)
TRIM_THRESHOLD, MMAP_THRESHOLD, ARENAS = -1, -3, -8
NEVER = 2**31 - 1  # bytes: as many as a setting can say
LARGEST = 32 << 20  # bytes of a pool's largest piece: as far as glibc's own threshold grows


def keep_freed_memory() -> bool:
    """Have this process keep what it frees for its next step; whether its C library can.

    One pool serves all threads: what one frees another uses. Call it before threads start.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    wanted = ((ARENAS, 1), (TRIM_THRESHOLD, NEVER), (MMAP_THRESHOLD, LARGEST))
    answers = [mallopt(setting, value) for setting, value in wanted]
    return all(answers)
