"""LM: the logs that leaders send agree with each other and with themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.group import Group
from raft_dissect.audit.rule import Rule
from raft_dissect.wire import table

if TYPE_CHECKING:
    from raft_dissect import wire
    from raft_dissect.audit.knowledge.log import Entry
    from raft_dissect.audit.knowledge.reigns import Reign
    from raft_dissect.audit.step import Step

SAME = Rule(
    "LM-01",
    "Entries with the same index and term are the same",
    "error",
    "Wherever AppendEntries bring an entry with the same index and term, it has the same type, length and data.",
    "Raft 5.3: Log Matching",
    "The same entry twice, from any leaders to any followers; to compare the data, all of it both times.",
    "It does not matter which one was sent first. Data that the capture has in part is not compared. Where two servers "
    "lead the entry's term, EL-01 says so.",
    "Entry 40 of term 3 has 512 bytes (frame 881), and 520 bytes when leader 1 sends it to server 3.",
)
ORDER = Rule(
    "LM-02",
    "Terms do not fall along a log",
    "error",
    "In one AppendEntries no entry has a lower term than the one before it, the first of them none lower than "
    "prev_log_term, and none is higher than the leader's term.",
    "Raft 5.3, 5.4.1",
    "AppendEntries with the headers of all entries.",
    "One message is looked at, and nothing else.",
    "Leader 1 sends entry 41 with term 2 behind one of term 3.",
)
PREVIOUS = Rule(
    "LM-03",
    "prev_log_term is the term of the entry at prev_log_index",
    "error",
    "prev_log_term is the term that the same leader has sent for that index in the same term, or the one of the entry "
    "that was committed there in its term or before.",
    "Raft 5.3",
    "The entry at prev_log_index, from the same leader, or committed.",
    "Entries that a leader of another term has sent may have been overwritten, so they count only when they are known "
    "to be committed, and only for leaders of that term and later ones.",
    "Leader 1 names term 2 for entry 40 in term 3, where entry 40 has term 3 (frame 881).",
)
COMMITTED = Rule(
    "LM-04",
    "A committed entry is never replaced",
    "error",
    "An entry that a leader sends has the term of the entry that is committed at its index, if that was so by the "
    "commit index of a leader of the same term or of an earlier one.",
    "Raft 5.4.3: Leader Completeness and State Machine Safety",
    "An entry below a commit index that its own leader has shown, and the same index from a later leader.",
    "A leader that is behind may still send what was replaced, so only leaders of the same or of later terms count; "
    "the order of the packets does not matter.",
    "Leader 3 sends entry 40 with term 5 in term 5, where the entry of term 2 is committed (frame 881).",
)
OWN = Rule(
    "LM-05",
    "A leader's own entries stand together at the end of its log",
    "error",
    "Behind an entry with its own term a leader has no entry of an earlier term.",
    "Raft 5.3: a leader only appends, and only with its own term",
    "Two indexes of one leader's log in one term, one of them with that term.",
    "Indexes are compared within one term of one leader, where the order of packets does not matter.",
    "Leader 1 names term 2 for entry 45 in term 3, behind its own entry 40.",
)
NOTHING = Rule(
    "LM-06",
    "Nothing has no term",
    "error",
    "prev_log_term is 0 exactly where prev_log_index is 0.",
    "Raft 5.3; cowsql/raft v0.22.0 and later stop when it is not so",
    "AppendEntries.",
    "One message is looked at, and nothing else.",
    "Leader 1 sends prev_log_term 2 with prev_log_index 0.",
)
RULES = (SAME, ORDER, PREVIOUS, COMMITTED, OWN, NOTHING)


class LogMatching(Group):
    """Judges the entries that leaders send, and what they say stands before them."""

    def message(self, step: Step) -> None:
        """A message, complete or partial."""
        if step.type != table.APPEND_ENTRIES:
            return
        fields, judge = step.fields, self.judge
        if "prev_log_term" not in fields or step.term is None:
            judge.skip(NOTHING, "cut_short")
            judge.skip(ORDER, "cut_short")
            return
        index, term = fields["prev_log_index"], fields["prev_log_term"]
        if bool(index) != bool(term):
            self._find(NOTHING, step, f"sends prev_log_term {term} with prev_log_index {index}", index)
            return
        judge.hold(NOTHING)
        if not step.whole:
            judge.skip(ORDER, "cut_short")
        elif step.consistent:
            judge.hold(ORDER)
        else:
            self._disorder(step, index, term)
            return
        if step.sender is None:
            judge.skip(PREVIOUS, "unknown_server")
            return
        reign = self.knowledge.reigns.of(step.sender, step.term)
        if index:
            self._previous(step, reign, index, term)
        if step.whole:
            digests = step.message.digests
            for position, entry in enumerate(step.entries):
                digest = None if digests is None else digests[position]
                self._entry(step, reign, index + 1 + position, entry, digest)

    def _find(self, rule: Rule, step: Step, what: str, index: int, known: Entry | None = None) -> None:
        evidence = () if known is None else (known.place,)
        who = "An unknown leader" if step.sender is None else f"Leader {step.sender}"
        sure = step.sure and (known is None or self._sure(known.leader, known.leader_term))
        subject = step.subject(index)
        self.judge.find(rule, step.place, f"{who} {what}.", subject, sure=sure, evidence=evidence, about=index)

    def _sure(self, leader: int, term: int) -> bool:
        """Whether it is sure who sent what a leader sent in a term."""
        reign = self.knowledge.reigns.of(leader, term)
        return reign is not None and reign.sure

    def _disorder(self, step: Step, index: int, before: int) -> None:
        for number, entry in enumerate(step.entries, index + 1):
            if entry.term < before:
                what = f"sends entry {number} with term {entry.term} behind one of term {before}"
                self._find(ORDER, step, what, number)
                return
            before = entry.term
        last = index + len(step.entries)
        self._find(ORDER, step, f"names term {before} for entry {last}, above its own term {step.term}", last)

    def _previous(self, step: Step, reign: Reign | None, index: int, term: int) -> None:
        assert step.term is not None
        known = None if reign is None else reign.terms.get(index)
        where = f"in term {step.term}, where it has sent it with term {known}"
        place = None
        sure = True
        committed = self.knowledge.log.committed(index)
        if known is None and committed is not None and committed.leader_term <= step.term:
            known, place = committed.term, committed.place
            where = f"in term {step.term}, where the entry of term {known} is committed (frame {place.frame})"
            sure = self._sure(committed.leader, committed.leader_term)
        if known is None:
            forgotten = index <= max(self.knowledge.log.forgotten, self.knowledge.log.committed_forgotten)
            self.judge.skip(PREVIOUS, "forgotten" if forgotten else "begun_midway")
            if reign is not None:
                self._own(step, reign, index, term)
        elif known == term:
            self.judge.hold(PREVIOUS)
        else:
            evidence = () if place is None else (place,)
            message = f"Leader {step.sender} names term {term} for entry {index} {where}."
            subject = step.subject(index)
            sure = sure and step.sure
            self.judge.find(PREVIOUS, step.place, message, subject, sure=sure, evidence=evidence, about=index)

    def _own(self, step: Step, reign: Reign, index: int, term: int) -> None:
        """Compare an index that the leader has not named before with the others of its log."""
        if reign.own is None and reign.old < 0:
            return
        if term == step.term and index < reign.old:
            what = f"has its own term {term} at {index}, before entry {reign.old}, which has an earlier one"
            self._find(OWN, step, what, index)
        elif term != step.term and reign.own is not None and index > reign.own:
            what = f"names term {term} for entry {index} in term {step.term}, behind its own entry {reign.own}"
            self._find(OWN, step, what, index)
        else:
            self.judge.hold(OWN)

    def _entry(self, step: Step, reign: Reign | None, index: int, entry: wire.Entry, digest: int | None) -> None:
        known = None if reign is None else reign.terms.get(index)
        if known is not None and known != entry.term:
            return  # MON-03 says so
        if self._replaces(step, index, entry.term):
            return
        if known is None and reign is not None:
            self._own(step, reign, index, entry.term)
        self._same(step, index, entry, digest)

    def _replaces(self, step: Step, index: int, term: int) -> bool:
        """Whether an entry replaces a committed one."""
        assert step.term is not None
        log = self.knowledge.log
        committed = log.committed(index)
        if committed is None or committed.leader_term > step.term:
            if index <= log.committed_forgotten:
                self.judge.skip(COMMITTED, "forgotten")
            return False
        if committed.term == term:
            self.judge.hold(COMMITTED)
            return False
        self.judge.find(
            COMMITTED,
            step.place,
            f"Leader {step.sender} sends entry {index} with term {term} in term {step.term}, where the entry of term "
            f"{committed.term} is committed (frame {committed.place.frame}).",
            step.subject(index),
            sure=step.sure and self._sure(committed.leader, committed.leader_term),
            evidence=(committed.place,),
            about=index,
        )
        return True

    def _same(self, step: Step, index: int, entry: wire.Entry, digest: int | None) -> None:
        known = self.knowledge.log.entry(index, entry.term)
        if known is None:
            if index <= self.knowledge.log.forgotten:
                self.judge.skip(SAME, "forgotten")
            return
        if known.type is None or (known.place, known.leader) == (step.place, step.sender):
            return
        what = _difference(known, entry, digest)
        if what is None:
            self.judge.hold(SAME)
        elif sum(1 for _ in self.knowledge.reigns.in_term(entry.term)) < 2:
            there, here = what
            self._find(
                SAME,
                step,
                f"sends entry {index} of term {entry.term} to {step.receiver} with {here}, where it has {there} "
                f"(frame {known.place.frame})",
                index,
                known,
            )


def _difference(known: Entry, entry: wire.Entry, digest: int | None) -> tuple[str, str] | None:
    """What an entry was, and what it is now; None if that is the same."""
    if known.type != entry.type:
        return f"type {_type_name(known.type)}", f"type {_type_name(entry.type)}"
    if known.size != entry.size:
        return f"{known.size} bytes", f"{entry.size} bytes"
    if None not in (known.digest, digest) and known.digest != digest:
        return f"data of CRC-32 {known.digest:08x}", f"data of CRC-32 {digest:08x}"
    return None


def _type_name(number: int | None) -> str:
    return table.ENTRY_TYPES.get(number or 0, str(number))
