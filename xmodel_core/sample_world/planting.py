"""Plants what a corpus must be cleaned of, and records the truth about every document.

Takes clean documents per source; gives all documents per source, planted ones among them, each with what
it is and where it came from. A copy always comes after its original: later in the same source, or in a
later source. Ids are dealt last, in order, so that only the text distinguishes a planted document.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from xmodel_core.sample_world import junk, personal
from xmodel_core.sample_world.benchmarks import Item, planted_riddles, solved
from xmodel_core.sample_world.foreign import LANGUAGES, foreign

# What share of the planted documents is of which sort.
SORTS = {
    "exact_copy": 0.18,
    "near_copy": 0.18,
    "junk": 0.24,
    "wrong_language": 0.18,
    "personal_data": 0.13,
    "benchmark": 0.09,
}
NGRAM = 5  # words of English, characters of Chinese
NEAR = (0.80, 0.97)  # the 5-gram Jaccard similarity that a near copy keeps


@dataclass
class Document:
    """A document and the truth about it; `place` orders it within its source."""

    source: str
    text: str
    lang: str
    place: float
    planted: str = "clean"
    of: "Document | None" = None
    kind: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    number: int = -1

    @property
    def id(self) -> str:
        return f"{self.source}-{self.number:06d}"

    def truth(self) -> dict[str, Any]:
        """The document's row of truth.jsonl."""
        return {
            "source": self.source,
            "id": self.id,
            "planted": self.planted,
            "of": [self.of.source, self.of.id] if self.of else None,
            "kind": self.kind,
            "lang": self.lang,
            "details": self.details,
        }


def ngrams(text: str, lang: str) -> set[tuple[str, ...]]:
    """The set of a text's 5-grams: of characters without spaces in Chinese, of words otherwise."""
    tokens = [sign for sign in text if not sign.isspace()] if lang == "zh" else text.split()
    return {tuple(tokens[i : i + NGRAM]) for i in range(max(1, len(tokens) - NGRAM + 1))}


def similarity(one: str, other: str, lang: str) -> float:
    """Jaccard similarity of two texts' 5-grams, 0 to 1."""
    a, b = ngrams(one, lang), ngrams(other, lang)
    return len(a & b) / len(a | b)


_REPOSTS = {
    "en": (
        "Reposted with thanks.",
        "Copied from a friend of the valley.",
        "Sent in again by a reader.",
        "From our archive.",
    ),
    "zh": ("转载并致谢。", "抄自山谷的一位朋友。", "读者再次寄来。", "选自旧文。"),
}
_FILLERS = {"en": ("really", "indeed", "perhaps", "also", "still"), "zh": ("真的", "好像", "似乎", "大概")}


