"""Running samples in lines of slots: for every model and device that torch runs.

Does not know requests' settings or how tokens are drawn. Legend: N rows, V vocabulary.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from modelserving.lm.sample_requests import SampleRequest
from modelserving.lm.seating import Row, Seating
from modelserving.lm.slot_attention import RowsStep, Standing, seats_of
from modelserving.lm.slots import KeyValueShape, PromptKeyValues, Slots, own_room

FIRST_TOKENS = 64  # room for own tokens at first: most samples end long before their most
KEPT_BYTES = 64 << 20  # of lines while nobody samples


class RunningRows(Protocol):
    """The keys and values of what runs, and the reading of one more token of each."""

    @property
    def bytes_used(self) -> int:
        """Memory of all keys and values."""
        ...

    def bytes_with(self, starting: Sequence[tuple[SampleRequest, int]]) -> int:
        """Memory once so many samples of each request run as well."""
        ...

    def start(self, rows: Sequence[Row], prompt: PromptKeyValues) -> None:
        """Seat samples of one prompt; room for their own tokens grows as they are drawn."""
        ...

    def leave(self, row: Row) -> None:
        """Forget a sample."""
        ...

    def read(self, rows: Sequence[Row]) -> Tensor:
        """Read the last token of every row, all of which run: logits (N, V) in the order given."""
        ...


ReadRows = Callable[[Tensor, RowsStep], Tensor]


class SlotRows:
    """Lines of slots and who sits where."""

    def __init__(
        self, read_rows: ReadRows, *, shape: KeyValueShape, per_head: int, row_step: int
    ) -> None:
        """`read_rows` takes token ids (N,), in multiples of `row_step`, and gives their logits."""
        self._read_rows = read_rows
        self._per_head = per_head
        self._row_step = row_step
        self._seating = Seating(seats=seats_of(per_head))
        self._slots = Slots(shape=shape, seats=self._seating.seats)

    @property
    def bytes_used(self) -> int:
        """Memory held by all lines."""
        return self._slots.bytes_used

    def bytes_with(self, starting: Sequence[tuple[SampleRequest, int]]) -> int:
        """Memory once so many samples of each request run as well, with room for their first tokens."""
        seats = self._seating.seats
        lines = len(self._seating.lines) + sum(-(-samples // seats) for _, samples in starting)
        tokens = [len(each.prompt) + self._first_room(each) for each, count in starting if count]
        return self._slots.bytes_with(lines=lines, tokens=max(tokens, default=0))

    def start(self, rows: Sequence[Row], prompt: PromptKeyValues) -> None:
        """Seat samples of one prompt, two to a line where they can share it."""
        fresh = [row.line for row in rows if self._seating.take(row)]
        own = self._first_room(rows[0].request)
        self._slots.make_room(lines=len(self._seating.lines), tokens=prompt.filled + own)
        for line in fresh:
            self._slots.start(line=line, prompt=prompt)

    def _first_room(self, request: SampleRequest) -> int:
        return own_room(min(request.max_tokens, FIRST_TOKENS), seats=self._seating.seats)

    def leave(self, row: Row) -> None:
        """Free a seat; lines in use stay next to each other, and large ones go with the last sample."""
        moved = self._seating.leave(row)
        if not self._seating.lines and self._slots.bytes_used > KEPT_BYTES:
            self._slots = Slots(shape=self._slots.shape, seats=self._seating.seats)
        if moved is not None:
            tokens = self._seating.end(row.line)
            self._slots.move(source=moved, target=row.line, tokens=tokens)

    def read(self, rows: Sequence[Row]) -> Tensor:
        """Read the last token of every row, all of which run: logits (N, V) in the order given."""
        idle = -len(rows) % self._row_step  # computed and thrown away
        beyond = len(self._seating.lines)
        standing = Standing(
            lines=[*(row.line for row in rows), *range(beyond, beyond + idle)],
            seats=[row.seat for row in rows] + [0] * idle,
            prompts=[len(row.request.prompt) for row in rows] + [1] * idle,
            stored=[row.stored for row in rows] + [0] * idle,
        )
        step = RowsStep(standing, slots=self._slots, per_head=self._per_head)
        token_ids = [row.last for row in rows] + [0] * idle
        device = self._slots.shape.device
        return self._read_rows(torch.tensor(token_ids, device=device), step)[: len(rows)]
