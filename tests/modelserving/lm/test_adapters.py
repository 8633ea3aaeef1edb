"""Adapters beside a base that is loaded already, in every type that it may compute in."""

from pathlib import Path

import pytest
import torch

from modelserving.core.adapters import adapter_config
from modelserving.core.artifacts import verify
from modelserving.lm.adapters import load_adapter
from modelserving.lm.llama_reading import LlamaReader
from modelserving.lm.loading import load_language_model
from modelserving.lm.slot_attention import Piece
from modelserving.lm.slots import PromptKeyValues
from tests.modelserving.adapters import write_adapter
from tests.tiny_checkpoints import make_tiny_language_model


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 0.1)], ids=str
)
def test_an_adapter_computes_in_the_type_of_its_base(
    tmp_path: Path, dtype: torch.dtype, tolerance: float
):
    base = tmp_path / "base"
    make_tiny_language_model(base)
    merged = write_adapter(tmp_path / "adapter", base=base, parent="0" * 64, seed=3)
    loaded = load_language_model(base, dtype=dtype, device=torch.device("cpu"))
    config = adapter_config(tmp_path / "adapter", manifest=verify(tmp_path / "adapter"))
    adapter = load_adapter(tmp_path / "adapter", config=config, base=loaded.model)
    reader = LlamaReader(loaded.model).adapted(adapter)
    prompt = tuple(range(3, 40))
    store = PromptKeyValues(shape=reader.shape, tokens=len(prompt))

    with torch.inference_mode():
        (logits,) = reader.read_pieces([Piece(token_ids=prompt, prompt=store)], all_logits=True)
        whole = merged(torch.tensor([prompt])).logits[0]

    assert logits.dtype == dtype
    assert (logits.float() - whole).norm() / whole.norm() < tolerance
