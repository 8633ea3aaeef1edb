"""The sequences of a distillation run, and the teacher's view of them under the prompt.

It does not know the student or its training. The teacher reads everything once; what it said is
kept in the run directory, shard by shard, so that a resumed run does not ask for it again.

N sequences, T tokens of a sequence, C tokens of the prompt, K stored tokens per position.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from modelserving.core.artifacts import (
    ArtefactError,
    fsync_path,
    publish,
    utc_now,
    verify,
    write_manifest,
)
from modelserving.lm.loading import LoadedModel
from training.config import ConfigError, ContextDistillationConfig
from training.core.corpus import CorpusRefused, MixtureReader, load_corpus
from training.core.distillation_loss import TopLogprobs, joined, top_logprobs
from training.core.distributed import Ranks
from training.core.hhh_prompt import encode_context
from training.core.outcome import Outcome
from training.core.run_directory import Halt, RunDirectory

ALONE = Ranks()
TEACHER_BATCH = 8
SHARD = 512  # sequences: what a kill costs, at most
PARTIAL = "teacher.partial"


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """Sequences and what the teacher, who sees the prompt, expects at each place."""

    ids: Tensor  # (N, T) int32
    expected: TopLogprobs  # (N, T - 1, K): for tokens 1 … T - 1


def draw_sequences(
    corpus: Path, part: str, *, loaded: LoadedModel, config: ContextDistillationConfig, count: int
) -> Tensor:
    """Half running text after a human marker, half dialogues (Bai et al. 2022, A.1); (N, T)."""
    sources = load_corpus(
        corpus,
        part,
        tokenizer=loaded.tokenizer,
        layout=loaded.dialogue_format,
        block_tokens=config.sequence_tokens,
    )
    if not sources:
        raise CorpusRefused(
            f"{corpus / part} has no document: fill it, or prepare the corpus again"
        )
    is_text = {name: bool(source.is_response.all()) for name, source in sources.items()}
    kinds = max(1, len(set(is_text.values())))
    weights = {
        name: len(source.tokens)
        / kinds
        / sum(len(other.tokens) for key, other in sources.items() if is_text[key] == is_text[name])
        for name, source in sources.items()
    }
    reader = MixtureReader(sources, block_tokens=config.sequence_tokens, seed=config.seed)
    ids, _ = reader.batch(0, blocks=count, weights=weights)
    human = loaded.tokenizer.token_id(loaded.dialogue_format.human)
    names = reader.drawn(0, blocks=count, weights=weights)
    text_rows = np.asarray([is_text[name] for name in names])
    ids[text_rows, 1:] = ids[text_rows, :-1]
    ids[text_rows, 0] = human
    return torch.from_numpy(np.ascontiguousarray(ids))


@torch.no_grad()
def ask_teacher(
    teacher: PreTrainedModel,
    *,
    context: list[int],
    ids: Tensor,
    top_tokens: int,
    ranks: Ranks = ALONE,
) -> TopLogprobs:
    """What the teacher expects for tokens 1 … T - 1 of each row after reading the prompt; each rank asks its share."""
    prompt = torch.tensor(context, dtype=torch.long, device=teacher.device)
    parts = []
    mine = ids[ranks.rank :: ranks.world] if len(ids) > ranks.rank else ids[:1]
    for batch in mine.split(TEACHER_BATCH):
        rows = batch.to(teacher.device).long()
        whole = torch.cat([prompt.expand(len(rows), -1), rows], dim=1)  # (B, C + T)
        hidden = teacher.get_decoder()(input_ids=whole, use_cache=False).last_hidden_state
        head = teacher.get_output_embeddings()
        parts.append(top_logprobs(head(hidden[:, len(context) : -1]), count=top_tokens))
    said = joined(parts)
    return TopLogprobs(
        **{
            field.name: _of_all(getattr(said, field.name).cpu(), rows=len(ids), ranks=ranks)
            for field in fields(TopLogprobs)
        }
    )


def _of_all(mine: Tensor, *, rows: int, ranks: Ranks) -> Tensor:
    """Every rank's rows, in order."""
    table = mine.new_zeros(rows, *mine.shape[1:])
    table[ranks.rank :: ranks.world] = mine[: len(range(ranks.rank, rows, ranks.world))]
    return ranks.sum_tensor(table)


def prepare_lessons(
    run: RunDirectory, *, config: ContextDistillationConfig, teacher: LoadedModel
) -> dict[str, Lessons] | Outcome:
    """The training and held-out lessons, read back when an earlier attempt finished them; or how the asking was halted."""
    where = run.path / "teacher"
    if not run.ranks.from_main([float(_is_whole(where))])[0]:
        halted = _write_lessons(run, where=where, config=config, teacher=teacher)
        if halted is not None:
            return halted
        run.ranks.wait()
    return {part: _read_back(where, part, rows=rows) for part, rows in _counts(config).items()}


def _counts(config: ContextDistillationConfig) -> dict[str, int]:
    return {"train": config.sequences, "valid": config.held_out_sequences}


