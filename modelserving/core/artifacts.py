"""Publish directories with a manifest and verify them: an artefact exists when its manifest holds.

It does not know what the files mean, nor where artefacts are kept.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
KINDS = (
    "language_model",
    "preference_model",
    "policy",
    "release",
    "rollouts",
    "corpus",
    "questions",
    "resume",
)


class ArtefactError(Exception):
    """An artefact that is missing, half written or changed; the message names file and cure."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a published directory contains and where it came from."""

    kind: str
    files: Mapping[str, Mapping[str, Any]]  # relative name -> {"sha256", "size"}
    code: str  # commit of the code that wrote it, "" when unknown
    parents: Sequence[str]  # content hashes or sha256 of what it was made from
    config: Mapping[str, Any]
    created: str  # ISO 8601, UTC
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The content of manifest.json."""
        return asdict(self)


def utc_now() -> str:
    """Time stamp for a manifest, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def file_sha256(path: Path) -> str:
    """SHA-256 of one file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_hash(manifest: Manifest) -> str:
    """The artefact's identity: SHA-256 over kind and files, whatever its name or date."""
    identity = {"kind": manifest.kind, "files": {k: dict(v) for k, v in manifest.files.items()}}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def fsync_path(path: Path) -> None:
    """Force one file or directory entry to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, text: str) -> None:
    """Replace a small text file atomically; after a crash it has the old or the new content."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    partial.replace(path)
    fsync_path(path.parent)


def published_files(directory: Path) -> list[Path]:
    """Files that a manifest covers: all of them but the manifest and what is in `resume/`."""
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if path.relative_to(directory).parts[0] not in (MANIFEST, "resume", "__pycache__")
        and not path.name.endswith(".partial")
    )


def write_manifest(
    directory: Path,
    *,
    kind: str,
    parents: Sequence[str],
    config: Mapping[str, Any],
    code: str,
    created: str,
) -> Manifest:
    """Hash and fsync every file, then write the manifest, last."""
    if kind not in KINDS:
        raise ArtefactError(f"artefact kind {kind!r} is not one of {KINDS}")
    files: dict[str, dict[str, Any]] = {}
    for path in published_files(directory):
        fsync_path(path)
        name = path.relative_to(directory).as_posix()
        files[name] = {"sha256": file_sha256(path), "size": path.stat().st_size}
    manifest = Manifest(
        kind=kind, files=files, code=code, parents=list(parents), config=dict(config),
        created=created,
    )  # fmt: skip
    text = json.dumps(manifest.to_dict(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
    write_durably(directory / MANIFEST, text)
    return manifest


def publish(partial: Path, final: Path) -> None:
    """Make a finished directory appear under its name, in one step that survives a crash."""
    if not (partial / MANIFEST).is_file():
        raise ArtefactError(f"{partial} has no {MANIFEST}: write the manifest before publishing")
    if final.exists():
        raise ArtefactError(f"{final} exists: published artefacts are never replaced")
    for path in sorted(partial.rglob("*")):
        fsync_path(path)
    fsync_path(partial)
    partial.rename(final)
    fsync_path(final.parent)


def read_manifest(directory: Path) -> Manifest:
    """Parse manifest.json without hashing the files."""
    path = directory / MANIFEST
    if not path.is_file():  # a pipe would be read for ever
        raise ArtefactError(f"{directory} has no {MANIFEST}: it was never published; make it anew")
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        manifest = Manifest(**stored)
    except (ValueError, TypeError, RecursionError) as broken:
        raise ArtefactError(
            f"{path} cannot be read ({broken}): restore it or use an older one"
        ) from None
    if manifest.format_version != FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format version {manifest.format_version}, this program reads "
            f"{FORMAT_VERSION}: use the release of the program that wrote it"
        )
    _check_files(manifest.files, path=path)
    _check_parents(manifest.parents, path=path)
    return manifest


def _check_files(files: object, *, path: Path) -> None:
    """Refuse a manifest that does not say of each file what it is checked by."""
    stated = files if isinstance(files, dict) else {"files": files}
    for name, facts in stated.items():
        known = facts if isinstance(facts, dict) else {}
        if not isinstance(known.get("sha256"), str) or not isinstance(known.get("size"), int):
            raise ArtefactError(
                f"{path} does not state sha256 and size of {name}: it was changed or damaged; "
                "restore it or use an older one"
            )


def _check_parents(parents: object, *, path: Path) -> None:
    if not isinstance(parents, list) or not all(isinstance(each, str) for each in parents):
        raise ArtefactError(
            f"{path} does not list its parents: it was changed or damaged; restore it or use an older one"
        )


def verify(directory: Path) -> Manifest:
    """Check every file's size and hash against the manifest."""
    manifest = read_manifest(directory)
    for name, expected in manifest.files.items():
        path = directory / name
        if not path.is_file():
            raise ArtefactError(f"{path} is missing: copy the whole directory again")
        if path.stat().st_size != expected["size"]:
            raise ArtefactError(
                f"{path} has {path.stat().st_size} bytes, the manifest says {expected['size']}: "
                "it was cut off; copy it again or use an older checkpoint"
            )
        if file_sha256(path) != expected["sha256"]:
            raise ArtefactError(
                f"{path} does not have the manifest's sha256: it was changed or damaged; "
                "copy it again or use an older checkpoint"
            )
    return manifest
