"""The parts of the full-screen view: what is sampled, who led when, filters, and messages field by field."""

from __future__ import annotations

import re
import struct
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.columns import MessageBatch
from raft_dissect.dissection import Dissection
from raft_dissect.live.loop import Loop
from raft_dissect.live.screen import ScreenView
from raft_dissect.live.screen.fields import fields
from raft_dissect.live.screen.picture import ClusterPicture, EventLine, Rates, Reign, Seen, ServerRow
from raft_dissect.live.screen.sampling import PER_BEAT, Sampler
from raft_dissect.live.screen.timeline import timeline
from raft_dissect.live.screen.wanted import understand
from raft_dissect.values import Message, Place
from raft_dissect.wire import table
from tests import captures

SECOND = 1_000_000_000


def seen(message: Message) -> Seen:
    """A message as the view keeps it."""
    sampler = Sampler()
    ((_, found),) = sampler.take(MessageBatch.of([message]))
    return found


def row(number: int) -> ServerRow:
    return ServerRow(number, str(number), f"10.0.0.{number}:1", "follower", None, 1, 1, 1, 0, None, None)


def cluster(*reigns: Reign) -> ClusterPicture:
    return ClusterPicture(0, 0, 1, 1, (row(1), row(2)), reigns, Rates(None, None, (), None))


def test_the_timeline_has_a_segment_for_each_leader_as_long_as_it_led() -> None:
    known = cluster(
        Reign(20 * SECOND, None, None),
        Reign(30 * SECOND, 1, 4),
        Reign(50 * SECOND, None, None),
        Reign(55 * SECOND, 2, 5),
    )
    line = timeline(known, 60 * SECOND, 60, 60).plain
    # One cell is one second: the last one is second 60, which belongs to the last leader.
    assert line == " " * 19 + "?" * 10 + "[=====1 term 4=====]" + "." * 5 + "[2 t5]"


@given(
    st.lists(st.tuples(st.integers(1, 20 * SECOND), st.sampled_from([None, 1, 2, "10.0.0.9"])), max_size=40),
    st.sampled_from([10, 60, 600]),
    st.integers(40, 200),
)
def test_the_timeline_is_as_wide_as_its_place(
    lengths: list[tuple[int, int | str | None]], seconds: int, width: int
) -> None:
    reigns, now = [], 0
    for length, leader in lengths:
        reigns.append(Reign(now, leader, 7))
        now += length
    assert len(timeline(cluster(*reigns), now, seconds, width).plain) == width


