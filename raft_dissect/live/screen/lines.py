"""The parts of the full-screen view that are text: what is captured, a cluster's servers, what is not known yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from raft_dissect.report.escape import visible
from raft_dissect.report.rates import rate
from raft_dissect.report.terminal import Style, cut, table, wrapped
from raft_dissect.units import counted, duration, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raft_dissect.cluster.facts import ServerName
    from raft_dissect.live.screen.picture import ClusterPicture, Coming, Ends, Picture, ServerRow
    from raft_dissect.report.times import Clock

_LATE = 1.0
"""Seconds from which on the analysis is said to be late."""
_MOST_LINES = 2
"""Lines of one sentence."""
_WIDE = 100
"""Columns from which on there is room for latencies and addresses."""
_HEAD = ("server", "state", "role", "term", "last index", "commit", "lag", "heard")
_RIGHT = frozenset((3, 4, 5, 6, 7))
_STYLES = {"leader": "bold green", "candidate": "bold yellow", "unknown": "dim"}


def age(seconds: float) -> str:
    """How long ago something was, such as 43 ms or 1.2 s."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else duration(seconds)


def shown(row: ServerRow) -> str:
    """How a server is called in the table."""
    return row.name if row.id_known else f"{row.name} id ?"


def name_of(cluster: ClusterPicture | None, server: ServerName) -> str:
    """The short name of a server of a cluster."""
    rows = () if cluster is None else cluster.servers
    return next((row.name for row in rows if row.id == server), visible(str(server)))


def header(picture: Picture, clock: Clock, paused: str, width: int) -> Text:
    """What is captured, and what time it is there."""
    state = paused or ("ENDED" if picture.ended else "live")
    names = " ".join(visible(source.name) for source in picture.sources)
    time = "no packet yet"
    if picture.now_ns:
        zone = clock.day(picture.now_ns).split(" ", 2)[2]
        time = f"{clock.time(picture.now_ns, 1)} {zone}"
    amounts = f"{picture.packets:,} packets"
    if not picture.ended and picture.packet_rate is not None and picture.byte_rate is not None:
        amounts += f", {rate(picture.packet_rate)}/s, {size(round(picture.byte_rate))}/s"
    right = f"{time}  {state} "
    left = cut(f" {amounts}  {names}", width - len(right) - 1)
    text = Text(left.ljust(width - len(right)) + right, style="reverse")
    text.stylize("bold", width - len(right))
    return text


def title(cluster: ClusterPicture | None, count: int, now_ns: int) -> Text:
    """Which cluster it is, and who leads it."""
    if cluster is None:
        return Text("no Raft message yet", style="bold")
    which = f"cluster {cluster.number + 1} of {count}: " if count > 1 else ""
    if cluster.leader is None:
        ever = any(reign.leader is not None for reign in cluster.reigns)
        text = Text(f"{which}nobody is heard to lead" if ever else f"{which}leader not known yet", style="bold red")
    else:
        reign = cluster.reigns[-1]
        since = duration((now_ns - reign.begin_ns) / 1e9)
        midway = "at least " if len(cluster.reigns) == 1 else ""
        text = Text(f"{which}leader {name_of(cluster, cluster.leader)}, term {reign.term}", style="bold green")
        text.append(f" for {midway}{since}", style="not bold default")
    rates = cluster.rates
    told = f"  {rate(rates.messages)} messages/s"
    if rates.entries is not None:
        told += f", {rate(rates.entries)} entries/s"
    text.append(told, style="not bold default")
    return text


def trend(cluster: ClusterPicture | None, style: Style, width: int) -> str:
    """Messages per second of the last seconds, as many as fit, with latencies where there is room."""
    if cluster is None:
        return ""
    rates = cluster.rates
    label, end = "messages/s ", ""
    if rates.commit_seconds is not None:
        end = " commit p50 {} p99 {}".format(*map(duration, rates.commit_seconds))
    room = min(width - len(label) - len(end) - 6, 60)
    bars = rates.trend[-room:]
    if not bars:
        return label + "-" + end
    return f"{label}{style.sparkline(bars).rjust(room)} {rate(bars[-1]):>5}{end}"