def _read_back(where: Path, part: str, *, rows: int) -> Lessons:
    """One part's lessons out of its shards, so that no more than a shard is held twice."""
    tables: dict[str, Tensor] = {}
    start = 0
    for shard in sorted(where.glob(f"{part}*.safetensors")):
        stored = load_file(shard)
        for name, table in stored.items():
            whole = tables.setdefault(name, table.new_empty(rows, *table.shape[1:]))
            whole[start : start + len(table)] = table
        start += len(stored["ids"])
    ids = tables.pop("ids")
    return Lessons(ids=ids, expected=TopLogprobs(**tables))


def _is_whole(where: Path) -> bool:
    try:
        verify(where)
    except ArtefactError:
        return False
    return True


def _check_teacher(teacher: LoadedModel, *, config: ContextDistillationConfig) -> None:
    """Refuse what would end within the asking."""
    layout, limit = teacher.dialogue_format.format, teacher.positions
    if layout != "tokens":
        raise ConfigError(
            f"context_distillation needs a teacher of the tokens format, this one's is {layout}: "
            "choose a checkpoint whose dialogue.json says tokens"
        )
    if limit is not None and config.prompt_tokens + config.sequence_tokens > limit:
        raise ConfigError(
            f"prompt_tokens {config.prompt_tokens} + sequence_tokens {config.sequence_tokens} is "
            f"beyond the teacher's {limit} positions: lower one of them"
        )
    if config.top_tokens > teacher.config.vocab_size:
        raise ConfigError(
            f"top_tokens {config.top_tokens} is beyond the vocabulary of {teacher.config.vocab_size}: lower it"
        )


def _write_lessons(
    run: RunDirectory, *, where: Path, config: ContextDistillationConfig, teacher: LoadedModel
) -> Outcome | None:
    _check_teacher(teacher, config=config)
    context = encode_context(
        encoder=teacher.tokenizer, layout=teacher.dialogue_format, room=config.prompt_tokens
    )
    if context.examples == 0:
        raise ConfigError(
            f"prompt_tokens {config.prompt_tokens} has no room for one example: raise it"
        )
    run.log(f"the prompt has {len(context.token_ids)} tokens and {context.examples} examples")
    drawn = {  # all of it before the teacher is asked for any
        part: draw_sequences(run.inputs("corpus"), part, loaded=teacher, config=config, count=count)
        for part, count in _counts(config).items()
    }
    halted = _ask_in_shards(
        run, partial=_started(where, run=run), drawn=drawn, teacher=teacher.model,
        context=context.token_ids, top_tokens=config.top_tokens,
    )  # fmt: skip
    if halted is None and run.ranks.is_main:
        partial = where.with_name(PARTIAL)
        write_manifest(
            partial, kind="rollouts", parents=[teacher.hash], config={}, code="", created=utc_now()
        )
        publish(partial, where)
    return halted


def _started(where: Path, *, run: RunDirectory) -> Path:
    """The directory that shards are added to; what stands under the final name does not verify and is removed."""
    partial = where.with_name(PARTIAL)
    if run.ranks.is_main:
        if where.exists():
            run.log("the teacher's answers do not have their manifest's sums: they are asked again")
            shutil.rmtree(where)
        partial.mkdir(exist_ok=True)
    run.ranks.wait()
    return partial


def _ask_in_shards(
    run: RunDirectory,
    *,
    partial: Path,
    drawn: Mapping[str, Tensor],
    teacher: PreTrainedModel,
    context: list[int],
    top_tokens: int,
) -> Outcome | None:
    """Ask for what no shard answers yet; a halt leaves the shards that are whole to the next attempt."""
    done, total = 0, sum(map(len, drawn.values()))
    for part, ids in drawn.items():
        for index, rows in enumerate(ids.split(SHARD)):
            halt = run.agreed_halt()
            if halt is not None:
                return _halted(halt, done=done, total=total)
            run.progress(done, total, "asking the teacher")
            path = partial / f"{part}-{index:05d}.safetensors"
            if not _is_answered(path, rows=rows, ranks=run.ranks):
                top = ask_teacher(
                    teacher, context=context, ids=rows, top_tokens=top_tokens, ranks=run.ranks
                )
                if run.ranks.is_main:
                    _write_shard(path, {"ids": rows.contiguous(), **vars(top)})
            done += len(rows)
    return None


def _halted(halt: Halt, *, done: int, total: int) -> Outcome:
    if halt == "interrupt":
        return Outcome(state="interrupted", step=0)
    reason = f"asked to stop when the teacher had answered {done} of {total} sequences"
    return Outcome(state="stopped", step=0, reason=reason)


def _is_answered(path: Path, *, rows: Tensor, ranks: Ranks) -> bool:
    """Whether an attempt before has written what the teacher says to these sequences; rank 0 looks for all."""
    found = False
    if ranks.is_main and path.exists():
        with suppress(SafetensorError), safe_open(path, "pt") as shard:
            found = torch.equal(shard.get_tensor("ids"), rows)
    return bool(ranks.from_main([float(found)])[0])


def _write_shard(path: Path, tensors: dict[str, Tensor]) -> None:
    """Under its name it is whole, on the disk too."""
    growing = path.with_name(path.name + ".partial")
    save_file(tensors, growing)
    fsync_path(growing)
    growing.replace(path)
