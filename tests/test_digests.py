"""The CRC-32 of entries and snapshots, which is that of their bytes in the payload, however the message came."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from raft_dissect.dissection import Dissection
from raft_dissect.values import Message
from raft_dissect.wire import table
from tests import captures
from tests.scripts import Script, command

if TYPE_CHECKING:
    from collections.abc import Iterable

FILES = [
    "dq1-dqlite-1.18.6.pcap",
    "s1-gso-cowsql-0.22.1.pcap",
    "s1-hostnames-cowsql-0.22.1.pcap",
    "s8-reorder10-canon-0.18.1.pcap",
    "s1-canon-0.9.0.pcap",
]
"""With entries in one segment and in many, some of them in disorder, and with snapshots."""


def of_data(message: Message) -> tuple[int, ...] | None:
    """The digests of a message whose payload was kept."""
    if message.type not in (table.APPEND_ENTRIES, table.INSTALL_SNAPSHOT) or not message.payload:
        return None
    if message.type == table.INSTALL_SNAPSHOT:
        return (crc32(message.payload),)
    found, at = [], 0
    for entry in message.entries:
        found.append(crc32(message.payload[at : at + entry.size]))
        at += entry.size
    return tuple(found)


def digests(events: Iterable[object]) -> list[tuple[int | None, ...] | None]:
    return [event.digests for event in events if isinstance(event, Message)]


@pytest.mark.parametrize("file", FILES)
def test_digests_are_those_of_the_data(file: str) -> None:
    path = captures.PCAPS / file
    kept = Dissection(path, keep_payload=True)
    expected = [of_data(event) for event in kept if isinstance(event, Message)]
    assert sum(each is not None for each in expected) > 10
    assert digests(Dissection(path, digest_data=True)) == expected
    one_by_one = digests(captures.run(captures.packets(file), digest_data=True).events)
    assert one_by_one == expected


def test_there_are_none_unless_they_are_asked_for() -> None:
    assert set(digests(Dissection(captures.PCAPS / FILES[0]))) == {None}


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_entries_with_a_hole_have_none(missing: int) -> None:
    """Three entries of 1448 bytes, the data of which begins behind a preamble and a header in the first segment."""
    entries = [(1, table.COMMAND, bytes([number]) * 1448) for number in range(3)]
    script = Script().append(1, 2, 1, (1, 1), *entries).append(1, 2, 1, (1, 4), command(1))
    packets = script.packets()
    segments = [packet for packet in packets if len(packet.data) > 150]
    without = [packet for packet in packets if packet is not segments[missing]]
    (first, second) = digests(Dissection(without, digest_data=True))
    # The header takes 48 bytes and 16 for each entry, so segment N has the end of entry N - 1 and the start of entry N.
    whole = [crc32(data) for _, _, data in entries]
    gone = {missing - 1, missing}
    assert first == tuple(None if number in gone else whole[number] for number in range(3))
    assert second == (crc32(bytes(8)),)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_snapshot_with_a_hole_has_none(missing: int) -> None:
    """A snapshot of 4000 bytes, in three segments of which the first has the header; one is lost, or cut short."""
    fields = {"term": 1, "last_index": 1, "last_term": 1, "conf_index": 1}
    script = Script().append(1, 2, 1, (1, 1))
    script.say(1, 2, "InstallSnapshot", fields, roles={1: 1}, data=b"snapshot" * 500).append(1, 2, 1, (1, 1))
    packets = script.packets()
    target = [packet for packet in packets if len(packet.data) > 150][missing]
    without = [packet for packet in packets if packet is not target]
    short = [packet._replace(data=packet.data[:96]) if packet is target else packet for packet in packets]
    expected = [(None, (crc32(b"snapshot" * 500),), None), (None, (None,), None), (None, (None,), None)]
    assert [tuple(digests(Dissection(each, digest_data=True))) for each in (packets, without, short)] == expected
