"""Where a name was signed in to of late: tries made elsewhere never shut its owner out there.

Keeps a keyed hash of name and address together for 30 days, no address; knows nothing of passwords or pages.
"""

from django.utils.crypto import salted_hmac

from comparisons.services import limits

KEPT_SECONDS = 30 * 24 * 3600


def note_address(*, username: str, address: str) -> None:
    """The name was signed in to from this address just now."""
    limits.note(_key(username=username, address=address), seconds=KEPT_SECONDS)


def is_known_address(*, username: str, address: str) -> bool:
    """Whether that was so within the last 30 days."""
    return limits.is_noted(_key(username=username, address=address))


def _key(*, username: str, address: str) -> str:
    message = f"{address} {username}"  # an address holds no space
    hashed = salted_hmac("comparisons.known_address", message, algorithm="sha256").hexdigest()
    return f"known:{hashed}"
