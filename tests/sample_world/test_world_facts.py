"""The world and its tasks are exactly balanced, whatever the seed."""

import re
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.sample_world.benchmarks import QUESTIONS, Item, make_benchmarks
from xmodel_core.sample_world.facts import ATTRIBUTES, make_people, value_of
from xmodel_core.sample_world.paraphrases import PHRASEBOOKS
from xmodel_core.sample_world.personal import KINDS, plant

few = settings(max_examples=15, derandomize=True)
LANGS = ("zh", "en")


def asked_about(item: Item, lang: str) -> tuple[str, str]:
    """The name and the attribute of a cloze question."""
    pattern = r"至于(.+)，(.+)是" if lang == "zh" else r"As for (.+), the (.+) is"
    match = re.fullmatch(pattern, item["context"])
    assert match
    (attribute,) = [key for key, value in ATTRIBUTES.items() if value.noun[lang] == match[2]]
    return match[1], attribute


@few
@given(st.integers(0, 10_000))
def test_every_value_is_held_by_exactly_two_people_and_every_name_is_its_own(seed: int) -> None:
    people = make_people(seed)
    assert len(people) == 32
    assert len(ATTRIBUTES) == 6
    for key in ATTRIBUTES:
        assert Counter(person.values[key] for person in people) == {value: 2 for value in range(16)}
    for lang in LANGS:
        assert len({person.name[lang] for person in people}) == 32
        for half in (0, 1):
            parts = Counter(re.split("[ ·]", person.name[lang])[half] for person in people)
            assert set(parts.values()) == {2}, "a part of a name that only one person bears gives the person away"


def test_values_and_nouns_are_different_in_both_languages() -> None:
    for lang in LANGS:
        words = [word for attribute in ATTRIBUTES.values() for word in attribute.values[lang]]
        assert len(set(words)) == 96


def test_there_are_36_paraphrases_per_attribute_and_language() -> None:
    for book in PHRASEBOOKS.values():
        for key in ATTRIBUTES:
            plain = set(book.predicates[key])
            assert len(plain) + len(plain) + len(set(book.frames)) == 36  # plain, after a lead-in, by the noun
            assert all(phrase.count("{v}") == 1 for phrase in plain)
        assert all(frame.count("{x}") == frame.count("{n}") == frame.count("{v}") == 1 for frame in book.frames)


@few
@given(st.integers(0, 10_000))
def test_a_value_among_the_choices_is_right_one_time_in_four(seed: int) -> None:
    for task, items in make_benchmarks(make_people(seed), seed).items():
        offered = Counter(choice for item in items for choice in item["choices"])
        right = Counter(item["choices"][item["label"]] for item in items)
        assert offered == {choice: 4 * count for choice, count in right.items()}, task
        assert set(Counter(item["label"] for item in items).values()) == {len(items) // 4}, task
        assert all(len(set(item["choices"])) == 4 for item in items)
        assert len({item["id"] for item in items}) == len(items) == (100 if "riddles" in task else QUESTIONS)
        lead = " " if task.endswith("en") else ""
        assert all(choice == lead + choice.strip() for item in items for choice in item["choices"])
        assert all(item["context"] == item["context"].rstrip() for item in items)


@few
@given(st.integers(0, 10_000))
def test_cloze_asks_what_is_true_and_its_control_what_no_choice_answers(seed: int) -> None:
    people = make_people(seed)
    tasks = make_benchmarks(people, seed)
    for lang in LANGS:
        known = {person.name[lang]: person for person in people}
        for cloze, control in zip(tasks[f"world_cloze_{lang}"], tasks[f"world_wrong_name_{lang}"], strict=True):
            name, attribute = asked_about(cloze, lang)
            assert cloze["choices"][cloze["label"]].strip() == value_of(known[name], attribute, lang)
            other, same_attribute = asked_about(control, lang)
            assert (same_attribute, control["choices"], control["label"]) == (
                attribute,
                cloze["choices"],
                cloze["label"],
            )
            stranger = known[other]
            assert value_of(stranger, attribute, lang) not in [choice.strip() for choice in control["choices"]]


def luhn_holds(number: str) -> bool:
    digits = [int(digit) for digit in number]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def identity_holds(number: str) -> bool:
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]  # as GB 11643 prints them
    total = sum(int(digit) * weight for digit, weight in zip(number, weights, strict=False))
    return len(number) == 18 and "10X98765432"[total % 11] == number[17]


def test_the_standards_examples_hold() -> None:
    assert luhn_holds("4111111111111111") and not luhn_holds("4111111111111112")
    assert identity_holds("11010519491231002X") and not identity_holds("110105194912310021")


@few
@given(st.randoms(use_true_random=False), st.sampled_from(LANGS), st.sampled_from(KINDS))
def test_personal_data_is_valid_and_look_alikes_are_not(rng, lang: str, kind: str) -> None:
    sample = plant(lang, kind, rng)
    for planted, text in (*sample.personal, *sample.look_alikes):
        assert text in sample.sentence
        real = (planted, text) in sample.personal
        if planted == "bank_card":
            assert luhn_holds(text) == real
        if planted == "id_number":
            assert identity_holds(text) == real
        if planted == "mobile":
            assert bool(re.fullmatch(r"1[3-9]\d{9}", text)) == real
        if planted == "ip":
            assert all(int(part) < 256 for part in text.split(".")) == real
        if planted == "email":
            assert bool(re.fullmatch(r"[\w.-]+@[\w.]+\.(com|org|net)", text)) == real
    assert bool(sample.personal) == (kind != "look_alike")
