"""Vectors that LogoMesh files hold without saying how: recognised by length and content. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import isfinite

import orjson

from migration.cells import Cell, RawText

_SMALLEST, _LARGEST = 1e-12, 1e6
"""Components of embeddings lie between these in size; bytes read in the wrong width do not."""


@dataclass(frozen=True, slots=True)
class Vector:
    """A recognised embedding."""

    data: bytes
    """Little-endian float32."""
    dimensions: int
    exact: bool
    """Whether `data` are the very bytes of the cell."""


def recognise_vector(cell: Cell) -> Vector | None:
    """float32-LE, float64-LE or a JSON array of numbers; None for everything else."""
    if isinstance(cell, str):
        return _from_json(cell.encode())
    if cell is None or isinstance(cell, int | float | RawText) or not cell:
        return None
    if len(cell) % 4 == 0 and _is_single(struct.unpack(f"<{len(cell) // 4}f", cell)):
        return Vector(cell, len(cell) // 4, True)
    if len(cell) % 8 == 0 and _plausible(numbers := struct.unpack(f"<{len(cell) // 8}d", cell)):
        return _packed(numbers)
    return _from_json(cell)


def _from_json(text: bytes) -> Vector | None:
    if not text.lstrip().startswith(b"["):
        return None
    try:
        numbers = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    if not numbers or not all(type(number) in (int, float) for number in numbers):
        return None
    return _packed(tuple(numbers))


def _packed(numbers: tuple[float, ...]) -> Vector | None:
    try:
        data = struct.pack(f"<{len(numbers)}f", *numbers)
    except (OverflowError, struct.error):
        return None
    return Vector(data, len(numbers), False)


def _is_single(numbers: tuple[float, ...]) -> bool:
    """Round doubles look like singles of which every other one is 0."""
    return _plausible(numbers) and (len(numbers) % 2 == 1 or any(numbers[::2]))


def _plausible(numbers: tuple[float, ...]) -> bool:
    return all(isfinite(n) and (n == 0 or _SMALLEST < abs(n) < _LARGEST) for n in numbers) and any(numbers)
