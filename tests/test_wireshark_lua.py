"""The parts of the Wireshark dissector that need no Wireshark say what `wire` says, in every Lua that it may run on."""

from __future__ import annotations

import re
import string
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.streams import framing
from raft_dissect.wire import table
from raft_dissect.wireshark import generate
from tests import vectors

if TYPE_CHECKING:
    from collections.abc import Callable

lupa = pytest.importorskip("lupa", reason="lupa is not installed")

SNAPSHOT_HEAD = 40
"""Bytes of InstallSnapshot before the configuration; the length of it is not known before."""
LUAS = ("lua52", "lua53", "lua54")
"""Wireshark 4.0 has Lua 5.2; later releases have newer ones."""
MESSAGES = vectors.load("raft_message")
OPENINGS = vectors.load("uv_tcp_handshake", "dqlite_connect", "dqlite_client")
PURE = ("octets", "headers", "answers", "openings")
EXPORTED = (
    "preamble_at", "is_plausible", "is_acceptable", "is_consistent", "payload_length", "layouts_of", "configuration_in",
    "find_preamble", "can_begin", "recognise", "broken_handshake", "decimal", "distance", "printable",
)  # fmt: skip
_STUBS = """
local craft = { prefs = { layout = 0 } }
local UInt64 = { new = function(low, high)
  return setmetatable({}, { __tostring = function() return in_decimal(low, high) end })
end }
"""
"""What Wireshark brings."""


@cache
def runtime(version: str) -> Any:
    return __import__(f"lupa.{version}", fromlist=["LuaRuntime"]).LuaRuntime(encoding=None)


@cache
def functions(version: str) -> dict[str, Callable[..., Any]]:
    """The functions of the parts that are pure."""
    parts = [(generate.FOLDER / "lua" / f"{name}.lua").read_text() for name in ("head", *PURE)]
    exports = ", ".join(f"{name} = {name}" for name in EXPORTED)
    script = "\n".join([parts[0], _STUBS, generate.tables(), *parts[1:], f"return {{ {exports} }}"])
    runtime(version).globals()[b"in_decimal"] = lambda low, high: b"%d" % (int(low) + (int(high) << 32))
    loaded = runtime(version).execute(script.encode())
    return {name: loaded[name.encode()] for name in EXPORTED}


def call(version: str, name: str, *arguments: Any) -> tuple[Any, ...]:
    """What a function returns, as a tuple."""
    found = functions(version)[name](*arguments)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("version", LUAS)
def test_the_script_compiles(version: str) -> None:
    load = runtime(version).eval(b"function(s) return load(s) end")
    assert "function" in str(load(generate.script().encode()))


def test_every_part_is_in_the_script() -> None:
    assert sorted(path.stem for path in (generate.FOLDER / "lua").glob("*.lua")) == sorted(generate.PARTS)


def test_the_shipped_script_is_current() -> None:
    """If this fails, run `python -m raft_dissect.wireshark.generate`."""
    assert generate.SCRIPT.read_text() == generate.script()


def test_every_field_of_the_wire_table_has_a_filter() -> None:
    names = {each.name for each in generate.filters()}
    for fields in (*(form.fields for message in table.MESSAGES for form in message.forms), table.PREAMBLE):
        for field in fields:
            if field.kind not in ("entries", "unused"):
                assert f"craft.{field.name}" in names
            assert {f"craft.{bit}" for bit in field.bits} <= names
    for prefix, fields in (("entry", table.ENTRY), ("server", table.SERVER), ("configuration", table.CONFIGURATION)):
        assert {f"craft.{prefix}.{field.name}" for field in fields} <= names
    assert len(names) == len(generate.filters())


# --- The same bytes say the same to both ---


def answer(function: Callable[..., Any], *arguments: Any) -> tuple[Any, bytes | None]:
    """What a function returns, or None and what it finds malformed."""
    try:
        return function(*arguments), None
    except wire.MalformedError as error:
        return None, error.detail.encode()


@st.composite
def headers(draw: st.DrawFn) -> tuple[wire.Preamble, bytes]:
    """A preamble and its header: those of a golden vector, most of them with some bytes changed, cut or added."""
    vector = draw(st.sampled_from(MESSAGES))
    data = bytearray(vector.data[: 16 + vector.fields["header_length"]])
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.one_of(st.integers(0, min(len(data), 64) - 1), st.integers(0, len(data) - 1)))
        data[place] = draw(st.one_of(st.sampled_from([0, 1, 2, 3, 8, 255]), st.integers(0, 255)))
    change = draw(st.sampled_from(["", "cut", "shorter", "longer"]))
    if change in ("shorter", "longer"):
        size = draw(st.integers(0, 24))
        data = data[:-size] if change == "shorter" and size else data + bytes(size)
        data[8:16] = max(len(data) - 16, 0).to_bytes(8, "little")
    preamble = wire.decode_preamble(bytes(data.ljust(16, b"\0")))
    assert preamble is not None
    header = bytes(data[16 : 16 + min(preamble.header_length, 2**20)])
    return preamble, header[: draw(st.integers(0, len(header)))] if change == "cut" else header


@pytest.mark.parametrize("version", LUAS)
@given(headers())
def test_what_is_believed_of_a_header_is_the_same(version: str, case: tuple[wire.Preamble, bytes]) -> None:
    preamble, header = case
    kind, layout_version, length, zero = preamble
    assert call(version, "is_consistent", kind, layout_version, length, zero, header) == (
        wire.is_consistent(preamble, header),
    )
    assert call(version, "is_plausible", kind, layout_version, length)[0] == wire.is_plausible(
        kind, layout_version, length
    )
    assert call(version, "is_acceptable", kind, length)[0] == framing._acceptable(preamble)


