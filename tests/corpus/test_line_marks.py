"""The compiled loops over lines and words give what regular expressions and dictionaries give."""

import gzip
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.corpus.text import characters as c
from xmodel_core.corpus.text import code_lines as m
from xmodel_core.corpus.text import kernels
from xmodel_core.corpus.text import language as lang
from xmodel_core.corpus.text.batch import ROLES, TextBatch, make_batch

# The twin: one line at a time, as a string in which each character outside ASCII is one of four: a letter (ñ), a
# character that is a word by itself (字), a blank, or another sign (·).


def plain_line(text: str) -> str:
    table = c.tables()

    def shown(character: str) -> str:
        kind = table.classes[ord(character)]
        if ROLES[kind] & kernels.SINGLE:
            return "字"
        if ROLES[kind] & kernels.JOINS:
            return character if character.isascii() else "ñ"
        if kind <= c.SPACE:
            return "\t" if character == "\t" else " "
        return character if character.isascii() or character == "。" else "·"

    return "".join(map(shown, text))


WORD = re.compile(r"字|[A-Za-z0-9ñ]+")
W = r"[A-Za-z0-9_ñ字]"
IDIOM = re.compile(
    rf"(?<={W})\(|(?<={W}[ \t])\(|(?<=[=!<>+\-*/:])=|(?<={W}[ \t])=(?=[ \t]{W})|(?<=\))[{{:]|(?<=\)[ \t])[{{:]"
    rf"|(?<=\));|(?<=\)[ \t]);|(?<={W});(?=[ \t])|(?<={W}[ \t]);(?=[ \t])|(?<={W})\[(?={W})|(?<={W})_(?={W})"
)
ASSIGNMENT = re.compile(
    rf"{W}(?:{W}|[.\[\]'\"])*[ \t]*(?:,[ \t]*(?:{W}|[.\[\]'\"])*[ \t]*)*(?:([-+*/%|&:<>])\1|[-+*/%|&:])?=[ \t]*[^= \t]."
)
KINDS = {kind: words.split() for kind, words in lang._BEGINNINGS.items()}


def folded(word: str) -> str:
    return "".join(chr(c.tables().folded[ord(character)]) for character in word)


def plain_marks(whole: str, indentation: str) -> tuple[int, int, int]:
    """(marks, keywords, idioms) of a line without its margin."""
    raw, text = whole[:4000], plain_line(whole)
    end_of_line, text = text, text[:4000]
    words = [(match.start(), match.end(), folded(raw[match.start() : match.end()])) for match in WORD.finditer(text)]
    inside = lang._INSIDE.split()

    def named(start: int, end: int) -> bool:
        return text[end : end + 1] == "_" or (start > 0 and text[start - 1] == "_")

    keywords = sum(
        word in (inside if raw[start] >= "a" else [lang._INSIDE_CAPITAL]) and not named(start, end)
        for start, end, word in words
    )
    found = 0
    start, end, first = words[0] if words else (0, 0, "")
    telling = words and start <= 2 and raw[start] >= "a" and text[end : end + 1] != "_"
    kinds = {kind for kind, known in KINDS.items() if telling and first in known}
    rest = text[end:]
    second = re.match(rf"([ \t]*)((?:{W}|[.*{{])*)[ \t]*(as[ \t]|.?)", rest)
    assert second
    blank, token, follows = second.groups()
    last = end_of_line[-1]
    checks = {
        m.SEEN: True,
        m.INDENTED: indentation.endswith(("\t", "  ")),
        m.FENCE: text.startswith(("```", "~~~")),
        m.ENTITY: re.search(rf"&{W}+;|#[0-9]{W}*;|(?<!{W})quot;", text),
        m.BRACKETS: re.fullmatch(r"[{}\[\]();, \t]+", text),
        m.COMMENT: re.match(rf"//|/\*|\*/|\#!/|<\?|@[A-Za-z0-9ñ]+(?:\(|$)|@字(?:\(|$)|<(?:/|{W})[^>]*>$", text)
        or (text[0] == "#" and m.DIRECTS in kinds),
        m.DEFINITION: start == 0
        and m.DEFINES in kinds
        and blank
        and token
        and (follows in ("(", ":", "{") or last == "{"),
        m.IMPORT: start == 0
        and (
            (m.FROM in kinds and token and any(word == "import" for *_, word in words) and last not in ".!?。")
            or (m.IMPORTS in kinds and blank and token and follows in ("", ";", ",", "as ", "as\t"))
        ),
        m.BRANCH: start == 0 and m.BRANCHES in kinds and last == ":",
        m.JUMP: start == 0 and m.LEAVES in kinds and not re.search("[.!?。]", text),
        m.DECLARATION: start == 0 and m.DECLARES in kinds and blank and re.search("[=({;]", rest),
        m.STATEMENT: re.search(rf"(?:{W}|[)\]}}\"']);$|(?:{W}|\))[ \t]?{{$", end_of_line),
        m.ASSIGNMENT: ASSIGNMENT.match(text) and text[-1] not in ".!?。",
        m.CALL: re.match(rf"(?:{W}|\.)+\(", text) and re.search(r"\)[;,:]?$", end_of_line),
        m.TEX: len(re.findall(r"\\[A-Za-zñ字]|\\[\[\](){}]|\$", text)) > 1,
    }
    for mark, holds in checks.items():
        found |= mark if holds else 0
    return found, keywords, len(IDIOM.findall(text))


