"""The fused norm is transformers' norm: values, gradients and names."""

import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.fused_norm import FusedRMSNorm, fuse_norms
from tests.modelserving.lm.test_attention import SEQUENCES, tiny_llama


def test_gradients_are_those_of_the_formula():
    torch.manual_seed(0)
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    norm = FusedRMSNorm(torch.nn.Parameter(torch.rand(5, dtype=torch.float64)), epsilon=1e-5)

    assert torch.autograd.gradcheck(lambda x, _weight: norm(x), (x, norm.weight))


def test_bfloat16_is_as_close_to_the_truth_as_transformers():
    torch.manual_seed(0)
    x, weight = torch.randn(64, 128), torch.rand(128)
    reference = LlamaRMSNorm(128)
    reference.weight.data.copy_(weight.bfloat16())
    half = LlamaRMSNorm(128).bfloat16()
    half.weight.data.copy_(weight)
    fused = FusedRMSNorm(half.weight, epsilon=half.variance_epsilon)

    truth = reference(x.bfloat16().float())

    def error(norm: torch.nn.Module) -> float:
        return float((norm(x.bfloat16()).float() - truth).detach().norm())

    assert error(fused) <= 1.05 * error(half)


def test_a_fused_model_keeps_its_names_values_and_gradients():
    row, direction = pack(SEQUENCES), torch.randn(16)
    plain, fused = tiny_llama(), fuse_norms(tiny_llama())
    found = []
    for model in (plain, fused):
        hidden = hidden_states(model, row)
        (hidden @ direction).square().sum().backward()
        found.append((hidden, {n: p.grad for n, p in model.model.named_parameters()}))

    assert set(plain.state_dict()) == set(fused.state_dict())
    assert any(isinstance(module, FusedRMSNorm) for module in fused.modules())
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-5, atol=1e-6)
    for name, gradient in found[0][1].items():
        assert (found[1][1][name] - gradient).norm() <= 1e-5 * gradient.norm(), name
