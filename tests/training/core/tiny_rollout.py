"""What a tiny rollout is made of."""

from modelserving.lm.loading import LoadedModel
from training.core.prompts import Prompt

TEMPERATURE = 0.7


def prompt(policy: LoadedModel, text: str, *, objective: str = "helpful") -> Prompt:
    layout = policy.dialogue_format
    ids = [
        policy.tokenizer.token_id(layout.human),
        *policy.tokenizer.encode(text),
        policy.tokenizer.token_id(layout.assistant),
    ]
    messages = ({"role": "user", "content": text},)
    return Prompt(messages=messages, objective=objective, token_ids=tuple(ids), opening=text)
