"""One loaded checkpoint with its running batch and its waiting line; and the way from a directory to one.

Does not know HTTP. Only directories below the given roots, verified against their manifest, are ever read.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from modelserving.core.adapters import HASH, adapter_config, is_adapter
from modelserving.core.artifacts import (
    ArtefactError,
    Manifest,
    content_hash,
    read_manifest,
    verify,
)
from modelserving.core.weights import WeightsRefused, count_parameters
from modelserving.lm.adapters import load_adapter
from modelserving.lm.llama_reading import LlamaReader, bytes_beside, reader_of
from modelserving.lm.loading import (
    LANGUAGE_MODEL_KINDS,
    CheckpointRefused,
    LoadedModel,
    config_of,
    load_language_model,
    load_preference_model,
)
from modelserving.lm.reading import Reader
from modelserving.lm.sampler import Sampler
from modelserving.lm.scoring import Scorer
from modelserving.server.device import is_out_of_memory
from modelserving.server.errors import Refused, ServingError, out_of_memory
from modelserving.server.fair_queue import FairQueue
from modelserving.server.jobs import Part, ScoreJob

logger = logging.getLogger(__name__)

WRONG_DIRECTORY = (ArtefactError, CheckpointRefused, WeightsRefused, ValueError, OSError)
MakeRoom = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class ServingLimits:
    """How much the server takes on."""

    rows: int = 32  # samples of one checkpoint that run at once
    queue: int = 256  # requests of one checkpoint that wait, however many prompts and samples
    queue_per_user: int = 32
    prefix_cache_bytes: int = 256 << 20
    memory_bytes: int = 8 << 30  # all checkpoints with their keys and values


@dataclass(kw_only=True, eq=False)
class ServedCheckpoint:
    """A checkpoint in memory. Changed by the engine thread only, read by the event loop."""

    name: str
    hash: str
    kind: str
    path: str
    loaded: LoadedModel
    weight_bytes: int
    sampler: Sampler | None  # preference models have none
    scorer: Scorer | None  # they have this instead
    queue: FairQueue[Part]
    loaded_at: float
    used_at: float
    running: dict[str, Part] = field(default_factory=dict)
    running_by_user: Counter[str] = field(default_factory=Counter)
    score_jobs: deque[ScoreJob] = field(default_factory=deque)
    draining: bool = False
    failure: str | None = None  # of its last turn
    base: "ServedCheckpoint | None" = None  # whose weights an adapter reads
    texts: dict[int, str] = field(default_factory=dict)  # of the tokens that were named so far

    def text_of(self, token_id: int) -> str:
        """The text of a token by itself, from any thread; which ids there are bounds what is kept."""
        text = self.texts.get(token_id)
        if text is None:
            text = self.texts[token_id] = self.loaded.tokenizer.decode([token_id])
        return text

    @property
    def bytes_used(self) -> int:
        """Memory of the weights, keys and values."""
        return self.weight_bytes + (self.sampler.bytes_used if self.sampler else 0)

    @property
    def waits_for_room(self) -> bool:
        """Whether nothing runs although something waits."""
        return bool(len(self.queue) and not self.running)

    @property
    def is_busy(self) -> bool:
        """Whether anything runs or waits."""
        return bool(self.running or self.score_jobs or len(self.queue))


@dataclass(frozen=True, kw_only=True)
class CheckpointReader:
    """Turns directories into checkpoints that can be served."""

    roots: tuple[Path, ...]
    device: torch.device
    dtype: torch.dtype
    limits: ServingLimits

    def allowed(self, path: str) -> Path:
        """The real directory, if it lies below a root."""
        try:
            real = Path(path).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise Refused(
                "there is no such checkpoint directory", code="no_such_directory"
            ) from None
        if not any(real.is_relative_to(root) for root in self.roots):
            raise Refused(
                "the directory is below none of the server's --checkpoints-root directories",
                code="outside_roots",
            )
        return real

    def base_of(self, path: str) -> str | None:
        """The hash of the checkpoint that must be loaded first, if the directory holds an adapter."""
        directory = self.allowed(path)
        with _refusing(directory):
            if not is_adapter(directory):
                return None
            return adapter_config(directory, manifest=read_manifest(directory)).base

    def known(self, path: str, *, loaded: Mapping[str, str]) -> str | None:
        """A directory's hash, if it is among those that are loaded and from where; a copy elsewhere is verified."""
        directory = self.allowed(path)
        with _refusing(directory):
            identity = content_hash(read_manifest(directory))
            if identity not in loaded:
                return None
            if loaded[identity] != str(directory):
                verify(directory)
            return identity

    def directory_of(self, identity: str, *, beside: str) -> Path:
        """Where a checkpoint stands by its hash: beside another one, or right below a root."""
        if not HASH.fullmatch(identity):
            raise Refused("the adapter names no base by its hash", code="checkpoint_refused")
        for folder in (self.allowed(beside).parent, *self.roots):
            if (folder / identity).is_dir():
                return self.allowed(str(folder / identity))
        raise Refused(
            f"the adapter's base {identity} is not loaded and stands neither beside it nor below a root: "
            "load the base first",
            code="no_base",
        )

    def read(
        self,
        path: str,
        *,
        name: str | None,
        now: float,
        make_room: MakeRoom,
        base: ServedCheckpoint | None = None,
    ) -> ServedCheckpoint:
        """Verify, load and check a directory; anything wrong with it is a `Refused` with the reason.

        `make_room` is asked for the bytes of the weights and their copies before they are read.
        """
        directory = self.allowed(path)
        with _refusing(directory):
            if base is not None and isinstance(_reader(base), LlamaReader):
                return self._read_adapter(directory, name=name, now=now, base=base)
            return self._read(directory, name=name, now=now, make_room=make_room, base=base)

    def _read(
        self,
        directory: Path,
        *,
        name: str | None,
        now: float,
        make_room: MakeRoom,
        base: ServedCheckpoint | None,
    ) -> ServedCheckpoint:
        """Whole weights; an adapter's are merged where its base is not read by our own forward."""
        manifest, identity = _identified(directory, name=name)
        make_room(self._bytes_of(Path(base.path) if base else directory))
        is_ranker = manifest.kind == "preference_model"
        how = {"dtype": self.dtype, "device": self.device}
        if is_ranker:
            loaded = load_preference_model(directory, **how)
        else:
            loaded = load_language_model(directory, **how, base=Path(base.path) if base else None)
        if loaded.hash != identity:
            raise Refused("the directory changed while it was read", code="checkpoint_refused")
        _check_finite(loaded)
        loaded.model.eval().requires_grad_(requires_grad=False)
        return ServedCheckpoint(
            name=name or identity,
            hash=identity,
            kind=manifest.kind,
            path=str(directory),
            loaded=loaded,
            weight_bytes=_weight_bytes(loaded),  # before they are laid out anew
            sampler=None if is_ranker else self._sampler(reader_of(loaded.model, takes_over=True)),
            scorer=Scorer(loaded) if is_ranker else None,
            queue=FairQueue(limit=self.limits.queue, limit_per_user=self.limits.queue_per_user),
            loaded_at=now,
            used_at=now,
        )

    def _bytes_of(self, directory: Path) -> int:
        """What whole weights and the copies that are kept of them will take."""
        weights = count_parameters(directory)
        config = config_of(directory)
        beside = bytes_beside(config, weights=weights, dtype=self.dtype, device=self.device)
        return weights * self.dtype.itemsize + beside

    def _read_adapter(
        self, directory: Path, *, name: str | None, now: float, base: ServedCheckpoint
    ) -> ServedCheckpoint:
        """An adapter over a checkpoint that is loaded: a batch of its own, the weights the base's."""
        manifest, identity = _identified(directory, name=name)
        reader = _reader(base)
        if manifest.kind not in LANGUAGE_MODEL_KINDS or not isinstance(reader, LlamaReader):
            raise Refused("only policies are served as adapters", code="checkpoint_refused")
        config = adapter_config(directory, manifest=manifest)
        adapter = load_adapter(directory, config=config, base=base.loaded.model)
        _identified(directory, name=identity)  # what was read is what was verified
        return ServedCheckpoint(
            name=name or identity,
            hash=identity,
            kind=manifest.kind,
            path=str(directory),
            loaded=replace(base.loaded, hash=identity),
            weight_bytes=adapter.bytes_used,
            sampler=self._sampler(reader.adapted(adapter)),
            scorer=None,
            queue=FairQueue(limit=self.limits.queue, limit_per_user=self.limits.queue_per_user),
            loaded_at=now,
            used_at=now,
            base=base,
        )

    def _sampler(self, reader: Reader) -> Sampler:
        return Sampler(
            reader,
            max_rows=self.limits.rows,
            prefix_cache_bytes=self.limits.prefix_cache_bytes,
        )


