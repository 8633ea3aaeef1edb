"""Make a checkpoint of a model from outside: a directory, or a name on the Hugging Face hub.

Takes safetensors and JSON of listed architectures only; never unpickles and never runs their code.
"""

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelserving.core.adapters import BASE, adapter_config, is_adapter
from modelserving.core.adapters import CONFIG as ADAPTER_CONFIG
from modelserving.core.adapters import WEIGHTS as ADAPTER_WEIGHTS
from modelserving.core.architectures import (
    CAUSAL_ARCHITECTURES,
    SCORING_ARCHITECTURES,
    CheckpointRefused,
    chat_template_of,
    check_architecture,
    check_files,
    dialogue_format_of,
    read_json,
)
from modelserving.core.artifacts import MANIFEST, ArtefactError, utc_now, verify, write_manifest
from modelserving.core.dialogue import HH_TEXT, DialogueError, DialogueFormat
from modelserving.core.weights import WeightsRefused, tensors_of
from modelserving.models import Checkpoint
from modelserving.registry import CheckpointNotRegistered, checkpoints_root, register_checkpoint

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
TAKEN = (
    "*.safetensors", "model.safetensors.index.json", "config.json", "generation_config.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja",
    "dialogue.json", ADAPTER_CONFIG, "LICENSE*", "README.md",
)  # fmt: skip
FORMATS = ("chat_template", "hh_text", "tokens")


def import_checkpoint(
    source: str | Path,
    *,
    name: str | None = None,
    dialogue_format: str | None = None,
    base: Checkpoint | None = None,
) -> Checkpoint:
    """Fetch once, check, give it a manifest, and register it; `base` is what an adapter is added to."""
    root = checkpoints_root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix="import-", suffix=".partial") as scratch:
        target = Path(scratch) / "checkpoint"
        _fetch(source, target)
        try:
            if is_adapter(target):
                _prepare_adapter(target, source=str(source), base=base)
            elif base is not None:
                raise CheckpointNotRegistered(f"{source} has whole weights: leave out the base")
            else:
                _prepare(target, source=str(source), dialogue_format=dialogue_format)
        except (CheckpointRefused, WeightsRefused, DialogueError, ArtefactError) as refused:
            said = str(refused).replace(str(target), str(source))
            raise CheckpointNotRegistered(said) from refused
        label = name or Path(str(source)).name
        return register_checkpoint(target, name=label, origin=Checkpoint.Origin.IMPORTED)


def _fetch(source: str | Path, target: Path) -> None:
    directory = Path(source)
    if directory.is_dir():
        target.mkdir(mode=0o700)
        taken = {path for pattern in TAKEN for path in directory.glob(pattern) if path.is_file()}
        if (directory / MANIFEST).is_file():
            taken.add(directory / MANIFEST)
        for path in sorted(taken):
            _refuse_stray_link(path, directory=directory.resolve())
            shutil.copyfile(path, target / path.name)
        return
    if not HUB_NAME.fullmatch(str(source)):
        raise CheckpointNotRegistered(
            f"{source}: neither a directory nor a hub name like owner/model"
        )
    _download(str(source), target)


def _refuse_stray_link(path: Path, *, directory: Path) -> None:
    """A link may lead about the directory, or into the blobs of the hub's own cache around it."""
    real = path.resolve()
    if not real.is_relative_to(directory) and real.parent != directory.parent.parent / "blobs":
        raise CheckpointNotRegistered(
            f"{path} is a link out of its directory: put the file itself there"
        )


def _download(name: str, target: Path) -> None:
    from huggingface_hub import snapshot_download  # noqa: PLC0415 -- slow to import, used by one command
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415 -- as above

    try:
        snapshot_download(name, local_dir=target, allow_patterns=list(TAKEN))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as failed:
        said = str(failed).strip().splitlines() or [type(failed).__name__]
        raise CheckpointNotRegistered(
            f"{name} could not be fetched ({said[0]}): check the name and the network, or give a directory"
        ) from failed
    shutil.rmtree(target / ".cache", ignore_errors=True)


