"""Sample a list of prompts to the end on a GPU: the device draws many tokens before the host looks.

A sample's random numbers depend on its seed alone, as everywhere. A prompt is read once for all its samples that begin
together. It does not know text, rewards or users.

Legend: N rows, R tokens of a response, M tokens of prompts as they are copied into rows.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from torch import Tensor
from transformers import PreTrainedModel

from modelserving.lm.attention import hidden_states, pack
from modelserving.lm.choosing import uniforms_of
from modelserving.lm.graph_steps import DecodingRows, Drawing, copied_bytes
from modelserving.lm.llama_body import FAMILIES, has_table, shape_of
from modelserving.lm.packed_llama import fits
from modelserving.lm.sample_requests import Sampled

MOST_ROWS = 256
CHECK = 16  # tokens drawn before finished rows are looked for
PROMPT_TOKENS = 16384  # read in one go
ROOM_STEP = 64
SHARE_OF_FREE = 0.5  # of the GPU's memory, for keys and values


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """One sample."""

    prompt: tuple[int, ...]
    place: tuple[int, int]  # in the answer
    seed: int


def suits(model: PreTrainedModel) -> bool:
    """Whether this model is sampled so: it is like Llama, lies whole on a GPU, and its turns can be kept in a table."""
    if type(model).__name__ not in FAMILIES or next(model.parameters()).device.type != "cuda":
        return False
    return fits(model.base_model) and has_table(model.base_model.rotary_emb)


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    seeds: Sequence[Sequence[int]],
    drawing: Drawing,
    most_rows: int = MOST_ROWS,
) -> list[list[Sampled]]:
    """A response for each seed of each prompt; a stop token, if it came to one, is its last token."""
    wanted = [
        _Wanted(prompt=tuple(prompt), place=(i, j), seed=seed)
        for i, (prompt, own) in enumerate(zip(prompts, seeds, strict=True))
        for j, seed in enumerate(own)
    ]
    assert all(each.prompt for each in wanted), "a prompt has at least one token"
    if not wanted or not drawing.most_tokens:
        return [[Sampled(finish_reason="length") for _ in own] for own in seeds]
    was_training = model.training
    model.eval()
    batch = _Batch(model, wanted, drawing=drawing, most_rows=most_rows)
    found = batch.drained()
    model.train(was_training)
    return [[found[(i, j)] for j in range(len(own))] for i, own in enumerate(seeds)]


class _Batch:
    """Rows and who sits in them."""

    def __init__(
        self, model: PreTrainedModel, wanted: Sequence[_Wanted], *, drawing: Drawing, most_rows: int
    ) -> None:
        self._model, self._drawing = model, drawing
        self._waiting = deque(wanted)
        longest = max(len(each.prompt) for each in wanted)
        slots = -(-(longest + drawing.most_tokens) // ROOM_STEP) * ROOM_STEP
        rows = max(1, min(most_rows, len(wanted), _rows_with_room(model, slots=slots)))
        self._rows = DecodingRows(model, rows=rows, slots=slots, drawing=drawing)
        self._seated: list[_Wanted | None] = [None] * rows
        self._reached = [0] * rows  # slots, at most

    def drained(self) -> dict[tuple[int, int], Sampled]:
        """All samples, each at its place."""
        found: dict[tuple[int, int], Sampled] = {}
        while self._waiting or any(self._seated):
            self._seat()
            for _ in range(min(CHECK, self._drawing.most_tokens)):
                self._reached = [each + 1 for each in self._reached]
                running = [n for n, each in enumerate(self._seated) if each is not None]
                self._rows.advance(reach=max(self._reached[row] for row in running))
            found |= self._harvest()
        return found

    def _seat(self) -> None:
        """Give free rows to the next that wait, and read their prompts."""
        free = [row for row, each in enumerate(self._seated) if each is None]
        fresh = [(row, self._waiting.popleft()) for row in free[: len(self._waiting)]]
        if not fresh:
            return
        for row, each in fresh:
            self._seated[row], self._reached[row] = each, len(each.prompt) - 1
        for part in _parts(fresh):
            self._read(part)
        device = self._rows.ended.device
        at = torch.tensor([row for row, _ in fresh], device=device)
        numbers = uniforms_of([each.seed for _, each in fresh], count=self._drawing.most_tokens)
        self._rows.uniforms[at] = torch.from_numpy(numbers).to(device)
        last = [(each.prompt[-1], len(each.prompt) - 1) for _, each in fresh]
        self._rows.last[at], self._rows.position[at] = torch.tensor(last, device=device).unbind(1)
        self._rows.drawn[at], self._rows.ended[at] = 0, False

    def _read(self, part: Sequence[tuple[int, _Wanted]]) -> None:
        """Keys and values of prompts but for their last tokens, which are read as the first step's."""
        trees, source, target = [], [], []
        start = 0
        for prompt, own in groupby(part, key=lambda each: each[1].prompt):
            count = len(prompt) - 1
            if count:
                trees.append([prompt[:-1]])
                for row, _ in own:
                    source += range(start, start + count)
                    target += [(row, slot) for slot in range(count)]
                start += count
        if not trees:
            return
        device = self._rows.ended.device
        row, slot = torch.tensor(target, device=device).unbind(1)  # (M,) each
        keep = partial(self._keep, source=torch.tensor(source, device=device), row=row, slot=slot)
        packed = pack(trees)
        hidden_states(self._model, packed, asked=packed.ends[:1], keep=keep)

    def _keep(
        self, layer: int, key: Tensor, value: Tensor, *, source: Tensor, row: Tensor, slot: Tensor
    ) -> None:
        """Copy a layer's turned keys and values (T, G, D) into rows."""
        self._rows.keys[layer][row, :, slot] = key[source]
        self._rows.values[layer][row, :, slot] = value[source]

    def _harvest(self) -> dict[tuple[int, int], Sampled]:
        """What has ended; its rows are free."""
        ended = self._rows.ended.tolist()
        done = [n for n, each in enumerate(self._seated) if each is not None and ended[n]]
        if not done:
            return {}
        at = torch.tensor(done, device=self._rows.ended.device)
        numbers = (self._rows.drawn[at], self._rows.tokens[at], self._rows.costs[at])
        found: dict[tuple[int, int], Sampled] = {}
        for row, *own in zip(done, *(each.tolist() for each in numbers), strict=True):
            seated = self._seated[row]
            assert seated is not None
            found[seated.place] = self._sampled(*own)
            self._seated[row] = None
        return found

    def _sampled(self, drawn: int, tokens: list[int], costs: list[float]) -> Sampled:
        has_stopped = tokens[drawn - 1] in self._drawing.stop_ids
        return Sampled(
            token_ids=tokens[:drawn],
            logprobs=costs[:drawn],
            finish_reason="stop" if has_stopped else "length",
        )


def _parts(fresh: Sequence[tuple[int, _Wanted]]) -> list[list[tuple[int, _Wanted]]]:
    """As many together as hold about PROMPT_TOKENS; samples of one prompt stay next to each other."""
    parts: list[list[tuple[int, _Wanted]]] = [[]]
    filled = 0
    for prompt, own in groupby(fresh, key=lambda each: each[1].prompt):
        if filled and filled + len(prompt) > PROMPT_TOKENS:
            parts.append([])
            filled = 0
        parts[-1] += own
        filled += len(prompt)
    return parts


def _rows_with_room(model: PreTrainedModel, *, slots: int) -> int:
    """How many rows' keys and values fit into a share of the memory that is free."""
    shape = shape_of(model)
    if shape.device.type != "cuda":
        return MOST_ROWS
    free, _ = torch.cuda.mem_get_info(shape.device)
    kept = torch.cuda.memory_reserved(shape.device) - torch.cuda.memory_allocated(shape.device)
    room = SHARE_OF_FREE * (free + kept - copied_bytes(model))
    return int(room / (slots * shape.bytes_per_token))
