"""Words by which languages and programs are recognised, and a compiled look-up of them.

Takes the words of a batch; gives for each its kinds as bits, 0 for nearly all. One table serves English,
other languages in Latin letters and programs, so each word is looked up once.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled
from xmodel_core.corpus.text.rolling_hash import word_hash
from xmodel_core.corpus.text.splitting import Slices

Array = np.ndarray

_ZERO = np.uint64(0)

# Kinds, as bits: words of a language; of a program, anywhere in a line; of a program, at the beginning of a line.
ENGLISH, FOREIGN, PROGRAM, CONSTANT, DEFINES, FROM, IMPORTS, BRANCHES, LEAVES, DECLARES, DIRECTS = (
    1 << bit for bit in range(11)
)

# English function words, and those of benchmark questions.
ENGLISH_WORDS = """
the and of with that this these those which what when where who whose why how for from by at is are was
were been being has have had having would could should must they their them there then than she he her him his its it
you your our not but because about into through between after before only other each such also very some any all more
most many much to be can will if or as we an do does did find given following show using both over under while during
percent answer options solve simplify evaluate determine information"""
# Function words of other languages in Latin letters, without those that English has, too.
FOREIGN_WORDS = """
der das und ist nicht ein eine einen einem einer zu den dem mit auf für von sich des auch wird bei sind
wie la les et est une dans qui pour pas sur que du au avec ce il elle nous vous sont par
el los las del por con una para es se su lo como pero más al sus
di che è non sono della dei nel alla anche gli os não uma com da em na ao mais
de het een zijn niet dat voor ook maar werd och att det som på är inte av til og ikke jeg
że się nie jest je ve bir bu için yang itu"""

# Words that begin a line of a program, by what they do there.
LINE_BEGINNINGS = {
    DEFINES: "def class",
    FROM: "from",
    IMPORTS: "import",
    BRANCHES: "if elif else for while with try except finally",
    LEAVES: "return raise yield assert pass break continue end fi done esac",
    DECLARES: "async public private protected static final abstract virtual override internal export pub fn func"
    " function let const var val void int bool boolean char double float long struct enum impl package namespace using"
    " template typedef",
    DIRECTS: "include define ifdef ifndef endif pragma",
}
# Words anywhere in a line, for minified code and code stored as tokens.
INSIDE_LINES = "def return public private static void elif lambda self null import new throws catch function var const"
CAPITALISED_INSIDE_LINES = "none"


class WordKinds(NamedTuple):
    """A hash table of words with open addressing; 0 is an empty place."""

    keys: Array
    """uint64 [power of two]"""
    kinds: Array
    """uint16: bits."""


def word_kind_table(kinds: Mapping[int, int]) -> WordKinds:
    """The table of these hashes of words and their bits."""
    places = 1 << (8 * len(kinds)).bit_length()  # at most an eighth full: most words miss at the first probe
    table = WordKinds(np.zeros(places, np.uint64), np.zeros(places, np.uint16))
    for key in sorted(kinds):
        place = key % places
        while table.keys[place]:
            place = (place + 1) % places
        table.keys[place], table.kinds[place] = key, kinds[key]
    return table


@cache
def known_words() -> WordKinds:
    """All words of this module."""
    kinds: dict[int, int] = {}
    for kind, words in (
        {ENGLISH: ENGLISH_WORDS, FOREIGN: FOREIGN_WORDS, PROGRAM: INSIDE_LINES, CONSTANT: CAPITALISED_INSIDE_LINES}
        | LINE_BEGINNINGS
    ).items():
        for word in words.split():
            kinds[word_hash(word)] = kinds.get(word_hash(word), 0) | kind
    return word_kind_table(kinds)


@Compiled
def _kinds(words: Slices, known: WordKinds, result: Array) -> None:
    mask = np.uint64(len(known.keys) - 1)
    for word in range(len(words.hashes)):
        key = words.hashes[word]
        place = key & mask
        while known.keys[place] != _ZERO and known.keys[place] != key:
            place = (place + np.uint64(1)) & mask
        result[word] = known.kinds[place] if known.keys[place] == key else 0


def kinds_of_words(words: Slices) -> Array:
    """uint16 [words]: the kinds of each word, 0 for a word that this module does not list."""
    result = np.empty(len(words.starts), np.uint16)
    _kinds(words, known_words(), result)
    return result
