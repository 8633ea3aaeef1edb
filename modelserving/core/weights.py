"""What safetensors files say of themselves: names, shapes and sizes, read from their headers alone.

Knows the file format (https://github.com/huggingface/safetensors); loads no weight and no torch.
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

MOST_HEADER_BYTES = 25_000_000
BYTES_OF = {
    "F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2,
    "U16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip


class WeightsRefused(Exception):
    """A file that is not exactly what the safetensors format allows."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One stored tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Its number of weights."""
        return math.prod(self.shape)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of one file; anything but a header and gapless tensors is refused."""
    length = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        if len(head) < 8:
            raise WeightsRefused(f"{path.name} is too short for safetensors: copy it again")
        (header_length,) = struct.unpack("<Q", head)
        if header_length > min(MOST_HEADER_BYTES, length - 8):
            raise WeightsRefused(f"{path.name} has no readable safetensors header: copy it again")
        raw = stream.read(header_length)
    try:
        header = json.loads(raw.decode("utf-8"))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        found = {name: _tensor(entry) for name, entry in entries.items()}
        spans = sorted(tuple(entry["data_offsets"]) for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WeightsRefused(
            f"{path.name} has a broken safetensors header: copy it again"
        ) from None
    _check_spans(path, spans=spans, length=length - 8 - header_length)
    return found


def count_parameters(directory: Path) -> int:
    """The number of weights that a checkpoint directory is loaded from."""
    files = _loaded_files(directory)
    return sum(tensor.size for path in files for tensor in tensors_of(path).values())


def _loaded_files(directory: Path) -> list[Path]:
    """What transformers reads: one file, or those of the index. Others repeat the weights in another layout."""
    every = sorted(directory.glob("*.safetensors"))
    try:
        index = json.loads((directory / "model.safetensors.index.json").read_text("utf-8"))
        named = set(index["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        named = {"model.safetensors"}
    return [path for path in every if path.name in named] or every


def _tensor(entry: dict[str, object]) -> Tensor:
    shape = tuple(int(size) for size in entry["shape"])  # type: ignore[attr-defined]
    dtype = str(entry["dtype"])
    first, last = entry["data_offsets"]  # type: ignore[misc]
    if min(shape, default=0) < 0 or last - first != math.prod(shape) * BYTES_OF[dtype]:  # type: ignore[has-type]
        raise ValueError("the shape does not fill the bytes")
    return Tensor(dtype=dtype, shape=shape)


def _check_spans(path: Path, *, spans: list[tuple[int, int]], length: int) -> None:
    """Tensors follow each other without gap or overlap to the end of the file."""
    place = 0
    for first, last in spans:
        if first != place or last < first:
            raise WeightsRefused(
                f"{path.name} has gaps or overlaps between tensors: export it anew"
            )
        place = last
    if place != length:
        raise WeightsRefused(f"{path.name} holds bytes beyond its tensors: copy or export it anew")
