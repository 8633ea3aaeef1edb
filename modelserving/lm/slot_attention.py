"""Attention over keys and values kept by us: pieces of prompts, and one new token per running sample.

Registered in transformers' AttentionInterface, so that no architecture is named here. Does not know
requests or sampling. Legend: N rows, L lines of M seats, T tokens of all pieces, S tokens of room,
H query heads, G key/value heads, D head width.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface

from modelserving.lm.slots import OWN_BLOCK, PromptKeyValues, Slots

SLOTS = "slots"
LEAST_ROWS = 12  # products of fewer rows sum in another order


def padded_rows(count: int) -> int:
    """Rows of a product of matrices, padded so that the bits of each depend on it alone.

    True of any multiple of 4 from 12 on (measured with MKL).
    """
    return max(LEAST_ROWS, -(-count // 4) * 4)


def padded_queries(count: int) -> int:
    """Query rows that share a key head, padded so that the bits of a row do not depend on others.

    Batched products with 1, 2 or a multiple of 4 rows sum in an order that the size of the batch
    does not change; others do not (measured with MKL).
    """
    return count if count <= 2 else -(-count // 4) * 4


def seats_of(per_head: int) -> int:
    """Samples that may share a line: with more than 2 query rows, bits would depend on the seat."""
    return 2 if per_head == 1 else 1


def room_step(queries: int) -> int:
    """Lines are read up to a multiple of so many tokens: masked tokens beyond it change no bit.

    With more than 2 query rows the library cuts the sum over the tokens in blocks that depend on
    their number, but not beyond whole multiples of 512 (measured with MKL).
    """
    return 64 if queries <= 2 else 512


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The next tokens of a prompt and the store that holds what came before them."""

    token_ids: tuple[int, ...]
    prompt: PromptKeyValues


