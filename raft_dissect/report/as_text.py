"""The report as text for a terminal, at its best from 80 columns on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.report import replication_sections, sealed, sections
from raft_dissect.report.escape import visible
from raft_dissect.report.model import MAX_DIAGNOSTICS
from raft_dissect.report.page import Page
from raft_dissect.report.terminal import Style, wrapped
from raft_dissect.report.words import SKIPPED, Names, other_connections
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.diagnosis.findings import Finding
    from raft_dissect.report.model import CaptureFacts, Report
    from raft_dissect.report.times import Clock
    from raft_dissect.values import Place

_MAX_DIAGNOSTICS = 10
"""Lines of what is missing from the capture; the JSON report has more of them."""
_MAX_LINES = 40
"""Lines of one table; the JSON report has all rows."""
_MAX_FINDINGS = 12
_MAX_EVIDENCE = 6
"""Frames of one finding."""
_SEVERITY_COLOURS = {"problem": "red", "warning": "yellow", "note": "cyan"}

_SECTIONS: tuple[tuple[str, Callable[[ClusterFacts, Page], list[str]]], ...] = (
    ("Servers", sections.servers),
    ("Leaders", sections.leaders),
    ("Without a leader", sections.leaderless),
    ("Elections", sections.elections),
    ("Replication", replication_sections.replication),
    ("Heartbeats", replication_sections.heartbeats),
    ("Answer times", replication_sections.answers),
    ("Catch-ups", replication_sections.catch_ups),
    ("Entries given up", replication_sections.truncations),
    ("Snapshots", sections.snapshots),
    ("TCP connections", replication_sections.paths),
    ("Leadership transfers", sections.transfers),
    ("Configurations", sections.configurations),
    ("Term changes", sections.term_changes),
    ("Rejections", sections.rejections),
)


def report_text(report: Report, clock: Clock, style: Style, width: int | None = None) -> Iterator[str]:
    """The lines of the report; `width` is where they end, None for no end."""
    several = len(report.capture.files) > 1
    names = Names(server.name for facts in report.clusters for server in facts.servers)
    page = Page(clock, style, names, width, several)
    if report.clusters or report.findings:
        yield from _findings(report.findings, page, len(report.clusters))
        yield ""
    first, *others = _capture(report.capture, clock)
    yield from wrapped(first, width, "")
    for sentence in others:
        yield from wrapped(sentence, width)
    for number, facts in enumerate(report.clusters, 1):
        if len(report.clusters) > 1:
            yield ""
            yield style.paint(f"Cluster {number} of {len(report.clusters)}", "bold")
        for title, section in _SECTIONS:
            yield from _section(title, section(facts, page), page)
    for estimated in report.sealed:
        for title, lines in sealed.sections(estimated, page):
            yield from _section(title, lines, page)


def _section(title: str, lines: Sequence[str], page: Page) -> Iterator[str]:
    if len(lines) < 2:  # only the head of a table
        return
    yield ""
    yield page.style.paint(title, "bold")
    yield from lines[: _MAX_LINES + 1]
    if len(lines) > _MAX_LINES + 1:
        yield f"  and {counted(len(lines) - _MAX_LINES - 1, 'more line')}; --json and --csv have them all"


def _findings(findings: Sequence[Finding], page: Page, clusters: int) -> Iterator[str]:
    if not findings:
        yield "Nothing went wrong that packets could show."
        return
    yield page.style.paint("Findings", "bold")
    for finding in findings[:_MAX_FINDINGS]:
        label = f"  {finding.severity:<7}  "
        before = f"Cluster {finding.cluster + 1}: " if clusters > 1 else ""
        sentence = visible(before + page.shortened(finding.text, finding.servers))
        first, *others = wrapped(sentence, page.width, label, " " * len(label))
        yield (
            "  "
            + page.style.paint(finding.severity, _SEVERITY_COLOURS[finding.severity])
            + first[2 + len(finding.severity) :]
        )
        yield from others
        for text in (page.shortened(finding.advice, finding.servers), _evidence(finding.evidence, page)):
            if text:
                yield from page.note(visible(text), " " * len(label))
    if len(findings) > _MAX_FINDINGS:
        yield f"  and {len(findings) - _MAX_FINDINGS:,} more; --json and --csv have them all"


def _evidence(places: Sequence[Place], page: Page) -> str:
    if not places:
        return ""
    frames = list(dict.fromkeys(map(page.frame, places)))
    shown = ", ".join(frames[:_MAX_EVIDENCE])
    more = f" and {len(frames) - _MAX_EVIDENCE:,} more" if len(frames) > _MAX_EVIDENCE else ""
    return f"at {page.time(places[0])}, {'frame' if len(frames) == 1 else 'frames'} {shown}{more}"


def _capture(facts: CaptureFacts, clock: Clock) -> Iterator[str]:
    files = [visible(file) for file in facts.files]
    name = f"{len(files)} files" if len(files) > 1 else files[0] if files else "the capture"
    yield f"{name}: {counted(facts.packets, 'packet')}, {size(facts.bytes)}"
    if len(files) > 1:
        yield from (f"{number} {file}" for number, file in enumerate(files[:_MAX_LINES], start=1))
    if len(files) > _MAX_LINES:
        yield f"and {counted(len(files) - _MAX_LINES, 'more file')}"
    if facts.first_ns is not None and facts.last_ns is not None:
        seconds = (facts.last_ns - facts.first_ns) / 1e9
        yield f"{duration(seconds)} from {clock.day(facts.first_ns)}"
    also = other_connections(facts.other_streams, facts.tls_ports)
    if facts.raft_streams:
        yield f"{counted(facts.raft_streams, 'Raft connection')}, {counted(facts.messages, 'message')}{also}"
    else:
        yield f"No Raft traffic found{also}."
    yield from _missing(facts, clock)


def _missing(facts: CaptureFacts, clock: Clock) -> Iterator[str]:
    """What keeps the report from being complete."""
    if facts.partial:
        yield f"{counted(facts.partial, 'message')} only in part in the capture"
    if facts.cut_packets:
        yield f"{counted(facts.cut_packets, 'packet')} cut by the snaplen: capture with -s 0 for all of it"
    if facts.skipped:
        reasons = ", ".join(f"{count:,} {SKIPPED.get(reason, reason)}" for reason, count in facts.skipped.items())
        yield f"passed over, as they hold no TCP: {reasons}"
    for diagnostic in facts.diagnostics[:_MAX_DIAGNOSTICS]:
        where = f" on {diagnostic.stream.source} > {diagnostic.stream.destination}" if diagnostic.stream else ""
        amount = f" {size(diagnostic.size)}:" if diagnostic.size is not None else ""
        detail = visible(diagnostic.detail)
        yield f"{diagnostic.kind} at {clock.time(diagnostic.place.time_ns, 3)}{where}:{amount} {detail}"
    more = sum(facts.diagnosed.values()) - min(len(facts.diagnostics), _MAX_DIAGNOSTICS)
    if more > 0:
        yield f"and {counted(more, 'more such place')}; --json lists the first {MAX_DIAGNOSTICS:,}"
