"""The lines of `messages --json` are what the standard library makes of their records, byte for byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.dissection import Dissection
from raft_dissect.report.records import Records
from raft_dissect.report.times import Clock
from raft_dissect.values import Diagnostic, Endpoint, Message, Place, Stream, StreamOpened
from raft_dissect.wire import table
from tests import vectors
from tests.captures import FILES, PCAPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from raft_dissect.values import Event

LARGEST = 2**64 - 1
WORD = st.one_of(st.integers(0, 5), st.integers(0, LARGEST), st.sampled_from([2**63 - 1, 2**63, LARGEST]))


def check(events: Iterable[Event], files: Sequence[str] = ("a.pcap",)) -> None:
    """Compare the lines of all messages and diagnostics with their records."""
    records = Records(files, Clock())
    for event in events:
        records.learn(event)
        if isinstance(event, Message):
            assert records.line(event) == json.dumps(records.message(event))
        elif isinstance(event, Diagnostic):
            assert records.line(event) == json.dumps(records.diagnostic(event))


@pytest.mark.parametrize("hashed", [False, True], ids=["plain", "hash"])
@pytest.mark.parametrize("file", FILES)
def test_lines_of_real_captures(file: str, hashed: bool) -> None:
    check(Dissection(PCAPS / file, hash_payload=hashed))


def test_lines_of_several_files_name_them() -> None:
    files = sorted(PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))
    check(Dissection(files), ['n"%d' if number % 2 else "\u00e4\n" for number in range(len(files))])


def stream(number: int = 0) -> Stream:
    return Stream(number, Endpoint("fe80::1%eth0", 40000), Endpoint("10.0.0.2", 9001))


def message(encoded: bytes, of: Stream, time_ns: int = 0, layout: str | None = None) -> Message:
    """A whole message."""
    decoded = wire.decode_message(encoded)
    assert decoded is not None
    found = Message(of, 16, Place(time_ns, 7), decoded.preamble, layout)
    found.header = encoded[16 : 16 + decoded.preamble.header_length]
    found.payload_length = len(decoded.payload)
    return found


def test_lines_of_golden_vectors_of_all_releases_on_one_stream() -> None:
    """Each twice: the first time its shape is new, the second time it is known."""
    one = stream()
    golden = [vector for vector in vectors.load("raft_message") for _ in range(2)]
    check(message(vector.data, one, 10**9, vector.layout) for vector in golden)
    check(message(vector.data, stream(), 10**9, vector.layout) for vector in golden)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["AppendEntries", "AppendEntriesResult", "TimeoutNow", "RequestVote"]),
            st.sampled_from([layout.label for layout in table.LAYOUTS if layout.label != "c-0.9.0"]),
            st.fixed_dictionaries(
                {}, optional=dict.fromkeys(["term", "prev_log_index", "leader_commit", "last_log_index"], WORD)
            ),
            st.lists(st.tuples(WORD, st.integers(0, 255), st.binary(max_size=3)), max_size=3),
            st.integers(0, LARGEST // 8),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_lines_of_whatever_servers_say(
    said: list[tuple[str, str, dict[str, int], list[tuple[int, int, bytes]], int, bool]],
) -> None:
    streams = [stream(), stream(2)]
    check(
        message(
            wire.encode_message(table.MESSAGE_NUMBERS[name], fields, layout=layout, entries=entries),
            streams[other],
            time_ns,
        )
        for name, layout, fields, entries, time_ns, other in said
    )


def test_lines_follow_what_is_learnt_of_the_servers() -> None:
    encoded = wire.encode_message(table.APPEND_ENTRIES_RESULT, {"term": 2})
    one, other = stream(), Stream(2, Endpoint("10.0.0.2", 40000), Endpoint("10.0.0.1", 9001))
    other.handshake = wire.Handshake("raft", 1, 5, '10.0.0.2:9001"%s', 40)
    records = Records(("a.pcap",), Clock())
    lines = []
    for event in (
        message(encoded, one),
        message(encoded, one),
        StreamOpened(other, Place(0, 1)),
        message(encoded, one),
    ):
        records.learn(event)
        if isinstance(event, Message):
            lines.append(json.loads(records.line(event)))
    assert [line["receiver_id"] for line in lines] == [None, None, 5]
    records.learn(message(encoded, other))
    assert json.loads(records.line(message(encoded, other)))["sender_address"] == '10.0.0.2:9001"%s'
