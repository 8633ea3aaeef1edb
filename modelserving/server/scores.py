"""Scores of dialogues by a loaded preference model.

Does not know HTTP, sampling or rankings.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from modelserving.core.dialogue import DialogueError
from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest, GenerationFailed
from modelserving.server.jobs import Dialogue, ScoreJob


def ranker_named(name: str, *, engine: Engine) -> ServedCheckpoint:
    """The loaded preference model of this name."""
    checkpoint = engine.find(name)
    if checkpoint.sampler is not None:
        raise BadRequest(f"{name!r} is not a preference model", code="wrong_checkpoint_kind")
    return checkpoint


async def score(
    dialogues: Sequence[Dialogue], *, ranker: str, engine: Engine, deadline: float
) -> list[float]:
    """Scores of dialogues by a loaded preference model; `deadline` is in seconds from now."""
    checkpoint = ranker_named(ranker, engine=engine)
    try:
        async with asyncio.timeout(deadline):
            job = await asyncio.to_thread(job_of, dialogues, checkpoint)  # many tokens, no model
            engine.score(job, checkpoint=checkpoint)
            return await asyncio.wrap_future(job.answer)
    except TimeoutError:
        raise GenerationFailed("the scores took too long", code="deadline") from None


def job_of(dialogues: Sequence[Dialogue], checkpoint: ServedCheckpoint) -> ScoreJob:
    """The dialogues as tokens, in the rows that are to be read."""
    assert checkpoint.scorer is not None
    try:
        sequences = checkpoint.scorer.encoded(dialogues)
    except DialogueError as wrong:
        raise BadRequest(str(wrong), code="invalid_dialogue") from None
    size = checkpoint.loaded.model.config.vocab_size
    if max(map(max, sequences), default=0) >= size:  # the tokenizer knows more than the model
        raise BadRequest(f"a token id is not below the vocabulary of {size}", code="invalid_value")
    return ScoreJob(sequences=sequences, rows=deque(checkpoint.scorer.rows(sequences)))
