"""Publish a LoRA run's step as an adapter: `python -m training.core.adapter STEP --base DIR --out DIR`.

For a run with `lora.publish` merged, whose checkpoints are whole weights: from the resume state beside them this makes
a checkpoint of a few megabytes, which a model server runs over the base that it holds already. It does not train.
"""

import argparse
import sys
from pathlib import Path

from modelserving.core.adapters import is_adapter
from modelserving.core.artifacts import (
    ArtefactError,
    content_hash,
    publish,
    read_manifest,
    utc_now,
    verify,
    write_manifest,
)
from training.core.checkpointing import RESUME, read_resume
from training.core.lora import write_adapter
from training.core.master_weights import weights_in

POLICY = "policy."  # whose tensors these are in a resume state


class NoAdapter(ValueError):
    """A step that no adapter can be made of; the message says why."""


def publish_adapter(step: Path, *, base: Path, out: Path) -> str:
    """Write the adapter over `base`, which the run started from, in peft's layout; returns its hash."""
    if is_adapter(base):
        raise NoAdapter(
            f"{base} is an adapter itself, and an adapter of an adapter is not served: serve {step} as it is"
        )
    manifest, base_hash = read_manifest(step), content_hash(verify(base))
    settings = manifest.config.get("lora", {})
    if manifest.kind != "policy" or not settings.get("rank"):
        raise NoAdapter(f"{step} is not a policy of a run with lora.rank above 0")
    if base_hash not in manifest.parents:
        raise NoAdapter(f"{base} is not what the run of {step} started from")
    if not (step / RESUME).is_dir():
        raise NoAdapter(f"{step} has no resume state any more: take the run's last checkpoint")
    tensors = read_resume(step).tensors
    own = {k.removeprefix(POLICY): each for k, each in tensors.items() if k.startswith(POLICY)}
    partial = out.with_name(f"{out.name}.partial")
    if out.exists() or partial.exists():
        raise NoAdapter(f"{out} or {partial.name} beside it is there already: choose another --out")
    partial.mkdir(parents=True)
    write_adapter(weights_in(own), directory=partial, settings=settings, base=base_hash)
    done = write_manifest(
        partial, kind="policy", parents=[base_hash], config=manifest.config, code=manifest.code,
        created=utc_now(),
    )  # fmt: skip
    publish(partial, out)
    return content_hash(done)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; 2 when there is no adapter to publish."""
    parser = argparse.ArgumentParser(prog="python -m training.core.adapter")
    parser.add_argument("step", type=Path, help="a LoRA run's checkpoint with its resume state")
    parser.add_argument("--base", type=Path, required=True, help="what the run started from")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint directory to make")
    options = parser.parse_args(arguments)
    try:
        identity = publish_adapter(options.step, base=options.base, out=options.out)
    except (NoAdapter, ArtefactError) as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    sys.stdout.write(f"{identity}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
