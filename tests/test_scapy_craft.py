"""Messages that a person makes with Scapy: what is not said follows from the rest, what is said stays."""

from __future__ import annotations

import pytest
from scapy.packet import Raw, fuzz
from scapy.volatile import RandLong

from raft_dissect import wire
from raft_dissect.layers import (
    AppendEntries,
    AppendEntriesResult,
    Configuration,
    DqliteHandshake,
    Entry,
    InstallSnapshot,
    Raft,
    RaftHandshake,
    RaftMessage,
    RequestVote,
    RequestVoteResult,
    ReservedMessage,
    Server,
    TimeoutNow,
)
from raft_dissect.wire import table

MESSAGES = (RequestVote, RequestVoteResult, AppendEntries, AppendEntriesResult, InstallSnapshot, TimeoutNow)


def test_a_vote_in_one_line() -> None:
    packet = RequestVote(term=3, candidate_id=1, last_log_index=123, last_log_term=2, flags="pre_vote")
    assert bytes(packet).hex() == (
        "0300020000000000" "2800000000000000"
        "0300000000000000" "0100000000000000" "7b00000000000000" "0200000000000000" "0200000000000000"
    )  # fmt: skip
    assert packet.summary() == "RequestVote term 3 candidate 1 last 123/2 pre-vote"


def test_entries_bring_their_data() -> None:
    packet = AppendEntries(term=3, entries=[Entry(term=3, type="command", data=b"abcdefgh"), Entry(data=b"xy")])
    decoded = wire.decode_message(bytes(packet))
    assert decoded is not None
    assert decoded.header.entries == (wire.Entry(3, 1, 8), wire.Entry(1, 1, 2))
    assert decoded.payload == b"abcdefghxy"
    assert decoded.preamble.header_length == 48 + 2 * 16


def test_a_change_is_made_of_a_configuration_and_shown_as_one() -> None:
    new = Configuration(servers=[Server(id=1, address="a:1"), Server(id=2, address="b:1", role="spare")])
    packet = Raft(bytes(AppendEntries(entries=[Entry(type="change", data=new)])))
    assert [(s.id, s.address, s.role) for s in packet.entries[0].data.servers] == [(1, b"a:1", 1), (2, b"b:1", 2)]
    assert packet[Configuration].n_servers == 2
    assert "role      = spare" in str(packet.show(dump=True))
    packet.entries[0].data.servers[1].role = "standby"
    assert Raft(bytes(packet)).entries[0].data.servers[1].role == 0


def test_a_change_that_is_no_configuration_stays_bytes() -> None:
    assert Raft(bytes(AppendEntries(entries=[Entry(type="change", data=b"\x02nonsense")]))).entries[0].data == (
        b"\x02nonsense"
    )


def test_a_snapshot_brings_its_lengths() -> None:
    servers = [Server(id=1, address="10.0.0.1:9001")]
    packet = InstallSnapshot(term=6, last_index=10, configuration=Configuration(servers=servers), data=b"12345")
    decoded = wire.decode_message(bytes(packet))
    assert decoded is not None
    assert decoded.header.configuration == (wire.Server(1, "10.0.0.1:9001", 1),)
    assert decoded.payload == b"12345"


@pytest.mark.parametrize("length", range(1, 20))
@pytest.mark.parametrize(("handshake", "kind"), [(RaftHandshake, "raft"), (DqliteHandshake, "dqlite")])
def test_a_handshake_pads_its_address(handshake: type[Raft], kind: str, length: int) -> None:
    address = "a" * length
    data = bytes(handshake(id=7, address=address))
    opening = wire.recognise(data)
    assert opening.handshake == wire.Handshake(kind, 1, 7, address, len(data))  # type: ignore[arg-type]  # a str here


@pytest.mark.parametrize("layout", [layout.label for layout in table.LAYOUTS])
@pytest.mark.parametrize("message", MESSAGES)
def test_every_layout_can_be_asked_for(message: type[RaftMessage], layout: str) -> None:
    if message is TimeoutNow and layout == "c-0.9.0":
        with pytest.raises(ValueError, match=r"TimeoutNow has no layout 'c-0\.9\.0'"):
            message(layout=layout)
        return
    number = table.MESSAGE_NUMBERS[message.__name__]
    built = bytes(message(layout=layout))
    lowest = {"term": 1, "candidate_id": 1} if message is RequestVote else {"term": 1}
    assert built == wire.encode_message(number, lowest, layout=layout)
    assert layout in message(built, layout=layout).form.layouts


