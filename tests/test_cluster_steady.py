"""The short way of steady messages: it leads to the same facts as asking every tracker about every message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raft_dissect import wire
from raft_dissect.cluster import Analysis
from raft_dissect.cluster.clusters import feed_batch
from raft_dissect.columns import MessageBatch, shape_column
from raft_dissect.dissection import Dissection
from raft_dissect.values import Endpoint, Message, Place, Stream, StreamClosed, StreamOpened
from raft_dissect.wire import table
from tests.captures import FILES, PCAPS
from tests.scripts import VOTER, Script, change, command

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.values import Event

END_NS = 10**19
LARGEST = 2**64 - 1
SERVERS = (1, 2, 3)
Step = tuple[str, int, int, dict[str, int], int, int]
"""What happens: what, from which server to which one, with which fields, in which variant, and when in nanoseconds."""


def short_way(events: Iterable[Event]) -> ClusterFacts | None:
    analysis = Analysis()
    for event in events:
        analysis.feed(event)
    return analysis.facts(END_NS)


def short_way_in_rows(events: Sequence[Event], size: int) -> ClusterFacts | None:
    """The short way with batches of so many events, in which ordinary messages are no objects."""
    analysis = Analysis()
    for begin in range(0, len(events), size):
        feed_batch(analysis, in_rows(events[begin : begin + size]))
    return analysis.facts(END_NS)


def in_rows(events: Sequence[Event]) -> MessageBatch:
    """A batch as the engine makes it, where a whole message without changes is a row and nothing else."""
    batch = MessageBatch(None)
    batch.begin(b"".join(event.header for event in events if isinstance(event, Message)), 0)
    at = 0
    for event in events:
        if not isinstance(event, Message) or event.partial or event.changes or event.type == table.INSTALL_SNAPSHOT:
            batch.add(event)
        else:
            add_row(batch, event, at)
        if isinstance(event, Message):
            at += len(event.header)
    return batch


def add_row(batch: MessageBatch, message: Message, at: int) -> None:
    """Add a message of which the header stands in the batch's buffer."""
    assert message.payload_length is not None
    row = batch.rows
    batch.rows += 1
    batch.streams[row] = message.stream
    batch.shapes[row] = shape_column(message.preamble)
    batch.headers[row] = at
    batch.offsets[row] = -1
    batch.frames[row] = message.place.frame
    batch.times[row] = message.place.time_ns
    batch.payloads[row] = message.payload_length
    words = [int.from_bytes(message.header[8 * word : 8 * word + 8], "little") for word in range(5)]
    batch.word0[row], batch.word1[row], batch.word2[row], batch.word3[row], batch.word4[row] = words


def long_way(events: Iterable[Event]) -> ClusterFacts | None:
    analysis = Analysis()
    for event in events:
        analysis.ask_all(event)
    return analysis.facts(END_NS)


@pytest.mark.parametrize("file", FILES)
def test_both_ways_lead_to_the_same_facts_in_real_captures(file: str) -> None:
    events = list(Dissection(PCAPS / file))
    assert short_way(events) == long_way(events)
    analysis = Analysis()
    for batch in Dissection(PCAPS / file).batches():
        feed_batch(analysis, batch)
    assert analysis.facts(END_NS) == long_way(events)


def test_both_ways_lead_to_the_same_facts_when_captures_are_merged() -> None:
    files = sorted(PCAPS.glob("s1-5n-cowsql-0.22.1.node*.pcap"))
    events = list(Dissection(files))
    assert short_way(events) == long_way(events)


