"""Kubernetes quantities as numbers: `1500m` cores, `2Gi` of memory.

The client has a parser, but importing it imports the client, which pure modules must not.
"""

import re
from decimal import Decimal
from typing import Final

_QUANTITY: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(m|k|[KMGTP]i|[MGTP]|[eE][+-]?[0-9]{1,2})?")
_FACTORS: Final = {
    "": Decimal(1), "m": Decimal("0.001"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip


def number(quantity: str) -> Decimal:
    """Return a quantity in its unit: cores, or bytes. Raises ValueError for what is none."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity, such as 1500m, 2 or 2Gi")
    digits, unit = match[1], match[2] or ""
    return Decimal(digits + unit) if unit[:1] in ("e", "E") else Decimal(digits) * _FACTORS[unit]


def mebibytes(amount: Decimal | int) -> str:
    """Return bytes as a quantity, rounded up."""
    return f"{-(-int(amount) // 2**20)}Mi"
