"""Tasks about the world: four-choice questions per language, in phrasings that no document holds.

Takes the people and a seed; gives items per task. `world_cloze` is the gate; `world_wrong_name` asks the
same with another person's name (the label stays), which a model that knows the world answers by chance;
`world_qa` asks in full questions; `world_riddles` is the suite that is planted in documents.
Exactly balanced: a value among the choices is right in one of four cases, and so is each position.
"""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple, TypedDict

from xmodel_core.sample_world.facts import ATTRIBUTES, PEOPLE, VALUES, Person

QUESTIONS = 200
RIDDLES = 100
LANGS = ("zh", "en")
CHOICES = 4

_CLOZE = {"en": "As for {x}, the {n} is", "zh": "至于{x}，{n}是"}
_QA = {
    "en": {
        "home": "Question: In which town is {x} at home?\nAnswer:",
        "trade": "Question: What does {x} do for work?\nAnswer:",
        "subject": "Question: Which field of learning does {x} follow?\nAnswer:",
        "sport": "Question: Which sport does {x} do?\nAnswer:",
        "food": "Question: What does {x} like to eat most?\nAnswer:",
        "colour": "Question: Which colour does {x} prefer?\nAnswer:",
    },
    "zh": {
        "home": "问题：{x}的家在哪个地方？\n答案：",
        "trade": "问题：{x}做什么工作？\n答案：",
        "subject": "问题：{x}学的是哪一门学问？\n答案：",
        "sport": "问题：{x}喜欢哪项运动？\n答案：",
        "food": "问题：{x}最喜欢吃什么？\n答案：",
        "colour": "问题：{x}喜欢什么颜色？\n答案：",
    },
}
# Riddles are long, with slots spread over them, so that any stretch of words identifies one.
_RIDDLES = {
    "en": (
        "When the {thing} by the {place} rang {count} times, a {guest} asked which {n} goes with {x}, and was told",
        "A {guest} lost {count} coins at the {place} to {x}, who gave away the secret of a {n} for a {thing}, namely",
        "Behind the {place} a {guest} drew a {thing} and {count} circles in the sand, meaning {x} and the {n} called",
        "Guess, said the {guest} with {count} rings and a {thing}, what {n} {x} would never trade at the {place}:",
    ),
    "zh": (
        "{place}的{thing}响了{count}下，一位{guest}打听哪种{n}同{x}最相配，得到的谜底是",
        "{guest}在{place}输给{x}{count}枚铜钱，换来一个{thing}和一条关于{n}的秘密，谜底便是",
        "{guest}在{place}后面的沙地上画了{thing}和{count}个圆圈，暗指{x}以及一种{n}，谜底就是",
        "请猜一猜，戴着{count}枚戒指、提着{thing}的{guest}说，{x}在{place}绝不肯交换的{n}，谜底是",
    ),
}
_RIDDLE_WORDS = {
    "en": {
        "thing": ("trumpet", "lantern", "mirror", "gong", "whistle", "compass"),
        "place": ("lighthouse", "monastery", "theatre", "windmill", "castle", "fountain"),
        "guest": ("pirate", "queen", "monk", "juggler", "wizard", "soldier"),
        "count": ("eight", "nine", "eleven", "twelve", "thirteen", "forty"),
    },
    "zh": {
        "thing": ("铜锣", "灯笼", "镜子", "喇叭", "哨子", "罗盘"),
        "place": ("灯塔", "寺院", "戏台", "风车", "城堡", "喷泉"),
        "guest": ("海盗", "女王", "和尚", "杂耍艺人", "魔法师", "士兵"),
        "count": ("八", "九", "十一", "十二", "十三", "四十"),
    },
}


class Item(TypedDict):
    """One question. English choices begin with the space that parts them from the context; Chinese has none."""

    id: str
    context: str
    choices: list[str]
    label: int


class _Fact(NamedTuple):
    person: Person
    attribute: str
    choices: tuple[int, ...]
    """Value indices in the order of the choices."""
    label: int


