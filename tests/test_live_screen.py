"""The full-screen view of live packets: what somebody who looks at it sees of real clusters, and what keys do."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest

from raft_dissect.live.view import SourceState
from raft_dissect.wire import table
from tests import captures
from tests.screens import Shown, shown, within
from tests.test_clusters import begun_at, moved
from tests.transformations import by_time

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

KILLS = "s2-cowsql-0.22.1.pcap"
MIDWAY = "s1-mid-cowsql-0.22.1.mid.pcap"
SNAPSHOT = "s4-64k-canon-0.18.1.pcap"
SIZES = [(80, 24), (120, 40)]


def look(
    file: str, what: Callable[[Shown], Coroutine[Any, Any, None]], seconds: float | None = None, **options: Any
) -> None:
    """Show a capture, of which packets come for some seconds, or to its end; and look at it."""
    packets = captures.packets(file)

    async def run() -> None:
        first = None if seconds is None else within(packets, seconds)
        async with shown(packets, first, **options) as view:
            await what(view)

    asyncio.run(run())


def row(view: Shown, server: str) -> list[str]:
    """The cells of a server in the table."""
    (line,) = (line for line in view.panel("servers") if line.split()[0] == server)
    return line.split()


@pytest.mark.parametrize("size", SIZES)
def test_each_server_has_its_state_at_the_end_as_it_logged_it(size: tuple[int, int]) -> None:
    truth = captures.truth("s2-cowsql-0.22.1")
    ends = {exit_["node"]: exit_ for exit_ in truth["exits"]}
    (leader,) = truth["leaders_by_term"][str(truth["max_term"])]

    async def what(view: Shown) -> None:
        assert f"leader {leader['node']}, term {truth['max_term']}" in view.panel("cluster")[0]
        for server in (1, 2, 3):
            _, state, _, term, last, commit, lag, *_ = row(view, str(server))
            leads = server == leader["node"]
            assert (state, lag) == (("LEADER", "-") if leads else ("follower", "0"))
            assert (int(term), int(last)) == (truth["max_term"], ends[server]["last_index"])
            assert (
                int(commit) == 279
            )  # all that its leader had told anybody: the last entry was acknowledged at the end
        assert "ENDED" in view.lines[0]

    look(KILLS, what, size=size)


def test_the_line_of_leaders_names_those_that_were_logged_in_their_order() -> None:
    leaders = [
        (one["node"], term)
        for term, found in captures.truth("s2-cowsql-0.22.1")["leaders_by_term"].items()
        for one in found
    ]

    async def what(view: Shown) -> None:
        line = view.panel("leaders")[0]
        assert [(int(a), b) for a, b in re.findall(r"\[=*(\d) (?:term |t)(\d+)=*\]", line)] == leaders
        assert "." in line  # nobody led after each kill
        # 18.3 s were captured, and 30 s fill the line: the first cells are from before.
        assert line.startswith(" " * 40)
        await view.press("plus", "plus")
        assert "10 s ago" in view.panel("leaders")[1]

    look(KILLS, what, size=(120, 40))


def test_connections_older_than_the_capture_show_servers_by_their_hosts_until_ids_are_known() -> None:
    async def what(view: Shown) -> None:
        for host in ("10.77.77.1", "10.77.77.2", "10.77.77.3"):
            assert row(view, host)[1:3] == ["id", "?"]
        assert row(view, "10.77.77.1")[3] == "LEADER"
        notice = "\n".join(view.panel("notices"))
        assert "not known yet: all ids (no handshake seen); roles (no configuration seen)" in notice
        await view.end()  # the leader is killed and comes back: handshakes and votes say the ids
        assert row(view, "2")[1] == "LEADER"
        assert "ids" not in "\n".join(view.panel("notices"))
        assert "1 term 2" in view.panel("leaders")[0]  # known only after it was killed
        assert "10.77" not in "\n".join(view.panel("servers") + view.panel("ladder"))

    look(MIDWAY, what, 1.5)


@pytest.mark.parametrize("size", SIZES)
def test_the_ladder_has_the_last_messages_with_arrows_between_their_servers(size: tuple[int, int]) -> None:
    messages = captures.run_file(KILLS).messages
    ids = {"10.77.77.1": 0, "10.77.77.2": 1, "10.77.77.3": 2}

    async def what(view: Shown) -> None:
        await view.press("h")  # heartbeats as well
        lines = view.panel("ladder")[2:]
        assert len(lines) == view.of("ladder").size.height - 2
        for line, message in zip(reversed(lines), reversed(messages), strict=False):
            name = message.name
            assert f" {name}" in line
            stream = message.stream
            sender, receiver = ids[stream.source.host], ids[stream.destination.host]
            drawn = line[len("HH:MM:SS.mmm +nnnn ") : line.index(f" {name}")]
            assert (">" in drawn) == (sender < receiver)
            assert drawn.count("|") == (3 if abs(sender - receiver) == 1 else 2)

    look(KILLS, what, size=size)


def test_heartbeats_that_say_nothing_new_are_left_out_and_counted() -> None:
    total = len(captures.run_file("s1-canon-0.18.1.pcap").messages)

    async def what(view: Shown) -> None:
        ladder = view.of("ladder")
        lines = [ladder.line(position).plain for position in range(len(ladder.serials))]
        left = [int(found[1]) for found in (re.match(r"\S+ +\+(\d+) ", line) for line in lines) if found]
        # Every message from the first line to the last one is a line, or is counted.
        assert ladder.serials[-1] - ladder.serials[0] + 1 == len(lines) + sum(left)
        assert ladder.serials[-1] < total
        said = [line for line in lines if "AppendEntries prev" in line]
        await view.press("h")
        assert "messages: all" in view.panel("ladder")[0]
        lines = [ladder.line(position).plain for position in range(len(ladder.serials))]
        assert len([line for line in lines if "AppendEntries prev" in line]) > len(said)

    look("s1-canon-0.18.1.pcap", what)


def test_a_message_is_shown_field_by_field() -> None:
    snapshot = next(
        message for message in captures.run_file(SNAPSHOT).messages if message.type == table.INSTALL_SNAPSHOT
    )

    async def what(view: Shown) -> None:
        await view.press("f")
        await view.write("type=InstallSnapshot")
        assert "filter: type=InstallSnapshot" in view.panel("ladder")[0]
        assert len(view.panel("ladder")) == 3
        await view.press("enter")
        page = re.sub(r" +", " ", view.text)
        assert f"frame.number == {snapshot.place.frame}" in page
        for name in ("last_index", "last_term", "conf_index"):
            assert f"8 {name} {snapshot.fields[name]} " in page
        await view.press("pagedown")
        assert "1 10.77.77.1:9001 voter" in view.text
        assert "65,536 bytes" in view.text
        await view.press("escape")
        assert view.lines[1].startswith("leader")

    look(SNAPSHOT, what)


def test_a_filter_chooses_messages_and_events_by_server_term_and_words() -> None:
    async def what(view: Shown) -> None:
        await view.press("slash")
        await view.write("server=1 term=6")
        events, messages = view.panel("events")[1:], view.panel("ladder")[2:]
        assert events
        assert messages
        assert all("server 1" in line and re.search(r"term (5 to )?6", line) for line in events)
        assert all(re.search(r"\|-|<-", line) for line in messages)  # server 1 is at the left end
        await view.press("f")
        await view.write("x")  # to what was asked before
        assert view.panel("ladder")[2:] == []
        await view.press("f", *["backspace"] * 30)
        await view.write("term=x")
        assert "term= wants a number" in view.text
        await view.press("escape")
        await view.press("f", *["backspace"] * 30, "enter")
        assert len(view.panel("ladder")) > 5

    look(KILLS, what, size=(200, 40))


def test_a_pause_stops_the_picture_while_packets_are_taken() -> None:
    async def what(view: Shown) -> None:
        await view.press("p")
        before = view.lines[1:]
        await view.end()
        await view.press("h", "h")
        assert view.lines[1:] == before
        assert "PAUSED for" in view.lines[0]
        await view.press("p")
        assert "ENDED" in view.lines[0]
        assert "leader 2, term 8" in view.lines[1]

    look(KILLS, what, 8)


def test_the_end_of_the_capture_is_said_and_the_view_stays() -> None:
    async def what(view: Shown) -> None:
        assert "live" in view.lines[0]
        await view.end()
        assert "ENDED" in view.lines[0]
        assert "the capture has ended: q leaves" in view.lines[-1]
        assert view.app.is_running
        await view.press("q")
        assert not view.app.is_running

    look(KILLS, what, 8)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_keys_leave_the_view_while_packets_come(key: str) -> None:
    async def what(view: Shown) -> None:
        await view.press(key)
        assert not view.app.is_running

    look(KILLS, what, 8)


def test_clusters_with_the_same_ids_are_shown_one_at_a_time() -> None:
    first = list(captures.packets(KILLS))
    second = begun_at(moved(captures.packets("s5-canon-0.18.1.pcap"), ("10.77.77.", "10.88.88.")), first[0].time_ns)

    async def run() -> None:
        async with shown(by_time([*first, *second]), size=(120, 40)) as view:
            terms = set()
            for number in (1, 2):
                assert f"cluster {number} of 2: " in view.panel("cluster")[0]
                servers = "\n".join(view.panel("servers"))
                assert ("10.77." in servers) != ("10.88." in servers)
                # Both ended with a leader that nobody disputed; of one it was a second and a half before the end.
                assert "CANDIDATE" not in servers
                terms |= {int(row(view, server)[3]) for server in "123"}
                told = [line for line in view.panel("events")[1:] if "cluster" in line]
                assert told
                assert all(f"cluster {number}: " in line for line in told)
                assert len(view.panel("ladder")) == view.of("ladder").size.height
                await view.press("c")
            assert "cluster 1 of 2: " in view.panel("cluster")[0]
            assert terms == {6, 8}

    asyncio.run(run())


def test_drops_and_gaps_are_said() -> None:
    packets = list(captures.packets(SNAPSHOT))
    del packets[400:403]

    async def run() -> None:
        sources = [SourceState("veth-a", 880, 0), SourceState("veth-b", 900, 12)]
        async with shown(packets, sources=sources) as view:
            notice = "\n".join(view.panel("notices"))
            assert "packets dropped by the kernel: 12 on veth-b" in notice
            assert "gap" in notice
            assert "veth-a veth-b" in view.lines[0]

    asyncio.run(run())


def test_a_snapshot_on_its_way_has_a_bar() -> None:
    packets = captures.packets(SNAPSHOT)
    snapshot = next(
        message for message in captures.run_file(SNAPSHOT).messages if message.type == table.INSTALL_SNAPSHOT
    )
    between = [at for at, packet in enumerate(packets) if snapshot.first.frame < packet.frame <= snapshot.place.frame]
    half = list(packets[: between[len(between) // 2]])
    # Time goes on without packets of it: one that is no Raft comes a second later.
    late = packets[-1]._replace(data=bytes(60), time_ns=half[-1].time_ns + 1_000_000_000, frame=len(half) + 1)

    async def run() -> None:
        async with shown([*half, late, late], len(half) + 1) as view:
            (line,) = view.panel("coming")
            assert re.match(r"InstallSnapshot 3 > 1 \[#+\.+\] +\d+% of 64 KiB", line)

    asyncio.run(run())


@pytest.mark.parametrize("file", ["s7-canon-0.18.1-pv.pcap", MIDWAY, "s6-canon-0.18.1.pcap"])
def test_everything_has_its_place_in_80_columns_and_24_lines(file: str) -> None:
    async def what(view: Shown) -> None:
        lines = view.lines
        assert len(lines) == 24
        assert all(len(line) <= 80 for line in lines)
        assert lines[-1].startswith(" the capture has ended: q leaves")
        text = view.text
        for server in view.panel("servers"):
            assert server.rstrip() in text
        assert len(view.panel("events")) >= 3
        assert len(view.panel("ladder")) >= 4
        for name in ("events", "ladder", "notices", "leaders", "servers"):
            widget = view.app.query_one(f"#{name}")
            assert widget.size.height >= len(view.panel(name))
            assert widget.region.bottom <= 23

    look(file, what)


def test_a_terminal_that_becomes_too_small_says_what_is_needed() -> None:
    async def what(view: Shown) -> None:
        await view.pilot.resize_terminal(70, 20)
        await view.drawn()
        assert "needs 80x24, and this terminal has 70x20" in view.text
        await view.pilot.resize_terminal(80, 24)
        await view.drawn()
        assert view.lines[1].startswith("leader 2, term 8")

    look(KILLS, what)


def test_the_lists_are_walked_and_an_event_is_shown_in_full() -> None:
    async def what(view: Shown) -> None:
        await view.press("tab" if view.of("ladder").has_focus else "shift+tab")
        assert view.of("events").has_focus
        assert view.panel("events")[0].startswith(">>")
        await view.press("home", "down", "enter")
        first = view.of("events").line(1).plain
        assert first.split(" ", 1)[1].rstrip(">")[:40] in view.text.replace("\n", " ")
        assert "frame.number == " in view.text
        await view.press("escape", "escape")
        assert view.of("events").chosen is None

    look(KILLS, what)


def test_help_lists_all_keys() -> None:
    async def what(view: Shown) -> None:
        await view.press("question_mark")
        for word in ("leave", "filter", "heartbeats", "cluster"):
            assert word in view.text

    look(KILLS, what)
