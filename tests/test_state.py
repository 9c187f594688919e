"""What a link says, and text that is shown as it is written."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from dashboard.state import _numbers
from dashboard.text import plain

JOINER = "\u2060"  # a sign that is not seen, and ends what could be read as an address


def test_a_link_names_up_to_six_trials_each_once_and_what_is_no_number_is_left_out() -> None:
    assert _numbers("3,7, 12,3,x,-1,²,9,10,11,13,99999999999") == [3, 7, 12, 9, 10, 11]
    assert _numbers("") == []


def test_marks_of_markdown_are_escaped() -> None:
    assert plain("![x](//evil/a.png)\n# y") == r"\!\[x\]\(\/\/evil\/a\.png\) \# y"


@given(st.text())
def test_escaped_text_has_no_mark_left_and_reads_as_before(text: str) -> None:
    shown = plain(text)
    assert not re.search(r"(?<!\\)[`*_\[\]<>!$:]", shown.replace(r"\\", ""))
    assert re.sub(r"\\(.)", r"\1", shown).replace(JOINER, "") == " ".join(text.replace(JOINER, "").split())


def test_an_address_is_no_link() -> None:
    assert plain("see www.evil.test, a@b.test") == rf"see {JOINER}www{JOINER}\.evil\.test, a{JOINER}\@{JOINER}b\.test"