class PiecesStep:
    """Attention of pieces of prompts: each over its own prompt before it, causally over itself.

    The tokens of all pieces stand in one row, padded to a number at which products of matrices
    give each token the same bits whatever the others are.
    """

    def __init__(self, pieces: Sequence[Piece], *, device: torch.device) -> None:
        """Lay the pieces out one after another."""
        ids = [token for piece in pieces for token in piece.token_ids]
        at = [
            piece.prompt.filled + offset
            for piece in pieces
            for offset in range(len(piece.token_ids))
        ]
        self.pieces = pieces
        padding = padded_rows(len(ids)) - len(ids)
        self.token_ids = torch.tensor(ids + [0] * padding, device=device)  # (T,)
        self.positions = torch.tensor(at + [0] * padding, device=device)  # (T,)
        self.ends = list(itertools.accumulate(len(piece.token_ids) for piece in pieces))
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    @property
    def last_tokens(self) -> Tensor:
        """Where each piece ends, padded with repetitions: (P,)."""
        found = [end - 1 for end in self.ends]
        found += [found[-1]] * (padded_rows(len(found)) - len(found))
        return torch.tensor(found, device=self.token_ids.device)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, call: "AttentionCall"
    ) -> Tensor:
        """query (1, H, T, D), key and value (1, G, T, D) → (1, H, T, D)."""
        out = torch.empty_like(query)
        out[:, :, self.ends[-1] :] = 0.0
        start = 0
        for number, (piece, end) in enumerate(zip(self.pieces, self.ends, strict=True)):
            span = slice(start, end)
            fresh = (key[0, :, span], value[0, :, span])
            keys, values = piece.prompt.append(layer=layer, keys=fresh[0], values=fresh[1])
            visible = self._visible(number, tokens=keys.shape[1], call=call)
            out[:, :, span] = attention(
                query[:, :, span], keys[None], values[None], visible=visible, call=call
            )
            start = end
        return out

    def finish(self, logits: Tensor, *, all_logits: bool) -> list[Tensor]:
        """All layers have stored their part; the logits of each piece, of all or its last token."""
        for piece in self.pieces:
            piece.prompt.filled += len(piece.token_ids)
        if not all_logits:
            return list(logits[: len(self.ends)].split(1))
        starts = [0, *self.ends[:-1]]
        return [logits[start:end] for start, end in zip(starts, self.ends, strict=True)]

    def _visible(self, number: int, *, tokens: int, call: "AttentionCall") -> Tensor:
        known = self._masks.get((number, call.window))
        if known is None:
            device = self.token_ids.device
            fresh = len(self.pieces[number].token_ids)
            at = torch.arange(tokens - fresh, tokens, device=device)[:, None]
            known = call.visible(at=at, keys=torch.arange(tokens, device=device)[None, :])
            self._masks[(number, call.window)] = known
        return known


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the running samples stand: one number per row."""

    lines: list[int]
    seats: list[int]
    prompts: list[int]  # tokens of the prompt
    stored: list[int]  # own tokens before the new one


class RowsStep:
    """Attention of one new token per row: over the prompt in its line and its own tokens behind."""

    def __init__(self, standing: Standing, *, slots: Slots, per_head: int) -> None:
        """Look up the places of all rows, and make room for them."""
        self._slots = slots
        device, G, M = slots.shape.device, slots.shape.heads, slots.seats
        self._lines, seats, self._prompts, self._stored = (
            torch.tensor(numbers, device=device)
            for numbers in (standing.lines, standing.seats, standing.prompts, standing.stored)
        )  # (N,) each
        self._seats = seats
        blocks = self._stored // OWN_BLOCK * (M - 1) + seats
        places = self._prompts + self._stored + blocks * OWN_BLOCK  # of the new tokens (N,)
        step = room_step(M * per_head)
        self._longest = -(-(int(places.max()) + 1) // step) * step
        self._count = max(standing.lines) + 1
        slots.make_room(lines=self._count, tokens=self._longest)
        heads = torch.arange(G, device=device)
        keys = self._lines[:, None] * G + heads  # (N, G)
        self._places = (keys * slots.room + places[:, None]).flatten()
        self._back = (keys * M + seats[:, None]).flatten()
        sitting = torch.zeros(self._count, M, dtype=torch.long, device=device)
        sitting[self._lines, seats] = torch.arange(len(standing.lines), device=device)
        self._sitting = (sitting[:, None, :] * G + heads[None, :, None]).flatten()  # (L·G·M,)
        self._biases: dict[int | None, Tensor] = {}

    @property
    def positions(self) -> Tensor:
        """Positions of the new tokens: (N,)."""
        return self._prompts + self._stored

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, call: "AttentionCall"
    ) -> Tensor:
        """query (N, H, 1, D), key and value (N, G, 1, D) → (N, H, 1, D)."""
        N, H, _, D = query.shape
        keys, values = self._slots.layer(layer)
        G, M, L = keys.shape[1], self._slots.seats, self._count
        keys.view(-1, D).index_copy_(0, self._places, key.reshape(N * G, D))
        values.view(-1, D).index_copy_(0, self._places, value.reshape(N * G, D))
        keys = keys[:L].flatten(0, 1)[:, : self._longest]  # (L·G, S, D)
        values = values[:L].flatten(0, 1)[:, : self._longest]
        per_head = H // G
        grouped = query.reshape(N * G, per_head * D).index_select(0, self._sitting)
        grouped = grouped.view(L * G, M * per_head, D)  # query heads of one key head, as rows
        if padded_queries(M * per_head) != M * per_head:
            grouped = F.pad(grouped, (0, 0, 0, padded_queries(M * per_head) - M * per_head))
        scores = self._scores(grouped, keys, per_head=per_head, call=call)
        weights = scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype)
        out = torch.bmm(weights, values)[:, : M * per_head]  # (L·G, M·H/G, D)
        out = out.reshape(L * G * M, per_head * D).index_select(0, self._back)
        return out.view(N, H, 1, D)

    def _scores(
        self, query: Tensor, keys: Tensor, *, per_head: int, call: "AttentionCall"
    ) -> Tensor:
        bias = self._bias(query.shape[1], per_head=per_head, call=call)
        if call.softcap is None:
            return torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=call.scaling)
        raw = torch.bmm(query, keys.transpose(1, 2)) * (call.scaling / call.softcap)
        return raw.tanh() * call.softcap + bias

    def _bias(self, rows: int, *, per_head: int, call: "AttentionCall") -> Tensor:
        """0 where a query row may look, -inf elsewhere: (L·G, rows, S), made once per step."""
        known = self._biases.get(call.window)
        if known is None:
            seen = self._visible(call)  # (L, M, S)
            shape = self._slots.shape
            zeros = torch.zeros(seen.shape, dtype=shape.dtype, device=shape.device)
            bias = zeros.masked_fill(~seen, float("-inf")).repeat_interleave(per_head, dim=1)
            if rows > bias.shape[1]:  # padding sees what the first row sees
                bias = torch.cat((bias, bias[:, :1].expand(-1, rows - bias.shape[1], -1)), dim=1)
            known = bias[:, None].expand(-1, shape.heads, -1, -1).flatten(0, 1)
            self._biases[call.window] = known
        return known

    def _visible(self, call: "AttentionCall") -> Tensor:
        """True where a seat may look: its prompt, and its own tokens up to the new one: (L, M, S)."""
        L, M, device = self._count, self._slots.seats, self._lines.device
        prompts = torch.ones(L, dtype=torch.long, device=device)
        prompts[self._lines] = self._prompts
        stored = torch.full((L, M), -1, device=device)
        stored[self._lines, self._seats] = self._stored
        keys = torch.arange(self._longest, device=device)
        behind = keys - prompts[:, None]  # (L, S)
        blocks = behind // OWN_BLOCK
        token = behind - (blocks - blocks // M) * OWN_BLOCK  # number among the own tokens
        of_seat = blocks % M == torch.arange(M, device=device)[:, None, None]  # (M, L, S)
        is_prompt = behind < 0
        position = torch.where(is_prompt, keys, token + prompts[:, None])  # (L, S)
        at = (prompts[:, None] + stored)[:, :, None]  # (L, M, 1)
        mine = is_prompt[:, None] | of_seat.transpose(0, 1)
        return mine & call.visible(at=at, keys=position[:, None])


@dataclass(frozen=True, kw_only=True)
class AttentionCall:
    """What a layer asks of its attention beyond the tensors."""

    scaling: float
    window: int | None
    softcap: float | None

    def visible(self, *, at: Tensor, keys: Tensor) -> Tensor:
        """True where the token at position `at` may look at position `keys`."""
        seen = keys <= at
        return seen if self.window is None else seen & (keys > at - self.window)


def attention(
    query: Tensor, keys: Tensor, values: Tensor, *, visible: Tensor, call: AttentionCall
) -> Tensor:
    """Softmax attention: query (N, H, C, D), keys and values (N, G, S, D) → (N, H, C, D)."""
    grouped = query.shape[1] != keys.shape[1]
    if call.softcap is None:
        return F.scaled_dot_product_attention(
            query, keys, values, attn_mask=visible, scale=call.scaling, enable_gqa=grouped
        )
    if grouped:
        repeats = query.shape[1] // keys.shape[1]
        keys, values = (
            keys.repeat_interleave(repeats, dim=1),
            values.repeat_interleave(repeats, dim=1),
        )
    scores = torch.tanh(query @ keys.transpose(2, 3) * (call.scaling / call.softcap)) * call.softcap
    weights = scores.masked_fill(~visible, float("-inf")).float().softmax(dim=-1)
    return weights.to(query.dtype) @ values


def slots_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    slot_step: PiecesStep | RowsStep,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """transformers' attention interface over our own store of keys and values."""
    assert attention_mask is None, "positions say what is visible"
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    call = AttentionCall(scaling=scaling, window=sliding_window, softcap=softcap)
    out = slot_step.attend(query, key, value, layer=module.layer_idx, call=call)
    return out.transpose(1, 2), None


AttentionInterface.register(SLOTS, slots_attention)
