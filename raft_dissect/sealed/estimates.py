"""From the records of TLS connections to what their servers seem to do, where those look like servers of Raft.

C-Raft's servers write on connections that they opened themselves and never read from them, so each two of them have one
connection in each direction, on which only the side that opened it sends. That is what is looked for; browsers and
their servers never look like it. Of two servers that speak in turns the one that speaks after a pause asks, and the
other one answers: the leader asks all others. Where it has nothing else to send it does so in the rhythm of its
heartbeats, so the intervals of the same length that cover most of the time are those of heartbeats.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.sealed.facts import SealedBurst, SealedFacts, SealedLeader, SealedPeer, SealedSilence
from raft_dissect.values import Endpoint, Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from raft_dissect.sealed.traffic import SealedConnection, SealedTraffic

_SECOND = 1_000_000_000
_SETTLED_NS = _SECOND
"""After so long a handshake is over, and what an HTTP server says about an upgrade."""
_BEGUN = 3
"""Records of the client after which the server has only tickets left to send: the end of the client's handshake, a
request for an upgrade, and Raft's own handshake."""
_TICKETS = 4
_FAREWELL = 40
"""Bytes: a record of no more at the end of a connection is TLS's own word that it is over."""
_LEAST_RECORDS = 20
"""Records that a server must have sent to another one before anything is said of the two."""
_LEAST_NS = 2 * _SECOND
_LEAST_INTERVALS = 10
_SAME = 1.15
"""Intervals within this factor are the same."""
_LEAST_COVER = 0.4
"""Of the time in which a leader speaks, the part that its heartbeats must cover to be believed."""
_PAUSE = 4
"""Intervals that are so many times as long are no part of that time."""
_IN_USE = 6
"""Records on a connection from which on it is not one that was given up at once."""
_SHORTEST_NS = 1_000_000
_LEAST_ROUNDS = 5
_WINDOW_INTERVALS = 10
_SILENT_INTERVALS = 6
_LEAST_SILENCE_NS = _SECOND
_BURST_PAUSE_NS = 100_000_000
_LEAST_BURST = 16 * 1024
_CUT = 1200
"""Bytes; no implementation cuts a long message into shorter records."""
_APPEND = 2.0
"""What others were sent at the time of a burst, so many times less, is not the same."""


class _Word(NamedTuple):
    """A record that one server sent to another."""

    time_ns: int
    size: int
    place: Place


_Pair = tuple[str, str]
"""Sender and receiver, by host."""


def estimate(traffic: SealedTraffic) -> tuple[SealedFacts, ...]:
    """What is estimated of each group of servers that look like a Raft cluster."""
    speaking: dict[_Pair, list[SealedConnection]] = {}
    listens: dict[str, Counter[int]] = {}
    for connection in traffic.connections:
        client, server, port = connection.ends
        if connection.is_tls and client != server and _is_one_way(connection):
            speaking.setdefault((client, server), []).append(connection)
            listens.setdefault(server, Counter())[port] += 1
    mutual = {pair: found for pair, found in speaking.items() if pair[::-1] in speaking}
    addresses = {host: Endpoint(host, ports.most_common(1)[0][0]) for host, ports in listens.items()}
    facts = []
    for hosts in _groups(mutual):
        inside = {pair: connections for pair, connections in mutual.items() if pair[0] in hosts}
        cluster = _Cluster(inside, addresses, traffic)
        if cluster.is_believable:
            facts.append(cluster.facts())
    return tuple(facts)


def _is_one_way(connection: SealedConnection) -> bool:
    """Whether only the side that opened a connection speaks on it, once the handshake is over."""
    client, server = connection.from_client, connection.from_server
    if not len(client):
        return False
    settled = client.times[0] + _SETTLED_NS
    begun = client.times[min(_BEGUN, len(client)) - 1]
    said = [(time, size) for time, size in zip(server.times, server.sizes, strict=True) if size > _FAREWELL]
    return all(time <= settled for time, _ in said) and sum(time > begun for time, _ in said) <= _TICKETS


def _groups(pairs: Iterable[_Pair]) -> list[set[str]]:
    """Hosts that speak with one another, also over others."""
    groups: list[set[str]] = []
    for pair in pairs:
        touched = [group for group in groups if not group.isdisjoint(pair)]
        groups = [group for group in groups if group.isdisjoint(pair)]
        groups.append(set(pair).union(*touched))
    return groups


