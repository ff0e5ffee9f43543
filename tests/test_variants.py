"""The variants of captures are what their names say, and the chosen ones are the same in every run."""

from __future__ import annotations

import pytest

from raft_dissect import analyze
from raft_dissect.dissection import messages
from tests import captures, variants
from tests.packets import MILLISECOND
from tests.variants import FAMILIES, FILES, Variant

S1 = "s1-canon-0.18.1.pcap"
FIVE = "s1-5n-cowsql-0.22.1.pcap"
LOOPBACK = "lo-cowsql-0.22.1.pcap"


def of_name(file: str, name: str) -> Variant:
    (found,) = [variant for variant in variants.all_variants(file) if variant.name == name]
    return found


def test_every_family_is_there_for_a_cluster_of_three() -> None:
    counts = {family: len(of_family(S1)) for family, of_family in FAMILIES.items()}
    assert counts == {
        "cuts": 100, "thinned": 10, "repeated": 2, "reordered": 4, "truncated": 6, "merged": 4, "one-sided": 10
    }  # fmt: skip


def test_names_are_different() -> None:
    for file in (S1, FIVE, LOOPBACK):
        names = [variant.name for variant in variants.all_variants(file)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("file", FILES)
def test_some_of_each_family_are_chosen_for_every_file(file: str) -> None:
    chosen = {variant.name for variant in variants.chosen(file)}
    for of_family in FAMILIES.values():
        names = {variant.name for variant in of_family(file)}
        assert not names or names & chosen
    assert chosen <= {variant.name for variant in variants.all_variants(file)}


def test_other_files_have_other_cuts() -> None:
    chosen = {variant.name for file in FILES for variant in variants.chosen(file)}
    assert {variant.name for variant in variants.cuts(S1)} <= chosen


def test_variants_are_the_same_each_time() -> None:
    first, again = list(variants.variants(S1, every=False)), list(variants.variants(S1, every=False))
    assert first == again
    assert len(first) < len(list(variants.variants(S1, every=True)))


def test_the_two_parts_at_a_place_are_the_whole() -> None:
    whole = captures.packets(S1)
    for place in (1, 25, 50):
        before, after = of_name(S1, f"up to {place}/51").make(), of_name(S1, f"from {place}/51").make()
        assert before + after == whole
        assert abs(len(before) - len(whole) * place / 51) < 1


def test_thinned_captures_lack_about_that_part_of_the_packets() -> None:
    whole = captures.packets("s6-canon-0.18.1.pcap")
    for loss in (1, 5):
        parts = [of_name("s6-canon-0.18.1.pcap", f"without {loss}%, {seed}").make() for seed in range(5)]
        assert len({tuple(part) for part in parts}) == 5
        for part in parts:
            assert set(part) < set(whole)
            assert loss / 2 < 100 * (1 - len(part) / len(whole)) < loss * 2


def test_captures_of_all_servers_merged_say_what_the_whole_says() -> None:
    whole = captures.contents(messages(captures.packets(S1)))
    for apart_ms in (0, 1, 30, 400):
        packets = of_name(S1, f"by server, {apart_ms} ms apart").make()
        seen: dict[bytes, list[tuple[int, int]]] = {}
        for packet in packets:
            seen.setdefault(packet.data, []).append((packet.file, packet.time_ns))
        later = {(b[1] - a[1]) / (b[0] - a[0]) for a, b in filter(lambda pair: len(pair) == 2, seen.values())}
        assert later == {apart_ms * MILLISECOND}
        assert [packet.time_ns for packet in packets] == sorted(packet.time_ns for packet in packets)
        assert captures.contents(messages(packets)) == whole


def test_captures_that_servers_made_are_merged() -> None:
    packets = of_name(FIVE, "from the servers, 1 ms apart").make()
    assert {packet.file for packet in packets} == {0, 1, 2, 3, 4}
    assert captures.contents(messages(packets)) == captures.contents(messages(captures.packets(FIVE)))


def test_one_side_is_of_one_server_alone() -> None:
    """Server 1 has the host 10.77.77.1."""
    for what, ends in (("sent by", {0}), ("at", {0, 1})):
        found = of_name(S1, f"{what} 10.77.77.1").make()
        hosts = [(packet.data[26:30], packet.data[30:34]) for packet in found]
        assert all(bytes([10, 77, 77, 1]) in pair for pair in hosts)
        assert {pair.index(bytes([10, 77, 77, 1])) for pair in hosts} == ends
    others = of_name(S1, "not sent by 10.77.77.1").make()
    assert len(others) + len(of_name(S1, "sent by 10.77.77.1").make()) == len(captures.packets(S1))


def test_one_machine_has_no_points_to_merge() -> None:
    assert variants.merged(LOOPBACK) == []
    assert [variant.name for variant in variants.one_sided(LOOPBACK)] == ["sent by clients"]


def test_a_snaplen_leaves_the_lengths_on_the_wire() -> None:
    packets = of_name(S1, "snaplen 80").make()
    assert max(len(packet.data) for packet in packets) == 80
    assert [p.original_length for p in packets] == [p.original_length for p in captures.packets(S1)]


def test_packets_that_are_cut_are_not_made_anew() -> None:
    assert [variant.name for variant in variants.repeated("s1-snaplen96-canon-0.18.1.pcap")] == ["every packet twice"]


def test_all_variants_of_a_capture_can_be_analyzed() -> None:
    for _, packets in variants.variants("odd100-canon-0.9.0.pcap", every=True):
        assert packets
        analyze(packets)
