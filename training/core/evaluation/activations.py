"""What each block of a model leaves at the last token of a prompt.

It does not know what the activations are for.

Legend: N prompts, L blocks asked for, E hidden, T tokens of a packed row.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.packed_llama import leave_to_transformers
from training.core.batching import balanced_rows
from training.core.distributed import Ranks
from training.core.sharding import blocks_of

ROW_TOKENS = 4096
HELD_BYTES = 4 * 2**30  # of activations at once; a single block may need more
ALONE = Ranks()


def rounds(model: nn.Module, *, prompts: int) -> list[list[int]]:
    """Indices of all blocks, in so many readings that the activations of one of them can be held."""
    count = len(blocks_of(model))
    width = model.get_input_embeddings().weight.shape[1]
    at_once = max(1, HELD_BYTES // (prompts * width * torch.float32.itemsize))
    every = list(range(count))
    return [every[start : start + at_once] for start in range(0, count, at_once)]


@torch.no_grad()
def last_token_activations(
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    blocks: Sequence[int],
    ranks: Ranks = ALONE,
) -> Tensor:
    """The residual stream behind each of some blocks at each prompt's last token: (N, L, E) float32.

    Each rank reads its rows of prompts. The last block's is taken before the final norm, as the others are.
    """
    leave_to_transformers(model.base_model)  # hand-written blocks give no activations between them
    width = model.get_input_embeddings().weight.shape[1]
    found = torch.zeros(len(prompts), len(blocks), width)
    rows = balanced_rows([len(each) for each in prompts], row_tokens=ROW_TOKENS)
    for row in rows[ranks.rank :: ranks.world]:
        packed = pack([[prompts[index]] for index in row])
        with _kept(model, blocks=blocks, at=packed.ends) as kept:
            hidden_states(model, packed)
        found[row] = torch.stack([kept[block] for block in blocks], dim=1)  # (row, L, E)
    return ranks.sum_tensor(found)


@contextmanager
def _kept(model: nn.Module, *, blocks: Sequence[int], at: Tensor) -> Iterator[dict[int, Tensor]]:
    """While open, what the blocks give for some tokens of a row is kept: block → (tokens, E) on the CPU."""
    kept: dict[int, Tensor] = {}

    def keep(index: int) -> Any:
        def hook(_block: nn.Module, _inputs: Any, output: Any) -> None:
            states = output[0] if isinstance(output, tuple) else output  # (1, T, E)
            kept[index] = states[0, at.to(states.device)].float().cpu()

        return hook

    every = blocks_of(model)
    hooks = [every[index].register_forward_hook(keep(index)) for index in blocks]
    try:
        yield kept
    finally:
        for each in hooks:
            each.remove()
