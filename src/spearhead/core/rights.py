"""What one may do with a piece of data. No default: unknown means no."""

from dataclasses import dataclass
from enum import Flag, auto


class Right(Flag):
    """What a licence allows."""

    TRAIN = auto()
    SHARE = auto()
    SELL = auto()

    @classmethod
    def named(cls, names: "list[str] | tuple[str, ...]") -> "Right":
        """The union of rights named in lower case; raises KeyError on an unknown name.

        >>> Right.named(["train", "sell"]) == Right.TRAIN | Right.SELL
        True
        """
        union = cls(0)
        for name in names:
            union |= cls[name.upper()]
        return union

    @property
    def names(self) -> list[str]:
        """The rights in lower case, in the order of their declaration."""
        return [str(right.name).lower() for right in type(self) if right in self]


@dataclass(frozen=True, slots=True)
class Licence:
    """An SPDX expression, what it allows, and the credit it asks for."""

    spdx: str
    rights: Right
    credit: str
