"""The HTML page, opened in Chromium: what is drawn where, that it can be read, and that nothing gets in or out."""

from __future__ import annotations

import calendar
import itertools
import re
from typing import TYPE_CHECKING, Any

import pytest

import raft_dissect
from raft_dissect.cluster.facts import (
    ClusterFacts,
    ConfigurationFact,
    Election,
    Lag,
    Leaderless,
    Leadership,
    Refusal,
    Rejection,
    ReplicationFact,
    ServerFact,
    Snapshot,
    TermChange,
    Transfer,
)
from raft_dissect.diagnosis.findings import Finding
from raft_dissect.report.html import Watched, Watcher, html_page
from raft_dissect.report.html.excerpt import Ladder, Sighting
from raft_dissect.report.model import CaptureFacts, Report
from raft_dissect.report.times import Clock
from raft_dissect.spread import Spread
from raft_dissect.values import Diagnostic, Endpoint, Place, Stream
from raft_dissect.wire import Server
from tests.browser import WIDTH, Box, Browser
from tests.capture_files import pcap
from tests.captures import PCAPS, truth
from tests.command import run
from tests.scripts import Script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLS, SNAPSHOT, PARTITIONS = "s2-cowsql-0.22.1", "s4-64k-canon-0.18.1", "s7-canon-0.18.1-pv"
CAPTURES = (KILLS, SNAPSHOT, PARTITIONS)
SECOND = 10**9
EPOCH = 1_795_400_480 * SECOND
HOSTILE = ("<script>document.title='owned'</script>", '"><img src=x onerror="document.title=\'owned\'">', "&lt;b&gt;")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def scriptless() -> Iterator[Browser]:
    opened = Browser(scripts=False)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {name: folder / f"{name}.html" for name in CAPTURES}
    for name, page in made.items():
        assert run("report", "--html", str(page), f"{name}.pcap").code == 0
    return made


def write(page: Path, report: Report, ladder: Ladder | None = None) -> Path:
    watched = Watched(ladder or Ladder((), 0, 0, 0, False), {}, report.capture.diagnostics)
    page.write_text("".join(html_page(report, Clock(), [watched] * len(report.clusters))))
    return page


# Where things are drawn


class Axis:
    """The time axis of the timeline, as a person reads it: from two of its labels."""

    def __init__(self, browser: Browser, day: float) -> None:
        ticks = [tick for tick in browser.boxes("svg.timeline .tick") if re.fullmatch(r"\d\d:\d\d:\d\d", tick.text)]
        first, last = ticks[0], ticks[-1]
        midnight = day // 86400 * 86400
        self._begin, end = (midnight + _seconds(tick.text) for tick in (first, last))
        self._left = first.middle
        self._per_second = (last.middle - first.middle) / (end - self._begin)

    def x(self, time: float) -> float:
        """Where a time stands, in seconds since the epoch."""
        return self._left + (time - self._begin) * self._per_second

    def time(self, x: float) -> float:
        return self._begin + (x - self._left) / self._per_second


def _seconds(time_of_day: str) -> int:
    hours, minutes, seconds = map(int, time_of_day.split(":"))
    return hours * 3600 + minutes * 60 + seconds


def lane(browser: Browser, server: int) -> Box:
    return browser.box(f'.lane[data-server="{server}"] .lane-background')


def in_lane(browser: Browser, server: int, selector: str) -> list[Box]:
    """What is drawn in the lane of a server; that it belongs there is what its place says, not the document."""
    row = lane(browser, server)
    return [box for box in browser.boxes(f"svg.timeline {selector}") if box.within(row, 4)]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_leader_stands_in_its_lane_from_the_time_it_logged(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name])
    logged = truth(name)
    axis = Axis(browser, logged["orchestrator_events"][0]["t"])
    expected = [(record["node"], record["t"]) for records in logged["leaders_by_term"].values() for record in records]
    for node, time in expected:
        assert any(abs(box.left - axis.x(time)) < 2.5 for box in in_lane(browser, node, "rect.leader")), (node, time)
    assert len(browser.boxes("svg.timeline rect.leader")) == len(expected)
    labels = [box for box in browser.boxes("svg.timeline .server") if box.text.startswith("server ")]
    for label in labels:
        assert label.within(lane(browser, int(label.text.split()[1])))


