"""The corpus room's knobs: one table of thresholds per language, each with its origin.

A rule drops a document that is beyond a threshold. "Measured" means: set on the real corpora of the
development machine so that clean documents stay; "Gopher" is Rae et al. 2021 (arXiv 2112.11446, table A1),
"C4" Raffel et al. 2020, "FineWeb" Penedo et al. 2024 and "FineWeb-2" its configs/cmn_Hani.yml.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from xmodel_core.corpus.mask.kinds import MaskConfig
from xmodel_core.errors import XmodelError
from xmodel_core.specs.strict import Strict


class ScanConfig(Strict):
    """What is decided while text is read; changing it reads the text again."""

    max_document_chars: int = Field(default=10_000_000, gt=0)
    """Characters; a longer document is set aside as unreadable (ten million need about 0.6 GB of memory)."""
    near_keys: Literal["minhash", "simhash"] = "minhash"
    """How candidates for near copies are found before they are compared: bands of MinHash entries, or SimHash with
    buckets, which the reports name and which finds hardly any but the nearest."""
    # The aliases are the names that scans have recorded in their identities, so that a scan keeps its fingerprint.
    minhash_bands: int = Field(default=20, gt=0, le=100, serialization_alias="bands")
    """Bands of MinHash entries: two documents are candidates for near copies when one band is equal."""
    rows_per_band: int = Field(default=5, gt=0, serialization_alias="rows")
    """Entries per band. 20 bands of 5 make a candidate of a pair with similarity 0.7 in 97.5 of 100 cases, with 0.8 in
    99.96, with 0.5 in 47 (1 - (1 - s^5)^20; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, 3.4)."""


class LinesConfig(Strict):
    """Boilerplate lines: those that many documents of one source share."""

    min_documents: int = Field(default=10, ge=2)
    """Documents that a line must appear in; small sources repeat a title or a clause in fewer (measured)."""
    min_document_share: float = Field(default=0.05, gt=0, le=1)
    """Share of the source's documents that it must appear in. Measured: of the lines that should stay and that nothing
    else protects, a title of speeches is in 4 %, a definition in exercises in 3 %, statutes' shared clauses in 2 %.
    In a crawl of very many sites no line reaches it: such a source is best counted site by site."""
    max_removed_share: float = Field(default=0.67, gt=0, le=1)
    """Of its characters in lines; a document that would lose more is a template, not a page with boilerplate, and is
    left as it is (measured: real pages lose 0.32 at most)."""


LEAST_JACCARD = 0.5
"""Pairs of a lower Jaccard similarity are not recorded."""


class NearConfig(Strict):
    """Near copies."""

    jaccard_threshold: float = Field(default=0.7, ge=LEAST_JACCARD, le=1)
    """Jaccard similarity of the sets of five-word (five-character) shingles from which on two documents are copies.
    Measured on each pair, not estimated. On real text the pairs above differ in a figure, a title or a query; below,
    exercises of one form with other figures, and snippets under one notice, begin to count as copies (measured)."""


class Repetition(Strict):
    """Repetition inside one document; Gopher's table A1 for English. "Labelled" means: set on the tuning half of the
    labelled documents (docs/quality.md)."""

    min_words: int = 50
    """Words (or Chinese characters) from which on repetition is judged: an answer repeats its question's words, and
    of a few words one repeated phrase is half (Gopher keeps no shorter document; labelled)."""
    max_duplicate_line_share: float = 0.30
    """Lines seen before in the document, of the lines (Gopher)."""
    max_duplicate_line_character_share: float = 0.20
    """The same in characters (Gopher)."""
    max_top_2gram_share: float = 0.20
    """Characters in the commonest run of 2 words (Gopher)."""
    max_top_3gram_share: float = 0.18
    """Characters in the commonest run of 3 words (Gopher)."""
    max_top_4gram_share: float = 0.16
    """Characters in the commonest run of 4 words (Gopher)."""
    max_duplicate_5gram_share: float = 0.35
    """Characters in runs of 5 words seen before (Gopher has 0.15, which takes 7 % of clean technical
    prose: measured; manuals have up to 0.32: labelled)."""
    max_duplicate_10gram_share: float = 0.25
    """Characters in runs of 10 words seen before (Gopher has 0.10; articles with code have up to 0.21: labelled)."""
    short_below_words: int = 200
    """Documents of fewer words (or Chinese characters): one repeated phrase is a large share of them."""
    short_allowance: float = 2.0
    """The shares above are multiplied by this for short documents (measured: word problems stay, chants go)."""
    short_passage_allowance: float = 1.4
    """The same for runs of 10 words, which a text that is given twice has in half of its length (labelled)."""


class LineLimits(Strict):
    """Menus, link lists and other pages without sentences."""

    max_short_line_share: float = 0.67
    """Characters in short unfinished lines, of the characters (FineWeb: short lines)."""
    min_finished_line_share: float = 0.12
    """Lines that end like a sentence (FineWeb: line punctuation)."""
    max_bullet_line_share: float = 0.90
    """Lines that begin with a bullet, where hardly any is finished (Gopher; bulleted sentences stay: labelled)."""
    max_ellipsis_line_share: float = 0.30
    """Lines that end in an ellipsis (Gopher)."""
    max_dividers_per_word: float = 0.25
    """Signs between the entries of a menu in one line, of the words or Chinese characters (measured)."""
    max_notice_line_share: float = 0.50
    """Characters in short lines with a notice of the site's, of the characters in lines (measured)."""
    min_notice_kinds: int = 3
    """Different notices from which on a page is judged by them: recipes say cookies, too, and manuals log in
    (measured)."""
    max_urls_per_word: float = 0.10
    """Links, of the words or Chinese characters (measured)."""
    max_function_word_share: float = 0.10
    """English function words, of the words: a list with the question that asked for it has 0.1 to 0.3, navigation
    less (labelled). Chinese navigation has as many function characters as lists do, so there it is not asked."""
    min_lines: int = 4
    """Shares of lines are judged from this many lines on (measured: headlines with one line of keywords stay)."""


