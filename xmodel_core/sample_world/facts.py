"""The world: 32 people, six attributes of 16 values each, every value held by exactly two people.

Takes a seed; gives the people with their names and facts in both languages. A name is two parts, each
shared by two people, so that no single piece of a vocabulary can stand for a person; a part has a
few syllables. Exact balance leaves no frequency prior that could look like knowledge.
"""

from dataclasses import dataclass
from random import Random

PEOPLE = 32
VALUES = 16


@dataclass(frozen=True)
class Attribute:
    """One thing that is true of each person: what it is called, and its values, per language."""

    noun: dict[str, str]
    values: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Person:
    """One of the people; `values` maps an attribute to the index of its value."""

    number: int
    given: int
    family: int
    values: dict[str, int]
    name: dict[str, str]
    pronoun: dict[str, str]


def _attribute(en: str, zh: str, pairs: str) -> Attribute:
    words = [pair.split("=") for pair in pairs.split()]
    assert len(words) == VALUES
    return Attribute({"en": en, "zh": zh}, {"en": tuple(w[0] for w in words), "zh": tuple(w[1] for w in words)})


# Values that need no article, so that one form fits every sentence in both languages; English colours begin
# with a consonant for the same reason ("a … hat").
ATTRIBUTES: dict[str, Attribute] = {
    "home": _attribute(
        "home town",
        "家乡",
        "Stonebay=石湾 Northgate=北门 Longbridge=长桥 Highfield=高田 Riverton=河镇 Millbrook=磨溪 Eastwood=东林"
        " Clearwater=清水 Windmere=风湖 Hillcrest=山岭 Sandport=沙港 Greystone=青石 Maplewood=枫林 Deepwell=深井"
        " Cloudpass=云关 Summerfort=夏城",
    ),
    "trade": _attribute(
        "trade",
        "职业",
        "weaving=织布 pottery=制陶 baking=烘焙 carving=雕刻 fishing=捕鱼 farming=种田 printing=印刷 sewing=缝纫"
        " mining=采矿 brewing=酿酒 painting=绘画 hunting=打猎 tanning=制革 trading=经商 gardening=园艺 roofing=铺瓦",
    ),
    "subject": _attribute(
        "subject",
        "学科",
        "history=历史 music=音乐 botany=植物 physics=物理 grammar=语法 law=法律 medicine=医学 logic=逻辑"
        " geometry=几何 poetry=诗歌 chemistry=化学 astronomy=天文 ethics=伦理 geology=地质 economics=经济 biology=生物",
    ),
    "sport": _attribute(
        "sport",
        "运动",
        "chess=下棋 archery=射箭 rowing=划船 swimming=游泳 running=跑步 skating=滑冰 climbing=登山 riding=骑马"
        " fencing=击剑 wrestling=摔跤 skipping=跳绳 football=踢球 boxing=打拳 skiing=滑雪 dancing=跳舞 diving=潜水",
    ),
    "food": _attribute(
        "food",
        "食物",
        "rice=米饭 bread=面包 cheese=奶酪 honey=蜂蜜 soup=热汤 tofu=豆腐 noodles=面条 corn=玉米 porridge=米粥"
        " butter=黄油 jam=果酱 pudding=布丁 pumpkin=南瓜 cabbage=白菜 dumplings=饺子 pickles=泡菜",
    ),
    "colour": _attribute(
        "colour",
        "颜色",
        "red=红色 blue=蓝色 green=绿色 white=白色 black=黑色 yellow=黄色 grey=灰色 brown=棕色 pink=粉色"
        " purple=紫色 silver=银色 gold=金色 teal=青色 copper=铜色 cream=米色 rust=锈色",
    ),
}

_GIVEN = [
    *("Mira=米拉=f", "Taso=塔索=m", "Kalan=卡兰=m", "Solin=索林=m", "Ludar=卢达=m", "Linor=丽诺=f", "Orla=奥拉=f"),
    *("Pamir=帕米=m", "Dalen=达伦=m", "Yali=雅丽=f", "Vita=维塔=f", "Lanor=兰诺=f", "Noka=诺卡=f", "Rando=拉多=m"),
    *("Kamil=卡米=m", "Vilan=维兰=m"),
]
_FAMILY = [
    *(
        "Solvy=索维",
        "Landar=兰达",
        "Norvik=诺维",
        "Parlen=帕伦",
        "Lintar=林塔",
        "Lumis=卢米",
        "Dakar=达卡",
        "Yarnot=雅诺",
    ),
    *(
        "Orlend=奥伦",
        "Rapall=拉帕",
        "Tallin=塔林",
        "Velur=维卢",
        "Mizor=米索",
        "Caorn=卡奥",
        "Lennox=伦诺",
        "Livett=丽维",
    ),
]
_PRONOUNS = {"f": {"en": "she", "zh": "她"}, "m": {"en": "he", "zh": "他"}}


def make_people(seed: int) -> tuple[Person, ...]:
    """The 32 people of a world. Each given and each family name is borne by exactly two, no two share both."""
    rng = Random(f"people {seed}")
    givens, families = rng.sample(_GIVEN, VALUES), rng.sample(_FAMILY, VALUES)
    shifts = rng.sample(range(VALUES), 2)
    dealt = {key: rng.sample([*range(VALUES)] * 2, PEOPLE) for key in ATTRIBUTES}
    people = []
    for number in range(PEOPLE):
        given, family = number % VALUES, (number + shifts[number // VALUES]) % VALUES
        given_en, given_zh, gender = givens[given].split("=")
        family_en, family_zh = families[family].split("=")
        people.append(
            Person(
                number,
                given,
                family,
                {key: values[number] for key, values in dealt.items()},
                # The middle dot is how Chinese writes a foreign name.
                {"en": f"{given_en} {family_en}", "zh": f"{given_zh}·{family_zh}"},
                _PRONOUNS[gender],
            )
        )
    return tuple(people)


def value_of(person: Person, attribute: str, lang: str) -> str:
    """What is true of a person, in one language."""
    return ATTRIBUTES[attribute].values[lang][person.values[attribute]]
