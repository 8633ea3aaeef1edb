"""Next-token training on a prepared corpus, resumable to the bit when its length is in steps.

It does not know where the corpus comes from, the database, or who serves the result.

B batch of blocks, T tokens of a block, V vocabulary.
"""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from modelserving.core.dialogue import DialogueFormat
from modelserving.lm.saving import write_model_files, write_weights
from modelserving.lm.tokenizer import PAD, TextTokenizer
from training.config import ConfigError, LanguageModelConfig, MixturePhase
from training.core.checkpointing import ResumeState
from training.core.corpus import MixtureReader, Source, load_corpus
from training.core.master_weights import MasterWeights, Optimizers, make_optimizers
from training.core.outcome import NonFinite, Outcome
from training.core.run_directory import Halt, RunDirectory
from training.core.seeding import precision_of, prepare

BlockLoss = Callable[[Tensor, Tensor], Tensor]


def train(run: RunDirectory, config: LanguageModelConfig) -> Outcome:
    """Run to the end of the schedule, to a stop request, or to an interrupt."""
    device = prepare(config)
    corpus = run.inputs("corpus")
    initial = run.inputs("initial") if run.has_input("initial") else None
    tokenizer_directory = initial or corpus / "tokenizer"
    trainer = _Trainer(
        run=run,
        config=config,
        corpus=corpus,
        initial=initial,
        tokenizer_directory=tokenizer_directory,
        device=device,
    )
    return trainer.run_to_end()


def next_token_loss(model: PreTrainedModel, *, ids_BT: Tensor, is_target_BT: Tensor) -> Tensor:
    """Summed cross-entropy of each target token given the tokens before it, () float32.

    is_target_BT is True where the token is to be predicted; a block's first token never is.
    """
    hidden = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state  # (B, T, H)
    logits = F.linear(hidden[:, :-1], model.lm_head.weight).flatten(0, 1)  # (B*(T-1), V)
    losses = F.cross_entropy(logits.float(), ids_BT[:, 1:].flatten(), reduction="none")
    return (losses * is_target_BT[:, 1:].flatten().float()).sum()


def learning_rate_fraction(config: LanguageModelConfig, *, step: int, progress: float) -> float:
    """Share of the peak learning rate: warm-up by steps, decay by the run's progress 0..1."""
    warm = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "constant" or progress <= config.decay_from:
        return warm
    along = min(1.0, (progress - config.decay_from) / max(1e-9, 1.0 - config.decay_from))
    shape = (1 + math.cos(math.pi * along)) / 2 if config.schedule == "cosine" else 1 - along
    low = config.final_learning_rate
    return warm * (low + (1 - low) * shape)


def phase_at(phases: tuple[MixturePhase, ...], *, progress: float) -> MixturePhase:
    """The phase that a point of the run belongs to."""
    return next((phase for phase in phases if progress < phase.until), phases[-1])


def new_model(
    config: LanguageModelConfig, *, tokenizer: TextTokenizer, layout: DialogueFormat
) -> LlamaForCausalLM:
    """A Llama with tied embeddings from nothing, seeded by the caller."""
    shape = config.shape
    llama = LlamaConfig(
        vocab_size=tokenizer.vocabulary_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.attention_heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.context_tokens,
        tie_word_embeddings=True,
        attention_dropout=0.0,
        bos_token_id=None,
        eos_token_id=tokenizer.token_id(layout.end_of_turn),
        pad_token_id=tokenizer.token_id(PAD),
        initializer_range=0.02,
    )
    return LlamaForCausalLM(llama)


