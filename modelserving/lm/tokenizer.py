"""Train, save and wrap byte-level tokenizers so that typed text can never become a role token.

It does not know models or dialogue layouts beyond the names of the special tokens.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

from modelserving.core.dialogue import Dialogue, DialogueError, DialogueFormat
from modelserving.lm.chat_template import ChatTemplate

PAD = "<|pad|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|human|>' + message['content'] }}"
    "{% else %}{{ '<|assistant|>' + message['content'] + '<|endoftext|>' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WORDS_AND_SINGLE_DIGITS = (
    r"'(?:[sdmt]|ll|ve|re)|’(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


class TokenizerFailure(ValueError):
    """A tokenizer file that cannot serve here; the message says what is missing."""


class TextTokenizer:
    """A tokenizer with special tokens switched off in text: the adapter the engine uses."""

    def __init__(self, tokenizer: Tokenizer, *, chat: ChatTemplate | None = None) -> None:
        self._tokenizer = tokenizer
        self._tokenizer.encode_special_tokens = True  # typed "<|human|>" is text, never a role
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._chat = chat
        self.vocabulary_size: int = tokenizer.get_vocab_size()

    @classmethod
    def from_file(
        cls, path: Path, *, template: str | None = None, specials: Mapping[str, str] | None = None
    ) -> "TextTokenizer":
        """Read tokenizer.json; with a chat template, also how the checkpoint renders dialogues."""
        chat = ChatTemplate(path, template=template, specials=specials or {}) if template else None
        return cls(Tokenizer.from_file(str(path)), chat=chat)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text; nothing is added, special tokens are spelled out."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, token_ids: list[int]) -> str:
        """Text of token ids, without special tokens."""
        return str(self._tokenizer.decode(token_ids, skip_special_tokens=True))

    def token_id(self, token: str) -> int:
        """Id of a special token."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise TokenizerFailure(
                f"the tokenizer has no token {token!r}: name it in dialogue.json"
            )
        return int(found)

    def has_token(self, token: str) -> bool:
        """Whether the vocabulary holds this token."""
        return self._tokenizer.token_to_id(token) is not None

    def apply_chat_template(self, dialogue: Dialogue, *, for_reply: bool) -> list[int]:
        """Token ids by the checkpoint's own chat template; message texts stay plain text."""
        if self._chat is None:
            raise DialogueError('no chat template: set "format": "hh_text" in dialogue.json')
        return self._chat.encode(dialogue, for_reply=for_reply)

    def to_json(self) -> str:
        """The whole tokenizer as text: equal texts mean equal token ids."""
        return str(self._tokenizer.to_str())

    def save(self, path: Path) -> None:
        """Write tokenizer.json."""
        self._tokenizer.save(str(path))


def train_tokenizer(
    texts: Iterable[str], *, vocabulary_size: int, layout: DialogueFormat
) -> TextTokenizer:
    """Train a byte-level BPE whose first ids are the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS_AND_SINGLE_DIGITS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [layout.end_of_turn, PAD, layout.human, layout.assistant, layout.end_of_context]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in special],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return TextTokenizer(tokenizer)


def write_tokenizer(tokenizer: TextTokenizer, *, directory: Path, layout: DialogueFormat) -> None:
    """Write the tokenizer files of the Hugging Face layout, and dialogue.json."""
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory / "tokenizer.json")
    specials = {"eos_token": layout.end_of_turn, "pad_token": PAD}
    roles = [layout.human, layout.assistant, layout.end_of_context]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": layout.context_tokens,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
        "additional_special_tokens": roles,
        **specials,
    }
    _write_json(directory / "tokenizer_config.json", config)
    _write_json(
        directory / "special_tokens_map.json", {**specials, "additional_special_tokens": roles}
    )
    _write_json(directory / "dialogue.json", layout.to_dict())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
