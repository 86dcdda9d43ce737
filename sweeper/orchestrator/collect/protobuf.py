"""Decode protocol buffers without a library: the fields of a message by number.

The event files of TensorBoard and the files of W&B hold such messages. The packages that define them are large, and may
be installed for the script only. https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
MORE, LONGEST_SHIFT = 0x80, 63
"""The bit of a byte that another one follows, and the shift of the last byte of 64 bits."""


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field: an integer, or the bytes of anything else.

    Raises:
        ValueError: the bytes are not a message.
    """
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if kind == LENGTH:
            length, position = _varint(data, position)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if position + length > len(data):
            raise ValueError("a field is longer than its message")
        yield number, data[position : position + length]
        position += length


def varints(data: memoryview) -> Iterator[int]:
    """Yield the integers of a packed field.

    Raises:
        ValueError: the bytes are not such a field.
    """
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def signed(value: int) -> int:
    """Return a 64-bit integer with its sign."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift <= LONGEST_SHIFT:
        byte = data[position]
        position += 1
        value |= (byte & ~MORE) << shift
        if byte < MORE:
            return value & ((1 << 64) - 1), position
        shift += 7
    raise ValueError("a number is not complete")
