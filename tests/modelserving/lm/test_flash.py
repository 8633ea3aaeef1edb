"""What stands around the flash kernels, with plain ones in their place: order, keys of runs, turns, summed gradients."""

import pytest
import torch

from modelserving.lm import flash
from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.packed_llama import leave_to_transformers
from tests.modelserving.lm.test_packed_llama import LONG_TREES, tiny
from tests.modelserving.lm.test_tree_runs import random_groups


class PlainKernels:
    """A causal kernel for runs of any length, as PyTorch's are called."""

    def _attended(self, query, key, value, starts, key_starts, *, scale, left):
        parts = []
        for run in range(len(starts) - 1):
            q = query[starts[run] : starts[run + 1]].transpose(0, 1)
            k, v = (
                each[key_starts[run] : key_starts[run + 1]].transpose(0, 1) for each in (key, value)
            )
            k, v = (each.repeat_interleave(len(q) // len(k), dim=0) for each in (k, v))
            behind = k.shape[1] - q.shape[1]
            at = torch.arange(q.shape[1])[:, None] + behind
            seen = torch.arange(k.shape[1]) <= at
            if left is not None:
                seen &= torch.arange(k.shape[1]) >= at - left
            scores = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, float("-inf"))
            parts.append((scores.softmax(-1) @ v).transpose(0, 1))
        return torch.cat(parts)

    def _flash_attention_forward(
        self, query, key, value, starts, key_starts, longest, longest_key, dropout, causal, debug, *,
        scale, window_size_left,
    ):  # fmt: skip
        assert (dropout, causal, debug) == (0.0, True, False)
        assert longest == max(2, int(starts.diff().max()))
        assert longest_key == int(key_starts.diff().max())
        found = self._attended(
            query, key, value, starts, key_starts, scale=scale, left=window_size_left
        )
        nothing = torch.zeros(0)
        return found, nothing, nothing, nothing, nothing

    def _flash_attention_backward(
        self, upstream, query, key, value, _results, _sums, starts, key_starts, *_, scale,
        window_size_left,
    ):  # fmt: skip
        heads = [each.detach().requires_grad_() for each in (query, key, value)]
        with torch.enable_grad():
            found = self._attended(*heads, starts, key_starts, scale=scale, left=window_size_left)
        return torch.autograd.grad(found, heads, upstream)


@pytest.fixture
def with_plain_kernels(monkeypatch):
    def switch():
        monkeypatch.setattr(flash, "suits", lambda _: True)
        monkeypatch.setattr(flash, "KERNELS", PlainKernels())

    return switch


@pytest.mark.parametrize(
    ("architecture", "overrides"), [("llama", {}), ("mistral", {"sliding_window": 5})]
)
@pytest.mark.parametrize("groups", [LONG_TREES, random_groups(5)], ids=["long", "deep"])
@pytest.mark.parametrize("asks", ["all", "ends", "some"])
@pytest.mark.parametrize("blocks", ["ours", "transformers"])
def test_hidden_states_and_gradients_are_those_of_the_cpu(
    with_plain_kernels, architecture: str, overrides: dict, groups: list, asks: str, blocks: str
):
    model = tiny(architecture, **overrides)
    row = pack(groups)
    some = torch.cat([row.ends, row.ends[:1], row.ends // 2])
    asked = {"all": None, "ends": row.ends, "some": some}[asks]
    weights = torch.rand(len(row.tokens) if asked is None else len(asked), 16)
    results = []
    for kernels in ("cpu", "flash"):
        if kernels == "flash":
            with_plain_kernels()
            if blocks == "transformers":
                leave_to_transformers(model.base_model)
        model.zero_grad()
        hidden = hidden_states(model, row, asked=asked)
        (hidden * weights).sum().backward()
        gradients = {name: each.grad for name, each in model.base_model.named_parameters()}
        results.append((hidden.detach(), gradients))

    (expected, of_expected), (found, of_found) = results
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    for name, each in of_expected.items():
        torch.testing.assert_close(of_found[name], each, rtol=1e-3, atol=1e-4)
