"""The passes of a block between its products: compiled code where there is a compiler, torch's operations elsewhere.

Each compiled one reads and writes its numbers once; products are others' (products.py). It does not know models or losses.

Legend: … leading dimensions, E hidden, I width of the MLP, N rows and V vocabulary of logits.
"""

import ctypes

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modelserving.lm.native.compiling import NUMBERS, REAL, WHOLE, library
from modelserving.lm.one_kernel import one_kernel

COMPILED = (torch.float32, torch.bfloat16)
PLAIN = (Tensor, nn.Parameter)
TOGETHER = 128  # tokens whose shares of a weight's gradient are summed together
LANES = 16  # whole lanes on every processor
# logits that are turned into probabilities together: rows that a CPU keeps in its cache, numbers on a GPU
CPU_ROWS, GPU_NUMBERS = 64, 1 << 28


def norm(x: Tensor, weight: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """w ∘ x · r and r = 1 / √(mean x² + ε) (Zhang & Sennrich 2019): (…, E) and (…, 1)."""
    compiled = compiled_for(x, weight)
    if compiled is None:
        return _norm(x, weight, epsilon)
    x = x.contiguous()
    found, scale = torch.empty_like(x), x.new_empty(*x.shape[:-1], 1, dtype=torch.float32)
    compiled.norm_forward(
        kind_of(x),
        numbers_at(x),
        numbers_at(weight),
        WHOLE(scale.numel()),
        WHOLE(x.shape[-1]),
        REAL(epsilon),
        numbers_at(found),
        numbers_at(scale, torch.float32),
        torch.get_num_threads(),
    )
    return found, scale


@one_kernel
def _norm(x: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=_wide(x))
    scale = scale.square().div(x.shape[-1]).add(epsilon).rsqrt()
    return _normal(x, scale) * weight, scale


def norm_backward(
    upstream: Tensor, *, x: Tensor, weight: Tensor, scale: Tensor, carried: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Gradients g of y = w ∘ n: dx = r · (w∘g − n · mean(w∘g∘n)) + carried, dw = Σ g∘n."""
    compiled = compiled_for(x, upstream, weight, carried)
    if compiled is None:
        return _norm_backward(upstream, x=x, weight=weight, scale=scale, carried=carried)
    x, upstream = x.contiguous(), upstream.contiguous()
    E, tokens = x.shape[-1], scale.numel()
    of_x = torch.empty_like(x)
    shares = scale.new_empty(-(-tokens // TOGETHER), -(-E // LANES) * LANES)
    carried = None if carried is None else carried.contiguous()
    compiled.norm_backward(
        kind_of(x),
        numbers_at(upstream),
        numbers_at(x),
        numbers_at(weight),
        numbers_at(scale, torch.float32),
        numbers_at(carried),
        WHOLE(tokens),
        WHOLE(E),
        numbers_at(of_x),
        numbers_at(shares),
        WHOLE(TOGETHER),
        WHOLE(shares.shape[1]),
        torch.get_num_threads(),
    )
    return of_x, shares.sum(0)[:E].to(weight.dtype)


@one_kernel
def _norm_backward(
    upstream: Tensor, *, x: Tensor, weight: Tensor, scale: Tensor, carried: Tensor | None
) -> tuple[Tensor, Tensor]:
    normal = _normal(x, scale)
    of_weight = upstream * normal
    along = (of_weight * weight).sum(-1, keepdim=True, dtype=scale.dtype) / x.shape[-1]
    of_x = torch.addcmul(upstream * weight, normal, along.to(x.dtype), value=-1)
    of_x = of_x * scale.to(x.dtype)
    of_x = of_x if carried is None else of_x + carried
    return of_x, of_weight.flatten(0, -2).sum(0)


def _normal(x: Tensor, scale: Tensor) -> Tensor:
    return (x.to(scale.dtype) * scale).to(x.dtype)


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) ∘ up, all (…, I)."""
    compiled = compiled_for(gate, up)
    if compiled is None:
        return _gated(gate, up)
    gate, up = gate.contiguous(), up.contiguous()
    inner = torch.empty_like(gate)
    compiled.gated_forward(
        kind_of(gate),
        numbers_at(gate),
        numbers_at(up),
        WHOLE(gate.numel()),
        numbers_at(inner),
        torch.get_num_threads(),
    )
    return inner


@one_kernel
def _gated(gate: Tensor, up: Tensor) -> Tensor:
    return F.silu(gate) * up


def gated_backward(upstream: Tensor, *, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of gate and up, and what `gated` gave, which need not be kept: all (…, I)."""
    compiled = compiled_for(gate, up, upstream)
    if compiled is None:
        return _gated_backward(upstream, gate, up)
    gate, up, upstream = gate.contiguous(), up.contiguous(), upstream.contiguous()
    of_gate, of_up, inner = (torch.empty_like(gate) for _ in range(3))
    compiled.gated_backward(
        kind_of(gate),
        numbers_at(upstream),
        numbers_at(gate),
        numbers_at(up),
        WHOLE(gate.numel()),
        numbers_at(of_gate),
        numbers_at(of_up),
        numbers_at(inner),
        torch.get_num_threads(),
    )
    return of_gate, of_up, inner


@one_kernel
def _gated_backward(upstream: Tensor, gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    opened = F.silu(gate)
    of_gate = torch.ops.aten.silu_backward(upstream * up, gate)
    return of_gate, upstream * opened, opened * up


def chosen(logits: Tensor, tokens: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    """log softmax(z / τ) at one token of each row (N,), and of each row max z and log Σ e^((z − max) / τ): (N, 2)."""
    compiled = compiled_for(logits)
    if compiled is None:
        parts = [
            _chosen(some, own, temperature=temperature)
            for some, own in zip(_rows(logits), _rows(tokens, like=logits), strict=True)
        ]
        logprobs, sums = (torch.cat(each) for each in zip(*parts, strict=True))
        return logprobs, sums
    logits = logits.contiguous()
    N, V = logits.shape
    if N and not 0 <= int(tokens.min()) <= int(tokens.max()) < V:
        raise IndexError(f"a token beyond the {V} of the vocabulary")
    logprobs, sums = (torch.empty(size, dtype=torch.float32) for size in ((N,), (N, 2)))
    compiled.chosen_forward(
        kind_of(logits),
        numbers_at(logits),
        numbers_at(tokens, torch.long),
        WHOLE(N),
        WHOLE(V),
        REAL(1 / temperature),
        numbers_at(logprobs),
        numbers_at(sums, torch.float32),
        torch.get_num_threads(),
    )
    return logprobs, sums


def _chosen(logits: Tensor, tokens: Tensor, *, temperature: float) -> tuple[Tensor, Tensor]:
    highest = logits.amax(-1, keepdim=True)
    exponents = _exponents(logits, highest, temperature=temperature)
    log_sums = exponents.logsumexp(-1, keepdim=True)
    logprobs = (exponents.gather(-1, tokens[:, None]) - log_sums)[:, 0]
    return logprobs, torch.cat([highest.to(log_sums.dtype), log_sums], dim=1)


def entropies(logits: Tensor, sums: Tensor, *, temperature: float) -> Tensor:
    """Of softmax(z / τ) of each row: (N,)."""
    compiled = compiled_for(logits)
    if compiled is None:
        parts = []
        for some, own in zip(_rows(logits), _rows(sums, like=logits), strict=True):
            logprobs = _exponents(some, own[:, :1], temperature=temperature) - own[:, 1:]
            parts.append(torch.special.entr(logprobs.exp()).sum(-1))
        return torch.cat(parts)
    logits = logits.contiguous()
    N, V = logits.shape
    found = torch.empty(N, dtype=torch.float32)
    compiled.entropies(
        kind_of(logits),
        numbers_at(logits),
        WHOLE(N),
        WHOLE(V),
        REAL(1 / temperature),
        numbers_at(sums, torch.float32),
        numbers_at(found),
        torch.get_num_threads(),
    )
    return found


def chosen_backward(
    upstream: Tensor, *, logits: Tensor, tokens: Tensor, sums: Tensor, temperature: float
) -> Tensor:
    """d z = (1[chosen] − softmax) · g / τ: (N, V)."""
    compiled = compiled_for(logits)
    of_logits = torch.empty_like(logits, memory_format=torch.contiguous_format)
    if compiled is None:
        start = 0
        for some in _rows(logits):
            rows = slice(start, start + len(some))
            start += len(some)
            given = upstream[rows, None] / temperature
            shares = _exponents(some, sums[rows, :1], temperature=temperature) - sums[rows, 1:]
            shares = shares.exp_().mul_(-given)
            of_logits[rows] = shares.scatter_add_(-1, tokens[rows, None], given)
        return of_logits
    logits, upstream = logits.contiguous(), upstream.float().contiguous()
    N, V = logits.shape
    compiled.chosen_backward(
        kind_of(logits),
        numbers_at(logits),
        numbers_at(tokens, torch.long),
        numbers_at(upstream),
        numbers_at(sums, torch.float32),
        WHOLE(N),
        WHOLE(V),
        REAL(1 / temperature),
        numbers_at(of_logits),
        torch.get_num_threads(),
    )
    return of_logits


def _exponents(logits: Tensor, highest: Tensor, *, temperature: float) -> Tensor:
    """(z − max) / τ in float32 at least."""
    return (logits.to(_wide(logits)) - highest.to(_wide(logits))) / temperature


def _rows(tensor: Tensor, *, like: Tensor | None = None) -> tuple[Tensor, ...]:
    """Some rows at a time, as many as of the logits."""
    logits = tensor if like is None else like
    if logits.device.type == "cpu":
        return tensor.split(CPU_ROWS)
    return tensor.split(max(1, GPU_NUMBERS // logits.shape[-1]))


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def compiled_for(x: Tensor, *others: Tensor | None) -> ctypes.CDLL | None:
    """The compiled passes for plain numbers of one type on the CPU, if there are any; torch's way knows all others."""
    if x.device.type != "cpu" or x.dtype not in COMPILED:
        return None
    every = [x, *(each for each in others if each is not None)]
    is_plain = all(type(each) in PLAIN and each.dtype == x.dtype for each in every)
    return library() if is_plain else None


def kind_of(x: Tensor) -> int:
    """Which of the two types the compiled code is to read."""
    return int(x.dtype == torch.bfloat16)


def numbers_at(numbers: Tensor | None, dtype: torch.dtype | None = None) -> ctypes.c_void_p:
    """Where they lie, together and of the type that the compiled code reads there."""
    if numbers is None:
        return NUMBERS(None)
    if not numbers.is_contiguous() or dtype not in (None, numbers.dtype):
        raise TypeError(
            f"a compiled pass cannot read {numbers.dtype} with strides {numbers.stride()}"
        )
    return NUMBERS(numbers.data_ptr())
