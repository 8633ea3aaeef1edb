"""Which split a conversation belongs to, for ever: decided by its first human message alone.

Pure; the salt is fixed, so a message never stands in train in one release and in test in another
of the same test share, and a larger share only ever adds to the test side.
"""

from hashlib import sha256
from typing import Literal

SALT = b"labelapp-split-v1:"


def first_message_sha256(message: str) -> str:
    """The hash that decides the split; surrounding white space does not count."""
    return sha256(SALT + message.strip().encode("utf-8", "surrogatepass")).hexdigest()


def split_of_sha256(digest: str, *, test_percent: int) -> Literal["train", "test"]:
    """The split of a conversation whose first human message has this salted hash."""
    return "test" if int(digest[:8], 16) % 100 < test_percent else "train"


def split_of(first_human_message: str, *, test_percent: int) -> Literal["train", "test"]:
    """The split of a conversation that begins with this human message."""
    return split_of_sha256(first_message_sha256(first_human_message), test_percent=test_percent)