def servers(cluster: ClusterPicture, now_ns: int, width: int, most: int) -> list[Text]:
    """The table of the servers, with no more than so many lines below its head."""
    wide = width >= _WIDE
    head = (*_HEAD, "ack p50", "ack p99", "address") if wide else _HEAD
    right = _RIGHT | {8, 9} if wide else _RIGHT
    rows = [_row(row, now_ns, wide) for row in cluster.servers]
    first, *lines = table(head, rows, Style(), right, width=width)
    text = [Text(first[1:], style="dim")]
    for row, line in zip(cluster.servers, lines, strict=True):
        text.append(Text(line[1:], style=_STYLES.get(row.state, "")))
    if len(rows) > most:
        text[most:] = [Text(f" and {counted(len(rows) - most + 1, 'more server')}: a higher terminal shows them")]
    return text


def _row(row: ServerRow, now_ns: int, wide: bool) -> list[str]:
    cells = [
        shown(row),
        row.state.upper() if row.state in ("leader", "candidate") else row.state.ljust(len("candidate")),
        "?" if row.role is None else row.role,
        _number(row.term).rjust(5),
        _number(row.last_index).rjust(9),
        _number(row.commit).rjust(9),
        ("-" if row.state == "leader" else _number(row.behind)).rjust(6),
        ("?" if row.heard_ns is None else age((now_ns - row.heard_ns) / 1e9)).rjust(7),
    ]
    if wide:
        cells += ["-", "-"] if row.ack_seconds is None else list(map(duration, row.ack_seconds))
        cells.append(row.address)
    return cells


def _number(value: int | None) -> str:
    return "?" if value is None else str(value)


def unknown(cluster: ClusterPicture | None) -> str:
    """What is not known yet of a cluster, and what would say it; empty when everything is known."""
    if cluster is None:
        return ""
    parts = []
    hosts = [row.name for row in cluster.servers if not row.id_known]
    if hosts:
        whose = "all ids" if len(hosts) == len(cluster.servers) else f"id of {', '.join(hosts)}"
        parts.append(f"{whose} (no handshake seen)")
    if all(row.role is None for row in cluster.servers):
        parts.append("roles (no configuration seen)")
    silent = [row.name for row in cluster.servers if row.term is None]
    if silent:
        parts.append(f"state of {', '.join(silent)} (nothing heard)")
    return f"not known yet: {'; '.join(parts)}" if parts else ""


def troubles(picture: Picture) -> str:
    """What makes the picture worse than it could be; empty when nothing does."""
    parts = []
    dropped = [source for source in picture.sources if source.dropped]
    if dropped:
        told = ", ".join(f"{source.dropped:,} on {visible(source.name)}" for source in dropped)
        parts.append(f"packets dropped by the kernel: {told}")
    if picture.gaps:
        parts.append(counted(picture.gaps, "gap"))
    if picture.late_seconds >= _LATE:
        parts.append(f"the analysis is {duration(picture.late_seconds)} late")
    if picture.findings:
        parts.append(f"{counted(picture.findings, 'finding')} of the audit")
    return f"! {'; '.join(parts)}" if parts else ""


def coming(one: Coming, ends: Ends | None, cluster: ClusterPicture | None, width: int) -> Text:
    """How much of a large message has come, with a bar."""
    who = "" if ends is None else f" {name_of(cluster, ends.sender)} > {name_of(cluster, ends.receiver)}"
    share = min(one.received / one.size, 1.0) if one.size else 1.0
    told = f" {share:4.0%} of {size(one.size)}"
    if one.rate:
        told += f", {size(round(one.rate))}/s"
    start = f"{one.name}{who} "
    room = max(width - len(start) - len(told) - 2, 4)
    done = round(share * room)
    return Text(f"{start}[{'#' * done}{'.' * (room - done)}]{told}", style="cyan")


def notices(lines: Sequence[tuple[str, str]], width: int) -> list[Text]:
    """Sentences, each in its style, none longer than two lines."""
    found = []
    for sentence, style in lines:
        parts = wrapped(sentence, width, "", "  ") if sentence else []
        found += [Text(part, style=style) for part in parts[: _MOST_LINES - 1]]
        rest = " ".join(map(str.strip, parts[_MOST_LINES - 1 :]))
        found += [Text(cut(f"  {rest}", width), style=style)] if rest else []
    return found
