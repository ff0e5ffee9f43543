"""How a fault is declared: what one rule of the audit says it of, in which capture, and what is changed there."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from raft_dissect.audit import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias

    from tests.mutations import Transcript, Utterance

    Mutation: TypeAlias = Callable[[Transcript], Utterance]

_ORDER = {rule.id: number for number, rule in enumerate(RULES)}
_declared: list[Mutant] = []


class Mutant(NamedTuple):
    """A real capture with a fault in it."""

    rule: str
    """Id of the rule that must find the fault."""
    capture: str
    """Name of the file in `pcaps/`."""
    what: str
    """What is changed, as a sentence."""
    mutate: Mutation
    """Puts the fault into a transcript of the capture, and gives the message on whose frame the rule must find it."""

    @property
    def id(self) -> str:
        """Its name among all."""
        return f"{self.rule}-{self.mutate.__name__}"


def mutant(rule: str, capture: str) -> Callable[[Mutation], Mutation]:
    """Declare a fault; the first line of the function's docstring says what it changes."""

    def declare(mutate: Mutation) -> Mutation:
        what = (mutate.__doc__ or "").strip().partition("\n")[0]
        _declared.append(Mutant(rule, capture, what, mutate))
        return mutate

    return declare


def declared() -> Iterable[Mutant]:
    """All that were declared so far, in the order of the catalogue."""
    return sorted(_declared, key=lambda one: _ORDER[one.rule])
