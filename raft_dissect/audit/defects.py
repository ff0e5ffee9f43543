"""Known defects of real releases that a capture shows, and which findings they explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from raft_dissect.audit.verdicts import Finding

Whose = Literal["server", "peer", "both"]
"""Which servers of a finding must run an affected release: the one that it is about, its peer, or whoever it names."""


class Defect(NamedTuple):
    """A known defect."""

    id: str
    title: str
    releases: str
    """In which it is, in words."""
    fixed: str
    """The first releases without it, in words; empty if there are none."""
    explains: Mapping[str, Whose]
    """The rules whose findings it explains, those that show it best first."""
    layouts: frozenset[str]
    """The layouts of which all releases have it."""
    perhaps: frozenset[str] = frozenset()
    """The layouts of which some releases have it."""
    without: frozenset[str] = frozenset()
    """The layouts whose releases lack what it is about, so that they are not those of a server that shows it."""

    @property
    def told(self) -> str:
        """Where it is and where not, as the rest of a sentence."""
        fixed = f"fixed in {self.fixed}" if self.fixed else "not fixed yet"
        return f"in {self.releases}; {fixed}"


class Explanation(NamedTuple):
    """A defect that explains a finding."""

    defect: Defect
    certain: bool
    """Whether all releases that the server may run have it, and not only some of them."""


_BEFORE_TRANSFERS = frozenset(("c-0.9.0",))
_OLDEST = frozenset(("c-0.9.0", "c-0.9.15"))
_BITS = frozenset(("c-0.9.21",))
_FLAGS = frozenset(("c-0.11.3",))
_OLD = _OLDEST | _BITS | _FLAGS
_CANONICAL = _OLD | {"c-0.18.0", "c-main"}
_COWSQL = frozenset(("w-0.17.4", "w-0.20.0", "w-0.22.1"))
_VERSIONED = frozenset(("w-0.20.0",))
_ZEROED = frozenset(("w-0.22.1",))
_UNVERSIONED = frozenset(("w-0.17.4",))

DEFECTS: tuple[Defect, ...] = (
    Defect(
        "B1",
        "a follower acknowledges entries that were never compared with its leader's log",
        "canonical/raft, dqlite, and cowsql/raft up to v0.21.0",
        "cowsql/raft v0.22.0",
        {"REPL-05": "server", "CM-02": "both", "LM-04": "both"},
        _CANONICAL | _UNVERSIONED,
        _VERSIONED,
    ),
    Defect(
        "B2",
        "an election counts entries that are not written to disk yet, so that a term can have two leaders",
        "canonical/raft before v0.18.0",
        "canonical/raft v0.18.0",
        {"EL-01": "server", "EL-04": "server", "EL-02": "server"},
        _OLD,
    ),
    Defect(
        "B3",
        "the begin of a pre-vote erases the vote that was written to disk",
        "canonical/raft v0.9.23..v0.11.2",
        "canonical/raft v0.11.3",
        {"EL-02": "server"},
        frozenset(),
        _BITS,
    ),
    Defect(
        "B4",
        "the target of a leadership transfer gets the old leader's vote in any case",
        "canonical/raft from v0.9.22, dqlite, and cowsql/raft before v0.19.0",
        "cowsql/raft v0.19.0",
        {"EL-02": "server"},
        _FLAGS | {"c-0.18.0", "c-main"},
        _BITS | _UNVERSIONED,
    ),
    Defect(
        "B5",
        "entries of former terms are committed by counting who has them",
        "canonical/raft before v0.17.1",
        "canonical/raft v0.17.1",
        {"CM-03": "server", "CM-04": "server"},
        _OLDEST | _BITS,
        _FLAGS,
    ),
    Defect(
        "B6",
        "a granted pre-vote carries the voter's own, lower term, so that it is ignored and the rounds never end",
        "canonical/raft v0.9.21..v0.13.0",
        "canonical/raft v0.14.0",
        {"EL-06": "server", "LIVE-05": "peer"},
        _BITS,
        _FLAGS,
        _OLDEST,
    ),
    Defect(
        "B7",
        "unused bytes of messages carry what was in memory before",
        "canonical/raft, dqlite, and cowsql/raft before v0.22.1",
        "cowsql/raft v0.22.1",
        {"ENC-07": "server"},
        _CANONICAL | _UNVERSIONED | _VERSIONED,
    ),
    Defect(
        "B8",
        "a refusal of entries names a last entry that is not before the refused one",
        "canonical/raft, dqlite, and cowsql/raft up to v0.19.1",
        "cowsql/raft v0.20.0",
        {"REPL-03": "server", "REPL-04": "both"},
        _CANONICAL | _UNVERSIONED,
    ),
    Defect(
        "B9",
        "the receiver decodes headers without looking whether they are long enough",
        "canonical/raft, cowsql/raft, and dqlite up to v1.18.6",
        "dqlite main (2026-06)",
        {"ENC-02": "peer", "ENC-03": "peer", "ENC-04": "peer", "ENC-12": "peer", "HS-08": "peer"},
        (_CANONICAL | _COWSQL) - {"c-main"},
    ),
    Defect(
        "B10",
        "the receiver reads flags beyond the end of a vote request of 32 bytes",
        "cowsql/raft from v0.21.0",
        "",
        {"ENC-13": "peer"},
        _ZEROED,
        _VERSIONED,
    ),
    Defect(
        "B11",
        "a follower's commit index goes beyond the entries that its leader has compared with it",
        "canonical/raft, dqlite, and cowsql/raft before v0.21.0",
        "cowsql/raft v0.21.0",
        {"CM-05": "peer"},
        _CANONICAL | _UNVERSIONED,
        _VERSIONED,
    ),
    Defect(
        "B12",
        "a snapshot is sent with every heartbeat to a server that never answers",
        "canonical/raft before v0.11.2",
        "canonical/raft v0.11.2",
        {"SN-03": "server", "SN-02": "server"},
        _OLDEST,
        _BITS,
    ),
    Defect(
        "B13",
        "TimeoutNow is sent before its target has acknowledged the whole log",
        "canonical/raft before v0.18.0 and cowsql/raft before v0.22.0",
        "canonical/raft v0.18.0 and cowsql/raft v0.22.0",
        {"LT-02": "server", "LT-03": "server"},
        (_OLD - _BEFORE_TRANSFERS) | _UNVERSIONED,
        _VERSIONED | {"c-0.18.0"},
    ),
    Defect(
        "B14",
        "a leadership transfer begins with a pre-vote, which the old leader's next heartbeat ends",
        "canonical/raft v0.9.21..v0.10.1",
        "canonical/raft v0.11.3 or before",
        {"EL-08": "server", "LT-03": "peer"},
        frozenset(),
        _BITS,
        _OLDEST,
    ),
    Defect(
        "B15",
        "the answer to a pre-vote is counted as a vote",
        "canonical/raft v0.9.21..v0.11.2",
        "canonical/raft v0.11.3",
        {"EL-11": "server"},
        _BITS,
    ),
    Defect(
        "B16",
        "a leader sends no heartbeats to a server that installs its snapshot",
        "canonical/raft before v0.10.1",
        "canonical/raft v0.10.1",
        {"SN-04": "server", "SN-08": "both"},
        _OLDEST,
        _BITS,
    ),
    Defect(
        "B17",
        "a snapshot that did not arrive is never sent again",
        "canonical/raft before v0.10.0",
        "canonical/raft v0.10.0",
        {"SN-05": "server"},
        _OLDEST,
        _BITS,
    ),
    Defect(
        "B18",
        "a server that has no vote asks for votes",
        "canonical/raft before v0.9.21",
        "canonical/raft v0.9.21",
        {"EL-10": "server", "MEM-05": "server"},
        _OLDEST,
    ),
    Defect(
        "B19",
        "a leader that has no vote any more goes on",
        "canonical/raft before v0.11.3",
        "canonical/raft v0.11.3",
        {"MEM-04": "server"},
        _OLDEST | _BITS,
    ),
    Defect(
        "B20",
        "results are sent after the role or the term of their sender has changed",
        "canonical/raft before v0.17.1",
        "canonical/raft v0.17.1",
        {"REPL-06": "peer"},
        _OLDEST | _BITS,
        _FLAGS,
    ),
    Defect(
        "B21",
        "a server asks for votes while it installs a snapshot",
        "canonical/raft before v0.17.1",
        "canonical/raft v0.17.1",
        {"SN-08": "server"},
        _OLDEST | _BITS,
        _FLAGS,
    ),
    Defect(
        "B22",
        "last_log_index of a refusal is what was in memory before",
        "cowsql/raft v0.22.0..v0.22.1",
        "cowsql/raft after v0.22.1",
        {"REPL-05": "server", "MON-05": "server"},
        frozenset(),
        _VERSIONED | _ZEROED,
    ),
    Defect(
        "B23",
        "a new leader forgets the features and the capacity that its followers have announced",
        "cowsql/raft before v0.21.0",
        "cowsql/raft v0.21.0",
        {"REPL-10": "server"},
        frozenset(),
        _VERSIONED,
    ),
    Defect(
        "B24",
        "the version byte of cowsql/raft from v0.20.0 on is an unknown message type to the receiver",
        "canonical/raft before v0.17.1",
        "canonical/raft v0.17.1",
        {"ENC-08": "peer", "ENC-13": "peer", "HS-08": "peer"},
        _OLDEST | _BITS,
        _FLAGS,
    ),
    Defect(
        "B26",
        "a snapshot holds an outdated or wrong configuration",
        "canonical/raft before v0.18.0",
        "canonical/raft v0.18.0",
        {"SN-01": "server", "MEM-02": "server"},
        _OLD,
    ),
)
"""In the order of their numbers, which are never used again."""

_BY_RULE: dict[str, list[Defect]] = {}
for _defect in DEFECTS:
    for _rule in _defect.explains:
        _BY_RULE.setdefault(_rule, []).append(_defect)


def known_defects(rule: str) -> tuple[Defect, ...]:
    """The defects that can explain findings of a rule, by its id."""
    return tuple(_BY_RULE.get(rule, ()))


def explanations(finding: Finding, labels_of: Callable[[int], frozenset[str]]) -> tuple[Explanation, ...]:
    """The known defects that explain a finding, those that explain it best first.

    `labels_of` gives the layouts of which one is that of a server, by its id; none if it wrote nothing that tells.
    A defect is named only where each of those layouts is written by some release that has it.
    """
    found = []
    for defect in known_defects(finding.rule.id):
        accused = _accused(finding, defect.explains[finding.rule.id])
        wrote = [labels_of(id_) - defect.without for id_ in accused]
        labels = frozenset[str]().union(*wrote) if all(wrote) else frozenset()
        if labels and labels <= defect.layouts | defect.perhaps:
            found.append(Explanation(defect, labels <= defect.layouts))
    return tuple(sorted(found, key=lambda told: (list(told.defect.explains).index(finding.rule.id), not told.certain)))


def _accused(finding: Finding, whose: Whose) -> tuple[int, ...]:
    named = {"server": (finding.server,), "peer": (finding.peer,), "both": (finding.server, finding.peer)}[whose]
    return tuple(id_ for id_ in named if id_ is not None)
