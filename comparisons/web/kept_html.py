"""HTML that was made once and is asked for again: the newest few million characters of it, in memory alone.

Finds a text by its hash, so that no second copy of it is held; knows nothing of how it became HTML.
"""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock


class Kept:
    """What was asked for last, up to so many characters."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._found: OrderedDict[bytes, str] = OrderedDict()
        self._lock = Lock()  # pages are made in several threads

    def get(self, text: str, top_heading: int) -> str | None:
        """The HTML of this text, or None where it is to be made."""
        key = _key(text, top_heading)
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, text: str, top_heading: int, *, html: str) -> None:
        """Keep it, and let go of what was not asked for longest."""
        key = _key(text, top_heading)
        with self._lock:
            self._size += len(html) - len(self._found.pop(key, ""))
            self._found[key] = html
            while self._size > self._most:
                self._size -= len(self._found.popitem(last=False)[1])


def _key(text: str, top_heading: int) -> bytes:
    return sha256(f"{top_heading}:{text}".encode(errors="surrogatepass")).digest()
