"""Money as integers: billionths of the currency, prices per million units, rounded half up, once. No floats."""

import re

BILLION = 1_000_000_000
MILLION = 1_000_000


def parse(amount: str) -> int:
    """Decimal text to billionths; raises ValueError on anything else, or on a tenth decimal.

    >>> parse("1.5")
    1500000000
    """
    if not (found := re.fullmatch(r"(-?)(\d{1,12})(?:\.(\d{1,9}))?", amount)):
        raise ValueError(f"{amount!r} is not an amount: wanted digits with up to nine decimals, as in 1.25")
    sign, whole, part = found.groups()
    value = int(whole) * BILLION + int((part or "").ljust(9, "0"))
    return -value if sign else value


def show(billionths: int, *, places: int = 9) -> str:
    """Billionths as decimal text, trailing zeros cut down to two places; only cuts digits that are zero.

    >>> show(1_500_000_000)
    '1.50'
    """
    sign = "-" if billionths < 0 else ""
    whole, part = divmod(abs(billionths), BILLION)
    digits = f"{part:09d}"[:places].rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{digits}"


def cost(units: int, price_per_million: int) -> int:
    """Billionths for `units` at a price per million units, rounded half up to a billionth (product rule 12).

    >>> cost(3, 500_000)   # 3 units at half a thousandth a million
    2
    """
    if units < 0 or price_per_million < 0:
        raise ValueError("units and prices are not negative")
    return (units * price_per_million + MILLION // 2) // MILLION