class Formulas(Strict):
    """What counts as mathematics, and its limits: none on word shapes, wider ones on repetition."""

    min_share: float = 0.12
    """Figures and signs, of the characters that are not blank (measured: word problems have 0.05 to 0.3)."""
    min_sign_share: float = 0.02
    """Signs of programming, of the characters that are not blank, that short lines of mathematics have: entries with
    figures behind them, as navigation counts its pages, have none (measured on the sample world's menus)."""
    max_mixed_word_share: float = 0.30
    """Characters in words that mix letters with digits; with more it is keys or random strings (measured)."""
    min_letter_share: float = 0.15
    """Letters that it must still have, of the characters that are not blank (measured)."""
    repetition_allowance: float = 1.6
    """Its shares of repeated phrases may be larger by this factor: a derivation repeats its terms (measured)."""


class EnglishRules(Strict):
    """English prose, counted in words."""

    min_words: int = 8
    """Words (Gopher asks 50; short questions with their answers are documents here: labelled)."""
    max_words: int = 100_000
    """Words (Gopher)."""
    min_mean_word_length: float = 2.5
    """Letters per word (Gopher asks 3.0, which takes exercises with letters for their answers: measured)."""
    max_mean_word_length: float = 10.0
    """Letters per word (Gopher)."""
    max_long_word_share: float = 0.30
    """Characters in words of more than 30 characters: encoded data (measured)."""
    min_letter_share: float = 0.50
    """Letters, of the characters that are not blank (Gopher asks 80 % of words with a letter)."""
    max_symbol_share: float = 0.15
    """Symbols and menu separators, of the characters that are not blank (small tables have 0.11: labelled)."""
    max_hash_share: float = 0.10
    """Signs # and ellipses per word (Gopher)."""
    min_hashes: int = 4
    """Signs # and ellipses from which on their share is judged: a heading of a short page is one (labelled)."""
    max_control_share: float = 0.02
    """Control and private-use characters: what a broken decoding leaves (an emoji that was lost in a good page is
    less: labelled)."""
    min_function_words: int = 2
    """How many of the, be, to, of, and, that, have, with occur in documents of 50 words and more that are also short
    of other function words (Gopher)."""
    few_function_words_share: float = 0.15
    """Function words, of the words, from which on their kinds do not matter: word problems do without (labelled)."""
    min_function_word_share: float = 0.05
    """Function words, of the words (measured: prose has 0.2 to 0.5, word lists under 0.05)."""
    min_vowel_share: float = 0.26
    """Vowels, y included, of the letters: English has 0.35 to 0.42, random letters 0.23 (measured)."""
    max_vowel_share: float = 0.55
    """Vowels, of the letters (measured)."""
    max_perplexity: float | None = Field(default=None, gt=1)
    """Per word, by the model that `perplexity.english` names. It depends on the model: without it perplexity is
    measured and nothing drops. docs/quality.md has examples."""
    perplexity_from: int = 50
    """Words from which on perplexity is judged: one rare name decides a few words (measured: five times as many of
    the shorter documents are beyond a threshold)."""
    formulas: Formulas = Formulas()
    """Mathematics, which rules for prose would drop."""
    repetition: Repetition = Repetition()
    """Repetition inside a document."""
    layout: LineLimits = LineLimits()
    """Pages without sentences."""


