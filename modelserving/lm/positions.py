"""How long a sequence a model reads before its rotary angles change.

Does not know dialogues or what is done with a model.
"""

from transformers import PretrainedConfig


def positions_of(config: PretrainedConfig) -> int | None:
    """The longest sequence a model reads; None where its config does not say.

    Of longrope only the part before its angles change: keys that were kept would not change with them.
    """
    stated: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if stated is None or rope.get("rope_type") != "longrope":
        return stated
    return min(stated, rope.get("original_max_position_embeddings") or stated)
