"""Checkpoint directories that are damaged or hostile: refused by reason, and the others serve on."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modelserving.core.artifacts import write_manifest
from tests.modelserving.server.conftest import Served, says_hello

pytestmark = pytest.mark.fault


def copy_of(served: Served, name: str) -> Path:
    target = served.root / name
    shutil.copytree(served.root / "policy", target)
    return target


def _republished(directory: Path, *, change: Callable[[Path], None]) -> Path:
    """Change a checkpoint and write a manifest that matches: only the content is at fault."""
    change(directory)
    write_manifest(
        directory, kind="language_model", parents=[], config={}, code="", created="2026-01-01"
    )
    return directory


def _with_nan(directory: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(directory / "model.safetensors")
    weights["model.norm.weight"][3] = float("nan")
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})


def _with_pickle(directory: Path) -> None:
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch /tmp/x'\ntR.")


def _with_config(key: str, value: object) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_with_nan, "not finite"),
        (_with_pickle, "pytorch_model.bin"),
        (_with_config("auto_map", {"AutoModel": "x.Y"}), "auto_map"),
        (_with_config("_attn_implementation_internal", "x/y"), "_attn_implementation_internal"),
        (_with_config("architectures", ["EvilForCausalLM"]), "EvilForCausalLM"),
        (_with_config("hidden_size", 48), "refused"),
        (_with_config("vocab_size", 10**12), "refused"),
    ],
)
def test_a_published_checkpoint_with_bad_content_is_refused_by_reason(
    served: Served, change: Callable[[Path], None], reason: str
) -> None:
    before = says_hello(served)
    directory = _republished(copy_of(served, f"bad-{random.random()}"), change=change)

    answer = served.load(directory)

    assert answer.status_code == 422
    assert reason in answer.json()["error"]["message"]
    assert says_hello(served) == before


def _mutate(directory: Path, rng: random.Random) -> str:
    """One random damage to one file of a published directory; the manifest is left as it was."""
    files = sorted(path for path in directory.iterdir() if path.is_file())
    path = rng.choice(files)
    content = bytearray(path.read_bytes())
    kind = rng.choice(["cut", "flip", "delete", "grow", "swap", "empty", "noise"])
    if kind == "cut":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif kind == "flip":
        at = rng.randrange(len(content))
        content[at] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    elif kind == "delete":
        path.unlink()
    elif kind == "grow":
        path.write_bytes(bytes(content) + rng.randbytes(rng.randint(1, 64)))
    elif kind == "swap":
        other = rng.choice([each for each in files if each != path])
        path.write_bytes(other.read_bytes())
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.write_bytes(rng.randbytes(len(content)))
    return f"{kind} {path.name}"


def _means_the_same(directory: Path, original: Path) -> bool:
    """A flipped letter in the manifest's date or commit changes nothing that is served."""
    try:
        changed = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    first = json.loads((original / "manifest.json").read_text(encoding="utf-8"))
    same = all(changed.get(key) == first[key] for key in ("kind", "files", "format_version"))
    return same and all(
        (directory / name).is_file()
        and (directory / name).read_bytes() == (original / name).read_bytes()
        for name in first["files"]
    )


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mutations", [200, pytest.param(5000, marks=pytest.mark.release)])
def test_mutated_checkpoint_directories_are_refused_and_serving_goes_on(
    served: Served, mutations: int
) -> None:
    rng, before, original = random.Random(20261124), says_hello(served), served.root / "policy"
    loaded: list[str] = []

    for number in range(mutations):
        directory = copy_of(served, f"mutated-{number}")
        damage = _mutate(directory, rng)
        answer = served.load(directory)
        if answer.status_code == 200 and not _means_the_same(directory, original):
            loaded.append(damage)
        assert answer.status_code in (200, 422), (damage, answer.text)
        shutil.rmtree(directory)

    assert loaded == []
    assert says_hello(served) == before