class ChineseRules(Strict):
    """Chinese prose, counted in characters."""

    min_characters: int = 12
    """Chinese characters and words; bare headlines and one-word reviews are shorter (measured)."""
    max_characters: int = 200_000
    """Chinese characters and words: Gopher's 100,000 words at two characters a word."""
    min_han_share: float = 0.05
    """Chinese characters, of the letters (Chinese that lists English names has 0.07 to 0.12: labelled)."""
    min_letter_share: float = 0.35
    """Letters of any script, of the characters that are not blank (FineWeb-2 asks 73.5 % of words with a letter;
    sums with a sentence around them have 0.37: labelled)."""
    max_symbol_share: float = 0.15
    """Symbols and menu separators, of the characters that are not blank (small tables have 0.11: labelled)."""
    max_punctuation_share: float = 0.48
    """Punctuation, of the characters that are not blank (the report's punctuation ratio; lists in quotation marks
    have 0.44: labelled)."""
    max_hash_share: float = 0.10
    """Signs # and ellipses, per character (Gopher)."""
    min_hashes: int = 4
    """Signs # and ellipses from which on their share is judged (labelled)."""
    max_control_share: float = 0.02
    """Control and private-use characters: what a broken decoding leaves (an emoji that was lost in a good page is
    less: labelled)."""
    min_common_han_share: float = 0.70
    """Everyday characters, of the Chinese ones: prose has 0.9 and more, poems and lists of species 0.75, wrongly
    decoded or random text 0.3 (labelled)."""
    min_function_character_share: float = 0.01
    """Function characters (的 一 是 不 之 …), of the Chinese ones: prose has 0.05 and more (measured)."""
    min_punctuation_share: float = 0.03
    """Punctuation, of the characters that are not blank, below which a text is not in sentences (measured), and so"""
    unpunctuated_function_share: float = 0.04
    """must have more function characters: lists of search words have 0.01 to 0.04 (measured on made lists)."""
    min_different_characters: int = 20
    """Different characters and words: the least in a real document of 100 is 28, in keys struck at random 11
    (measured)."""
    function_characters_from: int = 100
    """From this many characters on, documents need function characters and different ones: poems and headlines do
    without."""
    min_word_order: float = 2.5
    """Repeated pairs of neighbours beyond chance, in standard deviations: 98 of 100 texts in random order have less,
    and of real ones, whose median is 55, 6 of 10,000, two of them classical (measured)."""
    order_from: int = 200
    """Characters and words from which on their order is judged: from 150 on it would be 13 of 12,700, from 100 on one
    real text in a hundred, which repeats nothing."""
    verse_line_characters: int = 30
    """Lines of up to this length are verse, where nothing need repeat (classical poems have 11 to 15: measured)."""
    max_perplexity: float | None = Field(default=None, gt=1)
    """Per character, by the model that `perplexity.chinese` names. It depends on the model: without it perplexity is
    measured and nothing drops. docs/quality.md has examples."""
    perplexity_from: int = 100
    """Characters and words from which on perplexity is judged (measured: twenty times as many of the shorter
    documents, mostly headlines, are beyond a threshold)."""
    repetition: Repetition = Repetition(
        max_duplicate_line_share=0.287,
        max_top_2gram_share=0.256,
        max_top_3gram_share=0.201,
        max_top_4gram_share=0.171,
        min_words=100,
        max_duplicate_5gram_share=0.50,
        max_duplicate_10gram_share=0.30,
        short_below_words=300,
    )
    """Repetition, in runs of twice as many characters (FineWeb-2's cmn_Hani values, which count
    words; it has 0.198 and 0.127 for runs of 5 and 10, which take a third of the clean statutes: measured;
    statutes have up to 0.44: labelled)."""
    formulas: Formulas = Formulas()
    """Mathematics, which rules for prose would drop."""
    layout: LineLimits = LineLimits(min_finished_line_share=0.106)
    """Pages without sentences (FineWeb-2's cmn_Hani line punctuation)."""


