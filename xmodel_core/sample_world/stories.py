"""Stories: short tales in both languages, from a grammar of scenes.

Takes a language; gives an endless stream of texts. A tale has a hero, a friend, a wish, a way, trouble, talk
and an ending; each scene is one of several sentences with slots, and middle scenes come in any order,
so two tales share a sentence now and then but never a page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Tale:
    """The grammar of one language. In sentences, {hero} and {friend} stay the same, other slots vary."""

    heroes: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    beginnings: tuple[str, ...]
    wishes: tuple[str, ...]
    ways: tuple[str, ...]
    troubles: tuple[str, ...]
    talks: tuple[str, ...]
    endings: tuple[str, ...]
    gap: str


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


_ENGLISH = Tale(
    heroes=(
        "the old teacher",
        "the young sailor",
        "the tall guard",
        "the small child",
        "the good doctor",
        "the poor farmer",
    ),
    words={
        "place": ("bridge", "market", "school", "well", "mill", "station", "house", "road"),
        "thing": ("lamp", "book", "cup", "letter", "chair", "bell", "flag", "hat"),
        "time": ("morning", "evening", "night", "day"),
        "weather": ("rain", "snow", "wind"),
        "mood": ("happy", "tired", "sad", "afraid"),
        "kind": ("big", "small", "new", "good", "lost"),
        "part": ("under the table", "behind the door", "on the wall", "near the road"),
        "number": ("two", "three", "four", "five", "six", "ten"),
    },
    beginnings=_lines("""
        Once {hero} lived near the {place} with {friend}.
        One {time} {hero} met {friend} in the {weather}.
        In a {kind} house near the {place} lived {hero}, and {friend} lived next door.
        One {time} in the {weather}, {hero} came to the door of {friend}.
        It was at the {place} that {hero} first met {friend}.
        There was a {kind} {thing} that {hero} and {friend} both wanted.
    """),
    wishes=_lines("""
        All that {hero} wanted was the {kind} {thing} {part}.
        All that {hero} wanted was to see the {place} before the {weather} came.
        For {number} days {hero} had dreams about a {kind} {thing}.
        {friend} had lost a {thing} at the {place}, and {hero} went to look for it.
        A letter came, and it said that a {kind} {thing} was at the {place}.
        The first one at the {place} would win a {thing}, people said.
    """),
    ways=_lines("""
        So they took a {thing} and a {thing2} and went to the {place}.
        They walked over a {kind} bridge and past {number} houses.
        On the road they met {number} people and saw a {thing} {part}.
        They left the {place} while the {weather} grew and grew.
        By {time} they had come to the {place}, and {hero} was {mood}.
        {friend} took the {thing} and {hero} took the {kind} {thing2}.
        They slept {part} and had a dream about a {kind} {thing}.
        After {number} days they sat {part} and talked about home.
    """),
    troubles=_lines("""
        Then the {weather} came, and the {kind} {thing} was lost at the {place}.
        But the door was not open, and no {thing} could help.
        Then {friend} let the {thing} fall, and it was in {number} parts.
        Someone called from the {place}, and both of them were {mood}.
        It was night at the {place}, and {hero} could not see the {thing}.
        They had lost the road, and no one at the {place} could help.
        The {kind} {thing} was not there, but {part} they saw a {thing2}.
        There were {number} roads, and all were the same in the {weather}.
    """),
    talks=_lines("""
        "Let us rest here until the {weather} is over," said {friend}.
        "Give me the {thing}," said {hero}, "and I will look {part}."
        "I am not {mood}," said {hero}, "I only think about the {place}."
        "Did you look {part}?" asked {friend} with the {thing}.
        "Once I saw a {kind} {thing} like this at the {place}," said {friend}.
        "We two," said {hero}, "are not afraid of the {weather}."
        "I hear a {thing}," said {friend}, "and it is {part}."
        "It was only {number} houses from here," said {hero}.
    """),
    endings=_lines("""
        In the end they saw the {thing} {part}, and {hero} was {mood} no more.
        Since that {time} the {kind} {thing} has been in the house of {friend}.
        They went home in the {weather}, and {hero} told the story {number} times.
        Now {hero} knows that a friend is more than a {kind} {thing}.
        Since that day {hero} and {friend} meet at the {place} every {time}.
        When the {weather} was over, everyone at the {place} was happy.
    """),
    gap=" ",
)

_CHINESE = Tale(
    heroes=("老师", "小水手", "门卫", "小孩子", "好医生", "老农夫"),
    words={
        "place": ("桥头", "集市", "学校", "水井", "磨坊", "车站", "老家", "大路"),
        "thing": ("灯", "书", "杯子", "信", "椅子", "铃", "旗", "帽子"),
        "time": ("早上", "晚上", "夜里", "下午"),
        "weather": ("大雨", "大雪", "大风"),
        "mood": ("高兴", "忙", "难过", "怕"),
        "kind": ("大", "小", "新", "旧", "好"),
        "part": ("桌子下面", "门后面", "墙上", "路上"),
        "number": ("两", "三", "四", "五", "六", "十"),
    },
    beginnings=_lines("""
        从前，{hero}和{friend}一起住在{place}。
        一天{time}，{hero}在{weather}里认识了{friend}。
        {place}有房子，里面住着{hero}和{friend}。
        一天{time}有{weather}，{hero}来到{friend}的门前。
        {hero}和{friend}是在{place}认识的。
        有一个{kind}{thing}，{hero}和{friend}都想要。
    """),
    wishes=_lines("""
        {hero}最想要{part}的那个{kind}{thing}。
        {hero}只想在{weather}来以前去看{place}。
        有{number}天，{hero}做梦也在想{kind}{thing}。
        {friend}的{thing}在{place}不见了，{hero}去找它。
        一个人写信说，有一个{kind}{thing}在{place}。
        人们说，最早走到{place}的人会得到{thing}。
    """),
    ways=_lines("""
        他们就带着{thing}和{thing2}，去了{place}。
        路上过了一个{kind}桥头，又走过{number}个房子。
        他们在路上看到{number}个人，又在{part}看到{thing}。
        他们离开{place}，{weather}也来了。
        到了{time}，他们走到{place}，{hero}很{mood}。
        {friend}带着{thing}，{hero}带着{kind}{thing2}。
        他们晚上住在{place}，做梦见到了{kind}{thing}。
        走了{number}天，他们在{part}说起自己的家。
    """),
    troubles=_lines("""
        {weather}来了，那个{kind}{thing}在{place}不见了。
        门不开，{thing}也没有用。
        {friend}没有看路，{thing}成了{number}个。
        {place}有人在叫，他们都很{mood}。
        {place}没有灯，{hero}看不见{thing}。
        他们找不到路，{place}也没有人知道。
        那个{kind}{thing}不见了，{part}只有{thing2}。
        前面有{number}个路口，在{weather}里都是一样的。
    """),
    talks=_lines("""
        “我们就在这里等{weather}过去吧。”{friend}说。
        “把{thing}给我，”{hero}说，“我去{part}看看。”
        “我不{mood}，”{hero}说，“我只是在想{place}的事。”
        “{part}看过没有？”{friend}带着{thing}问。
        “从前我在{place}见过这样的{kind}{thing}。”{friend}说。
        “我们在一起，”{hero}说，“就不怕{weather}。”
        “听，”{friend}说，“{part}有{thing}。”
        “只要再走{number}天就到了。”{hero}说。
    """),
    endings=_lines("""
        最后他们在{part}看到了{thing}，{hero}不再{mood}了。
        从那天{time}起，那个{kind}{thing}就在{friend}的家里。
        他们在{weather}里回了家，{hero}把这件事讲了{number}次。
        {hero}知道了，有朋友比有{kind}{thing}更好。
        从那天起，{hero}和{friend}每天{time}都去{place}。
        {weather}过去了，{place}的人都很高兴。
    """),
    gap="",
)

_TALES = {"en": _ENGLISH, "zh": _CHINESE}


def stories(lang: str, rng: Random) -> Iterator[str]:
    """Endless tales; paragraphs are separated by an empty line."""
    tale = _TALES[lang]
    while True:
        hero, friend = rng.sample(tale.heroes, 2)

        def fill(scene: tuple[str, ...], count: int, hero: str = hero, friend: str = friend) -> list[str]:
            sentences = []
            for template in rng.sample(scene, count):
                slots = {key: rng.choice(words) for key, words in tale.words.items()}
                other = rng.choice([thing for thing in tale.words["thing"] if thing != slots["thing"]])
                text = template.format(hero=hero, friend=friend, thing2=other, **slots)
                sentences.append(text[0].upper() + text[1:])
            return sentences

        middle = [*fill(tale.ways, rng.choice((3, 4))), *fill(tale.troubles, rng.choice((2, 3, 4)))]
        middle += fill(tale.talks, rng.choice((3, 4)))
        rng.shuffle(middle)
        half = len(middle) // 2
        paragraphs = [
            fill(tale.beginnings, 1) + fill(tale.wishes, 2),
            middle[:half],
            middle[half:],
            fill(tale.endings, 2),
        ]
        yield "\n\n".join(tale.gap.join(paragraph) for paragraph in paragraphs)
