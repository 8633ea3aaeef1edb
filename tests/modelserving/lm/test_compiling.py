"""The compiled step: used where it can be had, never from a folder that others can write to."""

from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from modelserving.lm.llama_reading import reader_of
from modelserving.lm.native import compiling

LLAMA = LlamaConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
)
GPT2 = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=64)


def _reads_compiled(config: PretrainedConfig) -> bool:
    return reader_of(AutoModelForCausalLM.from_config(config).eval()).draw is not None


def test_the_compiled_step_is_used_where_it_can_be_had(step: str) -> None:
    assert _reads_compiled(LLAMA) == (step == "compiled")
    assert not _reads_compiled(GPT2)


def test_a_second_process_finds_what_the_first_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELAPP_VAR", str(tmp_path))
    compiling.library.cache_clear()
    if compiling.library() is None:
        pytest.skip("there is no compiler here")
    before = {each: each.stat().st_mtime_ns for each in (tmp_path / "native").glob("*")}

    compiling.library.cache_clear()
    compiling.library()

    after = {each: each.stat().st_mtime_ns for each in (tmp_path / "native").glob("*")}
    assert after == before
    assert len(after) == 1


def test_a_folder_that_others_can_write_to_holds_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "native"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("LABELAPP_VAR", str(tmp_path))
    compiling.library.cache_clear()

    assert compiling.library() is None
    assert list(folder.iterdir()) == []
    compiling.library.cache_clear()