class CodeRules(Strict):
    """Programs: rules for prose would drop them, so they have a few of their own."""

    min_words: int = 4
    """Words; shorter is a fragment, most often a comment without its program (labelled)."""
    max_mean_line_length: float = 5000.0
    """Characters per line; StarCoder (arXiv 2305.06161) drops from 100 on, but many data sets store a method as one
    line (measured)."""
    min_letter_share: float = 0.25
    """Letters, of the characters that are not blank (StarCoder: alphabetic share)."""
    max_control_share: float = 0.01
    """Control and private-use characters (measured)."""
    max_long_word_share: float = 0.60
    """Characters in words of more than 30 characters: encoded data (measured; names of Java classes stay)."""
    max_duplicate_line_share: float = 0.70
    """Lines seen before in the document; brackets repeat in every program (measured)."""


class DecontaminateConfig(Strict):
    """Which benchmarks no document may hold passages of."""

    benchmarks: str | None = None
    """A folder of <benchmark>/<split>.jsonl; the splits test, validation and val count, and those that a suite of
    the recipe asks questions of. Without it nothing is checked."""


PERPLEXITY_FIELDS = {"zh": "chinese", "en": "english"}
"""Language → the field that names its model."""


class PerplexityConfig(Strict):
    """n-gram models that score text; another model reads the text again. What a perplexity means depends on the model,
    so `max_perplexity` of the languages' rules has no default."""

    chinese: str | None = None
    """A KenLM model, .arpa or binary, of Chinese in the form that `python -m xmodel_core.corpus.measure.perplexity`
    writes. Without it the perplexity of Chinese is not measured."""
    english: str | None = None
    """The same for English."""

    def named(self) -> dict[str, Path]:
        """Language → the file of its model."""
        places = {lang: getattr(self, field) for lang, field in PERPLEXITY_FIELDS.items()}
        return {lang: Path(place) for lang, place in places.items() if place is not None}

    def files(self) -> dict[str, Path]:
        """The same. XmodelError: one is not there."""
        for lang, path in self.named().items():
            if not path.is_file():
                instead = "a folder" if path.is_dir() else "nothing there"
                raise not_a_model("there is no such model", lang, path, instead)
        return self.named()


def not_a_model(what: str, lang: str, path: Path, found: object) -> XmodelError:
    """The error for a perplexity model of a language that cannot be used."""
    return XmodelError(
        what,
        expected="a KenLM model: an .arpa file, or the binary that KenLM's build_binary makes from it",
        found=found,
        where=path,
        remedy=f"check corpus.perplexity.{PERPLEXITY_FIELDS[lang]}",
    )


class CorpusConfig(Strict):
    """How documents are read, judged and deduplicated."""

    scan: ScanConfig = ScanConfig()
    """Reading; a change reads the text again."""
    lines: LinesConfig = LinesConfig()
    """Boilerplate lines, removed from inside good pages."""
    english: EnglishRules = EnglishRules()
    """Rules for English prose."""
    chinese: ChineseRules = ChineseRules()
    """Rules for Chinese prose."""
    code: CodeRules = CodeRules()
    """Rules for programs, and for every document of a source whose policy is code."""
    near: NearConfig = NearConfig()
    """Near copies."""
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    """Benchmarks that no document may hold passages of."""
    perplexity: PerplexityConfig = PerplexityConfig()
    """Models that score how likely a text is; `max_perplexity` of each language says what is too unlikely."""
    mask: MaskConfig = MaskConfig()
    """Personal data in kept documents."""
    dropped_samples_per_reason: int = Field(default=50, ge=0)
    """Whole dropped documents kept per reason, to read."""

    @model_validator(mode="after")
    def _thresholds_have_models(self) -> Self:
        for lang in ("chinese", "english"):
            if getattr(self, lang).max_perplexity is not None and getattr(self.perplexity, lang) is None:
                raise ValueError(f"{lang}.max_perplexity needs a model: name its file in perplexity.{lang}")
        return self
