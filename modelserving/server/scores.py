"""Scores of dialogues by a loaded preference model.

Does not know HTTP, sampling or rankings.
"""

import asyncio
from collections.abc import Sequence

from modelserving.core.dialogue import DialogueError
from modelserving.server.checkpoints import ServedCheckpoint
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest
from modelserving.server.jobs import Dialogue, ScoreJob


def ranker_named(name: str, *, engine: Engine) -> ServedCheckpoint:
    """The loaded preference model of this name."""
    checkpoint = engine.find(name)
    if checkpoint.sampler is not None:
        raise BadRequest(f"{name!r} is not a preference model", code="wrong_checkpoint_kind")
    return checkpoint


async def score(dialogues: Sequence[Dialogue], *, ranker: str, engine: Engine) -> list[float]:
    """Scores of dialogues by a loaded preference model."""
    checkpoint = ranker_named(ranker, engine=engine)
    job = ScoreJob(dialogues=dialogues)
    engine.score(job, checkpoint=checkpoint)
    try:
        return await asyncio.wrap_future(job.answer)
    except DialogueError as wrong:
        raise BadRequest(str(wrong), code="invalid_dialogue") from None
