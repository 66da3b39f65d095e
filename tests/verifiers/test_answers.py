"""Extraction and normalisation, one edge case each."""

from __future__ import annotations

import pytest

from selfevo.errors import UserError
from selfevo.verifiers.answers import Extract, after_hash, boxed, normalise


def test_the_last_hash_mark_counts():
    assert after_hash("#### 3\nno, wait\n#### 4\ndone") == "4"


def test_two_marks_on_one_line_give_the_second():
    assert after_hash("#### 3 #### 4") == "4"


def test_an_empty_last_mark_falls_back_to_the_one_before():
    assert after_hash("#### 3\n####") == "3"


def test_a_heading_of_five_hashes_is_no_mark():
    assert after_hash("##### Step 1") is None


def test_boxed_keeps_nested_braces():
    assert boxed(r"so \boxed{\frac{1}{\sqrt{2}}} holds") == r"\frac{1}{\sqrt{2}}"


def test_escaped_braces_do_not_close_a_box():
    assert boxed(r"\boxed{\{1, 2\}}") == r"\{1, 2\}"


def test_an_unclosed_box_falls_back_to_the_one_before():
    assert boxed(r"\boxed{5} or \boxed{\frac{1}{2") == "5"


def test_a_reply_ending_in_a_backslash_is_no_crash():
    assert boxed("\\boxed{5\\") is None


def test_empty_boxes_are_no_answer():
    assert boxed(r"\boxed{ }") is None


def test_a_hash_mark_goes_before_a_box():
    assert Extract()(r"\boxed{1} #### 2") == "2"
    assert Extract()(r"\boxed{1}") == "1"


def test_the_pattern_is_the_fallback_of_marked():
    extract = Extract(pattern=r"answer is (\w+)")
    assert extract("the answer is 4. no, the answer is 5.") == "5"
    assert extract("the answer is 4. #### 6") == "6"
    assert extract("nothing") is None


def test_unmarked_text_has_no_answer():
    assert Extract()("it is 5") is None


def test_text_takes_the_whole_reply():
    assert Extract("text")("  yes \n") == "yes"


@pytest.mark.parametrize(
    ("where", "pattern", "message"),
    [
        ("mark", None, "did you mean 'marked'"),
        ("pattern", None, "needs a regex"),
        ("pattern", "(", "not a regular expression"),
        ("hash", "x", "ignores"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(where, pattern, message):
    with pytest.raises(UserError, match=message) as e:
        Extract(where, pattern)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("given", "form"),
    [("1,234", "1234"), ("$5", "5"), (r"\$5.", "5"), ("18.", "18"), (" a   b ", "a b"),
     ("1,2,3", "1,2,3"), ("2.50", "2.50"), ("etc...", "etc...")],
)
def test_normalisation_changes_dress_only(given, form):
    assert normalise(given) == form
    assert normalise(normalise(given)) == form
