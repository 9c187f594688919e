"""Returns text that is shown as it is written: what users, files and errors say is never read as markdown."""

from __future__ import annotations

import re

LINKS = re.compile(r"(://|\bwww\b|@)", re.IGNORECASE)  # of addresses, which markdown links even where escaped
MARKS = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&^=@/])")


def plain(text: object) -> str:
    """The text for a place that reads markdown: marks escaped, addresses no links, line breaks as spaces.

    >>> plain("![x](//evil/a.png)")
    '\\\\!\\\\[x\\\\]\\\\(\\\\/\\\\/evil\\\\/a\\\\.png\\\\)'
    """
    unlinked = LINKS.sub("\u2060\\1\u2060", " ".join(str(text).split()))  # word joiners, which nobody sees
    return MARKS.sub(r"\\\1", unlinked)
