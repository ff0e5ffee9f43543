"""The compiled form does what the uncompiled one does: same values and same errors, whatever the bytes."""

from __future__ import annotations

import os
import random
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import raft_dissect
from raft_dissect import wire
from raft_dissect.capture import record_writing
from raft_dissect.capture.interfaces import ring_scan
from raft_dissect.dissection import Dissection
from raft_dissect.form import describe, is_compiled, module_names
from raft_dissect.streams import link, segments, tunnels
from raft_dissect.values import Packet
from raft_dissect.wire import codec, configuration, handshake
from tests import captures, vectors
from tests.forms import uncompiled
from tests.packets import CLIENT, LINKS, SERVER, Address, ipv4, ipv6, tcp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

SIX = (Address("fd77:77::1", 40000), Address("fd77:77::2", 9001))
U8, U16, U32, U64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
EDGES = st.sampled_from([2**bits + step for bits in (7, 8, 15, 16, 31, 32, 63) for step in (-1, 0)] + [0, 1, 2**64 - 1])
"""Where a C integer of some width ends."""


# --- What is said of the form ---


def test_the_form_is_the_one_that_was_asked_for() -> None:
    """What RAFT_DISSECT_FORM asks the installation for is what runs."""
    form = describe(module_names())
    assert form == (os.environ.get("RAFT_DISSECT_FORM") or form)


def test_modules_that_are_not_compiled_are_named() -> None:
    machine_code, source = "zstandard.backend_c", "raft_dissect.form"
    assert [is_compiled(name) for name in (machine_code, source)] == [True, False]
    assert describe([machine_code]) == "compiled"
    assert describe([source, "json"]) == "uncompiled"
    assert describe([machine_code, source, "json"]) == "compiled except raft_dissect.form, json"


def test_every_module_with_c_types_is_installed_with_its_source() -> None:
    package = Path(raft_dissect.__file__).parent
    types = sorted(str(path.relative_to(package)) for path in package.rglob("*.pxd"))
    assert "streams/segments.pxd" in types
    types.remove("octets.pxd")  # inlined where it is used
    assert sorted(name.replace(".", "/") + ".pxd" for name in module_names()) == [
        f"raft_dissect/{path}" for path in types
    ]
    assert [path for path in types if not (package / path).with_suffix(".py").exists()] == []


def test_no_module_needs_cython_to_run() -> None:
    assert [name for name in module_names() if "cython" in vars(uncompiled(name))] == []
    assert "Cython" not in sys.modules


def test_the_other_side_of_the_comparison_is_uncompiled() -> None:
    for name in module_names():
        module = uncompiled(name)
        assert Path(module.__file__).suffix == ".py"
        assert sys.modules.get(name) is not module


# --- The same values ---


def outcome(function: Callable[..., object], *arguments: object) -> tuple[str, object]:
    """What a call gives or raises, in values that are equal in both forms."""
    try:
        return "gives", function(*arguments)
    except Exception as error:
        return type(error).__name__, str(error)


def assert_same(module: Any, name: str, *arguments: object) -> None:
    plain = uncompiled(module.__name__)
    assert outcome(getattr(module, name), *arguments) == outcome(getattr(plain, name), *arguments)


def damaged(data: bytes, changes: Iterable[tuple[int, bytes]], cut: int) -> bytes:
    """The data with other bytes at some places, and without its last `cut` bytes."""
    changed = bytearray(data)
    for place, piece in changes:
        start = place % max(len(changed), 1)
        changed[start : start + len(piece)] = piece
    return bytes(changed[: max(len(changed) - cut, 0)])


