"""Preference pretraining (PMP): a preference model's first training, on answers that readers scored.

It does not know comparisons by crowdworkers; the steps are those of the preference-model run.
"""

import hashlib
from dataclasses import fields
from pathlib import Path

from modelserving.core.dialogue import DialogueFormat, TextEncoder, encode_replies
from training.config import ConfigError, PreferenceModelConfig, PreferencePretrainingConfig
from training.core.batching import EncodedComparison, compact
from training.core.outcome import Outcome
from training.core.preference_sets import ComparisonSets
from training.core.preference_start import initial_preference_model
from training.core.preference_training import PreferenceTrainer, is_judged
from training.core.run_directory import RunDirectory
from training.core.scored_answers import Question, ScoredAnswer, ranked_pairs, read_questions
from training.core.seeding import prepare

HELD_OUT_PERCENT = 5  # of questions
GOOD, BAD = " GOOD", " BAD"


def train(run: RunDirectory, config: PreferencePretrainingConfig) -> Outcome:
    """Train on the pairs of the `answers` file, test on held-out questions."""
    device = prepare(config)
    run.progress(0, 1, "reading the answers")
    initial = initial_preference_model(run, config=config, device=device)
    sets = read_pairs(
        run.inputs("answers"),
        encoder=initial.tokenizer,
        layout=initial.dialogue_format,
        config=config,
    )
    run.log(f"pairs: {sets.counts}")
    trainer = PreferenceTrainer(
        run=run,
        config=as_preference_model(config),
        initial=initial,
        sets=sets,
        half="all",
        first_step=0,
    )
    trainer.require_memory()
    state = run.load_resume()
    results = dict(state.scalars["results"]) if state else {}
    if not is_judged(results, half="all", last_step=trainer.last_step):
        halted = trainer.run_to_end(state, results=results, parts_left=1)
        if halted is not None:
            return halted
    return Outcome(state="done", step=trainer.last_step, results=results)


def as_preference_model(config: PreferencePretrainingConfig) -> PreferenceModelConfig:
    """The same training settings as those of a preference-model run."""
    own = {field.name for field in fields(PreferenceModelConfig)} - {"kind"}
    shared = own & {field.name for field in fields(config)}
    return PreferenceModelConfig(**{name: getattr(config, name) for name in sorted(shared)})


def is_held_out(question: Question) -> bool:
    """Whether a question's pairs are for testing, by a fixed hash of its text."""
    digest = hashlib.sha256(f"scored-answers-split:{question.text}".encode()).hexdigest()
    return int(digest[:8], 16) % 100 < HELD_OUT_PERCENT


def read_pairs(
    path: Path,
    *,
    encoder: TextEncoder,
    layout: DialogueFormat,
    config: PreferencePretrainingConfig,
) -> ComparisonSets:
    """Encoded pairs of all questions, split by question."""
    encoded: dict[bool, list[EncodedComparison]] = {True: [], False: []}
    for question in read_questions(path):
        pairs = ranked_pairs(question, limit=config.pairs_per_question, seed=config.seed)
        encode = _PairEncoder(question, encoder=encoder, layout=layout)
        for better, worse in pairs:
            made = (
                encode.ranked(better, worse)
                if config.form == "ranked"
                else encode.binarised(better, worse)
            )
            encoded[is_held_out(question)] += made
    train, test = encoded[False], encoded[True]
    if not train or not test:
        raise ConfigError(
            f"{path.name} gives {len(train)} training and {len(test)} test pairs: "
            "bring more questions with differently scored answers"
        )
    cut = sum(comparison.is_cut for comparison in (*train, *test))
    return ComparisonSets(train=train, test=test, left_out={}, cut_from_the_left=cut)


class _PairEncoder:
    """Encodes the pairs of one question; they share its text as one tree."""

    def __init__(self, question: Question, *, encoder: TextEncoder, layout: DialogueFormat) -> None:
        self._question = question
        self._encoder = encoder
        self._layout = layout

    def ranked(self, better: ScoredAnswer, worse: ScoredAnswer) -> list[EncodedComparison]:
        """One comparison: the better answer against the worse."""
        return [self._comparison(chosen=better.text, rejected=worse.text)]

    def binarised(self, better: ScoredAnswer, worse: ScoredAnswer) -> list[EncodedComparison]:
        """Two: the better answer called GOOD over called BAD, the worse one the other way round (Askell et al. 2021)."""
        return [
            self._comparison(chosen=better.text + GOOD, rejected=better.text + BAD),
            self._comparison(chosen=worse.text + BAD, rejected=worse.text + GOOD),
        ]

    def _comparison(self, *, chosen: str, rejected: str) -> EncodedComparison:
        both = encode_replies(
            [{"role": "user", "content": self._question.text}],
            [chosen, rejected],
            encoder=self._encoder,
            layout=self._layout,
        )
        chosen, rejected = map(compact, both.dialogues)
        return EncodedComparison(
            chosen=chosen,
            rejected=rejected,
            prompt_tokens=len(both.prompt.token_ids),
            conversation=self._question.text,
            turn=1,
            objective="answers",
            tranche="base",
            strength=None,
            dropped_messages=both.prompt.dropped_messages,
            is_cut=both.is_cut,
        )
