"""Token ids in, text out as it becomes certain: no half code point, nothing past a stop string.

Does not know where the tokens come from or where the text goes.
"""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

UNFINISHED = "\ufffd"  # what tokenizers decode an incomplete UTF-8 sequence to


class TextStream:
    """The text of one sample, handed out piece by piece; the pieces joined are the whole text."""

    def __init__(
        self,
        *,
        decode: Decode,
        stop: tuple[str, ...] = (),
        before: Sequence[int] = (),
        opening: str = "",
    ) -> None:
        """`decode` turns token ids into text; `stop` ends the text before its first occurrence.

        `before` are the last ids of a text that this one continues: some tokenizers leave out a text's first space.
        `opening`, one character, is left out once where the text begins with it.
        """
        self._decode = decode
        self._stop = stop
        # ids already turned into text, kept so that spacing is right
        self._context = list(before)
        if before and decode(self._context).endswith(UNFINISHED):
            self._context = []  # the text before ends within a character
        self._opening = opening  # empty once the text has begun
        self._fresh: list[int] = []  # ids whose text is not certain yet
        self._held = ""  # certain text that may be the start of a stop string
        self.stopped = False

    def push(self, token_id: int) -> str:
        """Take one token; return the text that can be shown now."""
        self._fresh.append(token_id)
        before = self._decode(self._context) if self._context else ""
        after = self._decode(self._context + self._fresh)
        if len(after) <= len(before) or after.endswith(UNFINISHED):
            return ""
        self._context, self._fresh = self._fresh, []
        return self._release(after[len(before) :])

    def close(self) -> str:
        """The rest of the text once no token follows; bytes that never became text read as U+FFFD."""
        if self.stopped:
            return ""
        before = self._decode(self._context) if self._context else ""
        rest = self._decode(self._context + self._fresh)[len(before) :] if self._fresh else ""
        self._fresh = []
        shown = self._release(rest)
        if not self.stopped:
            shown, self._held = shown + self._held, ""
        return shown

    def _release(self, text: str) -> str:
        """Cut at a stop string; hold back an ending that may become one."""
        if text:
            text, self._opening = text.removeprefix(self._opening), ""
        text = self._held + text
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest ending of `text` that is a proper beginning of `stop`."""
    for size in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
