"""Stories: short tales in both languages, from a grammar of scenes.

Takes a language; gives texts without end. A tale has a hero, a friend, a wish, a way, trouble, help
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
        "the little mouse", "the old bear", "the young fox", "the quiet owl", "the tall horse", "the small bird",
        "the lazy cat", "the clever rabbit", "the brave dog", "the slow turtle", "the hungry wolf", "the proud goose",
    ),
    words={
        "place": ("river", "forest", "hill", "lake", "garden", "cave", "field", "road", "tower", "island"),
        "thing": ("key", "map", "kite", "drum", "boat", "coin", "ladder", "feather", "box", "candle", "rope", "shell"),
        "time": ("morning", "evening", "night", "afternoon"),
        "weather": ("rain", "snow", "wind", "fog", "storm"),
        "mood": ("happy", "tired", "afraid", "proud", "sad", "calm"),
        "kind": ("big", "small", "old", "new", "broken", "heavy", "bright", "strange"),
        "part": ("under a stone", "behind the door", "on the roof", "in the grass", "beside the water", "near the wall"),
        "number": ("two", "three", "four", "five", "six", "seven"),
    },
    beginnings=_lines("""
        Once upon a time {hero} lived by the {place} with {friend}.
        Long ago, when the {place} was still young, {hero} met {friend} in the {weather}.
        In a {kind} house near the {place} lived {hero}, and {friend} lived next door.
        One {time} in the {weather}, {hero} knocked on the door of {friend}.
        Nobody remembers how {hero} and {friend} became friends, but it happened at the {place}.
        There was once a {kind} {thing} that {hero} and {friend} both wanted.
    """),
    wishes=_lines("""
        More than anything, {hero} wished to find the {kind} {thing} that was hidden {part}.
        All {hero} wanted was to see the {place} before the {weather} came.
        For {number} days {hero} had been thinking of a {kind} {thing}.
        {friend} had lost a {thing} at the {place}, and {hero} promised to bring it back.
        A letter had come which said that a {kind} {thing} was waiting at the {place}.
        They had heard that whoever reached the {place} first would win a {thing}.
    """),
    ways=_lines("""
        So they packed a {thing} and a {thing2} and walked towards the {place}.
        The way led over a {kind} bridge and past {number} trees.
        On the road they counted {number} birds and found a {thing} {part}.
        They crossed the {place} in a {kind} boat while the {weather} grew stronger.
        By the {time} they had come as far as the {place}, and {hero} felt {mood}.
        {friend} carried the {thing} and {hero} carried the {kind} {thing2}.
        They slept {part} and dreamed of a {kind} {thing}.
        After {number} hours they sat down {part} and shared their lunch.
    """),
    troubles=_lines("""
        Then the {weather} began, and the {kind} {thing} fell into the {place}.
        But the door was closed and the {thing} would not open it.
        Suddenly {friend} slipped, and the {thing} broke into {number} pieces.
        A {kind} voice called from the {place}, and both of them were {mood}.
        It was so dark in the {place} that {hero} could not see the {thing}.
        They had lost the way, and nobody at the {place} could help them.
        The {kind} {thing} was gone, and in its place lay a {thing2}.
        There were {number} roads, and every one of them looked the same in the {weather}.
    """),
    talks=_lines("""
        "We should wait here until the {weather} is over," said {friend}.
        "Give me the {thing}," said {hero}, "and I will try it {part}."
        "I am not {mood}," said {hero}, "I am only thinking of the {place}."
        "Have you looked {part}?" asked {friend}, holding up the {thing}.
        "Once I saw a {kind} {thing} like this at the {place}," said {friend}.
        "If we stay together," said {hero}, "no {weather} can hurt us."
        "Listen," said {friend}, "there is something moving {part}."
        "It was only {number} steps away all the time," said {hero}.
    """),
    endings=_lines("""
        In the end they found the {thing} {part}, and {hero} was {mood} no more.
        From that {time} on, the {kind} {thing} stood in the house of {friend}.
        They went home through the {weather}, and {hero} told the story {number} times.
        And so {hero} learned that a friend is worth more than a {kind} {thing}.
        Since that day {hero} and {friend} meet at the {place} every {time}.
        When the {weather} was over, the whole {place} sang for {hero} and {friend}.
    """),
    gap=" ",
)

_CHINESE = Tale(
    heroes=("小老鼠", "老黑熊", "小狐狸", "猫头鹰", "高个子马", "小鸟", "懒猫", "聪明的兔子", "勇敢的狗", "慢吞吞的乌龟", "饿狼", "大白鹅"),
    words={
        "place": ("河边", "森林", "山坡", "湖边", "花园", "山洞", "田野", "大路", "高塔", "小岛"),
        "thing": ("钥匙", "地图", "风筝", "小鼓", "木船", "硬币", "梯子", "羽毛", "盒子", "蜡烛", "绳结", "贝壳"),
        "time": ("早上", "晚上", "夜里", "下午"),
        "weather": ("大雨", "大雪", "大风", "浓雾", "雷雨"),
        "mood": ("高兴", "疲倦", "害怕", "得意", "难过", "平静"),
        "kind": ("大", "小", "旧", "新", "破", "沉重的", "明亮的", "奇怪的"),
        "part": ("石头下面", "门后面", "屋顶上", "草丛里", "水旁边", "墙角边"),
        "number": ("两", "三", "四", "五", "六", "七"),
    },
    beginnings=_lines("""
        从前，{hero}和{friend}一起住在{place}。
        很久以前，{hero}在{weather}里遇见了{friend}。
        {place}旁边有一座房子，里面住着{hero}，隔壁住着{friend}。
        有一天{time}下着{weather}，{hero}敲开了{friend}的门。
        没有人记得{hero}和{friend}是怎么成为朋友的，只知道那是在{place}。
        从前有一个{kind}{thing}，{hero}和{friend}都想得到它。
    """),
    wishes=_lines("""
        {hero}最想找到藏在{part}的那个{kind}{thing}。
        {hero}只想在{weather}到来之前去看看{place}。
        整整{number}天，{hero}都在想着一个{kind}{thing}。
        {friend}把{thing}丢在了{place}，{hero}答应把它找回来。
        一封信里写着，有一个{kind}{thing}在{place}等着他们。
        听说谁先走到{place}，谁就能得到一个{thing}。
    """),
    ways=_lines("""
        于是他们带上{thing}和{thing2}，向{place}走去。
        路上要过一座桥，还要经过{number}棵大树。
        他们一路数了{number}只鸟，又在{part}捡到一个{thing}。
        他们划着船经过{place}，{weather}越来越大。
        到了{time}，他们已经走到{place}，{hero}觉得很{mood}。
        {friend}拿着{thing}，{hero}背着{kind}{thing2}。
        他们睡在{part}，梦见了一个{kind}{thing}。
        走了{number}个小时，他们坐在{part}，分着吃了午饭。
    """),
    troubles=_lines("""
        忽然{weather}来了，那个{kind}{thing}掉在了{place}。
        可是门关着，{thing}怎么也打不开它。
        {friend}脚下一滑，{thing}摔成了{number}块。
        {place}传来奇怪的声音，他们俩都很{mood}。
        {place}太黑了，{hero}看不见{thing}在哪里。
        他们迷了路，{place}也没有人能帮忙。
        那个{kind}{thing}不见了，地上只有一个{thing2}。
        前面有{number}条路，在{weather}里看上去都一样。
    """),
    talks=_lines("""
        “我们就在这里等{weather}过去吧。”{friend}说。
        “把{thing}给我，”{hero}说，“我到{part}试一试。”
        “我并不{mood}，”{hero}说，“我只是在想{place}的事。”
        “你看过{part}没有？”{friend}举着{thing}问。
        “我以前在{place}见过这样一个{kind}{thing}。”{friend}说。
        “只要我们在一起，”{hero}说，“什么{weather}都不怕。”
        “你听，”{friend}说，“{part}有东西在动。”
        “原来它一直就在{number}步以外。”{hero}说。
    """),
    endings=_lines("""
        最后他们在{part}找到了{thing}，{hero}再也不{mood}了。
        从那天{time}起，那个{kind}{thing}就放在{friend}的家里。
        他们在{weather}里走回了家，{hero}把这个故事讲了{number}遍。
        {hero}终于明白，朋友比{kind}{thing}更重要。
        从此以后，{hero}和{friend}每天{time}都在{place}见面。
        {weather}停了，整个{place}都在为{hero}和{friend}歌唱。
    """),
    gap="",
)

_TALES = {"en": _ENGLISH, "zh": _CHINESE}


def stories(lang: str, rng: Random) -> Iterator[str]:
    """Tales without end; paragraphs are separated by an empty line."""
    tale = _TALES[lang]
    while True:
        hero, friend = rng.sample(tale.heroes, 2)

        def tell(scene: tuple[str, ...], count: int, hero: str = hero, friend: str = friend) -> list[str]:
            told = []
            for template in rng.sample(scene, count):
                slots = {key: rng.choice(words) for key, words in tale.words.items()}
                other = rng.choice([thing for thing in tale.words["thing"] if thing != slots["thing"]])
                text = template.format(hero=hero, friend=friend, thing2=other, **slots)
                told.append(text[0].upper() + text[1:])
            return told

        middle = [*tell(tale.ways, rng.choice((3, 4))), *tell(tale.troubles, rng.choice((2, 3, 4)))]
        middle += tell(tale.talks, rng.choice((3, 4)))
        rng.shuffle(middle)
        half = len(middle) // 2
        paragraphs = [
            tell(tale.beginnings, 1) + tell(tale.wishes, 2),
            middle[:half],
            middle[half:],
            tell(tale.endings, 2),
        ]
        yield "\n\n".join(tale.gap.join(paragraph) for paragraph in paragraphs)