def test_an_unknown_layout_or_name_is_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no layout 'c-1\.0'; it has: c-0\.9\.0, "):
        RequestVote(layout="c-1.0")
    with pytest.raises(ValueError, match="role cannot be 'leader'; it can be: standby, voter, spare"):
        Server(role="leader")
    with pytest.raises(ValueError, match="term cannot be 'three'; it can be: only numbers"):
        RequestVote(term="three")


def test_broken_messages_keep_what_they_were_told() -> None:
    # The attack that a server of cowsql/raft v0.21.0 reads past its buffer for: a short header with version 2.
    short = RequestVote(layout="c-0.9.0", version=2)
    assert bytes(short) == bytes.fromhex("03000200000000002000000000000000") + bytes(RequestVote())[16:48]
    assert bytes(RequestVote(header_length=7))[8] == 7
    assert len(bytes(RequestVote(header_length=7))) == len(bytes(RequestVote()))
    assert bytes(AppendEntries(n_entries=0xFFFFFFFF))[48:56] == b"\xff\xff\xff\xff\0\0\0\0"
    assert bytes(AppendEntries(entries=[Entry(size=1 << 31, data=b"x")]))[68:72] == b"\0\0\0\x80"
    assert len(bytes(AppendEntries(trailer=None))) == 16 + 40
    assert bytes(AppendEntries(trailer=None))[8] == 40
    assert bytes(RequestVote(candidate_id=None, last_log_index=None, last_log_term=None, flags=None))[8] == 8
    assert bytes(TimeoutNow(extra=b"12345678"))[8] == 32
    assert bytes(TimeoutNow(type=200, preamble_reserved1=b"\x01"))[:2] == b"\xc8\x01"
    assert bytes(RequestVote(flags=1 << 63))[-1] == 0x80
    assert bytes(ReservedMessage(type="Mv", extra=b"abc")).hex() == "0a000000000000000300000000000000616263"
    assert bytes(AppendEntries(entries=[Entry(data=b"good")], data=b"bad!"))[-4:] == b"bad!"
    assert bytes(InstallSnapshot(conf_length=1 << 63))[55] == 0x80
    assert bytes(InstallSnapshot(configuration=b"")).hex().startswith("05" + "00" * 7 + "38" + "00" * 7)
    assert bytes(Configuration(n_servers=1 << 40, padding=b"")).hex() == "01" + "00" * 5 + "01" + "00" * 2
    assert bytes(RaftHandshake(id=0, address="x", padding=b"", address_length=0))[8:] == bytes(16) + b"x"
    assert bytes(DqliteHandshake(words=0))[8:12] == bytes(4)


def test_a_value_that_does_not_fit_is_refused_with_the_name_of_its_field() -> None:
    with pytest.raises(OverflowError, match="capacity is 65536, which does not fit into 2 bytes"):
        bytes(AppendEntriesResult(capacity=1 << 16))


def test_a_deleted_length_is_worked_out_again() -> None:
    packet = Raft(bytes(AppendEntries(entries=[Entry(data=b"12345678")])))
    packet.entries[0].data = b"123"
    assert Raft(bytes(packet)).entries[0].size == 8
    del packet.entries[0].size
    assert Raft(bytes(packet)).entries[0].size == 3


def test_layers_follow_one_another() -> None:
    stream = DqliteHandshake(id=1, address="10.0.0.1:9001") / RequestVote() / AppendEntries(entries=[Entry(data=b"x")])
    assert Raft(bytes(stream / TimeoutNow())).layers() == [DqliteHandshake, RequestVote, AppendEntries, TimeoutNow]
    assert Raft(bytes(stream / b"junk")).layers() == [DqliteHandshake, RequestVote, AppendEntries, Raw]
    assert Raft in stream
    assert TimeoutNow not in stream


def test_a_set_of_values_makes_a_set_of_messages() -> None:
    assert [packet.term for packet in RequestVote(term=[1, 2, 3])] == [1, 2, 3]


@pytest.mark.parametrize("message", MESSAGES)
def test_fuzzed_messages_are_whole_messages(message: type[RaftMessage]) -> None:
    seen = set()
    for _ in range(20):
        packet = message()
        if isinstance(packet, AppendEntries):
            packet.entries = [fuzz(Entry()), Entry(term=RandLong(), data=b"abc")]
        data = bytes(fuzz(packet))
        decoded = wire.decode_message(data)
        assert decoded is not None
        assert decoded.length == len(data)
        assert RaftMessage(data).layers() == [message]
        seen.add(data)
    assert len(seen) > 1


def test_equal_messages_are_equal() -> None:
    assert RequestVote(term=3) == RequestVote(term=3)
    assert RequestVote(term=3) != RequestVote(term=4)
    assert RequestVote() != TimeoutNow()
