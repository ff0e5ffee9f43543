"""The rules as text: all of them in a list, or one with everything that is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raft_dissect.audit.defects import known_defects
from raft_dissect.report.audit.words import GROUPS, group
from raft_dissect.report.terminal import table, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from raft_dissect.audit import Rule
    from raft_dissect.report.terminal import Style


def rules_text(rules: Sequence[Rule], style: Style, width: int | None) -> Iterator[str]:
    """All rules, group by group."""
    rows = [(rule.id, rule.severity, rule.title) for rule in rules]
    head, *lines = table(("rule", "severity", "what it demands"), rows, style, width=width, flexible=2)
    yield head
    last = ""
    for rule, line in zip(rules, lines, strict=True):
        if group(rule.id) != last:
            last = group(rule.id)
            yield ""
            yield style.paint(GROUPS.get(last, last), "bold")
        yield line


def rule_text(rule: Rule, style: Style, width: int | None) -> Iterator[str]:
    """One rule with all that is known of it."""
    yield from (style.paint(line, "bold") for line in wrapped(f"{rule.id} {rule.title}", width, ""))
    parts = [
        ("demands", rule.statement),
        ("severity", rule.severity),
        ("source", rule.source),
        ("needs", rule.needs),
        ("no false alarm", rule.avoids),
        ("a finding", rule.example),
    ]
    defects = known_defects(rule.id)
    parts += [("known defect", f"{defect.id}: {defect.title}; {defect.told}.") for defect in defects]
    indent = max(len(name) for name, _ in parts) + 4
    for name, text in parts:
        first, *others = wrapped(text, width, f"  {name}".ljust(indent), " " * indent)
        yield style.paint(first[:indent], "dim") + first[indent:]
        yield from others
