"""Averages of checkpoints: the arithmetic by hand, whole directories, and what is refused."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from modelserving.core.artifacts import utc_now, verify, write_manifest
from tests.tiny_checkpoints import make_tiny_language_model
from training.core.averaging import AveragingRefused, averaged, main


def test_an_average_by_hand() -> None:
    first, second = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([3.0, -2.0])}

    found = averaged(first=first, second=second, first_share=0.75)

    assert found["w"].tolist() == [1.5, 1.0]


@pytest.mark.parametrize(
    ("second", "share", "says"),
    [
        ({"w": torch.zeros(3)}, 0.5, "w is"),
        ({"v": torch.zeros(2)}, 0.5, "only one"),
        ({"w": torch.zeros(2)}, 1.5, "from 0 to 1"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(second, share, says) -> None:
    with pytest.raises(AveragingRefused, match=says):
        averaged(first={"w": torch.zeros(2)}, second=second, first_share=share)


def test_a_directory_that_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, capsys) -> None:
    make_tiny_language_model(tmp_path / "one")
    (tmp_path / "two").mkdir()

    code = main(
        ["--first", str(tmp_path / "one"), "--second", str(tmp_path / "two"),
         "--out", str(tmp_path / "mean")]
    )  # fmt: skip

    said = capsys.readouterr().err
    assert code == 2
    assert "two has no manifest.json" in said
    assert said.count("\n") == 1


def test_a_policy_and_a_language_model_are_not_averaged(tmp_path: Path, capsys) -> None:
    make_tiny_language_model(tmp_path / "one")
    make_tiny_language_model(tmp_path / "two")
    write_manifest(
        tmp_path / "two", kind="policy", parents=[], config={}, code="", created=utc_now()
    )

    for second, code in (("one", 2), ("two", 0)):
        out = tmp_path / f"mean-{second}"
        pair = ["--first", str(tmp_path / "two"), "--second", str(tmp_path / second)]
        assert main([*pair, "--out", str(out)]) == code

    assert "one is a policy, the other a language_model" in capsys.readouterr().err
    assert verify(tmp_path / "mean-two").kind == "policy"


def test_the_average_is_a_checkpoint_that_plain_transformers_loads(tmp_path: Path) -> None:
    parents = [tmp_path / name for name in ("one", "two")]
    hashes = [make_tiny_language_model(folder, seed=seed) for seed, folder in enumerate(parents)]
    out = tmp_path / "mean"

    code = main(["--first", str(parents[0]), "--second", str(parents[1]), "--out", str(out)])

    manifest = verify(out)
    assert (code, manifest.kind, list(manifest.parents)) == (0, "language_model", hashes)
    weights = [load_file(folder / "model.safetensors") for folder in (*parents, out)]
    for name, tensor in weights[2].items():
        expected = (0.5 * (weights[0][name].float() + weights[1][name].float())).bfloat16()
        assert torch.equal(tensor.bfloat16(), expected), name
    AutoModelForCausalLM.from_pretrained(out)
