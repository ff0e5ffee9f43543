"""The command `audit`: where the rules of Raft and of its protocol do not hold."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING

from raft_dissect.commands.arguments import AUDIT_EPILOG, add_command, add_json
from raft_dissect.commands.exits import FAILED, FINE, usage
from raft_dissect.commands.outputs import Output, check_target, path_of
from raft_dissect.commands.run import Run, screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator
    from typing import TextIO

    from raft_dissect.audit import Finding, Rule
    from raft_dissect.commands.arguments import Commands
    from raft_dissect.report.audit.trace import StateTrace
    from raft_dissect.report.audit.words import Audited
    from raft_dissect.report.times import Clock


def add(commands: Commands) -> None:
    """Add the command and its options."""
    command = add_command(
        commands, "audit", "where the rules of Raft and of its protocol do not hold", run, needs_files=False
    )
    command.epilog = AUDIT_EPILOG
    add_json(command)
    command.add_argument(
        "--fail-on",
        choices=["error", "warning", "note", "never"],
        default="error",
        help="exit with 1 at: error, the default: a violation, which is proven; warning: also a suspect, which is an "
        "error that is not proven, or a warning; note: also a note; never: nothing",
    )
    asking = command.add_argument_group("which rules", "RULE is an id such as EL-02, or that of a group such as EL.")
    for option, text in (("--only", "ask these rules and no others"), ("--off", "do not ask these rules")):
        asking.add_argument(option, action="append", default=[], metavar="RULE[,RULE]", help=text)
    asking.add_argument("--rules", action="store_true", help="list all rules; needs no FILE")
    asking.add_argument("--explain", metavar="RULE", help="say all about one rule; needs no FILE")
    writing = command.add_argument_group(
        "written beside what is printed", 'FILE is "-" for standard output, where it then stands instead of the text.'
    )
    writing.add_argument("--sarif", metavar="FILE", help="a SARIF 2.1.0 log, for code hosts and editors")
    writing.add_argument("--junit", metavar="FILE", help="JUnit XML with a test case for each rule, for CI servers")
    writing.add_argument("--trace", metavar="FILE", help="the servers' states as NDJSON, for formal checking")


def run(options: argparse.Namespace) -> int:
    """Run the command and give its exit code."""
    from raft_dissect.auditing import AuditBuilder  # start-up counts: each command imports what it needs
    from raft_dissect.report.audit.words import Audited, fails

    if options.rules or options.explain is not None:
        return _print_rules(options)
    if not options.files:
        usage("audit needs a FILE; only --rules and --explain RULE do without")
    off = _rules_off(options)
    outputs = _audit_outputs(options)
    run = Run(options, digest_data=True)
    printer = _AuditPrinter(options, run, printed=all(path is not None for path in _audit_paths(options)))
    builder = AuditBuilder(off, printer.told if options.follow else None)
    with _state_trace(options, run) as trace:
        for batch in run.batches():
            builder.feed(batch)
            if trace is not None:
                trace.feed(batch)
    statistics = run.dissection.statistics
    audited = Audited(
        builder.verdicts(run.dissection), tuple(run.files), statistics.packets, statistics.first_ns, statistics.last_ns
    )
    printer.finish(audited)
    sys.stdout.flush()  # it is there even if a file cannot be written
    for output in outputs:
        output.write(audited, run.clock)
    code = run.finish()
    if not audited.verdicts.messages:
        run.say_nothing_found(0)
    return FAILED if fails(audited.verdicts.findings, options.fail_on) else code


def _print_rules(options: argparse.Namespace) -> int:
    """Print what there is to know of all rules, or of one."""
    from raft_dissect.audit import RULES
    from raft_dissect.audit.defects import known_defects
    from raft_dissect.report.audit.catalogue import rule_text, rules_text
    from raft_dissect.report.audit.records import rule_record

    asked = RULES if options.explain is None else _rules_called(options.explain)
    if options.explain is not None and [rule.id for rule in asked] != [options.explain.upper()]:
        usage(f"--explain {options.explain}: that is a group; choose one of {', '.join(rule.id for rule in asked)}")
    style, width = screen()
    lines: Iterator[str]
    if options.json:
        lines = (json.dumps(rule_record(rule, known_defects(rule.id))) for rule in asked)
    elif options.explain is None:
        lines = rules_text(asked, style, width)
    else:
        lines = rule_text(asked[0], style, width)
    for line in lines:
        print(line)
    return FINE


def _rules_off(options: argparse.Namespace) -> frozenset[str]:
    """The rules that are not asked, by their ids."""
    from raft_dissect.audit import RULES

    only = {rule.id for text in options.only for rule in _rules_called(text)}
    off = {rule.id for text in options.off for rule in _rules_called(text)}
    asked = (only or {rule.id for rule in RULES}) - off
    if not asked:
        usage("--only and --off leave no rule to ask")
    return frozenset(rule.id for rule in RULES if rule.id not in asked)


def _rules_called(text: str) -> list[Rule]:
    """The rules with these ids, or of these groups."""
    from raft_dissect.audit import RULES
    from raft_dissect.report.audit.words import group

    found: list[Rule] = []
    for name in text.split(","):
        called = [rule for rule in RULES if name.strip().upper() in (rule.id, group(rule.id))]
        if not called:
            usage(f"no rule is called {name.strip() or 'nothing'}; raft-dissect audit --rules lists them all")
        found += called
    return found


def _audit_paths(options: argparse.Namespace) -> list[str | None]:
    """Where the files are written that the options ask for."""
    return [path_of(file) for file in (options.sarif, options.junit, options.trace) if file is not None]


def _audit_outputs(options: argparse.Namespace) -> list[Output[Audited]]:
    """What is to be written where; wrong usage ends the run before the capture is read."""
    paths = _audit_paths(options)
    if paths.count(None) + bool(None in paths and options.json) > 1:
        usage("only one result can go to standard output: choose of --json, --sarif -, --junit - and --trace -")
    for path in paths:
        if path is not None:
            check_target(path, options.files)
    outputs = []
    if options.sarif is not None:
        outputs.append(Output(_write_sarif, path_of(options.sarif)))
    if options.junit is not None:
        outputs.append(Output(_junit_writer(options), path_of(options.junit)))
    return outputs


def _write_sarif(audited: Audited, clock: Clock, file: TextIO) -> None:
    from raft_dissect.report.audit.sarif import audit_sarif

    json.dump(audit_sarif(audited, clock), file, indent=2)
    file.write("\n")


def _junit_writer(options: argparse.Namespace) -> Callable[[Audited, Clock, TextIO], None]:
    def write(audited: Audited, clock: Clock, file: TextIO) -> None:
        from raft_dissect.report.audit.junit import audit_junit

        file.write(audit_junit(audited, clock, options.fail_on))

    return write


@contextmanager
def _state_trace(options: argparse.Namespace, run: Run) -> Iterator[StateTrace | None]:
    """What writes the trace that the options ask for, while the capture is read."""
    if options.trace is None:
        yield None
        return
    from raft_dissect.report.audit.trace import StateTrace

    path = path_of(options.trace)
    with nullcontext(sys.stdout) if path is None else open(path, "w", encoding="utf-8") as file:
        trace = StateTrace(file, run.clock, run.files)
        yield trace
        trace.finish()


class _AuditPrinter:
    """Prints an audit as text or as JSON: at its end, or each finding as it is made."""

    def __init__(self, options: argparse.Namespace, run: Run, printed: bool) -> None:
        """`printed` says whether it goes to standard output at all."""
        from raft_dissect.report.audit.records import AuditRecords
        from raft_dissect.report.audit.text import FindingText

        self._json = options.json
        self._follow = options.follow
        self._printed = printed
        self._run = run
        self._records = AuditRecords(run.files, run.clock)
        self._text = FindingText(run.clock, run.style, run.width, len(run.files) > 1)
        self._told: set[tuple[object, ...]] = set()

    def told(self, finding: Finding) -> None:
        """A finding was made; of a cluster that turned out to be part of another one they are made again."""
        key = (finding.rule.id, finding.verdict, finding.place, finding.message)
        if key in self._told or not self._printed:
            return
        self._told.add(key)
        if self._json:
            print(json.dumps(self._records.finding(finding)), flush=True)
        else:
            print("\n".join(self._text.one(finding)), flush=True)

    def finish(self, audited: Audited) -> None:
        """The capture is over."""
        if self._printed and self._json:
            self._finish_json(audited)
        elif self._printed and audited.verdicts.messages:
            self._finish_text(audited)

    def _finish_json(self, audited: Audited) -> None:
        for finding in audited.verdicts.findings:
            if not self._follow or finding.last is not None:
                print(json.dumps(self._records.finding(finding)))
        print(json.dumps(self._records.summary(audited)))

    def _finish_text(self, audited: Audited) -> None:
        from raft_dissect.report.audit.text import audit_text, closing

        run = self._run
        lines: Iterator[str]
        if self._follow:
            lines = chain(self._text.again(audited.verdicts.findings), closing(audited, run.style, run.width))
        else:
            lines = audit_text(audited, run.clock, run.style, run.width)
        for line in lines:
            print(line)
