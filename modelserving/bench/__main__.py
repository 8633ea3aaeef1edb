"""`./start bench serving`: our sampler, scorer and server beside transformers, in the same run.

Prints a table and, as its last line, one JSON object of medians. Knows no Django and no database.
"""

import argparse
import asyncio
import copy
import json
import os
import random
import statistics
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "5000")  # as in the server; read by torch
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # large pages for keys and values

import torch
import transformers

from modelserving.bench import limits, rivals, walk
from modelserving.lm.llama_reading import reader_of
from modelserving.lm.loading import load_language_model
from modelserving.lm.preference_model import from_language_model
from modelserving.lm.sample_requests import SampleRequest
from modelserving.lm.sampler import Sampler
from modelserving.lm.scoring import Scorer

STARTER = Path(__file__).parents[1] / "starter"
USERS, STREAMS, SAMPLES = 8, 2, 16
PROMPT_TOKENS, NEW_TOKENS = 256, 96
PARTS = ("streams", "continuous", "best_of", "scoring", "server")
Prompts = list[list[int]]


def arguments() -> argparse.Namespace:
    """The command line."""
    called_from = Path(os.environ.get("CALLED_FROM", ""))  # ./start says it, and comes here
    parser = argparse.ArgumentParser(prog="./start bench serving", description=__doc__)
    parser.add_argument("--checkpoint", type=called_from.joinpath, default=STARTER)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=PARTS, help="only these; default: all"
    )
    parser.add_argument(
        "--quick", action="store_true", help="8 new tokens: only to see that it runs"
    )
    return parser.parse_args()


def ours(sampler: Sampler, requests: list[SampleRequest]) -> float:
    """Seconds for all of these requests, arriving at once."""
    started = time.perf_counter()
    for request in requests:
        sampler.add(request)
    while sampler.running or sampler.waiting:
        sampler.step()
    return time.perf_counter() - started


def request_of(
    prompt: list[int], *, key: str, seeds: tuple[int, ...], tokens: int
) -> SampleRequest:
    """Plain sampling of a fixed length."""
    return SampleRequest(key=key, prompt=tuple(prompt), seeds=seeds, max_tokens=tokens)


