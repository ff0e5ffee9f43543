"""Write the generated parts of the documentation: from the wire table, from the closed sets of words, from real runs.

It needs what the tests need, and for `coverage.md` it audits all of `pcaps/`.

    python docs/generate.py            write them
    python docs/generate.py --check    exit with 1 if a part is not what would be written

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from raft_dissect.audit import REASONS, RULES, Tally, Verdict  # noqa: E402 (as below)
from raft_dissect.audit import SEVERITIES as RULE_SEVERITIES  # noqa: E402 (as below)
from raft_dissect.audit.defects import DEFECTS, known_defects  # noqa: E402 (as below)
from raft_dissect.auditing import audit  # noqa: E402 (as below)
from raft_dissect.cluster import facts  # noqa: E402 (the checkout must be found first)
from raft_dissect.diagnosis.findings import SEVERITIES, FindingKind  # noqa: E402 (as above)
from raft_dissect.live.lines import LIVE_KINDS  # noqa: E402 (as above)
from raft_dissect.live.metrics.table import METRICS  # noqa: E402 (as above)
from raft_dissect.report.audit.words import GROUPS, group  # noqa: E402 (as above)
from raft_dissect.report.tables import TABLES  # noqa: E402 (as above)
from raft_dissect.values import STREAM_KINDS, DiagnosticKind, GapCost  # noqa: E402 (as above)
from raft_dissect.watch import KINDS  # noqa: E402 (as above)
from raft_dissect.wire import table  # noqa: E402 (as above)
from raft_dissect.wireshark import SCRIPT  # noqa: E402 (as above)
from raft_dissect.wireshark.generate import experts, filters  # noqa: E402 (as above)
from tests.mutants import MUTANTS, WITHOUT, Mutant  # noqa: E402 (as above)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from raft_dissect.audit import Rule

_PART = re.compile(r"(<!-- generated: (?P<name>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [list(head)]
    lines.append(["---"] * len(lines[0]))
    lines += [[str(cell) for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def layouts() -> str:
    """The nine layouts."""
    rows = (
        (f"`{layout.label}`", "; ".join(map(str, layout.releases)), layout.dialect, layout.change)
        for layout in table.LAYOUTS
    )
    return _table(("layout", "written by", "preamble", "against the one before"), rows)


def _fields(fields: Iterable[table.Field]) -> str:
    rows = []
    offset: int | None = 0
    for field in fields:
        bits = ", ".join(f"bit {number} `{name}`" for number, name in enumerate(field.bits))
        meaning = f"{bits}: {field.meaning}" if bits else field.meaning
        place = "" if offset is None else offset
        rows.append((place, field.size or "variable", f"`{field.name}`", field.kind, meaning))
        offset = None if offset is None or not field.size else offset + field.size
    return _table(("offset", "bytes", "field", "kind", "meaning"), rows)


def structures() -> str:
    """Handshakes, preamble, entries and configurations."""
    parts = (
        ("Handshake of raft's own TCP transport", table.RAFT_HANDSHAKE),
        ("Handshake of dqlite and cowsql", table.DQLITE_HANDSHAKE),
        ("Preamble of every message", table.PREAMBLE),
        ("Header of an entry", table.ENTRY),
        ("Configuration", table.CONFIGURATION),
        ("Server of a configuration", table.SERVER),
    )
    return "\n".join(f"### {title}\n\n{_fields(fields)}" for title, fields in parts)


def messages() -> str:
    """The messages with all their forms."""
    parts = []
    for message in table.MESSAGES:
        if not message.forms:
            continue
        meaning = message.meaning[0].upper() + message.meaning[1:]
        parts.append(f"### {message.name} (type {message.number})\n\n{meaning}.\n")
        if message.payload:
            parts.append(f"Payload: {message.payload}.\n")
        for form in message.forms:
            labels = ", ".join(f"`{label}`" for label in form.layouts)
            parts.append(f"Layouts {labels}; version byte {form.version}:\n")
            parts.append(_fields(form.fields))
    reserved = ", ".join(f"{number} {table.MESSAGE_NAMES[number]}" for number in sorted(table.RESERVED))
    parts.append(f"### Reserved types\n\nNamed in dqlite main, encoded by no release, layout unknown: {reserved}.\n")
    return "\n".join(parts)


def events() -> str:
    """The kinds of lines of `events` and `live`."""
    rows = [(f"`{kind}`", "both", meaning) for kind, meaning in KINDS.items()]
    rows += [(f"`{kind}`", "`live`", meaning) for kind, meaning in LIVE_KINDS.items()]
    return _table(("event", "command", "meaning"), rows)


def words() -> str:
    """The closed sets of words of the JSON output."""
    sets = {
        "`diagnostic`": get_args(DiagnosticKind),
        "`cost` of a gap": get_args(GapCost),
        "`other_streams`": tuple(kind for kind in STREAM_KINDS if kind != "raft"),
        "`cause` of a term change": get_args(facts.TermCause),
        "`cause` of an election": get_args(facts.ElectionCause),
        "`reason` of a refusal": get_args(facts.RefusalReason),
        "`kind` of a rejection": get_args(facts.RejectionKind),
        "`outcome` of an election": get_args(facts.ElectionOutcome),
        "`outcome` of a snapshot": get_args(facts.SnapshotOutcome),
        "`outcome` of a transfer": get_args(facts.TransferOutcome),
        "`reason` of a transfer": get_args(facts.TransferReason),
        "`ended_by` of a leader": get_args(facts.LeaderEnd),
        "`cause` of a time without a leader": get_args(facts.LeaderlessCause),
        "`ended_by` of a time without a leader": get_args(facts.LeaderlessEnd),
        "`cause` of a time of which it is unknown whether anybody led": get_args(facts.LeaderUnknownCause),
        "`known_by` of a server": get_args(facts.KnownBy),
        "`consequence` of an incompatibility": get_args(facts.Consequence),
        "`kind` of a finding": get_args(FindingKind),
        "`severity` of a finding": SEVERITIES,
        "`verdict` of an audit's finding": get_args(Verdict),
        "`severity` of an audit's finding": RULE_SEVERITIES,
        "reasons in `not_evaluated`": tuple(REASONS),
        "`change` of a configuration": get_args(facts.ConfigurationChange),
        "`kind` of an event of a path": get_args(facts.PathEventKind),
        "`type` of an entry, or a number": tuple(table.ENTRY_TYPES.values()),
        "`role` of a server, or a number": tuple(table.ROLES.values()),
    }
    rows = ((name, ", ".join(f"`{word}`" for word in values)) for name, values in sets.items())
    return _table(("where", "words"), rows)


def tables() -> str:
    """The tables of CSV and their columns."""
    rows = ((f"`{name}`", ", ".join(f"`{column}`" for column in columns)) for name, columns in TABLES.items())
    return _table(("table", "columns"), rows)


def rules() -> str:
    """The rules of the audit, group by group."""
    parts = []
    last = ""
    for rule in RULES:
        if group(rule.id) != last:
            last = group(rule.id)
            parts.append(f"## {last}: {GROUPS[last]}\n")
        points = [
            ("Demands", rule.statement),
            ("Severity", rule.severity),
            ("Source", rule.source),
            ("Needs", rule.needs),
            ("No false alarm", rule.avoids),
            ("A finding", rule.example),
            *(("Known defect", f"{defect.id}: {defect.title}") for defect in known_defects(rule.id)),
        ]
        parts.append(f"### {rule.id} {rule.title}\n")
        parts.append("".join(f"- {name}: {text}\n" for name, text in points))
    return "\n".join(parts)


def reasons() -> str:
    """Why rules are not evaluated."""
    return _table(("word", "meaning"), ((f"`{reason}`", text) for reason, text in REASONS.items()))


def defects() -> str:
    """The known defects."""
    rows = (
        (
            defect.id,
            defect.title,
            defect.releases,
            defect.fixed or "no release",
            ", ".join(defect.explains),
            " ".join(f"`{layout.label}`" for layout in table.LAYOUTS if layout.label in defect.layouts) or "-",
            " ".join(f"`{layout.label}`" for layout in table.LAYOUTS if layout.label in defect.perhaps) or "-",
        )
        for defect in DEFECTS
    )
    return _table(("id", "defect", "in", "fixed in", "rules", "layouts", "some releases of"), rows)


UNEVALUATED = {
    "SN-04": "Every snapshot in these captures is answered within three heartbeat intervals.",
    "MEM-06": "Nowhere do two leaders work at the same time, each with a majority.",
    "LIVE-11": "It compares capture files that are given together; here each is audited by itself.",
}
"""The rules that no capture of `pcaps/` evaluates, and why."""


class Audited(NamedTuple):
    """What the audit says of all captures of `pcaps/`, each by itself."""

    tallies: dict[str, Tally]
    """By rule."""
    violations: dict[str, Counter[str]]
    """How many findings of each rule are violations, by the known defects that explain them."""


@cache
def audited() -> Audited:
    """Audit all captures: once for all parts that need it."""
    tallies: dict[str, Tally] = {}
    violations: dict[str, Counter[str]] = {}
    for path in sorted((ROOT / "pcaps").iterdir()):
        if path.suffix not in (".pcap", ".pcapng"):
            continue
        verdicts = audit(str(path))
        for tally in verdicts.tallies:
            known = tallies.get(tally.rule.id)
            tallies[tally.rule.id] = tally if known is None else known.plus(tally)
        for finding in verdicts.findings:
            if finding.verdict == "violation":
                names = ", ".join(explanation.defect.id for explanation in finding.defects)
                violations.setdefault(finding.rule.id, Counter())[names] += finding.times
    return Audited(tallies, violations)


def _faults(mutants: Iterable[Mutant]) -> str:
    return "<br>".join(f"{mutant.what} (`{mutant.capture}`)" for mutant in mutants)


def _rule(rule: Rule) -> str:
    """A link to its place among all rules."""
    heading = f"{rule.id} {rule.title}".lower()
    return f"[{rule.id}](rules.md#{re.sub(r'[^a-z0-9_ -]', '', heading).replace(' ', '-')})"


def coverage() -> str:
    """Every rule: how often it was evaluated on real captures, and the faults in real captures that it finds."""
    rows = []
    for rule in RULES:
        tally = audited().tallies[rule.id]
        violations = audited().violations.get(rule.id, Counter())
        told = (f"{times} ({names})" if names else str(times) for names, times in sorted(violations.items()))
        faults = _faults(mutant for mutant in MUTANTS if mutant.rule == rule.id) or WITHOUT.get(rule.id, "")
        held, others = f"{tally.held:,}", f"{tally.observations:,}"
        rows.append((_rule(rule), rule.severity, held, ", ".join(told) or "0", others, faults))
    return _table(("rule", "severity", "held", "violations", "others", "fault that it finds"), rows)


def unevaluated() -> str:
    """The rules that no capture evaluates."""
    tallies = audited().tallies
    never = [rule for rule in RULES if not sum(tallies[rule.id][1:5])]
    assert [rule.id for rule in never] == list(UNEVALUATED), "UNEVALUATED names other rules"
    return _table(("rule", "title", "why"), ((_rule(rule), rule.title, UNEVALUATED[rule.id]) for rule in never))


def metrics() -> str:
    """The metrics of `live`."""
    rows = ((f"`{one.name}`", one.type, ", ".join(f"`{label}`" for label in one.labels), one.help) for one in METRICS)
    return _table(("metric", "type", "labels", "meaning"), rows)


def trace() -> str:
    """The first vote and the first entries of a trace."""
    command = [sys.executable, "-m", "raft_dissect", "audit", "pcaps/s5-canon-0.18.1.pcap", "--trace", "-"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    shown: dict[str, str] = {}
    for line in run.stdout.splitlines():
        shown.setdefault(re.findall(r'"name": "(\w+)"', line)[0], line)
    names = ("BecomeCandidate", "SendRequestVoteRequest", "ReceiveRequestVoteRequest", "BecomeLeader", "Replicate")
    return "```json\n" + "".join(f"{shown[name]}\n" for name in names) + "```\n"


def wireshark_fields() -> str:
    """The fields of the Wireshark dissector."""
    rows = ((f"`{each.name}`", each.type, each.where, each.meaning) for each in filters())
    return _table(("filter", "type", "in", "meaning"), rows)


def wireshark_experts() -> str:
    """What the Wireshark dissector remarks."""
    rows = ((f"`{each.name}`", each.severity, each.meaning) for each in experts())
    return _table(("filter", "severity", "meaning"), rows)


def tshark(command: str) -> str:
    """What tshark with the dissector prints, run from the top of the checkout."""
    program, *arguments = shlex.split(command)
    run = subprocess.run(
        [program, "-X", f"lua_script:{SCRIPT}", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return f"```console\n$ {command}\n{run.stdout}```\n"


def session(command: str) -> str:
    """What a command prints, run from the top of the checkout."""
    program, *arguments = command.split()
    assert program == "raft-dissect"
    run = subprocess.run(
        [sys.executable, "-m", "raft_dissect", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode in (0, 1), run.stderr  # 1 is an audit's way to say that it found something
    return f"```console\n$ {command}\n{run.stdout}```\n"


PARTS: dict[str, Callable[[], str]] = {
    "layouts": layouts,
    "structures": structures,
    "messages": messages,
    "words": words,
    "tables": tables,
    "rules": rules,
    "reasons": reasons,
    "events": events,
    "defects": defects,
    "coverage": coverage,
    "unevaluated": unevaluated,
    "metrics": metrics,
    "trace": trace,
    "wireshark fields": wireshark_fields,
    "wireshark experts": wireshark_experts,
}


def regenerate(text: str) -> str:
    """A page with its generated parts written anew."""

    def part(match: re.Match[str]) -> str:
        name = match["name"]
        if name.startswith("tshark "):
            # Where it is not installed the page stays as it is.
            return f"{match[1]}\n{tshark(name)}\n{match[3]}" if shutil.which("tshark") else match[0]
        content = PARTS[name]() if name in PARTS else session(name)
        return f"{match[1]}\n{content}\n{match[3]}"

    return _PART.sub(part, text)


def main() -> int:
    """Write or check every page."""
    stale = 0
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text()
        fresh = regenerate(text)
        if fresh == text:
            continue
        stale += 1
        print(f"{page.relative_to(ROOT)} {'is not up to date' if '--check' in sys.argv else 'written'}")
        if "--check" not in sys.argv:
            page.write_text(fresh)
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