PIECES = st.one_of(
    st.binary(min_size=1, max_size=8),
    EDGES.map(lambda number: struct.pack(">Q", number)),
    EDGES.map(lambda number: struct.pack("<Q", number)),
    st.sampled_from([bytes.fromhex(text) for text in ("8100", "8847", "8864", "0800", "86dd", "6558", "12b5", "17c1")]),
)
CHANGES = st.lists(st.tuples(st.integers(0, 120), PIECES), max_size=6)
CUTS = st.one_of(st.just(0), st.integers(0, 120))
NETWORKS = [
    ipv4(CLIENT.host, SERVER.host, tcp(CLIENT, SERVER, 2**32 - 1, 2**31, 0x18, b"sixteen bytes...")),
    ipv6(SIX[0].host, SIX[1].host, tcp(*SIX, 2**31, 2**32 - 1, 0xFF, bytes(range(128, 160)))),
    ipv4(CLIENT.host, SERVER.host, bytes(8) + bytes.fromhex("0800") + bytes(60), protocol=17),
    ipv4(CLIENT.host, SERVER.host, bytes.fromhex("b0000800") + bytes(60), protocol=47),
]
FRAMES = [(link_type, wrap(network)) for link_type, wrap in LINKS.items() for network in NETWORKS]


@settings(max_examples=1500)
@given(st.sampled_from(FRAMES), CHANGES, CUTS, st.one_of(U32, EDGES.filter(lambda number: number < 2**63)))
@example((1, bytes(12) + b"\x86\xdd" + b"\x60" + bytes(5) + b"\x00\xff" + bytes(32) + b"\xff" * 16), [], 0, 2**32 - 1)
def test_any_packet(frame: tuple[int, bytes], changes: list[tuple[int, bytes]], cut: int, original_length: int) -> None:
    link_type, data = frame
    packet = Packet(damaged(data, changes, cut), 0, link_type, original_length, 1)
    assert_same(segments, "decode_segment", packet)
    assert_same(link, "network_layer", link_type, packet.data)


@given(st.binary(max_size=80), U8, U16, st.integers(0, 90))
@settings(max_examples=500)
def test_any_header_below_tcp(data: bytes, protocol: int, ethertype: int, offset: int) -> None:
    for link_type in (*LINKS, 147, 2**32 - 1):
        assert_same(link, "network_layer", link_type, data)
    for kind in (ethertype, 0x8847, 0x8864):
        assert_same(link, "below_network", data, offset, kind)
    for number in (protocol, 4, 17, 41, 47):
        assert_same(tunnels, "inside", number, data, offset)


@given(st.one_of(st.binary(min_size=12, max_size=12), st.binary(min_size=36, max_size=36)))
def test_any_key(key: bytes) -> None:
    for name in ("reverse_key", "ports_of", "endpoints_of"):
        assert_same(segments, name, key)


MESSAGES = [vector.data for vector in vectors.load("raft_message")]


@settings(max_examples=1500)
@given(st.sampled_from(MESSAGES), CHANGES, CUTS)
def test_any_message(message: bytes, changes: list[tuple[int, bytes]], cut: int) -> None:
    data = damaged(message, changes, cut)
    assert_same(codec, "decode_preamble", data, 0)
    assert_same(codec, "decode_message", data)
    preamble = wire.decode_preamble(data)
    if preamble is None:
        return
    header = data[16 : 16 + preamble.header_length]
    assert_same(codec, "is_consistent", preamble, header)
    assert_same(codec, "payload_length", preamble.type, header)
    assert_same(codec, "writers", preamble, header)
    for layout in (None, "c-0.9.15"):
        assert_same(codec, "decode_header", preamble.type, preamble.version, header, preamble.header_length, layout)


@settings(max_examples=500)
@given(st.one_of(st.integers(0, 8), U8), U8, st.one_of(U64, EDGES, st.integers(0, 200)), st.binary(max_size=120))
def test_any_header(type_: int, version: int, length: int, header: bytes) -> None:
    for number in (version, 0, 1, 2):
        assert_same(codec, "is_plausible", type_, number, length)
        assert_same(codec, "decode_header", type_, number, header, length)
        assert_same(codec, "decode_header", type_, number, header)
        assert_same(codec, "is_consistent", wire.Preamble(type_, number, length, True), header)
    assert_same(codec, "payload_length", type_, header)


@given(st.binary(max_size=40), st.integers(-20, 60))
def test_a_preamble_at_any_place(data: bytes, offset: int) -> None:
    for buffer in (data, bytearray(data)):
        assert_same(codec, "decode_preamble", buffer, offset)