class Bench:
    """All cases over one checkpoint."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        """Load the checkpoint and draw the prompts."""
        self.repeats: int = chosen.repeats
        self.tokens = 8 if chosen.quick else NEW_TOKENS
        self.loaded = load_language_model(chosen.checkpoint)
        self.model = self.loaded.model
        self.sampler = Sampler(
            reader_of(self.model), max_rows=SAMPLES
        )  # lives on, as in the server
        self.ranker = from_language_model(self.model, seed=0).eval()
        ours = copy.deepcopy(self.ranker)  # laid out anew; the rival keeps its own
        self.scorer = Scorer(replace(self.loaded, model=ours, config=ours.config))
        self.parts = tuple(chosen.parts)
        self.batching: rivals.ContinuousBatching | None = None
        if "continuous" in self.parts:
            self.batching = rivals.ContinuousBatching(chosen.checkpoint, threads=chosen.threads)
        self._rng = random.Random(20261124)
        self.results: dict[str, list[float]] = {}
        self.scored_tokens = 0

    def fresh_prompts(self, count: int) -> Prompts:
        """Prompts that were never read before."""
        size = self.model.config.vocab_size
        return [[self._rng.randrange(8, size) for _ in range(PROMPT_TOKENS)] for _ in range(count)]

    def note(self, name: str, seconds: float | None) -> None:
        """Write one measurement down."""
        self.results.setdefault(name, []).append(float("nan") if seconds is None else seconds)

    def median(self, name: str) -> float:
        """The median of a case, in seconds."""
        return statistics.median(self.results[name])

    def streams(self) -> None:
        """Eight users with two streams each."""
        prompts = self.fresh_prompts(USERS)
        twice = [prompt for prompt in prompts for _ in range(STREAMS)]
        requests = [
            request_of(prompt, key=str(i), seeds=(i,), tokens=self.tokens)
            for i, prompt in enumerate(twice)
        ]
        self.note("streams", ours(self.sampler, requests))
        self.note("static", rivals.generate_together(self.model, twice, tokens=self.tokens))
        if self.batching is not None:
            self.note("generate", rivals.generate_each(self.model, twice, tokens=self.tokens))
            self.note("continuous", self.batching.seconds(twice, tokens=self.tokens))

    def best_of(self) -> None:
        """Sixteen samples of one prompt."""
        (prompt,) = self.fresh_prompts(1)
        request = request_of(prompt, key="a", seeds=tuple(range(SAMPLES)), tokens=self.tokens)
        self.note("best_of", ours(self.sampler, [request]))
        seconds = rivals.generate_samples(self.model, prompt, samples=SAMPLES, tokens=self.tokens)
        self.note("best_of_generate", seconds)

    def scoring(self) -> None:
        """Sixteen candidates of one prompt."""
        (prompt,) = self.fresh_prompts(1)
        replies = [self.fresh_prompts(1)[0][: self._rng.randint(24, 96)] for _ in range(SAMPLES)]
        sequences = [[*prompt, *reply] for reply in replies]
        self.scored_tokens = len(prompt) + sum(map(len, replies))  # the prompt once
        started = time.perf_counter()
        self.scorer.score_tokens(sequences)
        self.note("scoring", time.perf_counter() - started)
        self.note("scoring_padded", rivals.score_padded(self.ranker, sequences))

    async def server(self, chosen: argparse.Namespace) -> list[float]:
        """Seconds to first tokens through the real server, a few bursts."""
        found: list[float] = []
        async with walk.server(chosen.checkpoint, threads=chosen.threads) as client:
            await walk.burst(client, self.fresh_prompts(USERS), tokens=4)
            for _ in range(chosen.repeats):
                firsts, whole = await walk.burst(
                    client, self.fresh_prompts(USERS), tokens=self.tokens
                )
                found += firsts
                self.note("server", whole)
        return found


RATIOS = {
    "streams_over_generate": ("generate", "streams"),
    "streams_over_static_batch": ("static", "streams"),
    "streams_over_transformers_batching": ("continuous", "streams"),
    "best_of_16_over_generate": ("best_of_generate", "best_of"),
    "scoring_over_padded": ("scoring_padded", "scoring"),
}


def summary(bench: Bench, firsts: list[float], measured: limits.Limits) -> dict[str, Any]:
    """The figures of the last line, of the parts that were measured."""
    at, tokens = bench.median, USERS * STREAMS * bench.tokens
    found: dict[str, Any] = {
        name: at(theirs) / at(ours)
        for name, (theirs, ours) in RATIOS.items()
        if theirs in bench.results
    }
    if firsts:
        found["ttft_p95_s"] = sorted(firsts)[int(len(firsts) * 0.95)]
        found["server_tokens_per_s"] = tokens / at("server")
    if "streams" in bench.results:
        found["streams_tokens_per_s"] = tokens / at("streams")
    return {
        **found,
        **shares(bench, found, measured),
        "repeats": bench.repeats,
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "compiled": bench.sampler.reader.draw is not None,
    }


def shares(bench: Bench, found: dict[str, Any], measured: limits.Limits) -> dict[str, float]:
    """How near each part comes to what this machine could do at best."""
    reading = partial(limits.reading_seconds, bench.model, measured)
    sampling = partial(limits.sampling_seconds, bench.model, measured, rows=16, steps=bench.tokens)
    least = {
        "streams": sampling(prompts=USERS, prompt_tokens=PROMPT_TOKENS),
        "best_of": sampling(prompts=1, prompt_tokens=PROMPT_TOKENS),
        "scoring": reading(tokens=bench.scored_tokens),
    }
    names = {"streams": "streams", "best_of": "best_of_16", "scoring": "scoring"}
    shares = {
        f"{names[part]}_share_of_limit": seconds / bench.median(part)
        for part, seconds in least.items()
        if part in bench.results
    }
    if "ttft_p95_s" in found:
        shares["ttft_share_of_limit"] = reading(tokens=USERS * PROMPT_TOKENS) / found["ttft_p95_s"]
    return shares


def main() -> None:
    """Measure in turn, so that a busy moment touches all."""
    chosen = arguments()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(chosen.threads)
    bench = Bench(chosen)
    named = {"streams": bench.streams, "best_of": bench.best_of, "scoring": bench.scoring}
    cases = [case for name, case in named.items() if name in bench.parts]
    with torch.no_grad():
        for case in cases:  # the first round warms up
            case()
        bench.results.clear()
        for number in range(chosen.repeats):
            for case in cases:
                case()
            print(f"round {number + 1} of {chosen.repeats} done", flush=True)
    if bench.batching is not None:
        bench.batching.end()
    firsts = asyncio.run(bench.server(chosen)) if "server" in bench.parts else []
    measured = limits.measured(rows=16, width=bench.model.config.hidden_size)
    for name, seconds in bench.results.items():
        print(f"{name:20} {' '.join(f'{each:8.3f}' for each in seconds)} s")
    print(
        f"reads {measured.bytes_per_second / 1e9:.1f} GB/s, multiplies 16 rows at "
        f"{measured.flops_of_few_rows / 1e9:.0f} and 256 at "
        f"{measured.flops_of_many_rows / 1e9:.0f} GFLOP/s"
    )
    found = summary(bench, firsts, measured)
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
    print(json.dumps(rounded), flush=True)


if __name__ == "__main__":
    main()
