"""What the audit says of handshakes and connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect import wire
from raft_dissect.dissection import Dissection
from raft_dissect.values import Message, Packet
from tests import captures
from tests.audits import errors, found
from tests.mutants.membership import changes, put
from tests.mutations import transcript
from tests.packets import ACK, MILLISECOND, RST, START, Address, Connection
from tests.scripts import Script
from tests.transformations import segments

if TYPE_CHECKING:
    from tests.mutations import Transcript, Utterance

COWSQL = "s2-cowsql-0.22.1.pcap"
CANONICAL = "s1-canon-0.18.1.pcap"
PROXIES = "s4-ipv6-cowsql-0.22.1.pcap"
MEMBERS = "s6-canon-0.18.1.pcap"
FOLLOWER, LEADER = 1, 3
"""Of CANONICAL."""


def with_protocol_2(talk: Transcript) -> Utterance:
    return talk.opening(FOLLOWER, LEADER).patch(0, b"\x02")


def test_messages_behind_a_handshake_that_is_refused_are_given() -> None:
    talk = transcript(CANONICAL)
    whole = [event for event in Dissection(talk.packets()) if isinstance(event, Message)]
    with_protocol_2(talk)
    events = list(Dissection(talk.packets()))
    assert len([event for event in events if isinstance(event, Message)]) == len(whole)


def test_no_server_has_the_id_0() -> None:
    talk = transcript(CANONICAL)
    opening = talk.opening(FOLLOWER, LEADER).set_handshake(id=0)
    refused = [error for error in errors(talk.packets()) if error[0].startswith("HS")]
    assert refused == [("HS-02", "violation", talk.frame(opening), 0)]


def test_a_server_moves_without_a_configuration_that_says_so() -> None:
    talk = transcript(COWSQL)
    assert found(talk.packets(), "HS-03") == []
    second = talk.opening(1, 2, 1).set_handshake(address="10.77.77.9:9001")
    findings = found(talk.packets(), "HS-03")
    assert talk.frame(second) in {finding.place.frame for finding in findings}
    assert any("Server 1 calls itself 10.77.77.9:9001" in finding.message for finding in findings)
    assert {finding.severity for finding in findings} == {"warning"}


def test_a_server_may_move_right_after_it_has_connected() -> None:
    """Entry 131 has server 5 where it says to be when it connects; entry 172 gives it another port later."""
    talk = transcript(MEMBERS)
    for message in changes(talk, 172):
        servers = wire.decode_configuration(message.entries[0].data)
        put(message, [each._replace(address=each.address.replace("77.5:9001", "77.5:9002")) for each in servers])
    assert found(talk.packets(), "HS-03") == []


def test_two_servers_advertise_one_address() -> None:
    talk = transcript(CANONICAL)
    opening = talk.opening(2, LEADER).set_handshake(id=7)
    opening.data = opening.data.replace(b"10.77.77.2", b"10.77.77.1")
    (finding,) = found(talk.packets(), "HS-03")
    assert "Server 7 calls itself 10.77.77.1:9001, as server 1 did before" in finding.message or (
        "Server 1 calls itself 10.77.77.1:9001, as server 7 did before" in finding.message
    )


def test_a_candidate_asks_in_the_name_of_another() -> None:
    """Figure 2 of the Raft paper: candidateId is the candidate requesting the vote."""
    talk = transcript(CANONICAL)
    message = talk.find("RequestVote").set(candidate_id=7)
    mine = [error for error in errors(talk.packets()) if error[0].startswith("HS")]
    assert mine == [("HS-06", "violation", talk.frame(message), message.sender)]


def test_a_server_that_was_removed_connects_to_others() -> None:
    """Server 1 was removed by entry 284, was not told of it, and asks 2 and 5 for votes."""
    findings = found(MEMBERS, "HS-07")
    assert [(finding.server, finding.peer, finding.severity) for finding in findings] == [
        (1, 2, "note"),
        (1, 5, "note"),
    ]
    assert all("is not in configuration 284" in finding.message for finding in findings)


# --- Reconnects ---


def connections(file: str, source: str, destination: str) -> list[int]:
    """When a host sent another its SYNs, in nanoseconds."""
    found = []
    for segment in segments(captures.packets(file)):
        hosts = tuple(":".join(f"{host[i] << 8 | host[i + 1]:x}" for i in range(0, 16, 2)) for host in segment.hosts)
        if segment.opens and not segment.flags & ACK and hosts == (source, destination):
            found.append(segment.packet.time_ns)
    return found


def test_a_proxy_in_front_of_a_server_that_is_down_makes_a_storm() -> None:
    """The proxy takes each connection and closes it, since its server was killed; 2 and then 1 were leaders."""
    findings = found(PROXIES, "HS-08")
    assert [(finding.server, finding.peer, finding.severity) for finding in findings] == [
        (2, 1, "warning"),
        (1, 2, "warning"),
    ]
    for finding, killed in zip(findings, (1, 2), strict=True):
        host = "fd77:77:0:0:0:0:0:{}"
        times = connections(PROXIES, host.format(3 - killed), host.format(killed))
        begun = finding.place.time_ns - 2 * MILLISECOND
        storm = [time for time in times if begun <= time <= finding.evidence[-1].time_ns]
        assert f"opens {len(storm)} connections" in finding.message
        assert " ended " in finding.message


def refused(step_ms: int, times: int) -> list[Packet]:
    """Server 1 leads, and tries to connect to server 2, which is no more, every so often."""
    script = Script().append(1, 2, 3, (2, 8)).result(2, 1, 3, 8).append(1, 3, 3, (2, 8)).result(3, 1, 3, 8)
    script.at(100).kill(2)
    packets = [(packet.time_ns, packet.data) for packet in script.packets()]
    for number in range(times):
        connection = Connection(Address("10.0.0.1", 50000 + number), Address("10.0.0.2", 9001))
        time = START + (200 + number * step_ms) * MILLISECOND
        packets.append((time, connection.syn()))
        packets.append((time + MILLISECOND, connection.reply(0, b"", RST | ACK)))
    packets.sort()
    return [Packet(data, time, 1, len(data), number) for number, (time, data) in enumerate(packets, 1)]


def test_refused_attempts_once_a_second_are_what_every_release_makes() -> None:
    assert found(refused(1000, 20), "HS-08") == []


def test_refused_attempts_ten_times_a_second_are_a_storm_whose_cause_is_that_nothing_listens() -> None:
    (finding,) = found(refused(100, 20), "HS-08")
    assert (finding.severity, finding.server, finding.peer) == ("note", 1, 2)
    assert "20 connections to server 2 within 1.9 s" in finding.message
    assert "20 were refused, since nothing listens at 10.0.0.2:9001" in finding.message


def test_a_release_that_cannot_read_the_messages_is_named_as_the_cause() -> None:
    """B24: canonical/raft 0.9 closes the connection at every result of cowsql/raft 0.22."""
    script = Script("c-0.9.0").ask(1, 2, 3).vote(1, 2, 2, 0)
    for number in range(8):
        script.at(100 + number * 100)
        script.layout = "c-0.9.0"
        script.append(1, 2, 3, (1, 1))
        script.layout = "w-0.22.1"
        script.result(2, 1, 3, 1)
        connection, offset = script._connections.pop((2, 1))
        script._add(connection.reply(0, b"", RST | ACK, received=offset))
    (finding,) = found(script.packets(), "HS-08")
    assert (finding.severity, finding.server, finding.peer) == ("warning", 2, 1)
    assert "ended after 1 message at most, of which the last was AppendEntriesResult" in finding.message
    assert "the receiver's release cannot decode" in finding.message


# --- What the capture lacks ---


def test_missing_bytes_are_told_with_their_packets() -> None:
    talk = transcript(CANONICAL)
    lost = talk.frame(talk.find("AppendEntries", 30, sender=LEADER))
    packets = [packet for packet in talk.packets() if packet.frame != lost]
    (finding,) = found(packets, "TCP-01")
    before, after = sorted(place.frame for place in finding.evidence)
    assert before < lost < after
    assert (finding.severity, finding.server) == ("note", LEADER)


# --- Healthy captures ---


def test_connections_that_were_refused_in_healthy_captures_are_no_storm() -> None:
    for file in ("s3-cowsql-0.22.1.pcap", "dq4-dqlite-1.18.6.pcap", COWSQL):
        assert found(file, "HS-08") == []
