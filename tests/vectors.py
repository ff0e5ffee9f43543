"""The golden vectors: bytes that real encoders wrote, with the fields that went in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

_PATH = Path(__file__).parent / "data" / "vectors.json"
_JSON_NAMES = {"header_len": "header_length", "version_byte": "version", "servers": "configuration"}


class Vector(NamedTuple):
    name: str
    kind: str
    dialect: str
    layout: str
    data: bytes
    uninitialised: list[tuple[int, int]]
    fields: dict[str, Any]

    def blank(self, data: bytes) -> bytes:
        """`data` with the bytes that a real sender leaves uninitialised set to zero."""
        blanked = bytearray(data)
        for offset, size in self.uninitialised:
            blanked[offset : offset + size] = bytes(size)
        return bytes(blanked)


def load(*kinds: str) -> list[Vector]:
    vectors = [
        Vector(
            v["name"],
            v["kind"],
            v["dialect"],
            v["layout"],
            bytes.fromhex(v["hex"]),
            [tuple(place) for place in v["uninitialised"]],
            {_JSON_NAMES.get(key, key): value for key, value in v["fields"].items()},
        )
        for v in json.loads(_PATH.read_text())
    ]
    return [v for v in vectors if v.kind in kinds]