@pytest.mark.parametrize("version", LUAS)
@given(headers())
def test_payload_and_layouts_of_a_header_are_the_same(version: str, case: tuple[wire.Preamble, bytes]) -> None:
    preamble, header = case
    if preamble.type not in table.MESSAGE_NAMES:
        return
    length, detail = answer(wire.payload_length, preamble.type, header)
    found = (*call(version, "payload_length", preamble.type, header), None)
    assert found[0] == (None if length is None else float(length))
    if len(header) >= SNAPSHOT_HEAD:
        assert found[1] == detail
    if len(header) < preamble.header_length:
        return
    labels = call(version, "layouts_of", preamble.type, preamble.version, preamble.header_length, header)[0]
    assert set(labels.decode().split()) == wire.writers(preamble, header)


@pytest.mark.parametrize("version", LUAS)
@given(st.sampled_from([v.data for v in vectors.load("configuration")]), st.data())
def test_configurations_are_the_same(version: str, data: bytes, draw: st.DataObject) -> None:
    changed = bytearray(data)
    for _ in range(draw.draw(st.integers(0, 2))):
        changed[draw.draw(st.integers(0, len(changed) - 1))] = draw.draw(st.integers(0, 255))
    cut = bytes(changed[: draw.draw(st.integers(0, len(changed)))])
    for each in (bytes(changed), cut):
        found = call(version, "configuration_in", each)
        servers, detail = answer(wire.decode_configuration, each)
        if servers is None:
            assert found == (None, detail)
            continue
        of_lua = [found[0][number] for number in range(1, len(servers) + 1)]
        assert [wire.printable(bytes(server[b"text"])) for server in of_lua] == [server.address for server in servers]
        assert [server[b"role"] for server in of_lua] == [server.role for server in servers]


_KINDS = {"dqlite_client": "client"}


@st.composite
def openings(draw: st.DrawFn) -> bytes:
    """How a connection begins, often with some bytes changed, and what may follow."""
    http = [b"GET / HTTP/1.1\r\nUpgrade: dqlite\r\n\r\n", table.HTTP_UPGRADE_RESPONSE, b"\x16\x03\x01\x02\x00"]
    data = bytearray(draw(st.sampled_from([v.data for v in OPENINGS] + http)))
    for _ in range(draw(st.integers(0, 2))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.one_of(st.integers(0, 16), st.integers(0, 255)))
    data += draw(st.sampled_from([b"", MESSAGES[0].data]))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@pytest.mark.parametrize("version", LUAS)
@given(openings(), st.integers(0, 60))
def test_how_a_connection_begins_is_the_same(version: str, data: bytes, missing: int) -> None:
    expected = wire.recognise(data, missing)
    kind, handshake, length = (*call(version, "recognise", data, missing), None, None)[:3]
    assert kind.decode() == _KINDS.get(expected.kind, expected.kind)
    if expected.handshake is not None:
        assert handshake[b"kind"].decode() == expected.handshake.kind
        assert int.from_bytes(handshake[b"id"], "little") == expected.handshake.id
        assert (handshake[b"address"] or b"").decode() == expected.handshake.address
    if expected.length:
        assert length == expected.length


@pytest.mark.parametrize("version", LUAS)
@given(openings())
def test_what_is_wrong_with_a_handshake_is_the_same(version: str, data: bytes) -> None:
    expected = wire.broken_handshake(data)
    found = call(version, "broken_handshake", data)
    if expected is None:
        # Of less than a word it is not said yet what it is.
        assert found[0] is None or len(data) < 8
    elif expected == "more":
        assert found[0] == b"more"
    else:
        assert (found[0].decode(), found[2]) == (expected.detail, expected.length)


@pytest.mark.parametrize("version", LUAS)
@given(st.lists(st.one_of(st.sampled_from([bytes(3), bytes(9), b"\1", b"\2", b"\3\0\2"]), st.binary(max_size=4))))
@example([b"\x01", bytes(15)])
@example([b"\x02\x00\x02", bytes(13)])
def test_places_where_a_preamble_can_begin_are_the_same(version: str, parts: list[bytes]) -> None:
    data = b"".join(parts)
    shape = re.compile(rb"(?=[\x01-\x06]\0[\0\x02]\0{5}.{4}\0{4})", re.DOTALL)
    found, start = [], 0
    while (place := call(version, "find_preamble", data, start)[0]) is not None:
        found.append(place)
        start = place + 1
    assert found == [match.start() for match in shape.finditer(data)]
    for size in range(min(len(data), 15)):
        assert call(version, "can_begin", data[:size], 0)[0] == framing._can_begin(data[:size])


@pytest.mark.parametrize("version", LUAS)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_numbers(version: str, number: int, position: int, start: int) -> None:
    assert call(version, "decimal", number.to_bytes(8, "little"), 0) == (b"%d" % number,)
    far = (position - start + 2**31) % 2**32 - 2**31
    assert call(version, "distance", position, start)[0] == far


@pytest.mark.parametrize("version", LUAS)
def test_text_from_the_wire_is_shown_without_control_characters(version: str) -> None:
    found = call(version, "printable", bytes(range(256)))[0].decode()
    assert set(found) <= set(string.printable) - set("\t\n\r\v\f")
    assert found.startswith(r"\x00\x01")
