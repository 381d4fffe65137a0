"""Formulas as MathML, which browsers draw without a script. TeX comes from students too, so little is let through."""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from xml.etree.ElementTree import Element, tostring

from latex2mathml.converter import Converter

#: A page holds hundreds of formulas; longer ones, and those that define commands, stay source.
_LONGEST = 2000
_REFUSED = re.compile(r"\\(?:re|provide)?newcommand|\\def\b|\\let\b")

_TAGS = frozenset(
    """
        math mrow mi mn mo mtext mspace msub msup msubsup munder mover munderover mfrac msqrt mroot mtable mtr
        mtd mstyle mpadded mphantom
    """.split()  # noqa: SIM905 (a list would take thirty lines)
)
_ATTRIBUTES = frozenset(
    """
        xmlns display displaystyle scriptlevel stretchy fence form largeop symmetric separator movablelimits
        accent accentunder linethickness columnalign columnlines rowspacing columnspacing mathvariant minsize
        maxsize width lspace rspace
    """.split()  # noqa: SIM905 (a list would take thirty lines)
)
#: What moves things: at most two ems, so that nothing is laid over the text beside it.
_LENGTHS = frozenset(("width", "minsize", "maxsize", "lspace", "rspace", "rowspacing", "columnspacing"))
_LENGTH = re.compile(r"[012](?:\.\d+)?(?:em|ex)?")

#: Browsers know no `mathvariant` but "normal": letters of these alphabets have characters of their own.
_ALPHABETS = {"double-struck": 0x1D538, "bold": 0x1D400}
_ELSEWHERE = dict(zip("CHNPQRZ", "ℂℍℕℙℚℝℤ", strict=True))

#: The number of an equation: it stands beside the formula, which knows no place for it.
_NUMBER = re.compile(r"\\tag\{([^{}]*)\}")


@lru_cache(maxsize=4096)  # the course's own formulas are the same in every submission
def drawn(tex: str, block: bool) -> str | None:
    """TeX (without dollars) as HTML, a `<math>` element and its number; None for what cannot be drawn, or not safely."""
    if len(tex) > _LONGEST or _REFUSED.search(tex):
        return None
    numbers = _NUMBER.findall(tex) if block else []
    try:
        math = _mathml(_NUMBER.sub("", tex) if block else tex, "block" if block else "inline")
    except Exception:  # the library says no in many ways, RecursionError among them
        return None
    if math is None or not numbers:
        return math
    return f'<span class="ag-equation">{math}<span>({escape(numbers[0])})</span></span>'


def _mathml(tex: str, display: str) -> str | None:
    element = Converter(display=display).convert_to_element(tex)
    if not all(_let_through(one) for one in element.iter()):
        return None
    return tostring(element, encoding="unicode", short_empty_elements=False)


def _let_through(element: Element) -> bool:
    """Make the element's characters plain; False when it is none of those that are let through."""
    element.text = _characters(element)
    lengths = [value for name, value in element.attrib.items() if name in _LENGTHS]
    known = element.tag in _TAGS and element.attrib.keys() <= _ATTRIBUTES
    return known and all(_LENGTH.fullmatch(value) for value in lengths)


def _characters(element: Element) -> str | None:
    """The element's text with references such as `&#x02032;` as characters, in the alphabet that it asks for."""
    if not element.text:
        return element.text
    text = unescape(element.text)
    variant = element.get("mathvariant", "")
    if variant not in _ALPHABETS:
        return text
    del element.attrib["mathvariant"]
    return "".join(_letter(one, variant) for one in text)


def _letter(letter: str, variant: str) -> str:
    if variant == "double-struck" and letter in _ELSEWHERE:
        return _ELSEWHERE[letter]
    if "a" <= letter <= "z":
        return chr(_ALPHABETS[variant] + 26 + ord(letter) - ord("a"))
    if "A" <= letter <= "Z":
        return chr(_ALPHABETS[variant] + ord(letter) - ord("A"))
    return letter