class Talk:
    """Events without packets: streams between servers, some of which begin with a handshake."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._streams: dict[tuple[int, int], Stream] = {}
        self._opened = 0

    def take(self, step: Step, number: int) -> None:
        what, sender, receiver, fields, variant, time_ns = step
        place = Place(time_ns, number)
        if what == "open":
            self._open(sender, receiver, place, handshake=variant % 2 == 0)
        elif what == "close":
            self.events.append(StreamClosed(self._stream(sender, receiver, place), place, "fin"))
            del self._streams[sender, receiver]
        else:
            self.events.append(self._message(what, sender, receiver, fields, variant, place))

    def _open(self, sender: int, receiver: int, place: Place, *, handshake: bool) -> Stream:
        source, destination = Endpoint(f"10.0.0.{sender}", 40000 + self._opened), Endpoint(f"10.0.0.{receiver}", 9001)
        stream = self._streams[sender, receiver] = Stream(2 * self._opened, source, destination)
        self._opened += 1
        if handshake:
            stream.handshake = wire.Handshake("raft", 1, sender, f"10.0.0.{sender}:9001", 40)
        self.events.append(StreamOpened(stream, place))
        return stream

    def _stream(self, sender: int, receiver: int, place: Place) -> Stream:
        return self._streams.get((sender, receiver)) or self._open(sender, receiver, place, handshake=False)

    def _message(
        self, name: str, sender: int, receiver: int, fields: Mapping[str, int], variant: int, place: Place
    ) -> Message:
        """The variant decides the layout, how many entries there are, whether one is a change, and what is cut."""
        stream = self._stream(sender, receiver, place)
        entries = [(fields["term"], table.COMMAND, b"data")] * (variant % 3)
        if variant % 7 == 0:
            entries.append((fields["term"], table.CHANGE, CONFIGURATION))
        encoded = wire.encode_message(
            table.MESSAGE_NUMBERS[name],
            fields,
            layout=("c-0.18.0", "w-0.22.1")[variant % 2],
            entries=entries,
            configuration=[wire.Server(1, "10.0.0.1:9001", VOTER)],
        )
        decoded = wire.decode_message(encoded)
        assert decoded is not None
        header = encoded[16 : 16 + decoded.preamble.header_length]
        if name == "AppendEntries" and variant % 5 == 0:
            header = header[:-8] + b"stale..."
        message = Message(stream, None, place, decoded.preamble)
        message.payload_length = len(decoded.payload)
        message.header = header if variant % 11 else header[:30]
        message.missing = 0 if variant % 11 and variant % 13 else 1
        if variant % 7 == 0 and name == "AppendEntries" and message.missing == 0:
            message.keep_change(len(entries) - 1, CONFIGURATION)
        return message


CONFIGURATION = wire.encode_configuration([wire.Server(id_, f"10.0.0.{id_}:9001", VOTER) for id_ in SERVERS])
FIELDS = st.fixed_dictionaries(
    {"term": st.sampled_from([1, 2, 2, 2, 3, LARGEST])},
    optional={
        name: st.sampled_from([0, 1, 2, 3, 2**63, LARGEST])
        for name in ("prev_log_index", "prev_log_term", "leader_commit", "last_log_index", "last_index", "candidate_id")
    }
    | {name: st.sampled_from([0, 0, 0, 1]) for name in ("rejected", "vote_granted", "pre_vote", "disrupt_leader")},
)
ANYTHING = st.tuples(
    st.sampled_from([*list(table.MESSAGE_NUMBERS)[:6], "open", "close"]),
    st.sampled_from(SERVERS),
    st.sampled_from(SERVERS),
    FIELDS,
    st.integers(1, 77),
    st.sampled_from([0, 0, 0, 1, 2**62 - 1]),
).map(lambda step: [step])


@st.composite
def scenes(draw: st.DrawFn) -> list[Step]:
    """What a server does in its role: it replicates, is told off, installs a snapshot, or asks for votes."""
    one, other = draw(st.sampled_from([(a, b) for a in SERVERS for b in SERVERS if a != b]))
    term, index = draw(st.integers(1, 3)), draw(st.integers(0, 4))
    variant = draw(st.sampled_from([2, 4, 4, 4, 5, 6, 9, 22, 26]))

    def say(name: str, sender: int, receiver: int, **fields: int) -> Step:
        late = draw(st.sampled_from([0, 0, 0, -4, 5]))
        return name, sender, receiver, {"term": term, **fields}, variant, late

    append = say("AppendEntries", one, other, prev_log_index=index, prev_log_term=term)
    result = say("AppendEntriesResult", other, one, last_log_index=index)
    last = {"last_log_index": index, "last_log_term": draw(st.integers(1, term))}
    flags = {"pre_vote": draw(st.integers(0, 1))}
    ask = say("RequestVote", one, other, candidate_id=one, **last, **flags)
    kinds: list[list[Step]] = [
        [append, result] * 3,
        [append] * 3,
        [result] * 2,
        [append, say("AppendEntriesResult", other, one, last_log_index=0, rejected=index)],
        [say("InstallSnapshot", one, other, last_index=index), result, result],
        [ask, say("RequestVoteResult", other, one, vote_granted=draw(st.integers(0, 1)), **flags)],
        [ask],
        [say("open", one, other)],
        [say("close", one, other)],
    ]
    return draw(st.sampled_from(kinds))


@given(st.lists(st.one_of(scenes(), scenes(), scenes(), ANYTHING), max_size=14))
@settings(max_examples=800)
def test_both_ways_lead_to_the_same_facts_whatever_servers_say(said: list[list[Step]]) -> None:
    talk = Talk()
    for number, step in enumerate((step for steps in said for step in steps), 10):
        talk.take((*step[:5], min(max(step[5] + number, 0), 2**62 - 1)), number)
    expected = long_way(talk.events)
    assert short_way(talk.events) == expected
    assert short_way_in_rows(talk.events, 7) == expected


def test_numbers_of_64_bits_stay_exact() -> None:
    """The largest term and indexes that fit on the wire, many times, then a rejection of the last of them."""
    script = Script(layout="c-0.18.0")
    for _ in range(4):
        script.append(1, 2, LARGEST, (LARGEST, LARGEST), command(LARGEST))
        script.result(2, 1, LARGEST, LARGEST)
    facts = script.result(2, 1, LARGEST, LARGEST - 1, rejected=LARGEST).facts()
    assert [(leader.term, leader.leader) for leader in facts.leaders] == [(LARGEST, 1)]
    (rejection,) = facts.rejections
    assert (rejection.term, rejection.rejected, rejection.last_log_index) == (LARGEST, LARGEST, LARGEST - 1)
    assert {(change.server, change.new) for change in facts.term_changes} == {(1, LARGEST), (2, LARGEST)}


def test_steady_messages_are_counted_and_keep_the_leader_in_office() -> None:
    script = Script(layout="c-0.18.0")
    for index in range(50):
        script.append(1, 2, 2, (2, index), command(2, 10)).result(2, 1, 2, index + 1)
    facts = script.facts()
    assert [(t.sender, t.receiver, t.messages) for t in facts.traffic] == [
        (1, 2, {"AppendEntries": 50}),
        (2, 1, {"AppendEntriesResult": 50}),
    ]
    assert [t.bytes for t in facts.traffic] == [50 * (16 + 40 + 16 + 8 + 10), 50 * (16 + 32)]
    (leader,) = facts.leaders
    assert (leader.last.time_ns - leader.first.time_ns, leader.ended_by) == (49 * 2_000_000, "capture_end")


def test_change_in_the_midst_of_steady_messages_is_seen() -> None:
    script = Script()
    for index in range(10):
        script.append(1, 2, 2, (2, index), command(2)).result(2, 1, 2, index + 1)
    script.append(1, 2, 2, (2, 10), change(2, {1: VOTER, 2: VOTER}))
    facts = script.facts()
    assert [(fact.conf_index, fact.term) for fact in facts.configurations] == [(11, 2)]


def replicate(script: Script, first: int, last: int) -> Script:
    """Server 1 sends entries to server 2 one by one, which stores them."""
    for index in range(first, last + 1):
        script.append(1, 2, 2, (2, index - 1), command(2)).result(2, 1, 2, index)
    return script


def test_snapshot_of_what_a_follower_has_acknowledged_is_one_that_it_already_had() -> None:
    script = replicate(Script(), 1, 20)
    script.say(1, 2, "InstallSnapshot", {"term": 2, "last_index": 18, "last_term": 2}, roles={1: VOTER}, data=bytes(8))
    facts = script.result(2, 1, 2, 20).facts()
    assert [snapshot.outcome for snapshot in facts.snapshots] == ["already_had"]


def test_snapshot_is_installed_when_a_steady_result_reaches_its_last_entry() -> None:
    script = replicate(Script(), 1, 5)
    script.say(1, 2, "InstallSnapshot", {"term": 2, "last_index": 18, "last_term": 2}, roles={1: VOTER}, data=bytes(8))
    facts = script.result(2, 1, 2, 5).result(2, 1, 2, 5).result(2, 1, 2, 18).facts()
    assert [snapshot.outcome for snapshot in facts.snapshots] == ["installed"]


def test_follower_that_heard_its_leader_on_a_new_connection_did_not_lose_it() -> None:
    """The leader's connection broke, and it went on with another one; the follower's election is for its silence."""
    script = replicate(Script(), 1, 5).kill(1)
    script = replicate(script, 6, 10).wait(5000).ask(2, 1, 3)
    assert [election.cause for election in script.facts().elections] == ["heartbeats_absent"]
    script = replicate(Script(), 1, 10).kill(1).wait(5000).ask(2, 3, 3)
    assert [election.cause for election in script.facts().elections] == ["connection_lost"]


def test_reign_begins_with_its_earliest_packet_though_it_came_late() -> None:
    talk = Talk()
    for number, (what, time_ns) in enumerate([("RequestVote", 1), *[("AppendEntries", 10)] * 3, ("AppendEntries", 5)]):
        talk.take((what, 1, 2, {"term": 2, "candidate_id": 1}, 4, time_ns), number)
    facts = short_way(talk.events)
    assert facts is not None
    assert [leader.first.time_ns for leader in facts.leaders] == [5]