class _Round(NamedTuple):
    """A record that was answered."""

    time_ns: int
    leader: str
    follower: str
    place: Place


class _Cluster:
    """Servers that speak with one another."""

    def __init__(
        self, pairs: dict[_Pair, list[SealedConnection]], addresses: dict[str, Endpoint], traffic: SealedTraffic
    ) -> None:
        self._pairs = pairs
        self._addresses = addresses
        self._dropped = traffic.dropped
        self._words = {pair: _words(connections) for pair, connections in pairs.items()}
        self._talk = {pair: _words(filter(_is_in_use, connections)) for pair, connections in pairs.items()}
        self._first_ns, self._last_ns = traffic.first_ns or 0, traffic.last_ns
        self._hosts = sorted({host for pair in pairs for host in pair})

    @property
    def is_believable(self) -> bool:
        """Whether there is enough traffic to say that two servers speak in turns, for a while."""
        return any(
            len(words) >= _LEAST_RECORDS
            and len(self._talk[pair[::-1]]) >= _LEAST_RECORDS // 2
            and words[-1].time_ns - words[0].time_ns >= _LEAST_NS
            for pair, words in self._talk.items()
        )

    def facts(self) -> SealedFacts:
        """What is estimated."""
        rounds = sorted(round_ for pair in self._pairs if pair[0] < pair[1] for round_ in self._rounds(*pair))
        interval_ns, count = self._heartbeat(rounds)
        leaders = self._leaders(rounds, interval_ns)
        if not leaders:
            interval_ns, count = None, 0
        return SealedFacts(
            tuple(self._peer(host) for host in self._hosts),
            None if interval_ns is None else interval_ns / _SECOND,
            count,
            tuple(leaders),
            tuple(self._bursts()),
            tuple(self._silences(interval_ns)),
            self._first_ns,
            self._last_ns,
            self._dropped,
        )

    def _peer(self, host: str) -> SealedPeer:
        sent = sorted(word for pair, words in self._words.items() if pair[0] == host for word in words)
        opened = [one for pair, found in self._pairs.items() if pair[0] == host for one in found]
        short = sum(not _is_in_use(one) for one in opened)
        size = sum(word.size for word in sent)
        return SealedPeer(self._addresses[host], len(sent), size, len(opened), short, sent[0].place, sent[-1].place)

    def _rounds(self, one: str, other: str) -> Iterator[_Round]:
        """The records of two servers that were answered: those with a longer pause before them than behind them."""
        spoken = [(word, one, other) for word in self._talk[one, other]]
        spoken += [(word, other, one) for word in self._talk[other, one]]
        spoken.sort()
        for (before, *_), (word, sender, receiver), (answer, answering, _) in zip(
            spoken, spoken[1:], spoken[2:], strict=False
        ):
            pause, delay = word.time_ns - before.time_ns, answer.time_ns - word.time_ns
            if answering == receiver and delay * 2 < pause:
                yield _Round(word.time_ns, sender, receiver, word.place)

    def _heartbeat(self, rounds: Sequence[_Round]) -> tuple[int | None, int]:
        """The interval that covers most of the time between records that one server sends to another."""
        asking = Counter((round_.leader, round_.follower) for round_ in rounds)
        intervals = sorted(
            later.time_ns - word.time_ns
            for pair, count in asking.items()
            if count >= _LEAST_ROUNDS and count > asking[pair[1], pair[0]]
            for word, later in pairwise(self._talk[pair])
            if later.time_ns - word.time_ns >= _SHORTEST_NS
        )
        best, total, begin, end, low = 0, 0, 0, 0, 0
        for high, interval in enumerate(intervals, 1):
            total += interval
            while intervals[low] * _SAME < interval:
                total -= intervals[low]
                low += 1
            if total > best and high - low >= _LEAST_INTERVALS:
                best, begin, end = total, low, high
        if not best:
            return None, 0
        found = intervals[(begin + end) // 2]
        usual = sum(interval for interval in intervals if interval <= found * _PAUSE)
        return (found, end - begin) if best >= _LEAST_COVER * usual else (None, 0)

    def _leaders(self, rounds: Sequence[_Round], interval_ns: int | None) -> list[SealedLeader]:
        """Who asked most in each short time, with neighbours that are the same taken together."""
        if interval_ns is None:
            return []
        window = max(_WINDOW_INTERVALS * interval_ns, _SECOND // 2)
        leaders: list[SealedLeader] = []
        at = 0
        while at < len(rounds):
            end = bisect_left(rounds, rounds[at].time_ns + window, key=lambda round_: round_.time_ns)
            group = rounds[at:end]
            at = end
            ((host, count), *_) = Counter(round_.leader for round_ in group).most_common(1)
            if count < _LEAST_ROUNDS or count * 3 < len(group) * 2:
                continue
            own = [round_ for round_ in group if round_.leader == host]
            leader = SealedLeader(self._addresses[host], own[0].place, own[-1].place, count)
            if leaders and leaders[-1].leader == leader.leader:
                before = leaders.pop()
                leader = before._replace(last=leader.last, rounds=before.rounds + count)
            leaders.append(leader)
        return leaders

    def _bursts(self) -> list[SealedBurst]:
        found = []
        for (sender, receiver), words in self._words.items():
            for burst in _runs(words):
                size = sum(word.size for word in burst)
                if size >= _LEAST_BURST:
                    others = self._sent_to_others(sender, receiver, burst)
                    looks_like = "snapshot" if others * _APPEND < size and _is_copied(burst) else "appends"
                    ends = self._addresses[sender], self._addresses[receiver]
                    found.append(SealedBurst(*ends, burst[0].place, burst[-1].place, len(burst), size, looks_like))
        return sorted(found, key=lambda burst: burst.first)

    def _sent_to_others(self, sender: str, receiver: str, burst: Sequence[_Word]) -> int:
        """The most that another server was sent at the time of a burst."""
        begin, end = burst[0].time_ns - _BURST_PAUSE_NS, burst[-1].time_ns + _BURST_PAUSE_NS
        return max(
            (
                sum(word.size for word in words if begin <= word.time_ns <= end)
                for pair, words in self._words.items()
                if pair[0] == sender and pair[1] != receiver
            ),
            default=0,
        )

    def _silences(self, interval_ns: int | None) -> list[SealedSilence]:
        """When nobody was heard of for longer than followers wait, and when one server was not while others were."""
        least = max(_SILENT_INTERVALS * (interval_ns or 0), _LEAST_SILENCE_NS)
        everyone = sorted(word for words in self._words.values() for word in words)
        found = [SealedSilence(None, *pause) for pause in _pauses(everyone, least)]
        for host in self._hosts:
            own = sorted(word for pair, words in self._words.items() if pair[0] == host for word in words)
            found += [
                SealedSilence(self._addresses[host], *pause)
                for pause in _pauses(own, least)
                if not any(one.first <= pause[0] and pause[1] <= one.last for one in found if one.server is None)
            ]
        return sorted(found, key=lambda silence: silence.first)


def _words(connections: Iterable[SealedConnection]) -> list[_Word]:
    """What was said on connections between the same two servers, in order."""
    words = [
        _Word(time, size, Place(time, frame, file))
        for connection in connections
        for time, size, frame, file in zip(
            connection.from_client.times,
            connection.from_client.sizes,
            connection.from_client.frames,
            connection.from_client.files,
            strict=True,
        )
        if size > _FAREWELL
    ]
    return sorted(words)


def _is_in_use(connection: SealedConnection) -> bool:
    return len(connection.from_client) >= _IN_USE


def _is_copied(burst: Sequence[_Word]) -> bool:
    """Whether most of a burst is in large records of one size: one long message that was cut, not many short ones."""
    sizes = Counter(word.size for word in burst)
    size = max(sizes, key=lambda size: size * sizes[size])
    return size >= _CUT and 2 * size * sizes[size] >= sum(word.size for word in burst)


def _runs(words: Sequence[_Word]) -> Iterator[Sequence[_Word]]:
    """Records with short pauses between them."""
    begin = 0
    for at in range(1, len(words) + 1):
        if at == len(words) or words[at].time_ns - words[at - 1].time_ns > _BURST_PAUSE_NS:
            yield words[begin:at]
            begin = at


def _pauses(words: Sequence[_Word], least: int) -> Iterator[tuple[Place, Place]]:
    """Times of at least so many nanoseconds between two records."""
    for word, later in pairwise(words):
        if later.time_ns - word.time_ns >= least:
            yield word.place, later.place
