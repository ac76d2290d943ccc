"""Text, character by character (Graves 2013, "Generating Sequences With Recurrent Neural Networks", arXiv:1308.0850).

Idea    A network that knows which character comes next can write: draw one, read it, draw the next. Words, spelling
        and quotation marks that close come of themselves.
Flow    character -> row of an embedding -> LSTM (or RNN) -> logits of the next character; temperature T divides them
Here    Section 3 with one layer instead of seven (section 3.1) or five (3.3), without its dynamic evaluation. A Hangul
        syllable is one character, as it is one in Unicode (composed, NFC); a text has some hundred different ones.
        What the text does not have cannot be read or written: it is left out of a prompt.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siseon.interface import RecipeError
from siseon.layers import inference
from siseon.models.language.lstm import LSTM, State
from siseon.models.language.rnn import RNN


def alphabet_of(text: str) -> tuple[str, ...]:
    """The characters of a text, Hangul composed, in the order of Unicode."""
    return tuple(sorted(set(unicodedata.normalize("NFC", text))))


class CharacterModel(nn.Module):
    """The next character of a text over `alphabet`.

    cell: lstm or rnn; units: of the cell and of the embedding; dropout: of what the cell shows.
    """

    def __init__(
        self, alphabet: Sequence[str], *, cell: Literal["lstm", "rnn"] = "lstm", units: int = 256, dropout: float = 0.2
    ) -> None:
        super().__init__()
        if not alphabet:
            raise RecipeError("the text is empty", "Give a text of some thousand characters")
        self.alphabet = tuple(alphabet)
        self._places = {character: place for place, character in enumerate(self.alphabet)}
        self.embedding = nn.Embedding(len(self.alphabet), units)
        self.cell: LSTM | RNN = LSTM(units, units) if cell == "lstm" else RNN(units, units)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(units, len(self.alphabet))

    def encode(self, text: str) -> Tensor:
        """The labels of the known characters of a text, int64 [characters]."""
        characters = unicodedata.normalize("NFC", text)
        return torch.tensor([self._places[one] for one in characters if one in self._places], dtype=torch.int64)

    def forward(self, labels: Tensor, state: Tensor | State | None = None) -> tuple[Tensor, Tensor | State]:
        """Logits [batch, steps, alphabet] of the character after each of `labels` [batch, steps]; the last state."""
        shown, last = self.cell(self.embedding(labels), state)
        return self.out(self.dropout(shown)), last

    def loss(self, labels: Tensor, state: Tensor | State | None = None) -> tuple[Tensor, Tensor | State]:
        """The mean cross-entropy, in nats a character, of each of `labels` [batch, steps + 1] but the first."""
        logits, last = self(labels[:, :-1], state)
        return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten()), last

    def write(self, prompt: str = "", *, length: int = 200, temperature: float = 1.0, seed: int = 0) -> str:
        """`length` characters that go on from the prompt, which is not repeated.

        temperature: 1 draws as often as was learnt, below 1 what is probable more often, 0 always the most probable.
        Without a known character in the prompt the text begins as after a line's end. Raises RecipeError for a
        temperature below 0.
        """
        if temperature < 0:
            raise RecipeError(f"temperature {temperature} makes no sense", "Give 0 or more, e.g. 0.8")
        random = torch.Generator().manual_seed(seed)
        labels = self.encode(prompt)
        if not len(labels):
            labels = self.encode("\n") if "\n" in self._places else torch.zeros(1, dtype=torch.int64)
        state: Tensor | State | None = None
        written = []
        with inference(self):
            for _ in range(length):
                logits, state = self(labels[None], state)
                last = logits[0, -1]
                if temperature == 0:
                    labels = last.argmax()[None]
                else:
                    labels = torch.multinomial((last / temperature).softmax(0), 1, generator=random)
                written.append(self.alphabet[int(labels)])
        return "".join(written)
