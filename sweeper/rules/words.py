"""How values are written in the words of a verdict."""

from __future__ import annotations


def beside(value: float, bound: float) -> tuple[str, str]:
    """A value and the bound that it is compared with, in as few digits as show on which side it is: two, or more."""
    texts = f"{value:.1e}", f"{bound:.2g}"
    for digits in range(2, 18):
        shown, limit = map(float, texts)
        if (shown < limit) is (value < bound) and (shown > limit) is (value > bound):
            break
        texts = f"{value:.{digits}e}", f"{bound:.{digits + 1}g}"
    return texts
