"""Sample k responses per prompt, score them, keep the ranking: rejection-sampled data and the √log k curve.

It does not train anything and knows no database.
"""

import gzip
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from modelserving.core.artifacts import publish, utc_now, write_manifest
from modelserving.core.sampling import sample_seed
from modelserving.lm.loading import LoadedModel, load_language_model, load_preference_model
from training.config import BestOfKConfig, to_dict
from training.core.distributed import Ranks
from training.core.evaluation.intervals import mean, mean_by
from training.core.outcome import NonFinite, Outcome
from training.core.prompts import (
    Prompt,
    cut_prompts,
    file_prompts,
    release_prompts,
    require_positions,
    sample_of,
)
from training.core.rollout import Rollout, collect, score_rollout
from training.core.row_files import keep_lines, whole_lines
from training.core.run_directory import RunDirectory
from training.core.seeding import prepare
from training.core.sharding import loading, shard

ROLLOUTS = "rollouts"
GROWING = f"{ROLLOUTS}.partial"  # rows batch by batch; it goes when they are published, not before
PACKED = f"{ROLLOUTS}.packed"  # what will be published
ROWS = "rankings.jsonl"
ALONE = Ranks()


def train(run: RunDirectory, config: BestOfKConfig) -> Outcome:
    """Rank k samples for every prompt; a run that was interrupted goes on with the next batch."""
    prepare(config)
    run.progress(0, 1, "reading the inputs")
    how = loading(config, ranks=run.ranks, is_trained=False)
    policy = load_language_model(run.inputs("initial"), **how)
    ranker = load_preference_model(run.inputs("ranker"), **how)
    require_positions(policy, prompt=config.max_prompt_tokens, response=config.max_response_tokens)
    for each in (policy, ranker):
        shard(each.model, config=config, ranks=run.ranks)
    prompts = _prompts(run, policy=policy, config=config)
    run.log(f"prompts: {len(prompts)}, cut from the left: {cut_prompts(prompts)}")
    total = math.ceil(len(prompts) / config.batch_prompts)
    rows = _finished_rows(run, per_batch=config.batch_prompts, prompts=len(prompts))
    done = math.ceil(len(rows) / config.batch_prompts)
    for step in range(done, done if (run.path / ROLLOUTS).exists() else total):
        halt = run.agreed_halt()
        if halt == "interrupt":
            return Outcome(state="interrupted", step=step)
        if halt == "stop":
            break
        batch = prompts[step * config.batch_prompts :][: config.batch_prompts]
        ranked = rank_batch(
            batch, policy=policy, ranker=ranker, config=config, step=step, ranks=run.ranks
        )
        run.append_rows(f"{GROWING}/{ROWS}", ranked)
        rows += ranked
        run.metrics(step + 1, _metrics(ranked))
        run.progress(step + 1, total, "sampling and scoring")
    return _finish(run, config=config, rows=rows, total=total)


def _prompts(run: RunDirectory, *, policy: LoadedModel, config: BestOfKConfig) -> list[Prompt]:
    """Prompts of the `prompts` file where there is one, else of the release's test split."""
    encoding: dict[str, Any] = {
        "encoder": policy.tokenizer,
        "layout": policy.dialogue_format,
        "room": config.max_prompt_tokens,
    }
    if run.has_input("prompts"):
        return file_prompts(run.inputs("prompts"), **encoding)[: config.prompts]
    found = release_prompts(run.inputs("release"), "test", **encoding)
    return sample_of(found, count=config.prompts)


