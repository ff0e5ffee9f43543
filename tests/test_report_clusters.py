"""Reports of several clusters in one capture: on the HTML page, opened in Chromium, each has a part of its own."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

import raft_dissect
from tests.browser import WIDTH, Browser
from tests.capture_files import pcap
from tests.captures import packets, truth
from tests.command import run
from tests.test_clusters import begun_at, moved
from tests.transformations import by_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KILLS, SNAPSHOT = "s2-cowsql-0.22.1", "s4-64k-canon-0.18.1"
"""Three servers each, with the same ids and, on the second, other ports."""
LATER_NS = 2_000_000_000
SECTIONS = ("timeline", "plots", "ladder", "servers", "leaders", "elections", "replication", "heartbeats")


def together(folder: Path, name: str) -> Path:
    """KILLS, and another cluster on the same hosts that begins a bit later."""
    first = packets(f"{KILLS}.pcap")
    second = begun_at(packets(f"{name}.pcap"), first[0].time_ns + LATER_NS)
    path = folder / "both.pcap"
    path.write_bytes(pcap(*by_time([*first, *moved(second, ("10.77.77.", "10.77.77."), {9001: 9101})])))
    return path


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return together(tmp_path_factory.mktemp("clusters"), SNAPSHOT)


@pytest.fixture(scope="module")
def page(capture: Path) -> Path:
    made = capture.with_suffix(".html")
    assert run("report", "--html", str(made), str(capture)).code == 0
    return made


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Browser]:
    opened = Browser()
    opened.open(page)
    yield opened
    opened.close()


def texts(browser: Browser, selector: str) -> list[str]:
    return [box.text for box in browser.boxes(selector)]


def test_ids_are_unique_and_every_link_has_its_target(page: Path) -> None:
    text = page.read_text()
    ids = Counter(re.findall(r'\bid="([^"]+)"', text))
    assert {key: count for key, count in ids.items() if count > 1} == {}
    named = re.findall(r'href="#([^"]+)"', text)
    for referred in re.findall(r'(?:aria-labelledby|aria-describedby)="([^"]+)"', text):
        named += referred.split()
    named += re.findall(r"url\(#([^)]+)\)", text)
    assert set(named) <= ids.keys()


def test_each_cluster_has_all_sections_and_the_navigation_reaches_them(browser: Browser) -> None:
    targets = browser.run("return Array.from(document.querySelectorAll('nav a')).map(a => a.getAttribute('href'))")
    for number in (1, 2):
        for section in SECTIONS:
            assert f"#cluster-{number}-{section}" in targets
    for target in targets:
        browser.driver.get(f"{browser.driver.current_url.partition('#')[0]}{target}")
        top = browser.run("return document.querySelector(arguments[0]).getBoundingClientRect().top", target)
        below = browser.run("return document.documentElement.scrollHeight - scrollY - innerHeight")
        assert -1 <= top <= 20 or below < 1, target  # at the top of the window, or as far down as there is something


def test_headings_say_which_cluster_and_stand_in_its_part(browser: Browser) -> None:
    assert texts(browser, "h1") == ["What happened in 2 Raft clusters"]
    for number in (1, 2):
        headings = texts(browser, f"#cluster-{number} h2")
        assert headings[0] == f"Cluster {number} of 2"
        assert all(heading.startswith(f"Cluster {number}: ") for heading in headings[1:])
    findings = texts(browser, ".finding p:first-child")
    assert findings
    assert all(re.match(r"(problem|warning|note)Cluster [12]: ", text) for text in findings)


def test_each_cluster_is_drawn_with_its_own_leaders_and_messages_only(browser: Browser) -> None:
    for number, (name, port) in enumerate(((KILLS, "9001"), (SNAPSHOT, "9101")), start=1):
        logged = truth(name)
        part = f"#cluster-{number}"
        terms = [int(text.rpartition(" ")[2]) for text in texts(browser, f"{part}-leaders tbody tr th")]
        assert terms == sorted(map(int, logged["leaders_by_term"]))
        assert len(browser.boxes(f"{part} svg.timeline rect.leader")) == len(terms)
        assert set(re.findall(r":(9\d01)", " ".join(texts(browser, f"{part}-servers tbody td")))) == {port}
    first, second = (texts(browser, f"#cluster-{number} svg.ladder .message title") for number in (1, 2))
    assert first
    assert not [text for text in first if "InstallSnapshot" in text]
    assert [text for text in second if "InstallSnapshot" in text]


def test_ladders_have_messages_of_their_own_cluster_only(browser: Browser, capture: Path) -> None:
    """They are told apart by the port that they go to."""
    ports = {message.place.frame: message.stream.destination.port for message in raft_dissect.messages(capture)}
    for number, port in ((1, 9001), (2, 9101)):
        titles = " ".join(texts(browser, f"#cluster-{number} svg.ladder .message title"))
        frames = re.findall(r"frame\.number == (\d+)", titles)
        assert len(frames) > 10
        assert max(Counter(texts(browser, f"#cluster-{number} svg.ladder .message")).values()) == 1
        assert {ports[int(frame)] for frame in frames} == {port}


def test_of_many_messages_each_ladder_counts_its_own(tmp_path: Path) -> None:
    """2000 are kept of both clusters together; of each, what is shown and what is left out are all that there are."""
    capture, page = together(tmp_path, "s7-cowsql-0.22.1-nopv"), tmp_path / "page.html"
    assert run("report", "--html", str(page), "--ladder-from", "00:00", str(capture)).code == 0
    sent = Counter(message.stream.destination.port for message in raft_dissect.messages(capture))
    assert sent.total() > 2000
    for number, port in ((1, 9001), (2, 9101)):
        ladder = page.read_text().partition(f'<section id="cluster-{number}-ladder">')[2].partition("</section>")[0]
        counts = re.findall(r"([\d,]+) messages (?:from|after them)", ladder)
        assert len(counts) == 2
        assert sum(int(count.replace(",", "")) for count in counts) == sent[port]


def test_a_server_that_was_down_is_not_seen_although_its_namesake_goes_on(browser: Browser, capture: Path) -> None:
    """In cluster 1 each server was killed once; the servers of cluster 2 with the same ids do not hide that."""
    captured = packets(str(capture))
    begin, end = captured[0].time_ns / 1e9, captured[-1].time_ns / 1e9
    events = truth(KILLS)["orchestrator_events"]
    for event in (event for event in events if event["what"] == "kill"):
        back = next(
            e["t"] for e in events if e["what"] == "start" and e["node"] == event["node"] and e["t"] > event["t"]
        )
        lane = f'#cluster-1 .lane[data-server="{event["node"]}"]'
        axis = browser.box(f"{lane} rect.unseen")
        down = axis.left + (axis.right - axis.left) * ((event["t"] + back) / 2 - begin) / (end - begin)
        seen = browser.boxes(f"{lane} rect.seen")
        assert seen
        assert not [box for box in seen if box.left <= down <= box.right]


def test_who_led_at_a_time_is_said_of_each_cluster(capture: Path) -> None:
    """As the servers logged it: server 1 of the first one in term 6, server 3 of the second one in term 2."""
    told = " ".join(" ".join(run("report", "--at", "02:21:30", str(capture)).lines).split())
    assert told.startswith("At 02:21:30.000 (cluster 1) 1 led, in term 6: from 02:21:29.536")
    assert "; (cluster 2) 3 led, in term 2: from" in told
    (record,) = run("report", "--json", "--at", "02:21:30", str(capture)).records
    assert [(one["leader"], one["term"]) for one in record["clusters"]] == [(1, 6), (3, 2)]


def test_the_page_is_no_wider_than_the_window(browser: Browser) -> None:
    assert browser.run("return document.documentElement.scrollWidth") <= WIDTH
    assert browser.complaints() == []