def test_a_killed_leader_ends_where_it_was_killed_and_is_not_seen_until_it_is_back(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[KILLS])
    events = truth(KILLS)["orchestrator_events"]
    axis = Axis(browser, events[0]["t"])
    killed = [event for event in events if event["what"] == "kill"]
    for event in killed:
        back = next(
            e["t"] for e in events if e["what"] == "start" and e["node"] == event["node"] and e["t"] > event["t"]
        )
        leader = max(
            (box for box in in_lane(browser, event["node"], "rect.leader") if box.left < axis.x(event["t"])),
            key=lambda box: box.left,
        )
        assert event["t"] - 0.15 < axis.time(leader.right) < event["t"] + 0.05  # its heartbeats are 100 ms apart
        seen = in_lane(browser, event["node"], "rect.seen")
        down = axis.x((event["t"] + back) / 2)
        assert not [box for box in seen if box.left <= down <= box.right]
        up = axis.x(back + 1)
        assert [box for box in seen if box.left <= up <= box.right]
    assert len(killed) == 3


def test_every_candidate_of_the_log_has_a_mark_in_its_lane(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[KILLS])
    logged = truth(KILLS)
    axis = Axis(browser, logged["orchestrator_events"][0]["t"])
    for election in logged["elections"]:
        marks = in_lane(browser, election["node"], "use.won") + in_lane(browser, election["node"], "use.lost")
        assert any(abs(mark.middle - axis.x(election["t"])) < 3 for mark in marks), election
    won = browser.boxes("svg.timeline use.won")
    assert len(won) == len(logged["leaders_by_term"])


@pytest.mark.parametrize("name", [KILLS, PARTITIONS])
def test_candidates_and_followers_are_told_apart_as_they_logged_it(
    name: str, browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name])
    logged = truth(name)
    axis = Axis(browser, logged["orchestrator_events"][0]["t"])
    checked = 0
    for node in {change["node"] for change in logged["state_changes"]}:
        states = [change for change in logged["state_changes"] if change["node"] == node]
        drawn = in_lane(browser, node, "rect.candidate")
        for before, state, following in zip([{"term": 0}, *states], states, states[1:], strict=False):
            if following["why"] == "start" or following["t"] - state["t"] < 0.3:
                continue
            if state["why"] == "recv" and state["term"] == before["term"]:
                continue  # a late message of the leader before: the report has no fact of it
            shown = [box for box in drawn if box.left <= axis.x((state["t"] + following["t"]) / 2) <= box.right]
            assert bool(shown) == (state["state"] == "candidate"), state
            checked += 1
    assert checked > 10


def test_a_time_without_a_leader_goes_through_all_lanes(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[PARTITIONS])
    logged = truth(PARTITIONS)
    axis = Axis(browser, logged["orchestrator_events"][0]["t"])
    longest = max(browser.boxes("svg.timeline .leaderless rect"), key=lambda box: box.right - box.left)
    assert abs(longest.right - axis.x(logged["leaders_by_term"]["6"][0]["t"])) < 2.5
    rows = [lane(browser, server) for server in range(1, 6)]
    assert all(longest.top <= row.top and row.bottom <= longest.bottom + 1 for row in rows)
    assert all(upper.bottom <= lower.top for upper, lower in itertools.pairwise(rows))


def test_a_snapshot_stands_in_the_lane_of_its_receiver(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[SNAPSHOT])
    logged = truth(SNAPSHOT)
    axis = Axis(browser, logged["orchestrator_events"][0]["t"])
    (received,) = logged["install_snapshot_received"]
    (bar,) = browser.boxes("svg.timeline a > rect.snapshot")
    assert bar.within(lane(browser, received["node"]))
    assert abs(bar.left - axis.x(received["t"])) < 2.5
    (arrow,) = browser.boxes("svg.timeline line.snapshot")
    assert abs(arrow.middle - bar.left) < 2
    assert lane(browser, 1).bottom <= arrow.bottom <= lane(browser, 3).top + 20


# That it can be read


