"""What can go wrong, as a person meets it: one sentence, and the exit code of `spearhead`."""

from spearhead.core.sentence import Said


class SpearheadError(Exception):
    """Something failed that is nobody's mistake (exit 1); the message says what, where and what to do."""

    exit_code = 1

    def __init__(self, said: Said = "") -> None:
        super().__init__(str(said))
        self.said = said
        """The sentence, where it can be said in other languages than `str` does."""


class InputError(SpearheadError):
    """What the person gave cannot be used (exit 2); the message says what was given, what is wanted, what to do."""

    exit_code = 2


class BarMissed(SpearheadError):
    """The work was done and measured, and a bar was missed (exit 3)."""

    exit_code = 3