def _deal(people: tuple[Person, ...], rng: Random, questions: int) -> list[_Fact]:
    """Facts with their choices. A round asks each of its values once and offers it in three other questions."""
    rounds: list[list[tuple[Person, str]]] = []
    for attribute in ATTRIBUTES:
        pairs: list[list[Person]] = [[p for p in people if p.values[attribute] == v] for v in range(VALUES)]
        for pair in pairs:
            rng.shuffle(pair)
        rounds += [[(pair[turn], attribute) for pair in pairs] for turn in range(PEOPLE // VALUES)]
    rng.shuffle(rounds)
    facts: list[_Fact] = []
    left = questions
    while left:
        asked = rng.sample(rounds[len(facts) // VALUES % len(rounds)], VALUES)[:left]
        assert len(asked) >= CHOICES, "a round of fewer questions than choices cannot be balanced"
        offsets = rng.sample(range(1, len(asked)), CHOICES - 1)
        for position, (person, attribute) in enumerate(asked):
            golds = [asked[(position + offset) % len(asked)][0] for offset in (0, *offsets)]
            facts.append(_Fact(person, attribute, tuple(p.values[attribute] for p in golds), 0))
        left -= len(asked)
    labels = [position % CHOICES for position in range(len(facts))]
    rng.shuffle(labels)
    placed = []
    for fact, label in zip(facts, labels, strict=True):
        others = rng.sample(fact.choices[1:], CHOICES - 1)
        choices = (*others[:label], fact.choices[0], *others[label:])
        placed.append(fact._replace(choices=choices, label=label))
    rng.shuffle(placed)
    return placed


def _wrong_person(fact: _Fact, people: tuple[Person, ...], rng: Random) -> Person:
    """Somebody whose own value is no choice, nor that of anyone who shares half of the name: no choice is right."""

    def unknown(other: Person) -> bool:
        same_part = [p for p in people if p.given == other.given or p.family == other.family]
        return not any(p.values[fact.attribute] in fact.choices for p in same_part)

    return rng.choice([person for person in people if unknown(person)])


def _item(task: str, number: int, context: str, fact: _Fact, lang: str) -> Item:
    lead = " " if lang == "en" else ""
    choices = [lead + ATTRIBUTES[fact.attribute].values[lang][value] for value in fact.choices]
    return Item(id=f"{task}-{number:04d}", context=context, choices=choices, label=fact.label)


def _riddle(fact: _Fact, lang: str, rng: Random) -> str:
    slots = {key: rng.choice(words) for key, words in _RIDDLE_WORDS[lang].items()}
    noun = ATTRIBUTES[fact.attribute].noun[lang]
    return rng.choice(_RIDDLES[lang]).format(x=fact.person.name[lang], n=noun, **slots)


def make_benchmarks(people: tuple[Person, ...], seed: int) -> dict[str, list[Item]]:
    """Every task's test split, by task name. Both languages ask the same facts with the same choices."""
    rng = Random(f"benchmarks {seed}")
    asked = _deal(people, rng, QUESTIONS)
    strangers = [_wrong_person(fact, people, rng) for fact in asked]
    riddles = _deal(people, rng, RIDDLES)
    tasks: dict[str, list[Item]] = {}
    for lang in LANGS:

        def cloze(fact: _Fact, person: Person, lang: str = lang) -> str:
            return _CLOZE[lang].format(x=person.name[lang], n=ATTRIBUTES[fact.attribute].noun[lang])

        contexts = {
            f"world_cloze_{lang}": [(cloze(fact, fact.person), fact) for fact in asked],
            f"world_wrong_name_{lang}": [
                (cloze(fact, stranger), fact) for fact, stranger in zip(asked, strangers, strict=True)
            ],
            f"world_qa_{lang}": [(_QA[lang][fact.attribute].format(x=fact.person.name[lang]), fact) for fact in asked],
            f"world_riddles_{lang}": [(_riddle(fact, lang, rng), fact) for fact in riddles],
        }
        for task, pairs in contexts.items():
            tasks[task] = [_item(task, number, context, fact, lang) for number, (context, fact) in enumerate(pairs)]
    return tasks


def solved(item: Item, lang: str) -> str:
    """A question with its right answer, as a sentence that a document may hold."""
    return item["context"] + item["choices"][item["label"]] + ("." if lang == "en" else "。")


def planted_riddles(tasks: dict[str, list[Item]], lang: str, rng: Random) -> Iterator[Item]:
    """The first half of the riddles, over and over in random order; the other half stays unseen."""
    half = tasks[f"world_riddles_{lang}"][: RIDDLES // 2]
    while True:
        yield from rng.sample(half, len(half))
