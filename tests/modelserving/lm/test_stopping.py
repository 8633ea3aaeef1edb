"""What ends a reply: all that a checkpoint declares, in whichever file."""

import json
from pathlib import Path

from modelserving.core.artifacts import utc_now, write_manifest
from modelserving.lm.loading import load_language_model
from modelserving.lm.saving import write_model_files, write_weights
from modelserving.lm.stopping import stop_ids
from tests.tiny_checkpoints import make_tiny_language_model


def test_ends_of_generation_config_end_a_reply_and_survive_training(tmp_path: Path) -> None:
    make_tiny_language_model(tmp_path / "lm")
    own = stop_ids(load_language_model(tmp_path / "lm"))
    path = tmp_path / "lm" / "generation_config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {"eos_token_id": [stored["eos_token_id"], 300]}))
    sign(tmp_path / "lm")

    more = load_language_model(tmp_path / "lm")
    trained = tmp_path / "trained"
    trained.mkdir()
    write_weights(more.model.state_dict(), directory=trained)
    write_model_files(
        directory=trained, config=more.config, tokenizer_directory=tmp_path / "lm",
        architecture="LlamaForCausalLM",
    )  # fmt: skip
    sign(trained)

    assert 300 not in own
    assert stop_ids(more) == own | {300}
    assert stop_ids(load_language_model(trained)) == own | {300}


def sign(directory: Path) -> None:
    """Publish it anew."""
    (directory / "manifest.json").unlink(missing_ok=True)
    write_manifest(
        directory, kind="language_model", parents=[], config={}, code="", created=utc_now()
    )
