"""Read a prepared corpus directory and pack its documents into blocks of a fixed length.

It does not know the model; what comes out are token ids and which of them are responses.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from modelserving.core.dialogue import (
    DialogueError,
    DialogueFormat,
    check_dialogue,
    encode_turn,
    is_whole,
)
from modelserving.lm.tokenizer import TextTokenizer
from training.config import ConfigError
from training.core.lines import numbered_lines

Ids = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]


class CorpusRefused(ConfigError):
    """A corpus that cannot be trained on; the message names the file or source."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The pieces of one source, end to end; a piece is at most one block long."""

    name: str
    tokens: Ids  # (N,)
    is_response: Flags  # (N,) True where a response's token stands (text: everywhere)
    bounds: npt.NDArray[np.int64]  # (P + 1,) where pieces begin and end

    @property
    def pieces(self) -> int:
        """Number of pieces."""
        return len(self.bounds) - 1


def read_documents(path: Path) -> list[dict[str, Any]]:
    """Documents of one gzip JSONL file; a line that is none is refused with its number."""
    documents = []
    cure = "prepare the corpus again"
    for where, line in numbered_lines(path, refusal=CorpusRefused, cure=cure):
        try:
            document = json.loads(line)
        except ValueError as broken:
            raise CorpusRefused(
                f"{path.parent / where} is not JSON ({broken}): mend or drop it"
            ) from None
        if (problem := _problem(document)) is not None:
            raise CorpusRefused(f"{path.parent / where} {problem}: mend or drop it")
        documents.append(document)
    return documents


def _problem(document: Any) -> str | None:
    """Why something is no document, or None."""
    if not isinstance(document, dict) or not document.keys() & {"text", "messages"}:
        return "has neither text nor messages"
    if "text" in document:
        if not isinstance(document["text"], str):
            return "has a text that is none"
        return None if is_whole(document["text"]) else "has a text with half of a surrogate pair"
    try:
        check_dialogue(document["messages"])
    except DialogueError as wrong:
        return f"is not a dialogue ({wrong})"
    return None


def encode_document(
    document: Mapping[str, Any],
    *,
    tokenizer: TextTokenizer,
    layout: DialogueFormat,
    block_tokens: int,
) -> list[tuple[list[int], list[bool]]]:
    """Pieces of one document: ids and response flags, cut at turn boundaries where possible.

    A document ends with one more end of turn, so that the next document of a block does not read
    like the next turn of the same dialogue.
    """
    end = tokenizer.token_id(layout.end_of_turn)
    if "text" in document:
        ids = [*tokenizer.encode(document["text"]), end]
        chunks = [ids[i : i + block_tokens] for i in range(0, len(ids), block_tokens)]
        return [(chunk, [True] * len(chunk)) for chunk in chunks]
    pieces: list[tuple[list[int], list[bool]]] = []
    ids: list[int] = []
    flags: list[bool] = []
    for start in range(0, len(document["messages"]), 2):
        exchange, exchange_flags = _encode_exchange(
            document["messages"][start : start + 2], tokenizer=tokenizer, layout=layout
        )
        if ids and len(ids) + len(exchange) + 1 > block_tokens:
            pieces.append((ids, flags))
            ids, flags = [], []
        while len(exchange) > block_tokens:  # one exchange longer than a block goes on in the next
            pieces.append((exchange[:block_tokens], exchange_flags[:block_tokens]))
            exchange, exchange_flags = exchange[block_tokens:], exchange_flags[block_tokens:]
        ids, flags = ids + exchange, flags + exchange_flags
    # HH text has no other end of turn: a policy learns to end from the one after its last reply
    ends_reply = layout.format == "hh_text" and document["messages"][-1]["role"] == "assistant"
    if len(ids) < block_tokens:
        ids, flags = [*ids, end], [*flags, ends_reply]
    return [*pieces, (ids, flags)]


def _encode_exchange(
    messages: Sequence[Mapping[str, str]], *, tokenizer: TextTokenizer, layout: DialogueFormat
) -> tuple[list[int], list[bool]]:
    ids: list[int] = []
    flags: list[bool] = []
    role = tokenizer.encode(layout.assistant) if layout.format == "hh_text" else None
    for message in messages:
        turn = encode_turn(message, encoder=tokenizer, layout=layout)
        is_reply = message["role"] == "assistant"
        given = _alike(turn, role) if is_reply and role else 1
        ids += turn
        flags += [False] * given + [is_reply] * (len(turn) - given)  # a role is given, not written
    return ids, flags


