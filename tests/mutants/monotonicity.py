"""Servers that forget terms and entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.mutants.declaring import mutant

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance


@mutant("MON-05", "s3-cowsql-0.22.1.pcap")
def takes_back_an_acknowledgement(talk: Transcript) -> Utterance:
    """A follower acknowledges entries up to 1 after it has acknowledged more."""
    answers = talk.all("AppendEntriesResult", rejected=0)
    answer = next(each for each in reversed(answers) if each.fields["last_log_index"] > 20)
    return answer.set(last_log_index=1)