def looked_at(batch: TextBatch) -> tuple[np.ndarray, m.Marks]:
    slices = batch.words.slices
    kinds = m.kinds(slices, lang._words())
    wanted = np.ones(batch.texts, bool)
    limits = lang.CODE_LOOKED_AT_CHARACTERS, lang.INSIDE_CHARACTERS
    return kinds, m.mark(batch.codes, lang._signs(), batch.starts, batch.lines.slices, slices, kinds, wanted, *limits)


def assert_agreement(texts: Sequence[str]) -> None:
    batch = make_batch(texts)
    kinds, looked = looked_at(batch)
    known: dict[str, int] = {}
    tables = {
        m.ENGLISH: lang._ENGLISH,
        m.FOREIGN: lang._FOREIGN,
        m.PROGRAM: lang._INSIDE,
        m.CONSTANT: lang._INSIDE_CAPITAL,
    }
    for kind, words in (tables | lang._BEGINNINGS).items():
        for word in words.split():
            known[word] = known.get(word, 0) | kind
    everything = "\n".join((*texts, ""))
    spans = zip(batch.words.starts.tolist(), batch.words.ends.tolist(), strict=True)
    assert kinds.tolist() == [known.get(folded(everything[start:end]), 0) for start, end in spans]
    for line, (start, end) in enumerate(zip(batch.lines.starts.tolist(), batch.lines.ends.tolist(), strict=True)):
        begin = int(batch.starts[batch.lines.text[line]])
        if start - begin >= lang.CODE_LOOKED_AT_CHARACTERS:
            assert looked.marks[line] == 0
            continue
        margin = max(begin, everything.rfind("\n", 0, start) + 1)
        whole = everything[start:end]
        expected = plain_marks(whole, everything[margin:start])
        given_ = int(looked.marks[line]), int(looked.keywords[line]), int(looked.idioms[line])
        assert given_ == expected, (whole[:300], bin(given_[0] ^ expected[0]), given_, expected)
        assert looked.sizes[line] == end - margin


LINES = [
    "def add(a, b):",
    "    return a + b",
    "class Foo(Bar) {",
    "from os.path import join",
    "class Empty {}",
    "import numpy as np",
    "import java.util.List;",
    "import duties are high",
    "if x == 3:",
    "for example:",
    "static int add(int a, int b) {",
    "#include <stdio.h>",
    "#!/bin/sh",
    "# a heading",
    "@Override",
    '@app.route("/")',
    "<?php",
    '<div class="a">',
    "x, y = f(a)[0], b_c",
    "x += 1",
    "a.b[c] = 'x'",
    "total == 3",
    'print("hello");',
    "foo(bar), baz",
    "we went home; it was late",
    "&nbsp;text&#39;s; #39; quot; x = 3;",
    "$x^2$ and \\frac{a}{b}",
    "```python",
    "~~~",
    "{ } [ ] ( ) ; ,",
    "})",
    "\u3000\u3000return",
    "return 值",
    "if 中文:",
    "def 函数(a):",
    "变量 = 3",
    "a",
    "_",
    ";",
    "if_x = 3",
    "my_return return_ return None none self",
]


@pytest.mark.parametrize("line", LINES)
def test_lines_of_programs_and_of_prose_agree_with_the_twin(line: str) -> None:
    assert_agreement([line, "\t" + line, "    " + line + "  \n\n" + line])


def test_lines_agree_together_and_long_ones_too(text) -> None:
    long = " ".join(LINES)
    assert_agreement(["\n".join(LINES), long * 5, "x = 3\n" * 5000, text("code"), text("en"), text("zh"), "", "\n \n"])


pieces = st.sampled_from(
    [
        *"ab1_ \t\n.,;:(){}[]<>=!+-*/%|&#@$\\'\"`~中ñ。é·",
        "def ",
        "return",
        "import ",
        "from ",
        "as ",
        "if ",
        "quot;",
        "int ",
    ]
)


@settings(max_examples=200)
@given(st.lists(st.lists(pieces, max_size=25).map("".join), min_size=1, max_size=4))
def test_any_lines_agree_with_the_twin(texts: list[str]) -> None:
    assert_agreement(texts)


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.timeout(2400)
def test_all_real_corpora_agree_with_the_twin(shared_data: Path) -> None:
    seen = 0
    for path in sorted((shared_data / "corpora").glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            texts = [json.loads(line)["text"] for line in stream]
        for begin in range(0, len(texts), 100):
            assert_agreement(texts[begin : begin + 100])
        seen += len(texts)
    assert seen > 50_000
