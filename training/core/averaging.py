"""Average two checkpoints' weights: `python -m training.core.averaging --first DIR --second DIR --out DIR`.

Weights of one training run lie close enough for their mean to be a model of its own: it keeps what the last
leg learned by heart and much of what the leg before knew in general (Wortsman et al. 2022, WiSE-FT). It does
not train, and it does not know what the checkpoints are for.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from modelserving.core.adapters import is_adapter
from modelserving.core.architectures import CheckpointRefused
from modelserving.core.artifacts import (
    ArtefactError,
    content_hash,
    publish,
    utc_now,
    verify,
    write_manifest,
)
from modelserving.lm.loading import load_language_model
from modelserving.lm.saving import write_model_files, write_weights


class AveragingRefused(ValueError):
    """Two checkpoints whose weights cannot be averaged; the message says which tensor differs."""


def averaged(
    *, first: Mapping[str, Tensor], second: Mapping[str, Tensor], first_share: float
) -> dict[str, Tensor]:
    """first_share · first + (1 − first_share) · second, tensor by tensor, in float32."""
    if not 0.0 <= first_share <= 1.0:
        raise AveragingRefused(f"first_share is {first_share}: give a number from 0 to 1")
    if first.keys() != second.keys():
        odd = sorted(first.keys() ^ second.keys())
        raise AveragingRefused(f"only one of the checkpoints has {odd[0]}: take two of one shape")
    for name, tensor in first.items():
        if tensor.shape != second[name].shape:
            raise AveragingRefused(
                f"{name} is {tuple(tensor.shape)} in one checkpoint and {tuple(second[name].shape)} "
                "in the other: take two of one shape"
            )
    return {
        name: first_share * tensor.float() + (1.0 - first_share) * second[name].float()
        for name, tensor in first.items()
    }


def publish_average(*, first: Path, second: Path, first_share: float, out: Path) -> None:
    """Write the average as a checkpoint in the layout of `first`."""
    for directory in (first, second):
        if is_adapter(directory):
            raise AveragingRefused(f"{directory} is an adapter: average whole weights")
    manifests = [verify(directory) for directory in (first, second)]
    one, other = (manifest.kind for manifest in manifests)
    if one != other:
        raise AveragingRefused(f"one is a {one}, the other a {other}: average two of a kind")
    tensors = averaged(
        first=load_file(first / "model.safetensors"),
        second=load_file(second / "model.safetensors"),
        first_share=first_share,
    )
    model = load_language_model(first).model
    partial = out.with_name(out.name + ".partial")
    partial.mkdir(parents=True)
    write_weights(tensors, directory=partial)
    write_model_files(
        directory=partial,
        config=model.config,
        tokenizer_directory=first,
        architecture=type(model).__name__,
    )
    settings = {"kind": "average", "first_share": first_share}
    write_manifest(
        partial,
        kind=one,
        parents=list(map(content_hash, manifests)),
        config=settings,
        code="",
        created=utc_now(),
    )
    publish(partial, out)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 when the two cannot be read or do not fit together."""
    parser = argparse.ArgumentParser(prog="python -m training.core.averaging")
    parser.add_argument("--first", type=Path, required=True)
    parser.add_argument("--second", type=Path, required=True)
    parser.add_argument("--first-share", type=float, default=0.5, help="0 to 1")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory to make")
    options = parser.parse_args(arguments)
    try:
        publish_average(
            first=options.first,
            second=options.second,
            first_share=options.first_share,
            out=options.out,
        )
    except (AveragingRefused, ArtefactError, CheckpointRefused, OSError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
