"""Text from tokens that arrive one at a time: whole characters only, and nothing of a stop string.

Takes the tokens of one row; gives text that may be shown. The tokenizer comes from outside as an object with two
functions, for the model's room does not import the tokenizer's.
"""

from collections.abc import Sequence
from typing import Protocol

REPLACEMENT = "\ufffd"
"""What a tokenizer writes for bytes that are no whole character."""
MAX_PENDING_BYTES = 3
"""A character of UTF-8 has at most four bytes, so at most three can wait for the rest."""
WINDOW_TOKENS = 8
"""How many tokens of the prompt are decoded together with its continuation; more where these give no text."""


class Tokenizer(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def eos_id(self) -> int:
        """The token after each document: it ends a text, and precedes the first one."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ...

    def decode(self, tokens: list[int]) -> str:
        """The text of token ids; bytes that are no whole character become U+FFFD."""
        ...


class IncrementalDetokenizer:
    """The text of one row's new tokens, a piece per token.

    A rare Chinese character is three byte tokens: until the last has come, the text ends in U+FFFD, and that much is
    held back; so is what may become a stop string. Only the last few tokens are decoded each time. They begin with text
    before the new, since a tokenizer writes a word's space only behind other text.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stops: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.stops = [stop for stop in stops if stop]
        self.stopped = False
        """Whether a stop string has come. No text is given from there on."""
        size = WINDOW_TOKENS
        while size < len(prompt) and not tokenizer.decode(list(prompt[-size:])).strip(REPLACEMENT):
            size *= 2
        self._window = list(prompt[-size:])
        self._given = len(tokenizer.decode(self._window))  # characters of the window's text
        self._fresh: list[int] = []  # the window's tokens since the last whole character
        self._held = ""

    def add(self, token: int) -> str:
        """The text that may be shown after one more token."""
        self._window.append(token)
        self._fresh.append(token)
        text = self.tokenizer.decode(self._window)
        pending = len(text) - len(text.rstrip(REPLACEMENT))
        piece = text[self._given : len(text) - min(pending, MAX_PENDING_BYTES)]
        self._given += len(piece)
        if not pending and (fresh_text := self.tokenizer.decode(self._fresh)):
            self._window, self._fresh, self._given = self._fresh, [], len(fresh_text)
        return self._before_stop(piece)

    def flush(self) -> str:
        """At the end: what was held back and became no stop string; an unfinished character is not given."""
        text, self._held = self._held, ""
        return text

    def _before_stop(self, piece: str) -> str:
        if self.stopped:
            return ""
        self._held += piece
        matches = [(at + len(stop), at) for stop in self.stops if (at := self._held.find(stop)) >= 0]
        if matches:  # the stop string that is complete first
            self.stopped = True
            text, self._held = self._held[: min(matches)[1]], ""
            return text
        longest = max(map(len, self.stops), default=1)
        for at in range(max(0, len(self._held) - longest + 1), len(self._held)):
            if any(stop.startswith(self._held[at:]) for stop in self.stops):
                break
        else:
            at = len(self._held)
        text, self._held = self._held[:at], self._held[at:]
        return text
