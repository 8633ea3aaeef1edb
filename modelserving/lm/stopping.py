"""Which tokens end a reply: the same in a chat and in what training samples.

Does not know requests, nor texts at which a reply stops.
"""

from modelserving.lm.loading import LoadedModel
from modelserving.lm.tokenizer import PAD


def stop_ids(loaded: LoadedModel) -> frozenset[int]:
    """The end of turn, any role or special token of the format, and every end that the checkpoint declares.

    Both of its files may declare some, config.json and generation_config.json.
    """
    layout, tokenizer = loaded.dialogue_format, loaded.tokenizer
    names = (layout.end_of_turn, layout.end_of_context, layout.human, layout.assistant, PAD)
    found = {tokenizer.token_id(name) for name in names if tokenizer.has_token(name)}
    for config in (loaded.model.config, loaded.model.generation_config):
        declared = getattr(config, "eos_token_id", None)
        ends = declared if isinstance(declared, list) else [declared]
        found |= {each for each in ends if each is not None}
    return frozenset(found)
