"""A capture that was read into a transcript and written again says the same; a changed one says what was changed."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from raft_dissect import wire
from raft_dissect.dissection import messages
from raft_dissect.values import Endpoint
from raft_dissect.wire import table
from tests import captures
from tests.captures import WHOLE
from tests.mutations import Ending, EntryBytes, Transcript, Utterance, transcript, transcript_of
from tests.packets import ACK, FIN, MILLISECOND, RST, SYN
from tests.transformations import Flows, segments

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from raft_dissect.values import Message, Packet

S1 = "s1-canon-0.18.1.pcap"
S4 = "s4-64k-canon-0.18.1.pcap"
S9 = "s9-canon0.18.1+cowsql0.22.1.pcap"
S5 = "s5-canon-0.18.1.pcap"
COWSQL = "s1-cowsql-0.20.0.pcap"


def by_stream(given: list[Message]) -> list[tuple[object, list[tuple[object, ...]]]]:
    """The messages of each stream in order; streams between the same ends in the order of their beginning."""
    streams: dict[object, list[tuple[object, ...]]] = {}
    for message in given:
        streams.setdefault(message.stream, []).append(captures.content(message))
    return sorted(((content[0][:2], content) for content in streams.values()), key=lambda stream: str(stream[0]))


def said(talk: Transcript) -> list[Message]:
    return list(messages(talk.packets(), keep_payload=True))


@pytest.mark.parametrize("file", [file for file in WHOLE if file != "dq1-dqlite-1.18.6.node4.pcap"])
def test_a_transcript_written_as_packets_says_the_same_in_the_same_streams(file: str) -> None:
    original = by_stream(list(messages(captures.packets(file), keep_payload=True)))
    assert original
    assert by_stream(said(transcript(file))) == original


class Course(NamedTuple):
    """How a connection went that carried data: which direction its SYN and its first FIN or RST are of."""

    opened: bytes | None
    ended: bytes | None
    how: str


def courses(packets: Sequence[Packet]) -> Counter[Course]:
    """Of each connection; worked out from flags alone."""
    flows = Flows(packets)
    found: dict[int, Course] = {}
    used = set()
    for segment in segments(packets):
        number = flows.of_frame[segment.packet.frame].number
        course = found.get(number, Course(None, None, "open"))
        if segment.flags & (SYN | ACK) == SYN:
            course = course._replace(opened=segment.key)
        elif segment.flags & (FIN | RST) and course.how == "open":
            course = course._replace(ended=segment.key, how="RST" if segment.flags & RST else "FIN")
        if segment.data:
            used.add(number)
        found[number] = course
    return Counter(course for number, course in found.items() if number in used)


@pytest.mark.parametrize("file", [S1, S4, S9, "s2-cowsql-0.22.1.pcap", "lo-cowsql-0.22.1.pcap"])
def test_connections_open_and_end_as_they_did(file: str) -> None:
    written = transcript(file).packets()
    assert courses(written) == courses(captures.packets(file))
    assert not captures.run(written).diagnostics


@pytest.mark.parametrize("file", [S1, S5, "s4-ipv6-cowsql-0.22.1.pcap"])
def test_messages_are_complete_at_the_times_at_which_they_were(file: str) -> None:
    times = sorted(message.place.time_ns for message in messages(captures.packets(file)))
    assert sorted(message.place.time_ns for message in said(transcript(file))) == times


def test_ports_can_be_used_again() -> None:
    talk = Transcript()
    client, server = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 9001)
    handshake = wire.encode_handshake("raft", 1, "10.0.0.1:9001")
    message = wire.encode_message(table.APPEND_ENTRIES, {"term": 1})
    for time_ns in (0, 5 * MILLISECOND):
        channel = talk.connect(1, 2, client, server, time_ns, handshake)
        talk.say(channel, message, time_ns + MILLISECOND)
        channel.ending = Ending("fin", time_ns + 2 * MILLISECOND, True)
    found = [(m.stream.number // 2, m.offset) for m in said(talk)]
    assert found == [(0, len(handshake)), (1, len(handshake))]


def test_a_connection_begun_before_the_capture_stays_so() -> None:
    talk = transcript("s1-mid-cowsql-0.22.1.mid.pcap")
    midway = [channel for channel in talk.channels if channel.opened_ns is None]
    assert midway
    assert any(message.offset is None for message in said(talk))
    first = {(m.stream.source, m.stream.destination) for m in said(talk) if m.offset is None}
    assert first == {(channel.client, channel.server) for channel in midway}


def test_segments_are_acknowledged_and_no_longer_than_an_mtu() -> None:
    found = segments(transcript(S4).packets())
    assert max(len(segment.ip) for segment in found) <= 1500
    sent = {segment.end for segment in found if segment.data}
    assert {segment.acknowledgement for segment in found} >= {max(sent)}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("file", [S1, "s2-cowsql-0.22.1.pcap", "s4-ipv6-cowsql-0.22.1.pcap"])
def test_tshark_finds_nothing_amiss_in_the_connections(file: str, tmp_path: Path) -> None:
    path = tmp_path / "written.pcap"
    transcript(file).write(path)
    asked = ["tshark", "-r", str(path), "-Y", "tcp.analysis.flags or not tcp"]
    assert subprocess.run(asked, capture_output=True, check=True).stdout == b""


def test_reading_what_was_written_gives_the_same_transcript() -> None:
    talk = transcript(S5)
    again = transcript_of(talk.packets())
    assert [(u.time_ns, u.sender, u.receiver, u.data) for u in again.utterances] == [
        (u.time_ns, u.sender, u.receiver, u.data) for u in talk.utterances
    ]


def test_unused_bytes_of_handshakes_are_kept() -> None:
    """canonical/raft writes stale memory behind the address; the bytes are compared with a plain reassembly."""
    streams = captures.client_streams(S1)
    openings = [opening.data for opening in transcript(S1).openings]
    assert all(any(stream.data.startswith(opening) for stream in streams) for opening in openings)
    assert len(openings) == 4


def test_servers_are_known_by_their_ids() -> None:
    """Server K of these runs has the host 10.77.77.K; on loopback, behind forwarders and with names there is none."""
    for utterance in transcript(S1).utterances:
        assert utterance.channel.client.host == f"10.77.77.{utterance.sender}"
        assert utterance.channel.server.host == f"10.77.77.{utterance.receiver}"
    for file in ("lo-cowsql-0.22.1.pcap", "s4-ipv6-cowsql-0.22.1.pcap", "s1-hostnames-cowsql-0.22.1.pcap"):
        pairs = {(utterance.sender, utterance.receiver) for utterance in transcript(file).utterances}
        assert pairs == {(a, b) for a in (1, 2, 3) for b in (1, 2, 3) if a != b} & pairs
        assert {sender for sender, _ in pairs} == {receiver for _, receiver in pairs} == {1, 2, 3}


def the_message(talk: Transcript, utterance: Utterance) -> Message:
    """What is said now by the frame that completes an utterance."""
    frame = talk.frame(utterance)
    return next(m for m in said(talk) if m.place.frame == frame and m.name == utterance.name)


def others(talk: Transcript, utterance: Utterance) -> list[bytes]:
    return [each.data for each in talk.utterances if each is not utterance]


def test_fields_are_replaced_and_every_other_byte_stays() -> None:
    talk, original = transcript(S1), transcript(S1)
    target = talk.find("AppendEntries", 3, entries=1)
    old = original.find("AppendEntries", 3, entries=1)
    target.set(leader_commit=77, prev_log_term=9)
    assert the_message(talk, target).fields == {**old.fields, "leader_commit": 77, "prev_log_term": 9}
    # Offsets in the message: prev_log_term at 32, leader_commit at 40, each of 8 bytes.
    assert target.data == old.data[:32] + (9).to_bytes(8, "little") + (77).to_bytes(8, "little") + old.data[48:]
    assert others(talk, target) == others(original, old)


def test_flags_are_bits_of_their_word() -> None:
    talk = transcript(S5)
    target = talk.find("RequestVote", pre_vote=True, disrupt_leader=False)
    assert target.set(disrupt_leader=1).data[48:56] == bytes([3, 0, 0, 0, 0, 0, 0, 0])
    assert target.set(pre_vote=0).data[48:56] == bytes([1, 0, 0, 0, 0, 0, 0, 0])
    assert the_message(talk, target).fields["disrupt_leader"] is True
    small = transcript(COWSQL).find("RequestVoteResult", vote_granted=True)
    assert small.version == 2
    before = small.data
    assert (
        small.set(pre_vote=1, capacity=0x1234).data == before[:32] + b"\1" + before[33:36] + b"\x34\x12" + before[38:]
    )


def test_a_field_that_this_form_does_not_have_is_refused() -> None:
    with pytest.raises(KeyError, match="features"):
        transcript("s1-canon-0.9.0.pcap").find("AppendEntriesResult").set(features=1)
    with pytest.raises(KeyError, match="no entries"):
        _ = transcript(S1).find("RequestVote").entries


def test_raw_bytes_are_replaced_at_their_offset() -> None:
    talk = transcript(COWSQL)
    target = talk.find("AppendEntriesResult", 5)
    target.patch(2, b"\0")
    assert the_message(talk, target).preamble.version == 0
    target.patch(-2, b"ab")
    assert the_message(talk, target).header[-2:] == b"ab"
    with pytest.raises(IndexError):
        target.patch(len(target.data), b"x")


def test_entries_are_replaced_with_their_payload() -> None:
    talk = transcript(S1)
    target = talk.find(where=lambda each: each.name == "AppendEntries" and len(each.entries) == 1)
    trailer = target.header[-8:]
    old = target.entries
    new = [old[0], EntryBytes(target.fields["term"], 1, b"12345678"), EntryBytes(target.fields["term"], 2, bytes(8))]
    target.set_entries(new)
    message = the_message(talk, target)
    assert [(e.term, e.type, e.size) for e in message.entries] == [(e.term, e.type, len(e.data)) for e in new]
    assert message.payload == b"".join(e.data for e in new)
    assert message.header[-8:] == trailer
    assert target.entries == new
    target.set_entry(1, term=1, data=b"abcdefghijklmnop")
    assert target.entries[1] == EntryBytes(1, 1, b"abcdefghijklmnop", new[1].unused)
    assert the_message(talk, target).payload == old[0].data + b"abcdefghijklmnop" + bytes(8)


def test_unused_bytes_of_entries_are_kept() -> None:
    """Three bytes after the type of each entry are stale memory of the sender."""
    talk = transcript(S1)
    stale = [each for each in talk.all("AppendEntries") if any(any(entry.unused) for entry in each.entries)]
    assert stale
    before = stale[0].data
    assert stale[0].set_entries(stale[0].entries).data == before


def test_configuration_and_snapshot_are_replaced() -> None:
    talk = transcript(S4)
    target = talk.find("InstallSnapshot")
    old = target.configuration
    trailer = target.header[-8:]
    servers = (*old, wire.Server(9, "10.77.77.9:17000", 2))
    target.set_configuration(servers).set_snapshot(b"snapshot" * 1000)
    message = the_message(talk, target)
    assert (message.configuration, message.payload) == (servers, b"snapshot" * 1000)
    assert target.header[-8:] == trailer
    assert target.set(last_index=5).fields["last_index"] == 5
    assert not said(talk)[-1].partial


def test_an_inserted_message_is_on_the_connection_right_behind_the_other() -> None:
    talk = transcript(S5)
    timeout = talk.find("TimeoutNow")
    target, leader = timeout.receiver, timeout.sender
    assert target is not None
    assert leader is not None
    before = len(said(talk))
    encoded = wire.encode_message(2, {"term": timeout.fields["term"], "last_log_index": 999}, layout="c-0.18.0")
    new = talk.insert(encoded, target, leader, after=timeout)
    found = said(talk)
    assert len(found) == before + 1
    message = the_message(talk, new)
    assert message.fields["last_log_index"] == 999
    assert message.stream.handshake is not None
    assert message.stream.handshake.id == target
    assert message.place.time_ns == timeout.time_ns
    assert talk.frame(new) > talk.frame(timeout)
    later = talk.insert(encoded, target, leader, time_ns=timeout.time_ns + 5 * MILLISECOND)
    assert the_message(talk, later).place.time_ns == timeout.time_ns + 5 * MILLISECOND


def test_a_message_can_go_the_wrong_way() -> None:
    talk = transcript(S1)
    one = talk.find("AppendEntries")
    assert one.sender is not None
    assert one.receiver is not None
    handshake = talk.opening(one.receiver, one.sender).data
    talk.insert(handshake, one.receiver, one.sender, after=one, opening=True, backwards=True)
    new = talk.insert(one.data, one.receiver, one.sender, time_ns=one.time_ns, backwards=True)
    message = the_message(talk, new)
    assert (new.sender, new.receiver) == (one.receiver, one.sender)
    assert (message.stream.source, message.stream.destination) == (one.channel.server, one.channel.client)


def test_no_message_is_inserted_where_no_connection_is() -> None:
    talk = transcript(S1)
    first = talk.messages[0]
    with pytest.raises(LookupError):
        talk.insert(first.data, 7, 1, after=first)
    with pytest.raises(LookupError):
        talk.insert(first.data, 1, 2, time_ns=0)


def test_messages_are_dropped_duplicated_and_moved() -> None:
    talk = transcript(S1)
    names = [each.data for each in talk.messages]
    vote = talk.find("RequestVoteResult")
    talk.drop(vote)
    assert len(said(talk)) == len(names) - 1
    beat = talk.find("AppendEntries", 2)
    again = talk.duplicate(beat, delay_ns=MILLISECOND)
    assert the_message(talk, again).header == beat.header
    assert talk.frame(again) > talk.frame(beat)
    talk.move(again, beat.time_ns - 1)
    assert talk.frame(again) < talk.frame(beat)
    assert the_message(talk, again).place.time_ns == beat.time_ns - 1
    assert len(said(talk)) == len(names)


def test_a_message_can_be_repeated_by_another_server() -> None:
    talk = transcript(S1)
    beat = talk.find("AppendEntriesResult", sender=1)
    copy = talk.duplicate(beat, sender=2)
    assert (copy.sender, copy.receiver, copy.data) == (2, beat.receiver, beat.data)


def test_a_handshake_is_changed() -> None:
    talk = transcript(S1)
    talk.opening(3, 1).set_handshake(id=9, address="10.77.77.9:17000")
    talk.opening(3, 2).set_handshake(kind="dqlite")
    handshakes = {m.stream.handshake for m in said(talk)}
    assert (9, "raft", "10.77.77.9:17000") in {(h.id, h.kind, h.address) for h in handshakes if h}
    assert (3, "dqlite") in {(h.id, h.kind) for h in handshakes if h}


def test_what_is_not_there_is_not_found() -> None:
    talk = transcript(S1)
    with pytest.raises(LookupError, match="0 messages TimeoutNow"):
        talk.find("TimeoutNow")
    everything = talk.all("AppendEntries", sender=3)
    assert talk.find("AppendEntries", -1, sender=3) is everything[-1]
    assert talk.all("AppendEntries", sender=3, after=everything[0]) == everything[1:]


def test_changes_do_not_reach_other_transcripts_of_the_capture() -> None:
    talk = transcript(S1)
    before = talk.messages[0].data
    talk.messages[0].set(term=99)
    talk.messages[0].channel.sender = 99
    talk.channels.clear()
    other = transcript(S1)
    assert (other.messages[0].data, other.messages[0].sender) == (before, 3)
    assert len(other.channels) == 4


def test_a_written_file_is_read_as_the_packets_are(tmp_path: Path) -> None:
    talk = transcript(S1)
    talk.write(tmp_path / "written.pcap")
    assert captures.contents(messages(tmp_path / "written.pcap")) == captures.contents(messages(talk.packets()))