class _Trainer:
    """The state of one run: model, optimizers, readers, and where it stands."""

    def __init__(
        self,
        *,
        run: RunDirectory,
        config: LanguageModelConfig,
        corpus: Path,
        initial: Path | None,
        tokenizer_directory: Path,
        device: torch.device,
    ) -> None:
        self.run, self.config, self.device = run, config, device
        self.ranks = run.ranks
        self.tokenizer_directory = tokenizer_directory
        layout_file = tokenizer_directory / "dialogue.json"
        layout = DialogueFormat.from_dict(json.loads(layout_file.read_text(encoding="utf-8")))
        tokenizer = TextTokenizer.from_file(tokenizer_directory / "tokenizer.json")
        run.progress(0, config.steps, "reading the corpus")
        self.model = self._make_model(initial, tokenizer=tokenizer, layout=layout)
        limit = int(self.model.config.max_position_embeddings)
        if config.block_tokens > limit:
            raise ConfigError(
                f"block_tokens {config.block_tokens} is beyond the model's {limit} positions: "
                "lower it"
            )
        self.parents = [
            run.input_hash(role) for role in ("initial", "corpus") if run.has_input(role)
        ]
        blocks = {"tokenizer": tokenizer, "layout": layout, "block_tokens": config.block_tokens}
        sources = load_corpus(corpus, "train", **blocks)
        self.held_out: dict[str, Source] = load_corpus(corpus, "valid", **blocks)
        self.reader = MixtureReader(sources, block_tokens=config.block_tokens, seed=config.seed)
        self.master = MasterWeights(self.model)
        self.optimizers: Optimizers = make_optimizers(self.master.parameters, config=config)
        self.step, self.seconds, self.tokens = 0, 0.0, 0
        count = sum(p.numel() for p in self.master.parameters.values())
        run.require_space(count * 16)
        sizes = {name: len(source.tokens) for name, source in sources.items()}
        run.log(f"{count} parameters; training tokens per source: {sizes}")
        self.loss = self._block_loss()

    def _make_model(
        self, initial: Path | None, *, tokenizer: TextTokenizer, layout: DialogueFormat
    ) -> PreTrainedModel:
        dtype = precision_of(self.config, device=self.device)
        if initial is None:
            model: PreTrainedModel = new_model(self.config, tokenizer=tokenizer, layout=layout)
        else:
            model = AutoModelForCausalLM.from_pretrained(
                initial, local_files_only=True, use_safetensors=True, dtype=torch.float32
            )
        return model.to(self.device, dtype)

    def _block_loss(self) -> BlockLoss:
        def loss(ids_BT: Tensor, is_target_BT: Tensor) -> Tensor:
            return next_token_loss(self.model, ids_BT=ids_BT, is_target_BT=is_target_BT)

        return torch.compile(loss) if self.config.compile else loss

    # the loop

    @property
    def fraction_done(self) -> float:
        """How much of the run lies behind, 0..1, by time where the run ends by time."""
        if self.config.max_minutes:
            return min(1.0, self.seconds / (60 * self.config.max_minutes))
        return self.step / self.config.steps

    def run_to_end(self) -> Outcome:
        """Train from the newest resume state, or from the start."""
        state = self.run.load_resume()
        if state is not None:
            self._restore(state)
        while True:
            halt = self._agree_on_halt()
            if self.fraction_done >= 1.0:
                break
            if halt == "interrupt":
                self._checkpoint(milestone=False)
                return Outcome(state="interrupted", step=self.step)
            if halt == "stop":
                self._checkpoint(milestone=True)
                return Outcome(state="stopped", step=self.step, results=self._results())
            self._train_step()
        self._checkpoint(milestone=True)
        return Outcome(state="done", step=self.step, results=self._results())

    def _agree_on_halt(self) -> Halt | None:
        """Rank 0 looks at the clock and at stop requests for all."""
        words: list[Halt | None] = [None, "stop", "interrupt"]
        wish = float(words.index(self.run.should_stop()))
        self.seconds, wish = self.ranks.from_main([self.seconds, wish])
        return words[int(wish)]

    def _train_step(self) -> None:
        began = time.monotonic()
        progress = self.fraction_done
        row = {"lm/loss": self._accumulate(phase_at(self.config.phases, progress=progress))}
        self.master.take_gradients()
        self.ranks.sum_gradients(self.master.parameters.values())
        norm = self.master.clip(max_norm=self.config.max_gradient_norm)
        if not math.isfinite(norm):
            raise NonFinite("the gradient", step=self.step)
        share = learning_rate_fraction(self.config, step=self.step, progress=progress)
        self.optimizers.step(fraction=share)
        self.master.give_back()
        self.step += 1
        took = time.monotonic() - began
        self.seconds += took
        per_step = self.config.batch_blocks * self.config.block_tokens * self.config.accumulation
        self.tokens += per_step
        row |= {
            "lm/gradient_norm": norm,
            "lm/learning_rate": share * self.config.learning_rate,
            "lm/tokens": self.tokens,
            "lm/tokens_per_second": per_step / took,
        }
        if self.step % self.config.evaluate_every == 0:
            row |= self.held_out_losses()
        self.run.metrics(self.step, row)
        self._report(phase="training")
        self._checkpoint_when_due()

    def _accumulate(self, phase: MixturePhase) -> float:
        """Gradients of one optimizer step; returns the mean loss."""
        total = 0.0
        for micro in range(self.config.accumulation):
            ids, is_response = self.reader.batch(
                self.step * self.config.accumulation + micro,
                blocks=self.config.batch_blocks,
                weights=phase.weights,
            )
            ids_BT = torch.from_numpy(ids).long().to(self.device)
            is_target_BT = torch.from_numpy(is_response).to(self.device)
            if phase.loss_on == "all":
                is_target_BT = torch.ones_like(is_target_BT)
            targets = int(is_target_BT[:, 1:].sum()) * self.config.accumulation
            mine = self.ranks.share(len(ids_BT))
            loss = self.loss(ids_BT[mine], is_target_BT[mine]) / max(1, targets)
            loss.backward()
            total += float(loss.detach())
        total = self.ranks.sum(total)
        if not math.isfinite(total):
            raise NonFinite("the loss", step=self.step)
        return total

    @torch.no_grad()
    def held_out_losses(self) -> dict[str, float]:
        """Mean loss per token on held-out blocks, by source and on all dialogue sources."""
        losses: dict[str, float] = {}
        for name, source in self.held_out.items():
            reader = MixtureReader(
                {name: source}, block_tokens=self.config.block_tokens, seed=self.config.seed
            )
            blocks = min(
                self.config.evaluation_blocks,
                max(1, len(source.tokens) // self.config.block_tokens),
            )
            values = []
            for draw in range(blocks):
                ids, _ = reader.batch(draw, blocks=1, weights={})
                ids_BT = torch.from_numpy(ids).long().to(self.device)
                is_target_BT = torch.ones_like(ids_BT, dtype=torch.bool)
                loss = next_token_loss(self.model, ids_BT=ids_BT, is_target_BT=is_target_BT)
                values.append(float(loss) / (ids_BT.shape[1] - 1))
            losses[f"held_out/{name}"] = sum(values) / len(values)
        return losses

    # files

    def _report(self, *, phase: str) -> None:
        left = None
        total = self.config.steps
        if self.config.max_minutes:
            left = 60 * self.config.max_minutes - self.seconds
            total = max(self.step, round(self.step / max(self.fraction_done, 1e-9)))
        self.run.progress(self.step, total, phase, seconds_left=left)

    def _checkpoint_when_due(self) -> None:
        publish = self.config.publish_every and self.step % self.config.publish_every == 0
        if publish or self.step % self.config.checkpoint_every == 0:
            self._checkpoint(milestone=bool(publish))

    def _checkpoint(self, *, milestone: bool) -> None:
        tensors = self.master.tensors() | self.optimizers.tensors()
        scalars = {"seconds": self.seconds, "tokens": self.tokens, "readers": self.reader.state()}
        self.run.publish_checkpoint(
            step=self.step,
            write=self._write_weights,
            kind="language_model",
            parents=self.parents,
            resume=ResumeState(step=self.step, tensors=tensors, scalars=scalars),
            milestone=milestone,
        )

    def _write_weights(self, directory: Path) -> None:
        write_weights(self.master.parameters, directory=directory)
        write_model_files(
            directory=directory,
            config=self.model.config,
            tokenizer_directory=self.tokenizer_directory,
            architecture=type(self.model).__name__,
        )

    def _restore(self, state: ResumeState) -> None:
        self.master.restore(state.tensors)
        self.optimizers.restore(state.tensors)
        self.reader.restore(state.scalars["readers"])
        self.step = state.step
        self.seconds = state.scalars["seconds"]
        self.tokens = state.scalars["tokens"]

    def _results(self) -> dict[str, object]:
        losses = self.held_out_losses()
        perplexity = {name: math.exp(value) for name, value in losses.items()}
        return {
            "held_out_loss": losses,
            "held_out_perplexity": perplexity,
            "tokens": self.tokens,
            "minutes": self.seconds / 60,
        }
