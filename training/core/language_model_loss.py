"""Next-token loss of a causal language model, and the same on held-out text.

It does not know optimizers, runs or files.

B batch of blocks, T tokens of a block, H hidden size, V vocabulary.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from training.core.corpus import MixtureReader, Source


def next_token_loss(model: PreTrainedModel, *, ids_BT: Tensor, is_target_BT: Tensor) -> Tensor:
    """Summed cross-entropy of each target token given the tokens before it, () float32.

    is_target_BT is True where the token is to be predicted; a block's first token never is.
    """
    B, T = ids_BT.shape
    assert is_target_BT.shape == (B, T), f"{tuple(is_target_BT.shape)} vs {(B, T)}"
    hidden = model.get_decoder()(input_ids=ids_BT, use_cache=False).last_hidden_state  # (B, T, H)
    logits = model.get_output_embeddings()(hidden[:, :-1]).flatten(0, 1)  # (B*(T-1), V)
    losses = F.cross_entropy(logits.float(), ids_BT[:, 1:].flatten(), reduction="none")
    return (losses * is_target_BT[:, 1:].flatten().float()).sum()


@torch.no_grad()
def held_out_losses(
    model: PreTrainedModel,
    sources: Mapping[str, Source],
    *,
    block_tokens: int,
    max_blocks: int,
    device: torch.device,
) -> dict[str, float]:
    """Mean loss per token of each source, on the same blocks every time."""
    losses: dict[str, float] = {}
    for name, source in sources.items():
        reader = MixtureReader({name: source}, block_tokens=block_tokens, seed=0)
        blocks = min(max_blocks, max(1, len(source.tokens) // block_tokens))
        total = 0.0
        for draw in range(blocks):
            ids, _ = reader.batch(draw, blocks=1, weights={})
            ids_BT = torch.from_numpy(ids).long().to(device)
            is_target_BT = torch.ones_like(ids_BT, dtype=torch.bool)
            total += float(next_token_loss(model, ids_BT=ids_BT, is_target_BT=is_target_BT))
        losses[f"held_out/{name}"] = total / (blocks * (block_tokens - 1))
    return losses