def _finished_rows(run: RunDirectory, *, per_batch: int, prompts: int) -> list[dict[str, Any]]:
    """Rows of whole batches of an attempt before, and their metrics; what follows them is cut off."""
    path, published = run.path / GROWING / ROWS, run.path / ROLLOUTS / f"{ROWS}.gz"
    is_published = published.exists()
    if is_published:
        lines = gzip.decompress(published.read_bytes()).decode("utf-8").split("\n")[:-1]
    else:
        path.parent.mkdir(exist_ok=True)
        lines = whole_lines(path)
        if len(lines) < prompts:  # else the last batch may be a small one
            lines = lines[: len(lines) // per_batch * per_batch]
    run.ranks.wait()  # every rank has read
    if run.ranks.is_main and not is_published:
        keep_lines(path, lines)
    rows = [json.loads(line) for line in lines]
    run.drop_rows(after=math.ceil(len(rows) / per_batch))
    recorded = {row["step"] for row in run.rows("metrics.jsonl")}
    for step, start in enumerate(range(0, len(rows), per_batch), 1):
        if step not in recorded:  # killed between the two
            run.metrics(step, _metrics(rows[start : start + per_batch]))
    return rows


def _metrics(ranked: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What a batch tells of itself."""
    best = sum(row["responses"][0]["score"] for row in ranked) / len(ranked)
    every = [each["score"] for row in ranked for each in row["responses"]]
    return {"best_of_k/best": best, "best_of_k/mean": sum(every) / len(every)}


def rank_batch(
    prompts: Sequence[Prompt],
    *,
    policy: LoadedModel,
    ranker: LoadedModel,
    config: BestOfKConfig,
    step: int,
    ranks: Ranks = ALONE,
) -> list[dict[str, Any]]:
    """One row per prompt with its k responses, best first; each rank samples and scores its share."""
    rollout = collect(
        policy,
        prompts,
        samples_per_prompt=config.k,
        max_new_tokens=config.max_response_tokens,
        temperature=config.temperature,
        seed=sample_seed(seed=config.seed, index=step),
        ranks=ranks,
    )
    scores = score_rollout(ranker, rollout, ranks=ranks).tolist()
    if not all(map(math.isfinite, scores)):
        raise NonFinite("a score", step=step)
    return [
        _row(prompt, rollout=rollout, scores=scores, start=index * config.k, k=config.k)
        for index, prompt in enumerate(prompts)
    ]


def _row(
    prompt: Prompt, *, rollout: Rollout, scores: Sequence[float], start: int, k: int
) -> dict[str, Any]:
    order = sorted(range(start, start + k), key=lambda index: -scores[index])
    return {
        "messages": [dict(message) for message in prompt.messages],
        "objective": prompt.objective,
        "responses": [
            {
                "text": rollout.texts[index],
                "score": scores[index],
                "sample": index - start,
                "finish_reason": "stop" if rollout.ended[index] else "length",
            }
            for index in order
        ],
    }


def _finish(
    run: RunDirectory, *, config: BestOfKConfig, rows: list[dict[str, Any]], total: int
) -> Outcome:
    """Publish the rankings and the curve of score against √log k."""
    step = math.ceil(len(rows) / config.batch_prompts)
    state = "done" if step == total else "stopped"
    if not rows:
        return Outcome(state="stopped", step=0, reason="asked to stop before the first batch")
    curve = score_curve([[each["score"] for each in row["responses"]] for row in rows])
    run.write_json("evaluation.json", {"best_of_k": curve})
    if run.ranks.is_main:
        _publish(run, config=config)
    headline = {f"best_of_{point['k']}_score": point["score"] for point in (curve[0], curve[-1])}
    alone = [sum(each["score"] for each in row["responses"]) / config.k for row in rows]
    headline["best_of_1_score"] |= {
        "by_objective": mean_by([row["objective"] for row in rows], alone)
    }
    return Outcome(state=state, step=step, results={**headline, "prompts": len(rows)})


def _publish(run: RunDirectory, *, config: BestOfKConfig) -> None:
    """Pack the rows beside themselves, and let go of them when the pack is in its place."""
    growing, packed, final = (run.path / name for name in (GROWING, PACKED, ROLLOUTS))
    if not final.exists():
        if packed.exists():  # of an attempt that died
            shutil.rmtree(packed)
        packed.mkdir()
        rows = (growing / ROWS).read_bytes()
        (packed / f"{ROWS}.gz").write_bytes(gzip.compress(rows, mtime=0))
        roles = ("initial", "ranker", "prompts", "release")
        write_manifest(
            packed,
            kind="rollouts",
            parents=[run.input_hash(role) for role in roles if run.has_input(role)],
            config=to_dict(config),
            code="",
            created=utc_now(),
        )
        publish(packed, final)
    if growing.exists():
        shutil.rmtree(growing)


def score_curve(scores: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Expected best score of k' = 1, 2, 4 … k samples, beside √log k' and the KL of best-of-k' (§4.3)."""
    k = len(scores[0])
    sizes = sorted({*(2**power for power in range(k.bit_length()) if 2**power <= k), k})
    return [
        {
            "k": size,
            "score": mean([expected_best(own, of=size) for own in scores]),
            "sqrt_log_k": math.sqrt(math.log(size)),
            "kl": math.log(size) - (size - 1) / size,
        }
        for size in sizes
    ]


def expected_best(scores: Sequence[float], *, of: int) -> float:
    """Mean of the best of `of` samples over all subsets of the scores (exact, by order statistics)."""
    k = len(scores)
    ordered = sorted(scores)
    subsets = math.comb(k, of)
    return sum(
        score * math.comb(rank, of - 1) / subsets
        for rank, score in enumerate(ordered)
        if rank >= of - 1
    )