@given(st.binary(max_size=100), CHANGES, U16)
@example(struct.pack("<QQ", 1, 2**64 - 1), [], 0)
def test_any_opening_and_configuration(data: bytes, changes: list[tuple[int, bytes]], missing: int) -> None:
    for start in (data, *(damaged(vector.data, changes, 0) for vector in vectors.load("handshake"))):
        assert_same(handshake, "recognise", start, missing)
    assert_same(configuration, "decode_configuration", data)


# --- What is captured on interfaces, and written ---


class RingPacket(NamedTuple):
    """A packet as the kernel puts it into a ring: `struct tpacket3_hdr` and `struct sockaddr_ll`."""

    data: bytes
    seconds: int
    nanoseconds: int
    original: int
    status: int
    tag: int
    tag_type: int
    device: int
    hardware: int
    network: int
    """Offset of the network header in the data."""


RING_PACKETS = st.builds(
    RingPacket,
    st.binary(min_size=14, max_size=90),
    st.one_of(U32, EDGES.filter(lambda number: number < 2**32)),
    st.integers(0, 10**9 - 1),
    st.one_of(U16, st.just(2**32 - 1)),
    st.sampled_from([1, 1 | 1 << 4, 1 | 1 << 4 | 1 << 6, 0xFFFFFFFF]),
    st.one_of(U16, st.just(2**32 - 1)),
    st.one_of(U16, st.just(0x88A8)),
    st.integers(1, 4),
    st.sampled_from([1, 772, 65534, 768, 0xFFFF]),
    st.integers(0, 14),
)
_BEFORE = 112
"""Where behind its header the data of a packet begins."""


def ring(packets: Sequence[RingPacket]) -> bytearray:
    """A block of a ring, as far as its packets."""
    memory = bytearray(48)
    for packet in packets:
        size = (_BEFORE + len(packet.data) + 15) & ~15
        head = struct.pack(
            "=IIIIIIHHIIH", size, packet.seconds, packet.nanoseconds, len(packet.data), packet.original, packet.status,
            _BEFORE, _BEFORE + packet.network, 0, packet.tag, packet.tag_type,
        )  # fmt: skip
        address = struct.pack("=HHiHBB8s", 17, 0x0008, packet.device, packet.hardware, 4, 6, bytes(range(8)))
        memory += (head.ljust(48, b"\0") + address).ljust(_BEFORE, b"\0") + packet.data
        memory += bytes(-len(memory) % 16)
    return memory


def scanned(module: Any, packets: Sequence[RingPacket], numbers: dict[int, int] | None) -> tuple[object, ...]:
    """What a scan makes of a block, and of its memory."""
    memory, received = ring(packets), {0: 5}
    scan = module.RingScan(memoryview(memory), numbers, received)
    scan.place, scan.left = 48, len(packets)
    runs = []
    while scan.left:
        before = scan.rows
        scan.run(16)
        runs.append((before, scan.rows, scan.link_type))
    columns = scan.columns
    names = ("starts", "captured", "originals", "times", "interfaces")
    return runs, [list(getattr(columns, name)[: scan.rows]) for name in names], bytes(memory), received


@given(st.lists(RING_PACKETS, max_size=12), st.sampled_from([None, {1: 0, 2: 7, 4: 2**40}, {}]))
def test_any_block_of_a_ring(packets: list[RingPacket], numbers: dict[int, int] | None) -> None:
    assert scanned(ring_scan, packets, numbers) == scanned(uncompiled(ring_scan.__name__), packets, numbers)


@given(
    st.lists(
        st.tuples(st.binary(max_size=40), U32, st.integers(0, (2**32 - 1) * 10**9), st.integers(0, 3)), max_size=10
    ),
    U16,
)
def test_any_packets_that_are_written(rows: list[tuple[bytes, int, int, int]], room: int) -> None:
    def written(writing: Any, scanning: Any) -> tuple[object, ...]:
        columns = scanning.RingColumns()
        data = b"".join(packet for packet, *_ in rows)
        start = 0
        for row, (packet, original, time_ns, interface) in enumerate(rows):
            columns.starts[row], columns.captured[row] = start, len(packet)
            columns.originals[row], columns.times[row], columns.interfaces[row] = original, time_ns, interface
            start += len(packet)
        end, ids = len(rows), {0: 0, 1: 2**32 - 1, 2: 5}
        until = rows[-1][2] if rows else 0
        fits = [
            writing.rows_before(columns, 0, end, 16, room >> 6, until),
            writing.rows_before(columns, 0, end, 32, room, 2**62),
        ]
        in_pcapng = writing.enhanced_packets(columns, 0, end, data, ids)
        return fits, writing.pcap_records(columns, 0, end, data), in_pcapng

    plain = uncompiled(record_writing.__name__), uncompiled(ring_scan.__name__)
    assert written(record_writing, ring_scan) == written(*plain)