def assert_readable(browser: Browser) -> None:
    """Nothing is wider than the window, and no label hides another one or leaves its drawing."""
    assert browser.run("return document.documentElement.scrollWidth") <= WIDTH
    wide = "return Array.from(document.querySelectorAll('.scroll')).filter(e => e.scrollWidth > e.clientWidth).length"
    assert browser.run(wide) == 0
    for kind in ("timeline", "ladder", "plot"):
        for number in range(len(browser.boxes(f"svg.{kind}"))):
            browser.run(
                "document.querySelectorAll('.tested').forEach(e => e.classList.remove('tested'));"
                "document.querySelectorAll('svg.' + arguments[0])[arguments[1]].classList.add('tested')",
                kind,
                number,
            )
            drawing = browser.box(".tested")
            labels = sorted(browser.boxes(".tested text"), key=lambda box: box.top)
            assert labels
            for label in labels:
                assert label.within(drawing, 2), label
            assert overlapping(labels) == []


def overlapping(boxes: list[Box]) -> list[tuple[Box, Box]]:
    """Pairs that overlap; the boxes come from top to bottom."""
    return [
        (box, other)
        for number, box in enumerate(boxes)
        for other in boxes[number + 1 :]
        if other.top < box.bottom and box.overlaps(other)
    ]


@pytest.mark.parametrize("name", CAPTURES)
def test_pages_of_real_captures_can_be_read(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[name])
    assert_readable(browser)
    marks = sorted(browser.boxes("svg.timeline use, svg.timeline .crowd"), key=lambda box: box.top)
    assert marks
    assert overlapping(marks) == []


@pytest.mark.parametrize("name", CAPTURES)
def test_a_page_asks_for_nothing_and_complains_of_nothing(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[name])
    assert browser.requests() == [pages[name].as_uri()]
    assert browser.complaints() == []


@pytest.mark.parametrize("name", CAPTURES)
def test_a_page_is_the_same_without_scripts(
    name: str, browser: Browser, scriptless: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages[name])
    scriptless.open(pages[name])
    for selector in ("svg.timeline *", "svg.ladder *", "table *", "h2"):
        assert scriptless.boxes(selector) == browser.boxes(selector)
    assert scriptless.complaints() == []


def test_one_click_selects_the_display_filter(scriptless: Browser, pages: dict[str, Path]) -> None:
    scriptless.open(pages[KILLS])
    number = scriptless.driver.find_element("css selector", "#leaders .copy")
    assert "frame.number" not in number.get_attribute("innerText").splitlines()[0][:3]
    number.click()
    assert scriptless.run("return getSelection().toString()") == "frame.number == 53"  # tshark: leader 2's first packet
    assert number.get_attribute("class") == "copy"  # no script ran


@pytest.mark.parametrize("name", CAPTURES)
def test_every_link_leads_somewhere_and_says_its_frame(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[name])
    targets = browser.run("return Array.from(document.querySelectorAll('a')).map(a => a.getAttribute('href'))")
    ids = browser.run("return Array.from(document.querySelectorAll('[id]')).map(e => e.id)")
    assert {target.removeprefix("#") for target in targets} <= set(ids)
    assert len(ids) == len(set(ids))
    titles = browser.run("return Array.from(document.querySelectorAll('svg a > title')).map(t => t.textContent)")
    assert titles
    assert all(re.search(r"frame\.number == \d+$", title) for title in titles)


@pytest.mark.parametrize("name", CAPTURES)
def test_a_page_is_accessible(name: str, browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[name])
    assert browser.run("return document.documentElement.lang") == "en"
    assert f"{name}.pcap" in browser.driver.title
    headings = browser.run("return Array.from(document.querySelectorAll('h1, h2, h3')).map(h => +h.tagName[1])")
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(headings))
    assert browser.run("return document.querySelectorAll('th:not([scope])').length") == 0
    assert browser.run("return document.querySelectorAll('table:not(:has(caption))').length") == 0
    unnamed = (
        "return Array.from(document.querySelectorAll('svg:not([aria-hidden])')).filter(s => !s.getAttribute("
        "'aria-labelledby').split(' ').every(id => document.getElementById(id))).length"
    )
    assert browser.run(unnamed) == 0


# What comes from the wire


def place(seconds: float, frame: int = 1) -> Place:
    return Place(EPOCH + round(seconds * SECOND), frame)


def report(facts: ClusterFacts, seconds: float, findings: tuple[Finding, ...] = (), **capture: Any) -> Report:
    facts_of_capture = CaptureFacts(
        ("capture.pcap",), 10, 1000, EPOCH, EPOCH + round(seconds * SECOND), 2, {}, 5, 0, 0, {}, {}, ()
    )
    return Report(facts_of_capture._replace(**capture), (facts,), findings)


