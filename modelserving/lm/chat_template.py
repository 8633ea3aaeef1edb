"""A checkpoint's own chat template: the tokens that transformers gives, but no typed text becomes a special token.

It does not know models or the project's own dialogue formats.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerFast

from modelserving.core.dialogue import Dialogue

NAME = "\ue000{}\ue001"  # private-use characters around what stands for something else
EDGE = "\u2003"  # a space that templates do not write: it is gone where they trim a message
MESSAGE = re.compile(f"({EDGE}?)\ue000([0-9]+)\ue001({EDGE}?)")
EXAMPLE = tuple(
    {"role": role, "content": "text"} for role in ("user", "assistant", "user", "assistant")
)


class ChatTemplate:
    """A chat template, rendered in transformers' sandbox.

    Message texts are put in after rendering, so the template does not act on what people typed.
    """

    def __init__(self, path: Path, *, template: str, specials: Mapping[str, str]) -> None:
        """`path` is tokenizer.json; `specials` names bos_token, eos_token and pad_token where they exist."""
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._tokenizer.add_special_tokens(list(specials.values()))  # as transformers does
        self._renderer = PreTrainedTokenizerFast(tokenizer_object=self._tokenizer, **specials)
        self._renderer.chat_template = template

    def encode(self, dialogue: Dialogue, *, for_reply: bool) -> list[int]:
        """Token ids of the whole dialogue, read as one text; only the template writes special tokens."""
        parts = self._parts(dialogue, for_reply=for_reply)
        tokens = self._tokens
        return tokens.encode(
            "".join(part if typed else tokens.named(part) for part, typed in parts)
        )

    def _parts(self, dialogue: Dialogue, *, for_reply: bool) -> Iterator[tuple[str, bool]]:
        """The rendered dialogue in parts; True marks a message's own text, trimmed where the template trims."""
        marked = [
            {"role": message["role"], "content": EDGE + NAME.format(index) + EDGE}
            for index, message in enumerate(dialogue)
        ]
        rendered = str(
            self._renderer.apply_chat_template(
                marked, add_generation_prompt=for_reply, tokenize=False
            )
        )
        place = 0
        for found in MESSAGE.finditer(rendered):
            yield rendered[place : found.start()], False
            left, index, right = found.groups()
            typed = dialogue[int(index)]["content"]
            typed = typed if left else typed.lstrip()
            yield typed if right else typed.rstrip(), True
            place = found.end()
        yield rendered[place:], False

    @cached_property
    def _tokens(self) -> "_RenamedTokens":
        parts = [*self._parts(EXAMPLE, for_reply=False), *self._parts(EXAMPLE[:3], for_reply=True)]
        written = "".join(part for part, is_typed in parts if not is_typed)
        return _RenamedTokens(self._tokenizer, written=written)


class _RenamedTokens:
    """A tokenizer that reads its special tokens under names that nobody can type, and their own names as text.

    One text is read at a time, whole: what stands before or behind a piece decides how tokenizers such as Llama's
    read it.
    """

    def __init__(self, tokenizer: Tokenizer, *, written: str) -> None:
        """`written` is text of a template: a token that was added for it counts as special, whatever its file says."""
        added = tokenizer.get_added_tokens_decoder()
        special = {
            id_: token
            for id_, token in added.items()
            if token.special or (token.content.strip() and token.content in written)
        }
        self._tokenizer = _with_special(tokenizer, {each.content for each in special.values()})
        self._tokenizer.encode_special_tokens = True  # typed, they are text
        secret = secrets.token_hex(8)
        names = {id_: NAME.format(f"{secret}-{id_}") for id_ in special}
        self._names = {token.content: names[id_] for id_, token in special.items()}
        self._tokenizer.add_tokens(
            [
                AddedToken(names[id_], lstrip=each.lstrip, rstrip=each.rstrip, normalized=False)
                for id_, each in special.items()
            ]
        )
        self._ids = {self._tokenizer.token_to_id(name): id_ for id_, name in names.items()}
        longest_first = sorted(self._names, key=len, reverse=True)
        self._any = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")

    def named(self, text: str) -> str:
        """Text of the template with its special tokens under their other names."""
        return self._any.sub(lambda found: self._names[found[0]], text)

    def encode(self, text: str) -> list[int]:
        """Token ids, the tokenizer's own."""
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        return [self._ids.get(id_, id_) for id_ in ids]


def _with_special(tokenizer: Tokenizer, contents: Collection[str]) -> Tokenizer:
    """A copy in which all of these added tokens are special."""
    stored = json.loads(tokenizer.to_str())
    for each in stored["added_tokens"]:
        each["special"] = each["special"] or each["content"] in contents
    return Tokenizer.from_str(json.dumps(stored))
