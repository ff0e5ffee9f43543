"""The whole page: what was found on top, then what happened when, then every fact in tables."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.report.html.context import NOTHING, Context
from raft_dissect.report.html.ladder import ladder_figure
from raft_dissect.report.html.markup import element, raw, serialized
from raft_dissect.report.html.plots import plots
from raft_dissect.report.html.scale import TimeScale
from raft_dissect.report.html.style import SCRIPT, STYLE
from raft_dissect.report.html.tables import Section, Tables, missing, table
from raft_dissect.report.html.timeline import LEFT, RIGHT, Timeline, definitions
from raft_dissect.report.words import SKIPPED, other_connections
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from xml.etree.ElementTree import Element

    from raft_dissect.cluster import ClusterFacts
    from raft_dissect.diagnosis.findings import Finding
    from raft_dissect.report.html.watching import Watched
    from raft_dissect.report.model import CaptureFacts, Report
    from raft_dissect.report.times import Clock

_MOST_EVIDENCE = 12
"""Frames of one finding."""


def html_page(report: Report, clock: Clock, watched: Sequence[Watched]) -> Iterator[str]:
    """The page in parts, which are to be written one after another as UTF-8; `watched` is in the order of clusters."""
    servers = [server.name for facts in report.clusters for server in facts.servers]
    context = Context(clock, report.capture.files, servers)
    page = _Page(report, context, watched)
    yield '<!DOCTYPE html>\n<html lang="en">\n'
    yield serialized(page.head())
    yield "\n<body>\n"
    for part in page.body():
        yield serialized(part)
        yield "\n"
    yield "</body>\n</html>\n"


def _policy() -> str:
    """Forbids everything but our own style and script, which are named by their hashes."""

    def named(content: str) -> str:
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        return f"'sha256-{digest}'"

    return (
        f"default-src 'none'; style-src {named(STYLE)}; script-src {named(SCRIPT)}; base-uri 'none'; form-action 'none'"
    )


class _Cluster(NamedTuple):
    """A cluster as its part of the page shows it."""

    number: int
    facts: ClusterFacts
    watched: Watched
    context: Context
    title: str
    """What headings begin with; empty when there is only one cluster."""
    tables: list[Section]


class _Page:
    def __init__(self, report: Report, context: Context, watched: Sequence[Watched]) -> None:
        self._report = report
        self._context = context
        self._clusters: list[_Cluster] = []
        several = len(report.clusters) > 1
        for number, (facts, seen) in enumerate(zip(report.clusters, watched, strict=True), start=1):
            own = context.within(f"cluster-{number}-") if several else context
            # Tables come first: frames have their place in them, which drawings lead to.
            tables = list(Tables(facts, own).sections())
            self._clusters.append(_Cluster(number, facts, seen, own, f"Cluster {number}: " if several else "", tables))

    def head(self) -> Element:
        files = ", ".join(self._report.capture.files) or "a capture"
        return element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=_policy()),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="generator", content="raft_dissect"),
            element("title", f"Raft report: {files}"),
            raw("style", STYLE),
        )

    def body(self) -> Iterator[Element]:
        yield definitions()
        main = element("main")
        gaps = list(missing(self._report.capture, self._context))
        parts = [self._parts(cluster) for cluster in self._clusters]
        yield element("header", *self._title(), self._navigation(parts))
        main.extend(self._findings())
        for cluster, sections in zip(self._clusters, parts, strict=True):
            content = [
                element(
                    "section",
                    element("h2", f"{cluster.title}{title}"),
                    *content,
                    id=cluster.context.id(key),
                )
                for key, title, content in sections
            ]
            if len(parts) == 1:
                main.extend(content)
                continue
            name = element("h2", f"Cluster {cluster.number} of {len(parts)}", class_="cluster")
            main.append(element("section", name, self._tiles(cluster.facts), *content, id=f"cluster-{cluster.number}"))
        main.append(element("section", element("h2", "Capture"), *self._capture(self._report.capture), id="capture"))
        main.append(element("section", element("h2", "What is missing in the capture"), *gaps, id="missing"))
        yield main
        yield raw("script", SCRIPT)

    def _parts(self, cluster: _Cluster) -> list[Section]:
        """All sections about one cluster."""
        return [*self._drawings(cluster), *cluster.tables]

    # The top

    def _title(self) -> Iterator[Element]:
        capture, context = self._report.capture, self._context
        number = len(self._clusters)
        yield element("h1", f"What happened in {f'{number} Raft clusters' if number > 1 else 'the Raft cluster'}")
        files = ", ".join(capture.files) if len(capture.files) <= 4 else f"{len(capture.files)} files"
        lead = f"{files or 'a capture'}: {counted(capture.packets, 'packet')}, {size(capture.bytes)}"
        if capture.first_ns is not None and capture.last_ns is not None:
            seconds = (capture.last_ns - capture.first_ns) / 1e9
            lead += f", {duration(seconds)} from {context.clock.day(capture.first_ns)}"
        yield element("p", lead, class_="lead")
        if not self._report.clusters:
            yield element(
                "p", f"No Raft traffic was found{other_connections(capture.other_streams, capture.tls_ports)}."
            )
        if len(self._clusters) == 1:
            yield self._tiles(self._clusters[0].facts)
        elif self._clusters:
            yield element("ul", *(self._introduced(cluster) for cluster in self._clusters), class_="clusters")

    def _introduced(self, cluster: _Cluster) -> Element:
        """Which cluster it is, in one line that leads to it."""
        link = element("a", f"Cluster {cluster.number}", href=f"#cluster-{cluster.number}")
        names = (
            f"{self._context.server(server.name)} ({server.addresses[-1]})"
            if server.addresses
            else self._context.server(server.name)
            for server in cluster.facts.servers
        )
        return element("li", link, f": {counted(len(cluster.facts.servers), 'server')}, {', '.join(names)}")

    def _tiles(self, facts: ClusterFacts) -> Element:
        nobody = sum(i.last.time_ns - i.first.time_ns for i in facts.leaderless) / 1e9
        longest = max((i.last.time_ns - i.first.time_ns for i in facts.leaderless), default=0) / 1e9
        terms = [change.new for change in facts.term_changes]
        votes = sum(not election.pre_vote for election in facts.elections)
        tiles = [
            _tile(len(facts.servers), "server"),
            (
                f"{min(terms)} to {max(terms)}" if terms and min(terms) < max(terms) else str(*terms[:1]) or NOTHING,
                "terms",
            ),
            _tile(len(facts.leaders), "leadership"),
            (duration(nobody) if nobody else "0 s", f"without a leader, longest {duration(longest)}"),
            (
                f"{votes:,}",
                f"election{'' if votes == 1 else 's'}, and {counted(len(facts.elections) - votes, 'pre-vote')}",
            ),
            _tile(len(facts.rejections), "rejection"),
            _tile(len(facts.snapshots), "snapshot"),
            _tile(len(facts.transfers), "transfer"),
        ]
        items = (element("li", element("b", value), element("span", text), class_="tile") for value, text in tiles)
        return element("ul", *items, class_="tiles", aria_label="At a glance")

    def _navigation(self, parts: Sequence[Sequence[Section]]) -> Element:
        def links(*targets: tuple[str, str]) -> Element:
            items = (element("li", element("a", text, href=f"#{key}")) for key, text in targets)
            return element("ul", *items)

        begin, end = ("findings", "Findings"), (("capture", "Capture"), ("missing", "Missing"))
        own = [
            [(cluster.context.id(section.key), section.title) for section in sections]
            for cluster, sections in zip(self._clusters, parts, strict=True)
        ]
        if len(own) <= 1:
            return element(
                "nav", links(begin, *(target for targets in own for target in targets), *end), aria_label="Sections"
            )
        return element(
            "nav",
            links(begin, *end),
            *(
                element("div", element("a", f"Cluster {number}", href=f"#cluster-{number}"), links(*targets))
                for number, targets in enumerate(own, start=1)
            ),
            aria_label="Sections",
        )

    # Findings

    def _findings(self) -> Iterator[Element]:
        findings = self._report.findings
        content = element("p", "No findings.")
        if findings:
            content = element("ol", *(self._finding(finding) for finding in findings), class_="findings")
        yield element("section", element("h2", "Findings"), content, id="findings")

    def _finding(self, finding: Finding) -> Element:
        evidence = [self._context.spelled_frame(place) for place in finding.evidence[:_MOST_EVIDENCE] if place.frame]
        more = len(finding.evidence) - _MOST_EVIDENCE
        told = self._context.shortened
        before = self._clusters[finding.cluster].title if self._clusters else ""
        shown = element("p", "Evidence: ", *evidence, f"and {more:,} more" if more > 0 else None, class_="evidence")
        return element(
            "li",
            element(
                "p", element("span", finding.severity, class_="severity"), before + told(finding.text, finding.servers)
            ),
            element("p", told(finding.advice, finding.servers), class_="advice") if finding.advice else None,
            shown if evidence else None,
            class_=f"finding {finding.severity}",
        )

    # Drawings

    def _drawings(self, cluster: _Cluster) -> Iterator[Section]:
        capture, context, facts = self._report.capture, cluster.context, cluster.facts
        first, last = capture.first_ns or 0, capture.last_ns or 0
        scale = TimeScale(first, last, LEFT, RIGHT)
        timeline = Timeline(facts, cluster.watched.diagnostics, cluster.watched.presence, context, scale)
        zone = context.clock.day(first)[20:]
        captions = (
            f"Times of day are {zone or 'local'}. Votes stand at the time of their request. Every item says what it "
            "is, and its frame, when the pointer rests on it; a click leads to its row below.",
        )
        yield Section("timeline", "Timeline", [timeline.figure(captions)])
        drawn = list(plots(facts, context, scale))
        if drawn:
            yield Section("plots", "Plots", drawn)
        yield from self._ladder(cluster)

    def _ladder(self, cluster: _Cluster) -> Iterator[Section]:
        ladder, context = cluster.watched.ladder, cluster.context
        if ladder.sightings:
            names = [server.name for server in cluster.facts.servers]
            yield Section("ladder", "Messages one by one", [ladder_figure(ladder, names, context)])
        elif ladder.asked_for:
            interval = f"from {context.time(ladder.first_ns)} to {context.time(ladder.last_ns)}"
            text = f"There is no message {interval}."
            if ladder.left_out:
                text = f"{counted(ladder.left_out, 'message')} {interval} are left out: choose a shorter time."
            yield Section("ladder", "Messages one by one", [element("p", text)])

    # The capture

    def _capture(self, facts: CaptureFacts) -> Iterator[Element]:
        rows = [(f"{number}", file) for number, file in enumerate(facts.files, start=1)]
        if len(rows) > 1:
            yield table("#number, file", rows, "Files of the capture")
        numbers = [
            ("packets", f"{facts.packets:,}"),
            ("bytes", f"{facts.bytes:,}"),
            ("Raft connections", f"{facts.raft_streams:,}"),
            ("messages", f"{facts.messages:,}"),
            *((f"other connections: {kind.replace('_', ' ')}", f"{n:,}") for kind, n in facts.other_streams.items()),
            *((f"packets passed over: {SKIPPED.get(kind, kind)}", f"{n:,}") for kind, n in facts.skipped.items()),
        ]
        yield table("what, #number", numbers, "Facts about the capture")


def _tile(count: int, noun: str) -> tuple[str, str]:
    number, _, words = counted(count, noun).partition(" ")
    return number, words
