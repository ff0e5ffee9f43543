"""Messages as columns: what a batch says is what its messages say."""

from __future__ import annotations

import pytest

from raft_dissect import Dissection, messages
from raft_dissect.columns import MessageBatch
from raft_dissect.values import Diagnostic, Message
from tests.captures import FILES, PCAPS, told


def words(message: Message) -> list[int]:
    """The first five 64-bit words of a header as it was captured (protocol document, section 3)."""
    header = message.header[:40].ljust(40, b"\0")
    return [int.from_bytes(header[at : at + 8], "little") for at in range(0, 40, 8)]


@pytest.mark.parametrize("file", FILES)
def test_rows_say_what_their_messages_say(file: str) -> None:
    rows = 0
    partial = 0
    for batch in Dissection(PCAPS / file).batches():
        for row in range(len(batch)):
            message = batch.message(row)
            columns = [batch.word0[row], batch.word1[row], batch.word2[row], batch.word3[row], batch.word4[row]]
            assert columns == words(message)
            assert (batch.times[row], batch.frames[row], batch.file) == message.place
            assert (batch.streams[row], batch.preamble(row)) == (message.stream, message.preamble)
            assert batch.offsets[row] == (-1 if message.offset is None else message.offset)
            assert batch.payloads[row] == (-1 if message.payload_length is None else message.payload_length)
        rows += len(batch)
        partial += batch.partial
    found = list(messages(PCAPS / file))
    assert (rows, partial) == (len(found), sum(message.partial for message in found))


def test_events_come_in_the_same_order_from_batches() -> None:
    path = PCAPS / "s8-reorder10-canon-0.18.1.pcap"
    batches = Dissection(path).batches()
    assert [told(event) for batch in batches for event in batch] == [told(event) for event in Dissection(path)]


def test_what_is_no_message_has_its_place_between_the_rows() -> None:
    message = next(iter(messages(PCAPS / "s4-64k-canon-0.18.1.pcap")))
    said = Diagnostic("limit", message.place, None, None, None, "a bound")
    batch = MessageBatch.of([message, said, message, said, said])
    assert [before for before, _ in batch.others] == [1, 2, 2]
    assert list(batch) == [message, said, message, said, said]
    assert len(batch) == 2


def test_a_dissection_is_gone_through_once() -> None:
    dissection = Dissection(PCAPS / "s4-64k-canon-0.18.1.pcap")
    for _ in dissection.batches():
        pass
    with pytest.raises(RuntimeError, match="once"):
        dissection.batches()
