"""Scores of dialogues by a loaded preference model.

Does not know HTTP, sampling or rankings.
"""

import asyncio
from collections.abc import Sequence

from modelserving.core.dialogue import DialogueError
from modelserving.server.engine import Engine
from modelserving.server.errors import BadRequest
from modelserving.server.jobs import Dialogue, ScoreJob


async def score(dialogues: Sequence[Dialogue], *, ranker: str, engine: Engine) -> list[float]:
    """Scores of dialogues by a loaded preference model."""
    checkpoint = engine.find(ranker)
    if checkpoint.sampler is not None:
        raise BadRequest(f"{ranker!r} is not a preference model", code="wrong_checkpoint_kind")
    job = ScoreJob(dialogues=dialogues)
    engine.score(job, checkpoint=checkpoint)
    try:
        return await asyncio.wrap_future(job.answer)
    except DialogueError as wrong:
        raise BadRequest(str(wrong), code="invalid_dialogue") from None
