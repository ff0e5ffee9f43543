"""Real captures with one fault each: for every rule of the audit what a server says that breaks it.

    @mutant("EL-02", "s7-canon-0.18.1-pv.pcap")
    def second_vote(talk: Transcript) -> Utterance:
        "A voter grants its vote to a second candidate of the term."
        return talk.find("RequestVoteResult", 13, vote_granted=0, pre_vote=0).set(vote_granted=1)

There is a module for each group of rules. `tests/test_audit_mutants.py` looks what the audit says of each mutant, and
`docs/coverage.md` lists them.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from tests.mutants.declaring import Mutant, declared, mutant

__all__ = ["MUTANTS", "WITHOUT", "Mutant", "mutant"]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

MUTANTS: tuple[Mutant, ...] = tuple(declared())
"""In the order of the catalogue."""
WITHOUT: dict[str, str] = {
    "LIVE-11": "It is about the clocks of capture points, not about what servers say: `tests/test_audit_liveness.py` "
    "takes a capture apart into two files, of which one has a clock that is 50 ms slow.",
}
"""Rules of which no capture can be changed so that they find something, and why."""