def test_a_second_with_too_many_messages_is_sampled_and_rare_ones_are_seen() -> None:
    messages = [message for message in captures.run_file("s2-cowsql-0.22.1.pcap").messages if not message.partial]
    rare = [message for message in messages if message.type in (table.REQUEST_VOTE, table.REQUEST_VOTE_RESULT)]
    assert len(messages) > 20 * PER_BEAT
    sampler = Sampler()
    sampler.beat(10 * SECOND)
    found = sampler.take(MessageBatch.of(messages))
    sampler.beat(11 * SECOND)
    assert len(found) == PER_BEAT
    assert sampler.sampled == (PER_BEAT, len(messages))
    looked_at = Counter(one.name for _, one in found)
    assert looked_at["RequestVote"] + looked_at["RequestVoteResult"] == min(len(rare), PER_BEAT)
    # In the next second all are looked at.
    assert len(sampler.take(MessageBatch.of(messages[:PER_BEAT]))) == PER_BEAT
    assert sampler.take(MessageBatch.of(messages[:1])) == []
    sampler.beat(11 * SECOND + SECOND // 10)
    assert [one.serial for _, one in sampler.take(MessageBatch.of(messages[:1]))] == [len(messages) + PER_BEAT + 1]


@pytest.mark.parametrize("file", ["s2-cowsql-0.22.1.pcap", "s6-canon-0.18.1.pcap", "s7-cowsql-0.22.1-nopv.pcap"])
def test_leaders_of_the_picture_are_those_that_the_servers_logged(file: str) -> None:
    logged = captures.truth(captures.run_of(file))["leaders_by_term"]
    view = ScreenView()
    Loop(Dissection(captures.PCAPS / file), [view]).run()
    (shown,) = view.picture.clusters
    led = [(reign.leader, reign.term) for reign in shown.reigns if reign.leader is not None]
    assert sorted(set(led), key=led.index) == [
        (one["node"], int(term)) for term, found in logged.items() for one in found
    ]
    for term, found in logged.items():
        first = next(reign for reign in shown.reigns if reign.term == int(term))
        # It is told at the first beat after the leader's first message.
        assert 0 <= first.begin_ns / 1e9 - found[0]["t"] < 0.3


def test_rejections_in_a_row_are_one_event() -> None:
    view = ScreenView()
    Loop(Dissection(captures.PCAPS / "s4-64k-canon-0.18.1.pcap"), [view]).run()
    told = [event for event in view.picture.events if event.kind == "rejection"]
    assert sum(event.times for event in told) == captures.truth("s4-64k-canon-0.18.1")["n_rejections_received"]
    assert len(told) < 5
    assert f"{told[-1].times}x server 1 rejected entries of server 3" in told[-1].told


@pytest.mark.parametrize(
    ("text", "wrong"), [("term=x", "a number"), ("server=", "wants a value"), ("peer=2", "not known")]
)
def test_a_filter_that_means_nothing_is_told(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        understand(text)


def test_a_filter_by_server_takes_whole_names() -> None:
    event = EventLine(1, 0, "leader", "", "server 12 leads term 3", None, Place(0, 1))
    assert not understand("server=1").event(event)
    assert understand("server=12 term=3 type=lead").event(event)
    assert not understand("term=13").event(event)
    host = event._replace(text="10.0.0.12 is seen; its id is not known yet")
    assert understand("server=10.0.0.12").event(host)
    assert not understand("server=10.0.0.1").event(host)


@pytest.mark.parametrize("file", ["s2-cowsql-0.22.1.pcap", "s4-64k-canon-0.18.1.pcap", "s5-canon-0.10.0.pcap"])
def test_fields_of_every_message_add_up_to_its_bytes(file: str) -> None:
    for message in captures.run_file(file).messages:
        kept = seen(message)
        at = 0
        for field in fields(kept):
            if field.offset is not None:
                assert field.offset == at
                at += field.size
        assert at == table.PREAMBLE_LENGTH + message.preamble.header_length + (message.payload_length or 0)
        shown = {field.name: field.value for field in fields(kept)}
        for name, value in message.fields.items():
            if name in shown and isinstance(value, int) and not isinstance(value, bool):
                assert shown[name] == str(value)


@given(st.binary(max_size=400), st.sampled_from([1, 2, 3, 4, 5, 6, 7]), st.integers(0, 3), st.integers(0, 600))
def test_whatever_a_header_holds_its_fields_are_printable(data: bytes, type_: int, version: int, more: int) -> None:
    preamble = wire.Preamble(type_, version, len(data) + more, more % 2 == 0)
    kept = Seen(
        0, False, Place(0, 1), 0, "a", "b", None, "name", "", "", None, preamble, data, None, None, None
    )  # fmt: skip
    for field in fields(kept):
        assert (field.name + field.value + field.meaning).isprintable()


def test_names_from_the_wire_are_escaped() -> None:
    """A server calls itself by text that terminals obey, and Rich's markup."""
    address = "[red]\x1b]0;x\x07:1"
    servers = (wire.Server(1, address, 1),)
    configuration = wire.encode_configuration(servers)
    header = struct.pack("<QQQQQ", 1, 1, 1, 1, len(configuration)) + configuration + struct.pack("<QQ", 8, 0)
    preamble = wire.Preamble(table.INSTALL_SNAPSHOT, 0, len(header), True)
    kept = Seen(
        0, False, Place(0, 1), 0, "a", "b", None, "InstallSnapshot", "", "", 1, preamble, header, None, 8, 0
    )  # fmt: skip
    (server,) = (field for field in fields(kept) if field.name == "server")
    assert server.value.isprintable()
    assert re.match(r"1 \[red\]\\x1b\]0;x\\x07:1 voter", server.value)