def server(name: int | str, address: str = "10.0.0.1:9001") -> ServerFact:
    return ServerFact(name, (address,), ("voter",), "cowsql", "cowsql/raft v0.22.1", place(0), place(100))


def cluster(**facts: Any) -> ClusterFacts:
    empty = dict.fromkeys(ClusterFacts._fields[:10], ())
    return ClusterFacts(**{**empty, **facts})


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_the_wire_is_shown_as_text(text: str, browser: Browser, tmp_path: Path) -> None:
    stream = Stream(0, Endpoint(text, 1), Endpoint("10.0.0.2", 2))
    gap = Diagnostic("gap", place(2), stream, 0, 10, text)
    facts = cluster(
        servers=(server(text, text), server(2)),
        leaders=(Leadership(1, text, place(1), place(9), "capture_end"),),
        configurations=(ConfigurationFact(1, 1, (Server(2, text, 9),), None, place(3)),),
    )
    finding = Finding("problem", "no_leader", f"finding {text}", f"advice {text}", (text,), (place(1),))
    sighting = Sighting(place(1), text, 2, "gap", text, False, False, False, True)
    ladder = Ladder((sighting,), EPOCH, EPOCH + SECOND, 0, True)
    made = report(facts, 10, (finding,), diagnostics=(gap,), diagnosed={text: 1}, files=(text, "b"), skipped={text: 1})
    browser.open(write(tmp_path / "page.html", made, ladder))
    assert browser.run("return document.querySelectorAll('img, script, b b').length") == 1
    shown = browser.run("return document.body.innerText")
    for line in (f"finding {text}", f"advice {text}"):
        assert line in shown
    assert shown.count(text) >= 6
    assert browser.driver.title == f"Raft report: {text}, b"
    assert browser.complaints() == []
    assert browser.requests() == [(tmp_path / "page.html").as_uri()]


def test_controls_and_marks_that_turn_the_direction_are_written_out(browser: Browser, tmp_path: Path) -> None:
    made = report(cluster(servers=(server(1, "a\x1b[31m\u202egnp.exe\ud800\x00"),)), 10)
    browser.open(write(tmp_path / "page.html", made))
    assert "a\\x1b[31m\\u202egnp.exe\\ud800\\x00" in browser.run("return document.body.innerText")


