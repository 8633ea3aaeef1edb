"""Prepare the starter checkpoint's corpus: `python -m training.core.starter_corpus --data DIR --out DIR`.

It does not train a model; it writes documents per source, held-out documents and a tokenizer.
"""

import argparse
import gzip
import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from comparisons.core.splits import split_of
from modelserving.core.artifacts import publish, utc_now, write_manifest
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.tokenizer import train_tokenizer, write_tokenizer
from training.core.starter_sources import (
    SOURCES,
    Document,
    Source,
    SourceMissing,
    read_source,
)

HH_TEST_PERCENT = 20  # as in the releases cut from these files
HELD_OUT_PERCENT = 2
TOKENIZER_BOOK_SHARE = 0.3  # books are most of the characters, but not most of what is served


Counts = dict[str, dict[str, int | str]]


class SplitDocuments(NamedTuple):
    """Documents of one source by use."""

    training: list[Document]
    held_out: list[Document]
    left_out: int


def beginning(document: Document) -> str:
    """What decides a document's part: its first human message, or its first words."""
    return str(document["messages"][0]["content"] if "messages" in document else document["text"])


def is_held_out(document: Document) -> bool:
    """Whether a document is kept for measuring the loss."""
    digest = hashlib.sha256(b"starter-held-out:" + beginning(document).encode("utf-8"))
    return int(digest.hexdigest()[:8], 16) % 100 < HELD_OUT_PERCENT


def texts_of(document: Document) -> Iterator[str]:
    """Every text of a document."""
    if "text" in document:
        yield document["text"]
    else:
        yield from (message["content"] for message in document["messages"])


def write_documents(path: Path, documents: list[Document]) -> None:
    """Gzip JSONL without a time stamp, so that equal documents give equal bytes."""
    lines = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    path.write_bytes(gzip.compress(lines.encode("utf-8"), mtime=0))


def tokenizer_texts(per_source: dict[str, list[Document]]) -> Iterator[str]:
    """All dialogue text, and of the books a fixed share."""
    for name, documents in per_source.items():
        share = TOKENIZER_BOOK_SHARE if name == "standard-ebooks" else 1.0
        chosen = random.Random(0).sample(documents, int(len(documents) * share))
        for document in chosen:
            yield from texts_of(document)


def split_documents(source: Source, *, data: Path) -> SplitDocuments:
    """A source's documents for training and for measuring, without any release's test split."""
    documents = list(read_source(source, data=data))
    kept = [
        document
        for document in documents
        if source.folder != "hh-rlhf"
        or split_of(beginning(document), test_percent=HH_TEST_PERCENT) == "train"
    ]
    return SplitDocuments(
        training=[document for document in kept if not is_held_out(document)],
        held_out=[document for document in kept if is_held_out(document)],
        left_out=len(documents) - len(kept),
    )


def build_corpus(*, data: Path, out: Path, vocabulary_size: int) -> Counts:
    """Write the corpus directory and return counts per source."""
    partial = out.with_name(out.name + ".partial")
    for part in ("train", "valid"):
        (partial / part).mkdir(parents=True, exist_ok=True)
    counts: Counts = {}
    training: dict[str, list[Document]] = {}
    for source in SOURCES:
        split = split_documents(source, data=data)
        write_documents(partial / "train" / f"{source.name}.jsonl.gz", split.training)
        write_documents(partial / "valid" / f"{source.name}.jsonl.gz", split.held_out)
        training[source.name] = split.training
        counts[source.name] = {
            "licence": source.licence,
            "documents": len(split.training),
            "characters": sum(len(t) for d in split.training for t in texts_of(d)),
            "held_out_documents": len(split.held_out),
            "left_out_as_test": split.left_out,
        }
    layout = DialogueFormat(context_tokens=512)
    texts = tokenizer_texts(training)
    tokenizer = train_tokenizer(texts, vocabulary_size=vocabulary_size, layout=layout)
    write_tokenizer(tokenizer, directory=partial / "tokenizer", layout=layout)
    stamp = {"sources": counts}
    write_manifest(partial, kind="corpus", parents=[], config=stamp, code="", created=utc_now())
    publish(partial, out)
    return counts


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 when the data directory lacks a source."""
    parser = argparse.ArgumentParser(prog="python -m training.core.starter_corpus")
    parser.add_argument("--data", type=Path, required=True, help="folder with one folder a source")
    parser.add_argument("--out", type=Path, required=True, help="corpus directory to make")
    parser.add_argument("--vocabulary", type=int, default=4096, help="tokens of the tokenizer")
    options = parser.parse_args(arguments)
    try:
        counts = build_corpus(
            data=options.data, out=options.out, vocabulary_size=options.vocabulary
        )
    except SourceMissing as missing:
        sys.stderr.write(f"{missing}\n")
        return 2
    sys.stdout.write(json.dumps(counts, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
