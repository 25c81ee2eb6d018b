"""Blocks of the key-value cache: who holds which, and which still hold a prefix that the next prompt may begin with.

Knows tokens as numbers and nothing of models. A full block is known by the block before it and its own tokens, so that
equal beginnings share memory and are computed once (Kwon et al. 2023, section 4.4).
"""

from collections import OrderedDict
from collections.abc import Sequence

Known = tuple[int, tuple[int, ...]]
"""The serial of the block before (0: none) and the tokens."""


class Pages:
    """`count` blocks of `size` tokens. Blocks that nobody holds keep their prefix, at most `keep` of them."""

    def __init__(self, count: int, *, size: int, keep: int) -> None:
        self.size, self.keep = size, keep
        self._free = list(range(count - 1, -1, -1))  # the lowest first: memory is touched as late as can be
        self._holders = [0] * count
        self._known: dict[Known, int] = {}
        self._names: dict[int, tuple[Known, int]] = {}
        """What a block is known by, and its own serial."""
        self._after: dict[int, set[int]] = {}
        """The known blocks that follow the block of a serial."""
        self._idle: OrderedDict[int, None] = OrderedDict()
        self._serial = 0

    def begin(self, tokens: Sequence[int], *, limit: int) -> tuple[list[int], tuple[int, int]]:
        """Blocks that hold the first tokens of `tokens` already, `limit` of these at most; they are held from now.

        With them a block that nobody holds for it, and how many tokens after those it begins with: worth a copy.
        """
        found: list[int] = []
        serial = 0
        for start in range(0, limit - self.size + 1, self.size):
            block = self._known.get((serial, tuple(tokens[start : start + self.size])))
            if block is None:
                break
            serial = self._names[block][1]
            self._idle.pop(block, None)
            self._holders[block] += 1
            found.append(block)
        rest = tokens[len(found) * self.size : limit]
        lengths = {block: _alike(rest, self._names[block][0][1]) for block in self._after.get(serial, ())}
        best = max(lengths, key=lengths.__getitem__, default=0)
        return found, (best, lengths.get(best, 0))

    def take(self) -> int:
        """A block to write to; raises KeyError when all are held."""
        if not self._free:
            self._forget()
        block = self._free.pop()
        self._holders[block] = 1
        return block

    def learn(self, tokens: Sequence[int], blocks: Sequence[int]) -> None:
        """`blocks` hold `tokens` (whole blocks of them): prompts that begin so need not compute them."""
        serial = 0
        for number in range(len(tokens) // self.size):
            name = (serial, tuple(tokens[number * self.size : (number + 1) * self.size]))
            block = self._known.setdefault(name, blocks[number])
            if block not in self._names:
                self._serial += 1
                self._names[block] = (name, self._serial)
                self._after.setdefault(serial, set()).add(block)
            serial = self._names[block][1]

    def release(self, blocks: Sequence[int]) -> None:
        """Let go of `blocks`, in the order of their tokens."""
        for block in reversed(blocks):  # the end of a text is forgotten before its beginning
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            if block in self._names:
                self._idle[block] = None
            else:
                self._free.append(block)
        while len(self._idle) > self.keep:
            self._forget()

    def _forget(self) -> None:
        block, _ = self._idle.popitem(last=False)
        name, serial = self._names.pop(block)
        del self._known[name]
        self._after[name[0]].discard(block)
        if not self._after[name[0]]:
            del self._after[name[0]]
        self._free.append(block)


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two texts begin with alike."""
    for at, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return at
    return min(len(one), len(other))
