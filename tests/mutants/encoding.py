"""Messages whose bytes no release writes, and those that the receiver cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raft_dissect import wire
from raft_dissect.wire import table
from tests.mutants.declaring import mutant

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

COWSQL = "s2-cowsql-0.22.1.pcap"
CANONICAL = "s1-canon-0.18.1.pcap"
OLDEST = "s1-canon-0.9.0.pcap"
SNAPSHOT = "s1-hostnames-cowsql-0.22.1.pcap"
FORMS = {
    table.REQUEST_VOTE: ("term", "candidate_id", "last_log_index", "last_log_term"),
    table.REQUEST_VOTE_RESULT: ("term", "vote_granted"),
    table.APPEND_ENTRIES_RESULT: ("term", "rejected", "last_log_index"),
}
"""The messages that have grown since the oldest release, and what they said then: section 3."""


def resized(message: Utterance, header: bytes) -> Utterance:
    """The same message with another header of whatever length, and its payload."""
    message.data = message.data[:8] + len(header).to_bytes(8, "little") + header + message.payload
    return message


def wherever(talk: Transcript, index: int, term: int) -> list[tuple[Utterance, int]]:
    """The messages of a leader's term that bring an entry, each with the entry's position."""
    messages = ((each, index - each.fields["prev_log_index"] - 1) for each in talk.all("AppendEntries", term=term))
    return [(each, position) for each, position in messages if 0 <= position < len(each.entries)]


def rewritten(talk: Transcript, **entry: Any) -> Utterance:
    """The first message with one entry, which is another one wherever it is sent; `set_entry` has the arguments."""
    first = talk.find(entries=1)
    for message, position in wherever(talk, first.fields["prev_log_index"] + 1, first.fields["term"]):
        message.set_entry(position, **entry)
    return first


@mutant("ENC-01", COWSQL)
def has_a_type_that_does_not_exist(talk: Transcript) -> Utterance:
    """A result has type 200."""
    return talk.find("AppendEntriesResult", 5).patch(0, b"\xc8")


@mutant("ENC-01", CANONICAL)
def has_a_type_of_more_than_one_byte(talk: Transcript) -> Utterance:
    """Byte 1 of a result, which is zero in every release, is 1."""
    return talk.find("AppendEntriesResult", 5).patch(1, b"\x01")


@mutant("ENC-02", CANONICAL)
def has_no_header(talk: Transcript) -> Utterance:
    """A result has no header."""
    return resized(talk.find("AppendEntriesResult", 5), b"")


@mutant("ENC-02", COWSQL)
def has_a_short_header(talk: Transcript) -> Utterance:
    """A vote has a header of 8 bytes."""
    message = talk.find("RequestVoteResult")
    return resized(message, message.header[:8])


@mutant("ENC-02", CANONICAL)
def has_a_long_header(talk: Transcript) -> Utterance:
    """A vote request has 8 bytes more than any release writes."""
    message = talk.find("RequestVote")
    return resized(message, message.header + bytes(8))


@mutant("ENC-02", COWSQL)
def has_an_odd_header(talk: Transcript) -> Utterance:
    """A heartbeat has a header of 52 bytes."""
    message = talk.find("AppendEntries", 5, n_entries=0)
    return resized(message, message.header + bytes(4))


@mutant("ENC-03", CANONICAL)
def counts_more_entries_than_it_has(talk: Transcript) -> Utterance:
    """AppendEntries with one entry counts nine."""
    return talk.find(entries=1).set(n_entries=9)


@mutant("ENC-03", COWSQL)
def counts_entries_with_more_than_32_bits(talk: Transcript) -> Utterance:
    """A heartbeat counts 2^32 entries, of which receivers see the lower half, 0."""
    return talk.find("AppendEntries", 5, n_entries=0).set(n_entries=1 << 32)


@mutant("ENC-03", COWSQL)
def counts_fewer_entries_than_it_has(talk: Transcript) -> Utterance:
    """AppendEntries with one entry counts none."""
    return talk.find(entries=1).set(n_entries=0)


@mutant("ENC-04", CANONICAL)
def has_an_entry_of_no_type(talk: Transcript) -> Utterance:
    """An entry has type 9 wherever it is sent."""
    return rewritten(talk, type=9)


@mutant("ENC-05", COWSQL)
def has_less_behind_its_header_than_it_says(talk: Transcript) -> Utterance:
    """An entry of 64 bytes has a size of 56 in its header, wherever it is sent."""
    message = talk.find(entries=1, where=lambda each: len(each.payload) == 64)
    for each in talk.all(entries=1, where=lambda each: each.entries[0] == message.entries[0]):
        if each.fields["prev_log_index"] == message.fields["prev_log_index"]:
            each.patch(16 + 40 + 12, (56).to_bytes(4, "little"))
    return message


@mutant("ENC-06", CANONICAL)
def has_entries_off_their_places(talk: Transcript) -> Utterance:
    """The first of two entries has 12 bytes, so that receivers look for the second where it is not."""
    first = rewritten(talk, data=bytes(12))
    following, position = wherever(talk, first.fields["prev_log_index"] + 2, first.fields["term"])[0]
    return first.set_entries([*first.entries, following.entries[position]])


@mutant("ENC-07", COWSQL)
def sends_what_was_in_memory(talk: Transcript) -> Utterance:
    """The unused bytes at the end of a heartbeat hold a small number."""
    return talk.find("AppendEntries", 3, n_entries=0).patch(-8, b"1")


@mutant("ENC-08", OLDEST)
def has_the_version_of_a_longer_form(talk: Transcript) -> Utterance:
    """A vote request of 32 bytes has version 2, which has flags behind them."""
    return talk.find("RequestVote").patch(2, b"\x02")


@mutant("ENC-08", COWSQL)
def has_a_version_where_there_is_none(talk: Transcript) -> Utterance:
    """A heartbeat has version 2."""
    return talk.find("AppendEntries", 5, n_entries=0).patch(2, b"\x02")


@mutant("ENC-09", COWSQL)
def votes_neither_yes_nor_no(talk: Transcript) -> Utterance:
    """vote_granted is 256."""
    return talk.find("RequestVoteResult", vote_granted=1).set(vote_granted=256)


@mutant("ENC-09", COWSQL)
def has_a_flag_that_does_not_exist(talk: Transcript) -> Utterance:
    """Bit 2 of the flags of a vote request is set."""
    return talk.find("RequestVote").patch(16 + 32, b"\x04")


@mutant("ENC-10", SNAPSHOT)
def names_a_server_twice(talk: Transcript) -> Utterance:
    """The configuration of a snapshot has the same id twice."""
    message = talk.find("InstallSnapshot")
    first, *others = message.configuration
    return message.set_configuration([first, others[0]._replace(id=first.id), *others[1:]])


@mutant("ENC-11", COWSQL)
def has_a_barrier_of_16_bytes(talk: Transcript) -> Utterance:
    """An entry is a barrier with 16 bytes wherever it is sent."""
    return rewritten(talk, type=table.BARRIER, data=bytes(16))


@mutant("ENC-11", COWSQL)
def has_a_change_that_is_no_configuration(talk: Transcript) -> Utterance:
    """An entry is a change with 64 zero bytes wherever it is sent."""
    return rewritten(talk, type=table.CHANGE, data=bytes(64))


@mutant("ENC-12", SNAPSHOT)
def goes_on_behind_its_end(talk: Transcript) -> Utterance:
    """The header of a snapshot has 8 bytes more than its configuration needs."""
    message = talk.find("InstallSnapshot")
    return resized(message, message.header + bytes(8))


@mutant("ENC-13", COWSQL)
def runs_the_oldest_release(talk: Transcript) -> Utterance:
    """Server 2 writes like canonical/raft v0.9.0, which cannot decode votes with a version byte."""
    for message in talk.all(sender=2, where=lambda each: each.type in FORMS):
        fields = {name: message.fields[name] for name in FORMS[message.type]}
        message.data = wire.encode_message(message.type, fields, layout="c-0.9.0")
    return talk.find(receiver=2, where=lambda each: each.type in FORMS)
