"""The compiled loops over lines and words give what regular expressions and dictionaries give."""

import gzip
import json
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text import code_lines, word_kinds
from xmodel_core.corpus.text.batch import ROLES, make_batch
from xmodel_core.corpus.text.code_share import CHECKED_CHARACTERS, CHECKED_LINE_CHARACTERS
from xmodel_core.corpus.text.splitting import JOINS, SINGLE

# The twin: one line at a time, as a string in which each character outside ASCII is one of four: a letter (ñ), a
# character that is a word by itself (字), a blank, or another sign (·).


def plain_line(text: str) -> str:
    table = char.tables()

    def shown(character: str) -> str:
        kind = table.classes[ord(character)]
        if ROLES[kind] & SINGLE:
            return "字"
        if ROLES[kind] & JOINS:
            return character if character.isascii() else "ñ"
        if kind <= char.SPACE:
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
KINDS = {kind: words.split() for kind, words in word_kinds.LINE_BEGINNINGS.items()}


def folded(word: str) -> str:
    return "".join(chr(char.tables().folded[ord(character)]) for character in word)


def plain_features(line: str, indentation: str) -> tuple[int, int, int]:
    """(flags, keywords, idioms) of a line without its margin."""
    raw, text = line[:4000], plain_line(line)
    end_of_line, text = text, text[:4000]
    words = [(match.start(), match.end(), folded(raw[match.start() : match.end()])) for match in WORD.finditer(text)]
    inside = word_kinds.INSIDE_LINES.split()

    def named(start: int, end: int) -> bool:
        return text[end : end + 1] == "_" or (start > 0 and text[start - 1] == "_")

    keywords = sum(
        word in (inside if raw[start] >= "a" else [word_kinds.CAPITALISED_INSIDE_LINES]) and not named(start, end)
        for start, end, word in words
    )
    flags = 0
    start, end, first = words[0] if words else (0, 0, "")
    leads = words and start <= 2 and raw[start] >= "a" and text[end : end + 1] != "_"
    kinds = {kind for kind, known in KINDS.items() if leads and first in known}
    rest = text[end:]
    second = re.match(rf"([ \t]*)((?:{W}|[.*{{])*)[ \t]*(as[ \t]|.?)", rest)
    assert second
    blank, token, follows = second.groups()
    last = end_of_line[-1]
    checks = {
        code_lines.SEEN: True,
        code_lines.INDENTED: indentation.endswith(("\t", "  ")),
        code_lines.FENCE: text.startswith(("```", "~~~")),
        code_lines.ENTITY: re.search(rf"&{W}+;|#[0-9]{W}*;|(?<!{W})quot;", text),
        code_lines.BRACKETS: re.fullmatch(r"[{}\[\]();, \t]+", text),
        code_lines.COMMENT: re.match(rf"//|/\*|\*/|\#!/|<\?|@[A-Za-z0-9ñ]+(?:\(|$)|@字(?:\(|$)|<(?:/|{W})[^>]*>$", text)
        or (text[0] == "#" and word_kinds.DIRECTS in kinds),
        code_lines.DEFINITION: start == 0
        and word_kinds.DEFINES in kinds
        and blank
        and token
        and (follows in ("(", ":", "{") or last == "{"),
        code_lines.IMPORT: start == 0
        and (
            (word_kinds.FROM in kinds and token and any(word == "import" for *_, word in words) and last not in ".!?。")
            or (word_kinds.IMPORTS in kinds and blank and token and follows in ("", ";", ",", "as ", "as\t"))
        ),
        code_lines.BRANCH: start == 0 and word_kinds.BRANCHES in kinds and last == ":",
        code_lines.JUMP: start == 0 and word_kinds.LEAVES in kinds and not re.search("[.!?。]", text),
        code_lines.DECLARATION: start == 0 and word_kinds.DECLARES in kinds and blank and re.search("[=({;]", rest),
        code_lines.STATEMENT: re.search(rf"(?:{W}|[)\]}}\"']);$|(?:{W}|\))[ \t]?{{$", end_of_line),
        code_lines.ASSIGNMENT: ASSIGNMENT.match(text) and text[-1] not in ".!?。",
        code_lines.CALL: re.match(rf"(?:{W}|\.)+\(", text) and re.search(r"\)[;,:]?$", end_of_line),
        code_lines.TEX: len(re.findall(r"\\[A-Za-zñ字]|\\[\[\](){}]|\$", text)) > 1,
    }
    for flag, holds in checks.items():
        flags |= flag if holds else 0
    return flags, keywords, len(IDIOM.findall(text))


def assert_agreement(texts: Sequence[str]) -> None:
    batch = make_batch(texts)
    kinds = word_kinds.kinds_of_words(batch.words.slices)
    wanted = np.ones(batch.texts, bool)
    features = code_lines.measure_lines(batch, kinds, wanted, CHECKED_CHARACTERS, CHECKED_LINE_CHARACTERS)
    known: dict[str, int] = {}
    tables = {
        word_kinds.ENGLISH: word_kinds.ENGLISH_WORDS,
        word_kinds.FOREIGN: word_kinds.FOREIGN_WORDS,
        word_kinds.PROGRAM: word_kinds.INSIDE_LINES,
        word_kinds.CONSTANT: word_kinds.CAPITALISED_INSIDE_LINES,
    }
    for kind, words in (tables | word_kinds.LINE_BEGINNINGS).items():
        for word in words.split():
            known[word] = known.get(word, 0) | kind
    everything = "\n".join((*texts, ""))
    spans = zip(batch.words.starts.tolist(), batch.words.ends.tolist(), strict=True)
    assert kinds.tolist() == [known.get(folded(everything[start:end]), 0) for start, end in spans]
    for line, (start, end) in enumerate(zip(batch.lines.starts.tolist(), batch.lines.ends.tolist(), strict=True)):
        begin = int(batch.starts[batch.lines.text[line]])
        if start - begin >= CHECKED_CHARACTERS:
            assert features.flags[line] == 0
            continue
        margin = max(begin, everything.rfind("\n", 0, start) + 1)
        shown = everything[start:end]
        expected = plain_features(shown, everything[margin:start])
        measured = int(features.flags[line]), int(features.keywords[line]), int(features.idioms[line])
        assert measured == expected, (shown[:300], bin(measured[0] ^ expected[0]), measured, expected)
        assert features.sizes[line] == end - margin


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


def agree_on_real_texts(shared_data: Path, every: int) -> int:
    """How many texts of the real corpora were compared: one in `every`."""
    compared = 0
    for path in sorted((shared_data / "corpora").glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            texts = [json.loads(line)["text"] for line in islice(stream, 0, None, every)]
        for begin in range(0, len(texts), 100):
            assert_agreement(texts[begin : begin + 100])
        compared += len(texts)
    return compared


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_sample_of_the_real_corpora_agrees_with_the_twin(shared_data: Path) -> None:
    assert agree_on_real_texts(shared_data, every=50) > 1000


@pytest.mark.exhaustive
@pytest.mark.shared_data
@pytest.mark.timeout(2400)
def test_all_real_corpora_agree_with_the_twin(shared_data: Path) -> None:
    assert agree_on_real_texts(shared_data, every=1) > 50_000
