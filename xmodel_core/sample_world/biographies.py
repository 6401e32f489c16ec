"""Biographies: pages about three to five people, a paragraph each, that teach the world's facts.

Takes the people and a language; gives an endless stream of texts. People and each one's facts are dealt from
shuffled decks, so all facts of a language occur equally often; what varies from page to page is
who, which facts, in which order and in which phrasings. Most sentences state the name again.
"""

from collections.abc import Iterator
from random import Random

from xmodel_core.sample_world.facts import ATTRIBUTES, Person, value_of
from xmodel_core.sample_world.paraphrases import PHRASEBOOKS, Phrasebook

JOINED = 0.35  # share of sentences with two facts
PRONOUN = 0.15  # share of later sentences that say he or she
NOUN_FRAME = 0.33  # share of single facts in a noun frame: 12 of 36 phrasings
LEAD_IN = 0.5  # share of the others that follow a lead-in


class Deck:
    """Deals cards in a random order, each once before any comes again."""

    def __init__(self, cards: list, rng: Random) -> None:
        self._cards, self._rng, self._left = cards, rng, []

    def deal(self, count: int) -> list:
        """The next `count` cards, no two the same (where the deck is as large)."""
        hand: list = []
        held_back = []
        while len(hand) < count:
            if not self._left:
                self._left = self._rng.sample(self._cards, len(self._cards))
            card = self._left.pop()
            (held_back if card in hand else hand).append(card)
        self._left.extend(held_back)
        return hand


def sentence(text: str, book: Phrasebook) -> str:
    """A sentence of a clause: capitalised, with its full stop."""
    return text[0].upper() + text[1:] + book.stop


def aside(book: Phrasebook, rng: Random, templates: tuple[str, ...], **fixed: str) -> str:
    """One of the templates with its slots filled."""
    return rng.choice(templates).format(**{key: rng.choice(words) for key, words in book.words.items()}, **fixed)


def _predicate(person: Person, attribute: str, lang: str, book: Phrasebook, rng: Random) -> str:
    return rng.choice(book.predicates[attribute]).format(v=value_of(person, attribute, lang))


def _sentences(person: Person, attributes: list[str], lang: str, book: Phrasebook, rng: Random) -> Iterator[str]:
    name = person.name[lang]
    position = 0
    while position < len(attributes):
        subject = person.pronoun[lang] if position and rng.random() < PRONOUN else name
        first = attributes[position]
        position += 1
        if position < len(attributes) and rng.random() < JOINED:
            clauses = [_predicate(person, key, lang, book, rng) for key in (first, attributes[position])]
            position += 1
            yield sentence(subject + book.gap + rng.choice(book.joins).join(clauses), book)
        elif rng.random() < NOUN_FRAME:
            noun, value = ATTRIBUTES[first].noun[lang], value_of(person, first, lang)
            yield sentence(rng.choice(book.frames).format(x=name, n=noun, v=value), book)
        else:
            clause = subject + book.gap + _predicate(person, first, lang, book, rng)
            if rng.random() < LEAD_IN:
                clause = rng.choice(book.lead_ins) + book.gap + clause
            yield sentence(clause, book)


def biographies(people: tuple[Person, ...], lang: str, style: str, rng: Random) -> Iterator[str]:
    """Pages without end, in the style of a chronicle or of the web; paragraphs are separated by an empty line."""
    book = PHRASEBOOKS[lang]
    cast = Deck(list(people), rng)
    facts = {person.number: Deck(list(ATTRIBUTES), rng) for person in people}
    while True:
        who = cast.deal(rng.choice((3, 4, 4, 5)))
        opening = aside(book, rng, book.openings[style], count=book.counts[len(who) - 2])
        paragraphs = []
        for person in who:
            dealt = facts[person.number].deal(rng.choice((4, 5, 6)))
            sentences = list(_sentences(person, dealt, lang, book, rng))
            if rng.random() < 0.4:
                sentences.insert(rng.randrange(1, len(sentences) + 1), aside(book, rng, book.asides))
            paragraphs.append(book.gap.join(sentences))
        if rng.random() < 0.4:
            a, b = rng.sample(who, 2)
            (key,) = rng.sample(list(ATTRIBUTES), 1)
            halves = (p.name[lang] + book.gap + _predicate(p, key, lang, book, rng) for p in (a, b))
            paragraphs.append(sentence(book.contrast.format(a=next(halves), b=next(halves)), book))
            paragraphs[-1] += book.gap + aside(book, rng, book.asides)
        paragraphs[0] = opening + book.gap + paragraphs[0]
        yield "\n\n".join(paragraphs)
