"""Cells of a notebook as parts of one page: headings in order below the page's own, and table headings that say what they
head. A notebook has a title of its own, and what students write leaves levels out; screen readers go by both."""

from __future__ import annotations

import re

#: Opening and closing tags that matter, of HTML that has been sanitised: attributes are quoted.
_TAG = re.compile(r'<(?P<close>/?)(?P<name>h[1-6]|thead|th)(?P<attributes>(?:\s(?:[^<>"]|"[^"]*")*)?)>')


def in_order(html: str, above: int = 1) -> str:
    """The same with headings that start below level `above` and never leave one out, and a scope for every `<th>`:
    of a column in a table's head, of a row elsewhere."""
    outline = _Outline(above)
    return _TAG.sub(outline.tag, html)


class _Outline:
    def __init__(self, above: int) -> None:
        self._above, self._last = above, above
        self._open: list[int] = []
        self._in_head = False

    def tag(self, found: re.Match[str]) -> str:
        name, closes = found["name"], bool(found["close"])
        if name == "thead":
            self._in_head = not closes
        elif name == "th":
            return found[0] if closes or "scope=" in found["attributes"] else self._scoped(found)
        else:
            level = self._closed() if closes else self._opened(int(name[1]))
            return f"<{found['close']}h{level}{found['attributes']}>"
        return found[0]

    def _scoped(self, found: re.Match[str]) -> str:
        return f'<th scope="{"col" if self._in_head else "row"}"{found["attributes"]}>'

    def _opened(self, level: int) -> int:
        self._last = min(level + self._above, self._last + 1, 6)
        self._open.append(self._last)
        return self._last

    def _closed(self) -> int:
        return self._open.pop() if self._open else self._last
