"""Elements of HTML and SVG, which cannot be written without being escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable

Child = Element | str | None
Value = str | float | None


def element(tag: str, *children: Child, **attributes: Value) -> Element:
    """An element with its children: elements, text, or None for nothing.

    In the names of attributes `_` stands for `-`, and one at the end is dropped, as in `class_`. Attributes that are
    None are left out.
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), visible(value) if isinstance(value, str) else number(value))
    append(made, children)
    return made


def append(parent: Element, children: Iterable[Child]) -> None:
    """Add children at the end of an element."""
    for child in children:
        if isinstance(child, str):
            _append_text(parent, visible(child))
        elif child is not None:
            parent.append(child)


def raw(tag: str, content: str) -> Element:
    """A `style` or `script` element, whose content is our own and is not text."""
    made = Element(tag)
    made.text = content
    return made


def serialized(tree: Element) -> str:
    """An element as HTML."""
    return tostring(tree, encoding="unicode", method="html")


def number(value: float) -> str:
    """A number of an attribute; a tenth of a pixel is as fine as anybody sees."""
    return f"{value:.1f}".removesuffix(".0")


def visible(text: str) -> str:
    """A text in which what cannot be seen (controls, marks that turn the direction) is written as in Python."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text