def _alike(turn: Sequence[int], role: Sequence[int]) -> int:
    """How many tokens a turn and its role begin with alike: the role's last may hold text, too."""
    pairs = zip(turn, role, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def source_of(
    name: str,
    documents: Iterable[Mapping[str, Any]],
    *,
    tokenizer: TextTokenizer,
    layout: DialogueFormat,
    block_tokens: int,
) -> Source:
    """Encode documents as one source."""
    tokens: list[npt.NDArray[np.int32]] = []
    flags: list[npt.NDArray[np.bool_]] = []
    lengths = [0]
    for document in documents:
        for ids, is_response in encode_document(
            document, tokenizer=tokenizer, layout=layout, block_tokens=block_tokens
        ):
            tokens.append(np.asarray(ids, dtype=np.int32))
            flags.append(np.asarray(is_response, dtype=np.bool_))
            lengths.append(len(ids))
    if not tokens:
        raise CorpusRefused(f"{name} holds no document: leave the source out or fill it")
    return Source(
        name=name,
        tokens=np.concatenate(tokens),
        is_response=np.concatenate(flags),
        bounds=np.cumsum(np.asarray(lengths, dtype=np.int64)),
    )


def load_corpus(
    directory: Path,
    part: str,
    *,
    tokenizer: TextTokenizer,
    layout: DialogueFormat,
    block_tokens: int,
) -> dict[str, Source]:
    """Every source of one part (`train` or `valid`) by name; empty files are left out of `valid`."""
    paths = sorted((directory / part).glob("*.jsonl.gz"))
    if not paths:
        raise CorpusRefused(f"{directory / part} has no *.jsonl.gz: prepare the corpus again")
    sources = {}
    for path in paths:
        documents = read_documents(path)
        if part == "valid" and not documents:
            continue
        name = path.name.removesuffix(".jsonl.gz")
        sources[name] = source_of(
            name, documents, tokenizer=tokenizer, layout=layout, block_tokens=block_tokens
        )
    return sources


class BlockReader:
    """Endless blocks of one source: pieces in a fresh order each epoch, cut at the block's end."""

    def __init__(self, source: Source, *, block_tokens: int, seed: int) -> None:
        self._source = source
        self._block_tokens = block_tokens
        self._seed = seed
        self.epoch = 0
        self.cursor = 0
        self._order = self._order_of(0)

    def _order_of(self, epoch: int) -> npt.NDArray[np.int64]:
        salt = zlib.crc32(self._source.name.encode("utf-8"))
        return np.random.default_rng([self._seed, salt, epoch]).permutation(self._source.pieces)

    def next_block(self) -> tuple[Ids, Flags]:
        """Token ids and response flags, both (block_tokens,)."""
        ids, flags, room = [], [], self._block_tokens
        while room > 0:
            if self.cursor == self._source.pieces:
                self.epoch, self.cursor = self.epoch + 1, 0
                self._order = self._order_of(self.epoch)
            piece = self._order[self.cursor]
            start = self._source.bounds[piece]
            end = min(self._source.bounds[piece + 1], start + room)
            ids.append(self._source.tokens[start:end])
            flags.append(self._source.is_response[start:end])
            room -= int(end - start)
            self.cursor += 1
        return np.concatenate(ids), np.concatenate(flags)

    def state(self) -> list[int]:
        """Where the reader stands."""
        return [self.epoch, self.cursor]

    def restore(self, state: Sequence[int]) -> None:
        """Go back to where a reader stood."""
        self.epoch, self.cursor = state
        self._order = self._order_of(self.epoch)


class MixtureReader:
    """Batches of blocks whose sources are drawn by weight, the same draw for the same step."""

    def __init__(self, sources: Mapping[str, Source], *, block_tokens: int, seed: int) -> None:
        self._seed = seed
        self._sizes = {name: float(len(source.tokens)) for name, source in sources.items()}
        self._readers = {
            name: BlockReader(source, block_tokens=block_tokens, seed=seed)
            for name, source in sources.items()
        }

    def require_sources(self, names: Iterable[str]) -> None:
        """Refuse names of sources that the corpus does not have."""
        unknown = sorted(set(names) - set(self._readers))
        if unknown:
            raise CorpusRefused(
                f"phases name {unknown}, which the corpus does not have: {sorted(self._readers)}"
            )

    def drawn(self, draw: int, *, blocks: int, weights: Mapping[str, float]) -> list[str]:
        """The source of each block of a batch."""
        shares = weights or self._sizes
        self.require_sources(shares)
        names = sorted(shares)
        portions = np.asarray([shares[name] for name in names])
        rng = np.random.default_rng([self._seed, draw])
        return [names[i] for i in rng.choice(len(names), size=blocks, p=portions / portions.sum())]

    def batch(
        self, draw: int, *, blocks: int, weights: Mapping[str, float]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Ids and response flags, both (blocks, block_tokens); `draw` numbers the batches."""
        names = self.drawn(draw, blocks=blocks, weights=weights)
        pairs = [self._readers[name].next_block() for name in names]
        return np.stack([ids for ids, _ in pairs]), np.stack([flags for _, flags in pairs])

    def state(self) -> dict[str, list[int]]:
        """Where every source's reader stands."""
        return {name: reader.state() for name, reader in self._readers.items()}

    def restore(self, state: Mapping[str, Sequence[int]]) -> None:
        """Go back to where the readers stood."""
        for name, stood in state.items():
            self._readers[name].restore(stood)