def test_a_script_or_style_that_is_not_ours_is_not_run(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    smuggled = (
        "<script>document.title='owned'</script><p style='width:9999px'>x</p><img src='http://127.0.0.1:9/x.png'>"
    )
    changed = tmp_path / "page.html"
    changed.write_text(pages[KILLS].read_text().replace("<main>", f"<main>{smuggled}"))
    browser.open(changed)
    assert browser.driver.title != "owned"
    assert browser.run("return document.documentElement.scrollWidth") <= WIDTH
    assert len([line for line in browser.complaints() if "Content Security Policy" in line]) >= 3


# Many things at once


def many(days: float = 1) -> Report:
    """A day in which five servers changed the leader every two minutes, with 20,000 rejections and 5,000 gaps."""
    names: tuple[int | str, ...] = (0xDEADBEEF12345678, 0xDEADBEEF22345679, 3, 4, "10.0.0.5")
    rounds = range(int(days * 720))
    elections = []
    for number in rounds:
        others = [name for name in names if name != names[number % 5]]
        refused = (Refusal(others[2], "log_behind"), Refusal(others[3], "already_voted"))
        at = place(number * 120 + 110, number + 1)
        elections.append(
            Election(number, names[number % 5], False, tuple(others), tuple(others[:2]), refused, (), "won", 0.01,
                     "heartbeats_absent", at)
        )  # fmt: skip
    facts = cluster(
        servers=tuple(server(name, f"node-{name}.rack.example.org:9001") for name in names),
        leaders=tuple(Leadership(n, names[n % 5], place(n * 120), place(n * 120 + 100), "new_leader") for n in rounds),
        leaderless=tuple(Leaderless(place(n * 120 + 100), place(n * 120 + 120)) for n in rounds),
        elections=tuple(elections),
        term_changes=tuple(
            TermChange(name, n, n + 1, "vote_request", place(n * 120 + 110)) for n in rounds for name in names
        ),
        rejections=tuple(
            Rejection("append_entries", names[n % 5], names[(n + 1) % 5], n // 30, "no_such_entry", n, n, place(n * 4))
            for n in range(20_000)
        ),
        snapshots=tuple(
            Snapshot(names[0], names[1], n, 1, 1, 10, place(n * 300), place(n * 300 + 1), None, "unanswered")
            for n in range(250)
        ),
        transfers=tuple(Transfer(names[0], names[2], n, "done", 0.1, place(n * 300)) for n in range(250)),
    )
    stream = Stream(0, Endpoint("10.0.0.1", 1), Endpoint("10.0.0.2", 2))
    gaps = tuple(Diagnostic("gap", place(n * 17), stream, 0, 10, "10 bytes") for n in range(5000))
    return report(facts, days * 86400, diagnostics=gaps, diagnosed={"gap": 5000})


def test_many_events_stay_readable_and_small(browser: Browser, tmp_path: Path) -> None:
    page = write(tmp_path / "page.html", many())
    assert page.stat().st_size < 2_000_000
    browser.open(page)
    assert_readable(browser)
    assert len(browser.boxes("svg.timeline *")) < 10_000
    marks = sorted(browser.boxes("svg.timeline use, svg.timeline .crowd"), key=lambda box: box.top)
    assert overlapping(marks) == []
    caption = browser.run("return document.querySelector('#timeline figcaption').innerText")
    assert re.search(r"[\d,]{6} events would overlap at this scale and were put together", caption)
    counted = sum(int(box.text) for box in browser.boxes("svg.timeline g:not(.lane) > a > .count, .row .count"))
    assert counted == 5000  # all gaps


def test_a_report_without_raft_is_a_page_too(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("report", "--html", str(page), "tls13-cowsql-0.22.1.pcap").code == 0
    browser.open(page)
    assert "No Raft traffic was found" in browser.run("return document.body.innerText")
    assert browser.complaints() == []


def test_long_ids_are_as_short_in_findings_as_everywhere_else(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("report", "--html", str(page), "dq7-dqlite-1.18.6.pcap").code == 0
    browser.open(page)
    findings = " ".join(box.text for box in browser.boxes(".finding p:first-child"))
    assert "~6238" in findings
    assert "3297041220608546238" not in findings


def test_times_of_day_are_not_broken_into_two_lines(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("report", "--html", str(page), "s6-canon-0.18.1.pcap").code == 0
    browser.open(page)
    heights = {
        round(height)
        for height in browser.run(
            "return Array.from(document.querySelectorAll('td, th')).filter(cell => /^\\d\\d:\\d\\d:[\\d.]+$/"
            ".test(cell.textContent)).map(cell => { const text = document.createRange();"
            " text.selectNodeContents(cell); return text.getBoundingClientRect().height; })"
        )
    }
    assert len(heights) == 1
    assert_readable(browser)


# Plots


def test_plots_show_quantities_where_their_axes_say(browser: Browser, tmp_path: Path) -> None:
    spread = Spread(100, 0.0002, 0.001, 0.01, 0.05, 0.1)
    lag = tuple(Lag(place(second, second + 1), 40 if second == 50 else 10, None) for second in range(0, 101, 2))
    first = ReplicationFact(
        1, 2, 500, 100, 500, 0, 400, 40960, 0, {"command": 400}, None, spread, spread, 0.0002, None, spread, lag,
        place(0), place(100),
    )  # fmt: skip
    second = first._replace(follower=3, bytes=20480, lag=())
    facts = cluster(servers=(server(1), server(2), server(3)), replication=(first, second))
    browser.open(write(tmp_path / "page.html", report(facts, 100)))
    assert_readable(browser)

    dots = browser.boxes("svg.lag .lag-dot")
    assert len(dots) == 51
    highest = min(dots, key=lambda box: box.top)
    zero, fifty = (next(b for b in browser.boxes("svg.lag .lag-row .tick") if b.text == text) for text in ("0", "50"))
    per_entry = ((zero.top + zero.bottom) - (fifty.top + fifty.bottom)) / 2 / 50
    ten = max(dots, key=lambda box: box.top)
    assert (ten.top - highest.top) == pytest.approx(30 * per_entry, abs=1)
    assert highest.middle == pytest.approx((dots[0].middle + dots[-1].middle) / 2, abs=1)  # at 50 of 100 seconds

    decades = {box.text: box.middle for box in browser.boxes("svg.latency .axis .tick")}
    bar = browser.boxes("svg.latency rect.bar")[0]  # from the median, 1 ms, to p95, 10 ms
    assert bar.left == pytest.approx(decades["1 ms"], abs=1)
    assert bar.right == pytest.approx(decades["10 ms"], abs=1)

    one, other = browser.boxes("svg.throughput rect.bar")
    assert (one.right - one.left) == pytest.approx(2 * (other.right - other.left), abs=1)
    words = [box.text for box in browser.boxes("svg.throughput .tick")]
    assert "410 B/s, 4 entries/s" in words[0]  # 40960 B and 400 entries in 100 s


# The ladder


def test_the_ladder_shows_the_first_election_after_a_leader_was_lost(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages[KILLS])
    after_kill = [e for e in truth(KILLS)["elections"] if e["term"] in (3, 4)]
    shown = [box.text for box in browser.boxes("svg.ladder .message")]
    asked = [
        float(text[6:]) for row in shown if "RequestVote " in row for text in re.findall(r"\d\d:\d\d:\d\d\.\d+", row)
    ]
    assert len(after_kill) == 3
    for election in after_kill:
        assert any(abs(second - election["t"] % 60) < 0.02 for second in asked), election
    assert any("refused" in text for text in shown)


def test_arrows_go_from_the_line_of_the_sender_to_that_of_the_receiver(browser: Browser, tmp_path: Path) -> None:
    sightings = tuple(
        Sighting(place(n, n + 1), source, target, "AppendEntries", "term 1", False, True, False, False)
        for n, (source, target) in enumerate(((1, 2), (3, 1)))
    )
    facts = cluster(servers=(server(1), server(2), server(3)))
    browser.open(write(tmp_path / "page.html", report(facts, 10), Ladder(sightings, EPOCH, EPOCH + SECOND, 7, True)))
    lines = {box.text: box.middle for box in browser.boxes("svg.ladder .server")}
    ends = browser.run(
        "return Array.from(document.querySelectorAll('svg.ladder .message line')).map(l => ['x1', 'x2'].map(x =>"
        " new DOMPoint(l[x].baseVal.value, 0).matrixTransform(l.getScreenCTM()).x))"
    )
    expected = [(lines["1"], lines["2"]), (lines["3"], lines["1"])]
    for (begin, end), (sender, receiver) in zip(ends, expected, strict=True):
        assert begin == pytest.approx(sender, abs=1.5)
        assert end == pytest.approx(receiver, abs=1.5)
    assert "7 messages after them are left out" in browser.run("return document.querySelector('#ladder').innerText")


def ladder_of(name: str, *options: str, tmp_path: Path) -> str:
    page = tmp_path / "page.html"
    assert run("report", "--html", str(page), *options, f"{name}.pcap").code == 0
    return page.read_text().partition('<section id="ladder">')[2].partition("</section>")[0]


def test_the_interval_of_the_ladder_can_be_chosen(tmp_path: Path) -> None:
    begin = calendar.timegm((2026, 11, 23, 2, 21, 29)) * SECOND
    wanted = [
        message
        for message in raft_dissect.messages(PCAPS / f"{KILLS}.pcap")
        if begin <= message.place.time_ns < begin + SECOND
    ]
    votes = [message.place.frame for message in wanted if message.name.startswith("RequestVote")]
    ladder = ladder_of(KILLS, "--ladder-from", "02:21:29", "--ladder-to", "02:21:30", tmp_path=tmp_path)
    assert f"{len(wanted)} messages from 02:21:29.000000 to 02:21:30.000000" in ladder
    drawn = re.findall(r"<title>RequestVote[^<]*frame\.number == (\d+)</title>", ladder)
    assert sorted(map(int, drawn)) == sorted(votes)


@pytest.mark.parametrize("name", [KILLS, PARTITIONS, "s7-cowsql-0.22.1-nopv", "s8-reorder10-canon-0.18.1"])
def test_a_ladder_has_every_message_of_its_seconds_once(name: str, tmp_path: Path) -> None:
    """Its times have microseconds, as these captures have; it may begin between messages of one packet."""
    found = re.search(r"(\d+) messages from ([\d:.]+) to ([\d:.]+),", ladder_of(name, tmp_path=tmp_path))
    assert found is not None
    clock = Clock()
    times = [clock.time(message.place.time_ns, 6) for message in raft_dissect.messages(PCAPS / f"{name}.pcap")]
    most = sum(found[2] <= time <= found[3] for time in times)
    assert 30 <= most - times.count(found[2]) + 1 <= int(found[1]) <= most


def test_elections_that_follow_one_another_are_on_one_ladder_each_message_once(tmp_path: Path) -> None:
    """Five rounds of votes, 600 ms apart, of two requests and two answers each."""
    script = Script()
    for round_ in range(5):
        script.at(600 * round_)
        for voter in (2, 3):
            script.ask(1, voter, 2 + round_, (1, 1))
        for voter in (2, 3):
            script.vote(voter, 1, 2 + round_, 0)
    capture, page = tmp_path / "rounds.pcap", tmp_path / "page.html"
    capture.write_bytes(pcap(*script.packets()))
    assert run("report", "--html", str(page), str(capture)).code == 0
    ladder = page.read_text().partition('<section id="ladder">')[2].partition("</section>")[0]
    assert "20 messages from" in ladder
    assert len(set(re.findall(r"frame\.number == (\d+)</title>", ladder))) == 20


def test_an_interval_of_too_many_messages_is_cut_and_says_so(tmp_path: Path) -> None:
    name = "s7-cowsql-0.22.1-nopv"
    messages = sum(1 for _ in raft_dissect.messages(PCAPS / f"{name}.pcap"))
    ladder = ladder_of(name, "--ladder-from", "00:00", tmp_path=tmp_path)
    assert "2,000 messages from" in ladder
    assert f"{messages - 2000} messages after them are left out" in ladder


@pytest.mark.parametrize("name", [*CAPTURES, "s8-reorder10-canon-0.18.1", "s6-canon-0.18.1"])
def test_messages_are_collected_in_bounded_number(name: str) -> None:
    dissection = raft_dissect.Dissection(PCAPS / f"{name}.pcap")
    watcher = Watcher()
    for batch in dissection.batches():
        watcher.feed(batch, EPOCH)
    ladder = watcher.watched(report(cluster(), 10))[0].ladder
    assert 0 < len(ladder.sightings) <= 2000
    assert [s.place.time_ns for s in ladder.sightings] == sorted(s.place.time_ns for s in ladder.sightings)


# The command


def test_the_text_report_is_printed_as_well(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with_page = run("report", "--html", str(page), f"{KILLS}.pcap")
    assert (with_page.out, with_page.err, with_page.code) == (run("report", f"{KILLS}.pcap").out, "", 0)
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert run("report", "--html", str(page), f"{SNAPSHOT}.pcap").code == 0  # a page may be replaced
    assert SNAPSHOT in page.read_text()


def test_a_file_that_is_no_page_is_not_overwritten(tmp_path: Path) -> None:
    capture = tmp_path / "capture.pcap"
    content = (PCAPS / f"{KILLS}.pcap").read_bytes()
    capture.write_bytes(content)
    outcome = run("report", "--html", str(capture), f"{KILLS}.pcap")
    assert (outcome.code, outcome.out) == (2, "")
    assert str(capture) in outcome.err
    assert capture.read_bytes() == content


def test_a_page_that_cannot_be_written_is_told_of_before_anything_is_read(tmp_path: Path) -> None:
    page = tmp_path / "nowhere" / "page.html"
    outcome = run("report", "--html", str(page), f"{KILLS}.pcap")
    assert outcome.code == 4
    assert outcome.err.count("\n") == 1
    assert str(page.parent) in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize("arguments", [("--ladder-from", "02:21"), ("--html", "x.html", "--ladder-to", "noon")])
def test_a_ladder_without_a_page_or_a_time_is_wrong_usage(arguments: tuple[str, ...]) -> None:
    outcome = run("report", *arguments, f"{KILLS}.pcap")
    assert (outcome.code, outcome.out) == (2, "")


def test_a_page_of_several_files_names_the_file_of_each_frame(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    files = [f"s1-5n-cowsql-0.22.1.node{number}.pcap" for number in (1, 2)]
    assert run("report", "--html", str(page), *files).code == 0
    titles = re.findall(r'title="Wireshark display filter: ([^"]*)"', page.read_text())
    assert titles
    assert all(re.fullmatch(r"frame\.number == \d+ in \S+\.node[12]\.pcap", title) for title in titles)
