"""Attention of pieces of prompts by the compiled code: what was read of a prompt and its piece are one tree.

The bits of a token are decided by its prompt alone, in however many pieces that is read and whatever is read beside it.
Does not know requests or sampling.
Legend: T tokens of all pieces, P pieces, S tokens of their prompts so far, H query heads, G key heads, D width.
"""

import ctypes
from collections.abc import Iterator, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from modelserving.lm.heads import TokenHeads
from modelserving.lm.native import attention as compiled
from modelserving.lm.native.attention import LaidTrees
from modelserving.lm.slot_attention import AttentionCall, Piece, PiecesStep


class CompiledPieces:
    """The attention of one step, all layers."""

    def __init__(self, step: PiecesStep, library: ctypes.CDLL) -> None:
        """`step` has laid the pieces out."""
        self._pieces: Sequence[Piece] = step.pieces
        self._library = library
        self._tokens, self._ends = len(step.token_ids), step.ends
        self._lengths = [each.prompt.filled + len(each.token_ids) for each in step.pieces]
        self._laid: dict[int | None, LaidTrees] = {}

    def attend(self, heads: TokenHeads, layer: int, call: AttentionCall) -> Tensor:
        """Attention (T, H, D) of the pieces, whose keys and values are kept; zeros behind the last piece."""
        keys, values = (torch.cat(each) for each in zip(*self._stored(heads, layer), strict=True))
        angles = heads.angles
        return compiled.forward(
            self._library,
            (heads.query.contiguous(), keys, values),
            trees=self._trees(call.window),
            tables=(angles.cos, angles.sin, None, None),
            scale=call.scaling,
        )

    def _stored(self, heads: TokenHeads, layer: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Keys and values so far of each prompt, its piece among them: (tokens, G, D) twice."""
        key, value, start = heads.turned_key, heads.value, 0
        for piece, end in zip(self._pieces, self._ends, strict=True):
            fresh_keys, fresh_values = (each[start:end].transpose(0, 1) for each in (key, value))
            keys, values = piece.prompt.append(layer=layer, keys=fresh_keys, values=fresh_values)
            yield keys.transpose(0, 1), values.transpose(0, 1)
            start = end

    def _trees(self, window: int | None) -> LaidTrees:
        if window not in self._laid:
            starts = torch.tensor([0, *accumulate(self._lengths)])  # (P + 1,)
            ends, lengths = torch.tensor(self._ends), torch.tensor(self._lengths)
            fresh = torch.arange(self._tokens)
            asked = torch.zeros(self._tokens, dtype=torch.long)
            behind = (starts[1:] - ends).repeat_interleave(ends.diff(prepend=torch.tensor([0])))
            asked[: self._ends[-1]] = fresh[: self._ends[-1]] + behind
            self._laid[window] = LaidTrees(
                starts=starts,
                subtree_ends=starts[1:].repeat_interleave(lengths),  # (S,)
                positions=torch.arange(int(starts[-1])) - starts[:-1].repeat_interleave(lengths),
                window=window,
                queries=fresh,
                query_starts=torch.tensor([0, *self._ends]),
                asked=asked,
            )
        return self._laid[window]