def _prepare_adapter(target: Path, *, source: str, base: Checkpoint | None) -> None:
    """Check an adapter in peft's layout, and bind it to its base; one of ours names it already."""
    if (target / MANIFEST).is_file():
        adapter_config(target, manifest=verify(target))
        return
    if base is None:
        raise CheckpointRefused(
            f"{source} is an adapter: name the checkpoint it belongs to (--base)"
        )
    stored = read_json(target / ADAPTER_CONFIG)
    if not isinstance(stored, dict):
        raise CheckpointRefused(f"{source}: {ADAPTER_CONFIG} holds no JSON object")
    bound = {**stored, BASE: base.hash}
    (target / ADAPTER_CONFIG).write_text(json.dumps(bound, indent=2) + "\n", "utf-8")
    for path in set(target.iterdir()) - {target / ADAPTER_CONFIG, target / ADAPTER_WEIGHTS}:
        path.unlink()  # a tokenizer or card of its own is read by nobody
    tensors_of(target / ADAPTER_WEIGHTS)
    manifest = write_manifest(
        target, kind="policy", parents=[base.hash], config={"source": source}, code="",
        created=utc_now(),
    )  # fmt: skip
    adapter_config(target, manifest=manifest)


def _prepare(target: Path, *, source: str, dialogue_format: str | None) -> None:
    """Check everything without loading it, and add dialogue.json and the manifest."""
    config = check_files(target)
    if (target / MANIFEST).is_file() and dialogue_format is None:
        verify(target)  # one of ours: its own manifest says what it is
        return
    architecture = check_architecture(config, allowed=CAUSAL_ARCHITECTURES | SCORING_ARCHITECTURES)
    if not (target / "tokenizer.json").is_file():
        raise CheckpointRefused(f"{source} has no tokenizer.json: save its fast tokenizer first")
    for path in sorted(target.glob("*.safetensors")):
        tensors_of(path)
    layout = _layout(target, wanted=dialogue_format)
    (target / "dialogue.json").write_text(json.dumps(layout.to_dict(), indent=2) + "\n", "utf-8")
    (target / MANIFEST).unlink(missing_ok=True)
    kind = _kind(architecture, config=config)
    about = {"source": source, "architecture": architecture}
    write_manifest(target, kind=kind, parents=[], config=about, code="", created=utc_now())


def _layout(target: Path, *, wanted: str | None) -> DialogueFormat:
    """The dialogue format: as stored, by its chat template or as HH text, or the one asked for."""
    if wanted is None:
        return dialogue_format_of(target)
    if wanted not in FORMATS:
        raise CheckpointRefused(f"dialogue format {wanted!r}: one of {', '.join(FORMATS)}")
    if wanted == "chat_template" and not chat_template_of(target):
        raise CheckpointRefused("the model has no chat template: choose hh_text")
    found = dialogue_format_of(target)
    if found.format == wanted:
        return found
    if wanted == "hh_text":
        return replace(
            found, format="hh_text", human=HH_TEXT.human, assistant=HH_TEXT.assistant,
            stop_strings=HH_TEXT.stop_strings,
        )  # fmt: skip
    if wanted == "chat_template":
        return DialogueFormat.from_dict({**found.to_dict(), "format": wanted, "stop_strings": []})
    raise CheckpointRefused("the tokens format needs a dialogue.json that names the role tokens")


def _kind(architecture: str, *, config: dict[str, Any]) -> str:
    if architecture in CAUSAL_ARCHITECTURES:
        return "language_model"
    labels = config.get("num_labels") or len(config.get("id2label") or {"0": "", "1": ""})
    if labels != 1:
        raise CheckpointRefused(
            f"{architecture} has {labels} labels: a preference model has one score"
        )
    return "preference_model"
