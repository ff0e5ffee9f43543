"""Integers in bytes, as compiled and uncompiled code reads them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect import octets


@given(st.binary(min_size=8, max_size=24), st.data())
def test_integers_are_those_that_python_reads(data: bytes, chosen: st.DataObject) -> None:
    at = chosen.draw(st.integers(0, len(data) - 8))
    assert octets.u16be(data, at) == int.from_bytes(data[at : at + 2], "big")
    assert octets.u32be(data, at) == int.from_bytes(data[at : at + 4], "big")
    assert octets.u32le(data, at) == int.from_bytes(data[at : at + 4], "little")
    assert octets.u64le(data, at) == int.from_bytes(data[at : at + 8], "little")


def test_reading_beyond_the_end_is_an_error() -> None:
    for read, size in ((octets.u16be, 2), (octets.u32be, 4), (octets.u32le, 4), (octets.u64le, 8)):
        with pytest.raises(IndexError):
            read(bytes(size), 1)
