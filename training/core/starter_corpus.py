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

from modelserving.core.artifacts import publish, utc_now, write_manifest
from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.tokenizer import train_tokenizer, write_tokenizer
from training.core.starter_sources import SOURCES, Document, SourceMissing, read_source

HH_TEST_PERCENT = 20  # as in the releases cut from these files
HELD_OUT_PERCENT = 2
TOKENIZER_BOOK_SHARE = 0.3  # books are most of the characters, but not most of what is served


def split_of(first_human_message: str, *, test_percent: int) -> str:
    """The releases' split: a fixed salted hash of the first human message."""
    salted = b"labelapp-split-v1:" + first_human_message.strip().encode("utf-8")
    position = int(hashlib.sha256(salted).hexdigest()[:8], 16) % 100
    return "test" if position < test_percent else "train"


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


def build_corpus(*, data: Path, out: Path, vocabulary_size: int) -> dict[str, dict[str, int | str]]:
    """Write the corpus directory and return counts per source."""
    partial = out.with_name(out.name + ".partial")
    for part in ("train", "valid"):
        (partial / part).mkdir(parents=True, exist_ok=True)
    counts: dict[str, dict[str, int | str]] = {}
    training: dict[str, list[Document]] = {}
    for source in SOURCES:
        documents = list(read_source(source, data=data))
        if source.folder == "hh-rlhf":
            whole = len(documents)
            documents = [
                document
                for document in documents
                if split_of(beginning(document), test_percent=HH_TEST_PERCENT) == "train"
            ]
            left_out = whole - len(documents)
        else:
            left_out = 0
        training[source.name] = [d for d in documents if not is_held_out(d)]
        held_out = [d for d in documents if is_held_out(d)]
        write_documents(partial / "train" / f"{source.name}.jsonl.gz", training[source.name])
        write_documents(partial / "valid" / f"{source.name}.jsonl.gz", held_out)
        counts[source.name] = {
            "licence": source.licence,
            "documents": len(training[source.name]),
            "characters": sum(len(t) for d in training[source.name] for t in texts_of(d)),
            "held_out_documents": len(held_out),
            "left_out_as_test": left_out,
        }
    layout = DialogueFormat(context_tokens=512)
    tokenizer = train_tokenizer(
        tokenizer_texts(training), vocabulary_size=vocabulary_size, layout=layout
    )
    write_tokenizer(tokenizer, directory=partial / "tokenizer", layout=layout)
    write_manifest(
        partial, kind="corpus", parents=[], config={"sources": counts}, code="", created=utc_now()
    )
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
        print(missing, file=sys.stderr)
        return 2
    print(json.dumps(counts, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