# --- The same events ---


def said(event: Any) -> tuple[object, ...]:
    """Everything that an event says, in values that are equal in both forms."""
    kind = type(event).__name__
    if kind == "Message":
        seen = event.first, event.place, captures.content(event), event.digests
        return kind, event.stream.number, *seen, *_decoded(event)
    if kind == "Diagnostic":
        message = None if event.message is None else said(event.message)
        number = None if event.stream is None else event.stream.number
        return kind, event.kind, event.place, number, event.offset, event.size, event.detail, message
    return kind, event.stream.number, *event[1:]


def _decoded(message: Any) -> tuple[object, ...]:
    return tuple(outcome(getattr, message, name) for name in ("name", "decoded", "partial", "layout"))


def statistics(dissection: Any) -> dict[str, object]:
    values = dissection.statistics
    return {name: getattr(values, name) for name in ("packets", "bytes", "gaps", "malformed", "skipped", "streams")}


def assert_same_dissection(path: Path, **options: Any) -> int:
    """Whether both forms read a capture file alike; gives the number of events."""
    ours = Dissection(path, **options)
    theirs = uncompiled("raft_dissect.dissection").Dissection(path, **options)
    events = list(map(said, ours))
    assert events == list(map(said, theirs))
    assert statistics(ours) == statistics(theirs)
    return len(events)


SMALL = ["odd100-canon-0.9.0.pcap", "dq1-dqlite-1.18.6.node4.pcap", "s1-5n-cowsql-0.22.1.node2.pcap"]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", [*SMALL, "s5-canon-0.18.1.pcapng"])
def test_any_damaged_capture_file(name: str, seed: int, tmp_path: Path) -> None:
    generator = random.Random(f"{name} {seed}")
    data = bytearray((captures.PCAPS / name).read_bytes())
    for _ in range(generator.choice([0, 3, 30, 300])):
        place = generator.randrange(24, len(data))
        piece = generator.choice([bytes(generator.randrange(1, 9)), b"\xff" * 4, generator.randbytes(2)])
        data[place : place + len(piece)] = piece
    path = tmp_path / name
    path.write_bytes(data[: generator.randrange(len(data) // 2, len(data) + 1)])
    assert_same_dissection(path, keep_payload=True, hash_payload=True)
    assert_same_dissection(path, digest_data=True)
    assert_same_dissection(path)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["s6-canon-0.18.1.pcap", "s4-64k-canon-0.18.1.pcap"])
def test_any_bytes_in_messages(name: str, seed: int, tmp_path: Path) -> None:
    """All headers up to TCP stay as they are, so that most messages are met on the fast path."""
    generator = random.Random(f"{name} {seed}")
    data = bytearray((captures.PCAPS / name).read_bytes())
    place = 24
    while place < len(data):
        size = int.from_bytes(data[place + 8 : place + 12], "little")
        while size > 70 and generator.random() < 0.2:
            value = generator.choice([0, 1, 2, 8, 0x7F, 0x80, 0xFF])
            data[place + 16 + generator.randrange(66, size)] = value
        place += 16 + size
    path = tmp_path / name
    path.write_bytes(data)
    assert_same_dissection(path)
    assert_same_dissection(path, digest_data=True)


@pytest.mark.parametrize("name", ["s4-ipv6-cowsql-0.22.1.pcap", "s1-hostnames-cowsql-0.22.1.any1.pcap"])
def test_a_real_capture(name: str) -> None:
    assert assert_same_dissection(captures.PCAPS / name) > 100
