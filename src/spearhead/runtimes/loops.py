"""Sees an answer that goes round in circles: the same run of characters several times in a row. Knows no runtime."""

SHORTEST, LONGEST = 12, 240
"""Characters of a run that counts: shorter ones are speech ("no, no, no"), longer ones are rare and cost time."""
EVERY = 8
"""Characters between two looks."""


class LoopWatch:
    """Fed with an answer as it grows, it says when its end repeats one run `times` times without anything between.

    Small models fall into such loops under greedy decoding; every further token costs money and says nothing.
    """

    def __init__(self, times: int) -> None:
        self.times = times
        self._tail = ""
        self._seen = 0

    def feed(self, delta: str) -> bool:
        """Whether the answer has gone round `times` times by now."""
        if self.times < 2 or not delta:
            return False
        self._tail = (self._tail + delta)[-LONGEST * self.times :]
        self._seen += len(delta)
        if self._seen < EVERY:
            return False
        self._seen = 0
        return loops(self._tail, self.times)


def loops(text: str, times: int) -> bool:
    """Whether `text` ends with one run of 12 to 240 characters `times` times in a row.

    >>> loops("And he said, And he said, And he said, ", 3)
    True
    """
    for length in range(SHORTEST, min(LONGEST, len(text) // times) + 1):
        run = text[-length:]
        if all(text[-length * (turn + 1) : -length * turn] == run for turn in range(1, times)):
            return True
    return False
