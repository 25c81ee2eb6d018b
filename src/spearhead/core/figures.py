"""A measured number as people read it. Amounts of money are shown by `money`."""

LONGEST = 1e15
"""From here on an exponent is easier to read than the digits."""


def show(value: float) -> str:
    """Four significant digits, and every digit before the point.

    >>> show(58.6666), show(0.04321), show(55_262.3)
    ('58.67', '0.04321', '55,262')
    """
    return f"{value:,.0f}" if 9999.5 <= abs(value) < LONGEST else f"{value:,.4g}"
