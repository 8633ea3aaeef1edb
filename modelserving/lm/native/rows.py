"""Running samples for the compiled step: each prompt held once for all its samples, own tokens apart.

Does not know requests' settings or how tokens are drawn. Legend: N rows, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from modelserving.lm.native.body import NativeBody
from modelserving.lm.sample_requests import SampleRequest
from modelserving.lm.seating import Row
from modelserving.lm.slots import PromptKeyValues


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seat:
    """A running sample and where its keys and values are."""

    row: Row
    prompt: PromptKeyValues
    own: Tensor  # (2, L, G, tokens, D)


class NativeRows:
    """What runs, rows of one prompt next to each other."""

    def __init__(self, body: NativeBody) -> None:
        """Nothing runs yet."""
        self._body = body
        self._seats: list[_Seat] = []

    @property
    def bytes_used(self) -> int:
        """Memory of all keys and values; a prompt counts once."""
        prompts = {id(seat.prompt): seat.prompt.values.nbytes for seat in self._seats}
        return sum(prompts.values()) + sum(seat.own.nbytes for seat in self._seats)

    def bytes_with(self, starting: Sequence[tuple[SampleRequest, int]]) -> int:
        """Memory once so many samples of each request run as well, each with all the room it may need."""
        tokens = sum(
            len(request.prompt) + samples * request.max_tokens
            for request, samples in starting
            if samples
        )
        return self.bytes_used + tokens * self._body.shape.bytes_per_token

    def start(self, rows: Sequence[Row], prompt: PromptKeyValues) -> None:
        """Make room for samples of one prompt, next to others of it that run already."""
        tokens = rows[0].request.prompt
        twins = [at for at, each in enumerate(self._seats) if each.row.request.prompt == tokens]
        place = twins[-1] + 1 if twins else len(self._seats)
        held = self._seats[twins[0]].prompt if twins else prompt.widened()
        shape = self._body.shape
        self._seats[place:place] = [
            _Seat(
                row=row, prompt=held,
                own=shape.empty(2, shape.layers, tokens=row.request.max_tokens),
            )
            for row in rows
        ]  # fmt: skip

    def leave(self, row: Row) -> None:
        """Forget a sample."""
        self._seats = [seat for seat in self._seats if seat.row is not row]

    def read(self, rows: Sequence[Row]) -> Tensor:
        """Read the last token of every row, all of which run: logits (N, V) in the order given."""
        place = {id(row): number for number, row in enumerate(rows)}
        table = [
            (
                seat.prompt.values.data_ptr(), seat.own.data_ptr(), seat.prompt.values.shape[3],
                seat.prompt.filled, seat.own.shape[3], seat.row.stored, seat.row.last,
                place[id(seat.row)],
            )
            for seat in self._seats
        ]  # fmt: skip
        positions = [seat.prompt.filled + seat.row.stored for seat in self._seats]
        numbers = torch.from_numpy(
            np.array(table, dtype=np.int64)
        )  # a fourth of torch.tensor's time
        return self._body.read_rows(numbers, torch.tensor(positions))
