"""Load verified checkpoints: safetensors and JSON of listed architectures, nothing that could run code.

It does not know where checkpoints are registered or what they are used for.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from modelserving.core.adapters import adapter_config, base_beside, is_adapter
from modelserving.core.architectures import (
    CAUSAL_ARCHITECTURES,
    SCORING_ARCHITECTURES,
    CheckpointRefused,
    chat_template_of,
    check_architecture,
    check_files,
    dialogue_format_of,
    read_json,
    special_token,
)
from modelserving.core.artifacts import ArtefactError, Manifest, content_hash, verify
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.adapters import load_adapter
from modelserving.lm.own_memory import own
from modelserving.lm.positions import positions_of
from modelserving.lm.tokenizer import TextTokenizer, TokenizerFailure

transformers_logging.disable_progress_bar()

LANGUAGE_MODEL_KINDS = ("language_model", "policy")


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model with everything needed to read and write dialogues."""

    model: PreTrainedModel
    tokenizer: TextTokenizer
    dialogue_format: DialogueFormat
    config: PretrainedConfig
    hash: str  # the checkpoint's identity

    @property
    def positions(self) -> int | None:
        """The longest sequence the model reads; None where its config does not say."""
        return positions_of(self.config)


def load_language_model(
    directory: Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    base: Path | None = None,
) -> LoadedModel:
    """Load a language model or policy; refuses what is not verified or not listed.

    An adapter comes merged into its base, which stands beside it or is given as `base`.
    """
    if is_adapter(directory):
        return _load_merged(directory, base=base, dtype=dtype, device=device)
    return _load(
        directory,
        kinds=LANGUAGE_MODEL_KINDS,
        architectures=CAUSAL_ARCHITECTURES,
        auto_class=AutoModelForCausalLM,
        dtype=dtype,
        device=device,
    )


def load_preference_model(
    directory: Path, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> LoadedModel:
    """Load a preference model, whose head gives one score."""
    loaded = _load(
        directory,
        kinds=("preference_model",),
        architectures=SCORING_ARCHITECTURES,
        auto_class=AutoModelForSequenceClassification,
        dtype=dtype,
        device=device,
    )
    if loaded.config.num_labels != 1:
        raise CheckpointRefused(
            f"{directory} has {loaded.config.num_labels} labels: a preference model has one score"
        )
    return loaded


def config_of(directory: Path) -> PretrainedConfig:
    """The config of a checkpoint of a listed architecture, without code; its weights are not read."""
    listed = CAUSAL_ARCHITECTURES | SCORING_ARCHITECTURES
    check_architecture(check_files(directory), allowed=listed)
    config: PretrainedConfig = AutoConfig.from_pretrained(
        directory, local_files_only=True, trust_remote_code=False
    )
    return config


def load_tokenizer(directory: Path) -> TextTokenizer:
    """The tokenizer of a checkpoint; its chat template is rendered in a sandbox."""
    path = directory / "tokenizer.json"
    if not path.exists():
        raise CheckpointRefused(
            f"{directory} has no tokenizer.json: save its fast tokenizer (save_pretrained) first"
        )
    stored = read_json(directory / "tokenizer_config.json")
    specials = {
        name: token
        for name in ("bos_token", "eos_token", "pad_token")
        if (token := special_token(stored.get(name))) is not None
    }
    return TextTokenizer.from_file(path, template=chat_template_of(directory), specials=specials)


def _load_merged(
    directory: Path, *, base: Path | None, dtype: torch.dtype, device: torch.device | str
) -> LoadedModel:
    manifest = _verified(directory, kinds=LANGUAGE_MODEL_KINDS)
    config = adapter_config(directory, manifest=manifest)
    found = base or base_beside(directory, manifest=manifest)
    if is_adapter(found):
        raise CheckpointRefused(f"{directory} is an adapter of an adapter: merge {found} first")
    loaded = load_language_model(found, dtype=dtype, device=device)
    if loaded.hash != config.base:
        raise CheckpointRefused(
            f"{directory} is an adapter of checkpoint {config.base}, {found} is another"
        )
    load_adapter(directory, config=config, base=loaded.model).merge_into(loaded.model)
    return replace(loaded, hash=_hash_after(directory, manifest=manifest))


def _load(
    directory: Path,
    *,
    kinds: tuple[str, ...],
    architectures: frozenset[str],
    auto_class: Any,
    dtype: torch.dtype,
    device: torch.device | str,
) -> LoadedModel:
    manifest = _verified(directory, kinds=kinds)
    check_architecture(check_files(directory), allowed=architectures)
    tokenizer = load_tokenizer(directory)
    layout = dialogue_format_of(directory)
    try:
        tokenizer.token_id(layout.end_of_turn)
    except TokenizerFailure as unfit:
        raise CheckpointRefused(f"{directory}: {unfit}") from None
    model, report = auto_class.from_pretrained(
        directory,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    _check_weights(directory, report=report)
    model = model.to(device).eval()
    own(model)
    longest = min(layout.context_tokens, positions_of(model.config) or layout.context_tokens)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        dialogue_format=replace(layout, context_tokens=longest),
        config=model.config,
        hash=_hash_after(directory, manifest=manifest),
    )


def _verified(directory: Path, *, kinds: tuple[str, ...]) -> Manifest:
    try:
        manifest = verify(directory)
    except ArtefactError as damaged:
        raise CheckpointRefused(str(damaged)) from None
    if manifest.kind not in kinds:
        raise CheckpointRefused(
            f"{directory} is a {manifest.kind}, expected {' or '.join(kinds)}: choose another"
        )
    return manifest


def _hash_after(directory: Path, *, manifest: Manifest) -> str:
    """The hash of what was read, checked again: a file may have been put in another's place meanwhile."""
    found = content_hash(_verified(directory, kinds=(manifest.kind,)))
    if found != content_hash(manifest):
        raise CheckpointRefused(f"{directory} changed while it was read: load it again")
    return found


def _check_weights(directory: Path, *, report: dict[str, Any]) -> None:
    """A weight that the file lacks would silently be random: refuse it."""
    for name in ("missing_keys", "mismatched_keys", "error_msgs"):
        if report.get(name):
            some = sorted(map(str, report[name]))[:3]
            raise CheckpointRefused(
                f"{directory}: {name} {some}: the weights do not fit config.json; export them anew"
            )
