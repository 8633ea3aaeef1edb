"""Reading a comparison: which text is chosen for training, and what a dialogue says so far.

Pure functions over plain values; knows neither the database nor a model.
"""

from collections.abc import Iterable

Message = dict[str, str]  # {"role": "user" | "assistant", "content": text}


def chosen_and_rejected(*, question: str, picked: str, other: str) -> tuple[str, str]:
    """The training reading of a pick: only `more_harmful` flips (Bai et al. 2022, §2.2).

    >>> chosen_and_rejected(question="more_harmful", picked="worse", other="better")
    ('better', 'worse')
    """
    if question == "more_harmful":
        return other, picked
    if question in {"more_helpful", "less_harmful"}:
        return picked, other
    raise ValueError(f"question {question!r}: one of more_helpful, more_harmful, less_harmful")


def dialogue(
    *, opening: Iterable[Message], turns: Iterable[tuple[str, str]], message: str
) -> list[Message]:
    """The messages a response answers: the opening, each earlier (message, picked text), the new message."""
    messages = [{"role": each["role"], "content": each["content"]} for each in opening]
    for said, answered in turns:
        messages.append({"role": "user", "content": said})
        messages.append({"role": "assistant", "content": answered})
    return [*messages, {"role": "user", "content": message}]