@contextmanager
def _refusing(directory: Path) -> Iterator[None]:
    """Whatever is wrong with a directory is a `Refused` with the reason."""
    try:
        yield
    except ServingError:
        raise
    except Exception as raised:  # a process boundary: no directory may take the server down
        if is_out_of_memory(raised):
            raise out_of_memory("while the checkpoint was read") from raised
        if isinstance(raised, WRONG_DIRECTORY):
            raise Refused(f"refused: {raised}", code="checkpoint_refused") from raised
        logger.exception("loading %s failed", directory)
        raise Refused(
            f"refused: {type(raised).__name__}: {raised}", code="checkpoint_refused"
        ) from raised


def _identified(directory: Path, *, name: str | None) -> tuple[Manifest, str]:
    """The verified manifest and its hash, which a name in the form of a hash must be."""
    manifest = verify(directory)
    identity = content_hash(manifest)
    if name and HASH.fullmatch(name) and name != identity:
        raise Refused(
            f"the directory holds checkpoint {identity}, not {name}", code="other_checkpoint"
        )
    return manifest, identity


def _reader(base: ServedCheckpoint) -> Reader | None:
    return base.sampler.reader if base.sampler else None


def _weight_bytes(loaded: LoadedModel) -> int:
    return sum(each.numel() * each.element_size() for each in loaded.model.parameters())


def _check_finite(loaded: LoadedModel) -> None:
    for name, weight in loaded.model.state_dict().items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise Refused(
                f"the weight {name} is not finite: the run that wrote it diverged, use an older checkpoint",
                code="not_finite",
            )
