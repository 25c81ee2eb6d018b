"""Guesses at what an answer says next, from what stands in it already: an answer often repeats its question.

Where the last tokens stood before, the tokens after them there are the guess (prompt lookup, after Yang et al. 2023,
arXiv 2304.04487, section 3). One step then computes the guess along with the token that is known, and every guessed
token that the sampler draws itself saves a step; what is drawn never depends on a guess. Knows token ids alone.
"""

import math
from collections.abc import Sequence

ORDER = 2
"""Tokens that must have stood before."""
MOST = 8
"""Guessed tokens of an answer in a step."""
SHARE = 0.05
"""What one more token adds to a step, as a share of a step for one token; measured with 135 million parameters."""
PACE = 0.15
"""How much of its estimate one token changes."""


class Drafts:
    """What one answer has said so far, by its last tokens, and how often that told the next one."""

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], int] = {}
        """Where the token lies that followed these, the last time."""
        self._known = ORDER
        """Tokens before this one are in `_after`."""
        self._right = 0.5
        self._next = -1
        """The guess for the next token; -1: none."""

    def guess(self, tokens: Sequence[int], *, running: int, most: int) -> list[int]:
        """What may follow `tokens`, `most` tokens at most, fewer the more answers (`running`) share a step.

        The j-th guess is worth its cost while the chance that all j are right is above it: an answer among many
        saves only its part of a step. Where nobody shares it (0), the places are empty anyway and cost nothing.
        """
        for at in range(self._known, len(tokens)):
            self._after[tuple(tokens[at - ORDER : at])] = at
        self._known = max(self._known, len(tokens))
        place = self._after.get(tuple(tokens[-ORDER:]))
        self._next = -1 if place is None else tokens[place]
        worth = SHARE * running / (1 + SHARE * running)
        if place is None or self._right <= worth:
            return []
        reach = int(math.log(worth) / math.log(min(self._right, 0.99))) if worth else most
        return list(tokens[place : place + min(reach, most)])

    def seen(self, token: int) -> None:
        """The next token: was it the guess, computed or not?"""
        if self._next >= 0:
            self._right += PACE * ((token == self._next) - self._right)
