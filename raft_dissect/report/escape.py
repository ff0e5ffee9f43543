"""Text that others chose, made harmless: what an address or a file name may hold must not act on whoever reads it."""

from __future__ import annotations

_LONGEST = 200
"""Characters of one text from the wire that are shown: a configuration sets no limit to its addresses."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a cell for a formula, or would once the cell is cut there."""
_PLAIN_MERMAID = frozenset(" ,.:()[]/_+-")


def visible(text: str) -> str:
    """The text in one line, with everything that is not shown as itself written as a backslash escape.

    That is control characters, among them those that terminals obey; characters that turn the direction of writing or
    have no width; marks that pile up on the character before them; and bytes that are no text.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _stands_alone(c) else _escaped(c) for c in text)


def wire_text(text: str, longest: int = _LONGEST) -> str:
    """Text from the wire: as `visible`, but ASCII, in which letters of other scripts cannot pose as others, and short.

    Addresses are ASCII wherever they can be resolved. `longest` is the number of characters behind which it is cut.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if c.isascii() and c.isprintable() else _escaped(c) for c in text)
    return text if len(text) <= longest else text[: longest - 3] + "..."


def mermaid_text(text: str) -> str:
    """Text inside a Mermaid diagram, where what has a meaning of its own is written as an entity code.

    Source: Mermaid's documentation of sequence diagrams, "Entity codes to escape characters".
    """
    return "".join(c if c in _PLAIN_MERMAID or (c.isascii() and c.isalnum()) else f"#{ord(c)};" for c in text)


def cell(value: object) -> object:
    """A value for a cell of CSV: numbers stay numbers, and text is one line that no spreadsheet takes for a formula.

    A text that begins as a formula does gets an apostrophe before it, as OWASP's page on CSV injection says.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return value
    text = str(value)
    return ("'" if text.startswith(_FORMULA) else "") + visible(text)


def _stands_alone(character: str) -> bool:
    import unicodedata  # here because nearly all text is ASCII

    return character.isprintable() and not unicodedata.category(character).startswith("M")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
