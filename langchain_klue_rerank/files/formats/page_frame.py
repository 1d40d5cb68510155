"""What of a web page is not its content: menus, banners and buttons, and the texts around the content."""

from __future__ import annotations

import re
from typing import Any, Literal

#: Elements and roles by which pages say themselves that something is no content.
_MENUS = frozenset({"nav", "dialog", "menu"})
_MENU_ROLES = frozenset({"navigation", "search", "dialog", "alertdialog", "menu", "menubar", "toolbar", "doc-toc"})
#: Names (words of ``id`` and ``class``) of lists of links, as older and Korean pages have them; of the path to a page,
#: with its longest text; and of links to other pages of a blog.
_MENU_NAMES = frozenset(
    {"nav", "navi", "navbar", "navigation", "gnb", "lnb", "snb", "fnb", "tnb", "menu", "menus", "quickmenu", "sidebar"}
    | {"skip", "skipnav", "skipnavigation", "pagination", "pager", "paging", "paginate"}
    | {"sns", "share", "sharing", "social", "toc", "footer"}
)
_PATHS, _LONGEST_PATH = frozenset({"breadcrumb", "breadcrumbs", "location"}), 120
_OTHER_PAGES = ({"another", "category"}, {"related", "articles"}, {"related", "posts"})
#: Shares of an element's letters that stand in links and buttons: of one with a name of these, of one that only its
#: tag makes suspect, and of lists of other pages with their dates.
_LINKS, MOSTLY_LINKS, _SOME_LINKS = 0.5, 0.6, 0.3
#: Names of notes about cookies, with their longest text: pages on cookies have longer ones.
_COOKIES = frozenset({"cookie", "cookies", "consent", "gdpr"})
_BANNERS = frozenset({"banner", "bar", "notice", "consent", "law", "popup", "overlay", "modal", "info", "alert"})
_LONGEST_BANNER = 600
#: Names of questions whether a page helped, with fields to answer.
_SURVEYS = frozenset({"satisfaction", "satisfy", "feedback"})
#: Names of notes that stand at the end of a page.
_NOTES = frozenset({"footnotes", "endnotes", "footnote", "sdfootnote"})
#: Elements that hold content: what they contain is no frame of the page.
_CONTENT = ("main", "article", "section", "blockquote", "td")
#: Longest text of a button that only does something ("공유하기"); longer ones open what they say.
_LONGEST_BUTTON = 15
#: Marks that link a heading to itself, or a note back to its place.
_MARKS = frozenset({"¶", "#", "§", "🔗", "↩", "↩\ufe0e", "↑", "^", "[편집]", "[edit]"})
_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


class PageFrame:
    """Tells the content of a page from what stands around it.

    Args:
        root: The page, an element of lxml.
    """

    def __init__(self, root: Any) -> None:
        headings = list(root.iter("h1"))
        self._title = headings[0] if len(headings) == 1 and 0 <= share_of_links(headings[0]) < 1 else None

    def place_of(self, element: Any) -> Literal["content", "around", "nowhere"]:
        """Tell where the text of an element belongs.

        Args:
            element: An element of the page, whose ``tag`` is a string.

        Returns:
            ``"nowhere"`` for menus, paths, banners and buttons, ``"around"`` for the page's own header, footer and
            aside and for notes at its end, ``"content"`` for all others.
        """
        tag, role = element.tag, element.get("role", "").lower()
        if tag in ("html", "body", "main", "article") or role == "main":
            return "content"
        if tag in _MENUS or role in _MENU_ROLES:
            return "nowhere"
        if tag == "button" or (role == "button" and tag != "summary"):
            return "nowhere" if _only_does_something(element) else "content"
        if tag == "a" and element.text_content().strip() in _MARKS:
            return "nowhere"
        named = f"{element.get('id', '')} {element.get('class', '')}"
        words = {word.lower() for word in _NAME.findall(named)}
        if words and _is_named_frame(element, words):
            return "nowhere"
        is_part = tag in ("div", "section", "aside", "ol")
        if is_part and (role == "doc-endnotes" or words & _NOTES or element.get("title") in ("header", "footer")):
            return "around"
        is_frame = tag in ("header", "footer", "aside") or role in ("banner", "contentinfo", "complementary")
        if not is_frame or next(element.iterancestors(*_CONTENT), None) is not None:
            return "content"
        if tag == "header":
            is_content = self._title is not None and element in self._title.iterancestors("header")
            return "content" if is_content else "around"
        share = share_of_links(element)
        if share >= MOSTLY_LINKS:
            return "nowhere"
        return "content" if tag == "aside" and share <= 0 else "around"


def share_of_links(element: Any) -> float:
    """Return which share of an element's letters stand in links and buttons, 0..1; -1 without letters."""
    letters = len("".join(element.text_content().split()))
    linked = sum(
        len("".join(one.text_content().split()))
        for one in element.iter("a", "button", "label", "option")
        if next(one.iterancestors("a", "button", "label"), None) is None
    )
    return linked / letters if letters else -1.0


def _only_does_something(button: Any) -> bool:
    """Return whether a button does not open a text of its own, as those of questions and answers do."""
    if any(name in button.attrib for name in ("aria-expanded", "aria-controls", "data-toggle", "data-bs-toggle")):
        return False
    if next(button.iterancestors("h1", "h2", "h3", "h4", "h5", "h6", "dt", "summary"), None) is not None:
        return False
    text = " ".join(button.text_content().split())
    return len(text) <= _LONGEST_BUTTON and not text.endswith(("?", "까", "나요"))


def _is_named_frame(element: Any, words: set[str]) -> bool:
    if words & _MENU_NAMES and share_of_links(element) >= _LINKS:
        return True
    if words & _PATHS and next(element.iter("a"), None) is not None and len(element.text_content()) <= _LONGEST_PATH:
        return True
    if words >= {"mw", "editsection"}:
        return True
    if any(words >= names for names in _OTHER_PAGES) and share_of_links(element) >= _SOME_LINKS:
        return True
    is_banner = words & _COOKIES and (words & _BANNERS or len(words & _COOKIES) > 1)
    if is_banner and len(element.text_content()) <= _LONGEST_BANNER:
        return True
    return bool(words & _SURVEYS) and next(element.iter("input", "button", "textarea"), None) is not None
