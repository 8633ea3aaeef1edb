"""Which running sample sits where: two samples of one prompt share a line of the store, the prompt once for both.

Attention reads the prompt's keys and values once per line, which is most of what a step reads. Does not
know tensors or models.
"""

from dataclasses import dataclass

from modelserving.lm.sample_requests import SampleRequest
from modelserving.lm.slots import own_place


@dataclass(kw_only=True, eq=False)
class Row:
    """One running sample."""

    request: SampleRequest
    sample: int
    drawn: int = 0
    last: int = -1  # the token drawn last, which is not in the store yet
    line: int = -1
    seat: int = -1

    @property
    def stored(self) -> int:
        """Own tokens in the store."""
        return self.drawn - 1


class Seating:
    """Lines of seats, without gaps between lines that are in use."""

    def __init__(self, *, seats: int) -> None:
        """`seats` per line."""
        self.seats = seats
        self.lines: list[list[Row | None]] = []
        self._prompts: list[tuple[int, ...]] = []

    def take(self, row: Row) -> bool:
        """Give a sample its seat. True where its line is new and wants the prompt."""
        prompt = row.request.prompt
        for line, own in enumerate(self._prompts):
            if None in self.lines[line] and own == prompt:
                row.line, row.seat = line, self.lines[line].index(None)
                self.lines[line][row.seat] = row
                return False
        row.line, row.seat = len(self.lines), 0
        self.lines.append([row, *[None] * (self.seats - 1)])
        self._prompts.append(prompt)
        return True

    def leave(self, row: Row) -> int | None:
        """Free a seat; the line, if any, that is to be copied to where the sample sat and dropped."""
        self.lines[row.line][row.seat] = None
        if any(self.lines[row.line]):
            return None
        last, prompt = self.lines.pop(), self._prompts.pop()
        if row.line == len(self.lines):
            return None
        self.lines[row.line], self._prompts[row.line] = last, prompt
        for each in last:
            if each is not None:
                each.line = row.line
        return len(self.lines)

    def end(self, line: int) -> int:
        """Tokens of a line's store that are in use."""
        return max(
            own_place(seat, prompt=len(row.request.prompt), token=row.stored, seats=self.seats)
            for seat, row in enumerate(self.lines[line])
            if row is not None
        )