def _slip(text: str, lang: str, rng: Random) -> str:
    """One small change: a word lost, a letter swapped, a filler put in; in Chinese a sign lost or a filler put in."""
    if lang == "zh":
        spots = [i for i, sign in enumerate(text) if sign == "，"] or [len(text) // 2]
        spot = rng.choice(spots)
        if rng.random() < 0.5:
            return text[: spot + 1] + rng.choice(_FILLERS["zh"]) + text[spot + 1 :]
        return text[:spot] + text[spot + 1 :]
    words = text.split(" ")
    spot = rng.randrange(1, len(words))
    word = words[spot]
    choice = rng.random()
    if choice < 0.4 and len(word) > 3:
        words[spot] = word[:1] + word[2] + word[1] + word[3:]
    elif choice < 0.7:
        words.insert(spot, rng.choice(_FILLERS["en"]))
    else:
        del words[spot]
    return " ".join(words)


def near_copy(text: str, lang: str, rng: Random) -> tuple[str, float]:
    """A copy with a few words changed and a note at its head or foot, and the similarity that is left."""
    wanted = rng.uniform(*NEAR)
    note = rng.choice(_REPOSTS[lang])
    copy = f"{note}\n\n{text}" if rng.random() < 0.5 else f"{text}\n\n{note}"
    left = similarity(text, copy, lang)
    while left > wanted:
        changed = _slip(copy, lang, rng)
        now = similarity(text, changed, lang)
        if now < NEAR[0]:
            break
        copy, left = changed, now
    return copy, round(left, 4)


def _put_in(text: str, sentence: str, lang: str, rng: Random) -> str:
    """The text with a sentence added at the end of one of its paragraphs."""
    paragraphs = text.split("\n\n")
    spot = rng.randrange(len(paragraphs))
    paragraphs[spot] += (" " if lang == "en" else "") + sentence
    return "\n\n".join(paragraphs)


class Planter:
    """Plants one sort after the other; every sort draws from a chance of its own."""

    def __init__(
        self,
        clean: dict[str, list[Document]],
        writers: dict[str, Iterator[str]],
        tasks: dict[str, list[Item]],
        seed: int,
    ) -> None:
        """`clean` in the order of the sources; `writers` gives fresh pages of prose per language."""
        self._clean, self._writers, self._seed = clean, writers, seed
        self._prose = [source for source, documents in clean.items() if documents[0].lang != "code"]
        self._of_lang = {
            lang: [source for source in self._prose if source.startswith(f"{lang}_")] for lang in ("zh", "en")
        }
        self._riddles = {lang: planted_riddles(tasks, lang, Random(f"riddles {lang} {seed}")) for lang in self._of_lang}
        self._junk_pages: dict[tuple[str, str], Iterator[str]] = {}
        self._copied: set[int] = set()

    def plant(self, total: int) -> list[Document]:
        """`total` planted documents, in the fixed shares of their sorts."""
        sorts: dict[str, Callable[[int, Random], Document]] = {
            "exact_copy": self._exact_copy,
            "near_copy": self._near_copy,
            "junk": self._junk,
            "wrong_language": self._wrong_language,
            "personal_data": self._personal_data,
            "benchmark": self._benchmark,
        }
        planted = []
        for sort, share in SORTS.items():
            rng = Random(f"plant {sort} {self._seed}")
            planted += [sorts[sort](turn, rng) for turn in range(round(total * share))]
        return planted

    def _source(self, lang: str, rng: Random) -> str:
        # What nobody wants comes from the web more than from a library.
        sources = self._of_lang[lang]
        return rng.choices(sources, [4 if source.endswith("_web") else 1 for source in sources])[0]

    def _place(self, source: str, rng: Random, after: float = 0.0) -> float:
        return rng.uniform(after, len(self._clean[source]))

    def _original(self, sources: list[str], rng: Random) -> Document:
        """A clean document that has not been copied yet."""
        while True:
            source = rng.choices(sources, [len(self._clean[name]) for name in sources])[0]
            document = rng.choice(self._clean[source])
            if id(document) not in self._copied:
                self._copied.add(id(document))
                return document

    def _copy_place(self, original: Document, across: bool, rng: Random) -> tuple[str, float]:
        names = list(self._clean)
        # Across sources a copy goes where its language is declared, so that only its being a copy is wrong.
        later = [
            name
            for name in names[names.index(original.source) + 1 :]
            if any(document.lang == original.lang for document in self._clean[name][:50])
        ]
        if across and later:
            source = rng.choice(later)
            return source, self._place(source, rng)
        return original.source, self._place(original.source, rng, after=original.place + 0.001)

    def _exact_copy(self, turn: int, rng: Random) -> Document:
        original = self._original(list(self._clean), rng)
        source, place = self._copy_place(original, turn % 2 == 1, rng)
        kind = "same_source" if source == original.source else "across_sources"
        return Document(source, original.text, original.lang, place, "exact_copy", original, kind)

    def _near_copy(self, turn: int, rng: Random) -> Document:
        original = self._original(self._prose, rng)
        text, jaccard = near_copy(original.text, original.lang, rng)
        source, place = self._copy_place(original, turn % 2 == 1, rng)
        kind = "same_source" if source == original.source else "across_sources"
        return Document(source, text, original.lang, place, "near_copy", original, kind, {"jaccard": jaccard})

    def _junk(self, turn: int, rng: Random) -> Document:
        kind, lang = junk.KINDS[turn % len(junk.KINDS)], ("zh", "en")[turn // len(junk.KINDS) % 2]
        pages = self._junk_pages.setdefault((lang, kind), junk.junk(lang, kind, rng))
        source = self._source(lang, rng)
        return Document(source, next(pages), lang, self._place(source, rng), "junk", None, kind)

    def _wrong_language(self, turn: int, rng: Random) -> Document:
        declared = ("zh", "en")[turn % 2]
        other = "en" if declared == "zh" else "zh"
        lang = (*LANGUAGES, other)[turn // 2 % (len(LANGUAGES) + 1)]
        text = next(self._writers[lang]) if lang == other else next(foreign(lang, rng))
        source = self._source(declared, rng)
        details = {"declared": declared}
        return Document(source, text, lang, self._place(source, rng), "wrong_language", None, lang, details)

    def _personal_data(self, turn: int, rng: Random) -> Document:
        kind, lang = personal.KINDS[turn % len(personal.KINDS)], ("zh", "en")[turn // len(personal.KINDS) % 2]
        page = next(self._writers[lang])
        planted = personal.plant(lang, kind, rng)
        details = {"personal": [*planted.personal], "look_alikes": [*planted.look_alikes]}
        text = _put_in(page, planted.sentence, lang, rng)
        source = self._source(lang, rng)
        return Document(source, text, lang, self._place(source, rng), "personal_data", None, kind, details)

    def _benchmark(self, turn: int, rng: Random) -> Document:
        lang = ("zh", "en")[turn % 2]
        page = next(self._writers[lang])
        items = [next(self._riddles[lang]) for _ in range(rng.choice((1, 1, 2)))]
        for item in items:
            page = _put_in(page, solved(item, lang), lang, rng)
        source = self._source(lang, rng)
        details = {"items": [item["id"] for item in items]}
        benchmark = f"world_riddles_{lang}"
        return Document(source, page, lang, self._place(source, rng), "benchmark", None, benchmark, details)


def number_documents(documents: list[Document]) -> dict[str, list[Document]]:
    """Documents by source, in their order, each with its number."""
    by_source: dict[str, list[Document]] = {}
    for document in documents:
        by_source.setdefault(document.source, []).append(document)
    for rows in by_source.values():
        rows.sort(key=lambda document: document.place)
        for number, document in enumerate(rows):
            document.number = number
    return by_source


def summary(documents: list[Document]) -> dict[str, int]:
    """How many documents of each sort."""
    return dict(sorted(Counter(document.planted for document in documents).items()))
