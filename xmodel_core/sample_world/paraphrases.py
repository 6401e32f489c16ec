"""How facts are phrased: about 36 paraphrases per attribute and language, and the sentences between facts.

Gives one `Phrasebook` per language. Twelve predicates per attribute are used alone or after a lead-in (24),
and twelve frames name the attribute by its noun. A fact in one phrasing is memorised and does not
transfer to a question; in this many it does. `{x}` is a person, `{v}` the value, `{n}` the attribute's noun.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasebook:
    """The phrases of one language. Slots in openings and asides are filled from `words`."""

    predicates: dict[str, tuple[str, ...]]
    frames: tuple[str, ...]
    lead_ins: tuple[str, ...]
    joins: tuple[str, ...]
    contrast: str
    stop: str
    gap: str
    """Between a subject and its predicate, and between sentences."""
    openings: dict[str, tuple[str, ...]]
    """First sentences, per style of document."""
    asides: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    counts: tuple[str, ...]
    """The words for two, three, four … people."""


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.strip().splitlines())


def _semi(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(";"))


ENGLISH = Phrasebook(
    predicates={
        "home": _semi(
            "lives in {v}; has a house in {v}; was born in {v}; grew up in {v}; comes from {v}; never left {v};"
            "has a room in {v}; knows every door in {v}; went back to {v}; walks through {v};"
            "calls {v} home; sleeps best in {v}"
        ),
        "trade": _semi(
            "works in {v}; lives by {v}; learned {v} as a child; makes money from {v}; spends the day on {v};"
            "took up {v}; is paid for {v}; is known for {v}; teaches {v} to children; has a gift for {v};"
            "gave many years to {v}; is the best at {v}"
        ),
        "subject": _semi(
            "studies {v}; reads about {v}; took a class in {v}; passed the test in {v}; gives talks on {v};"
            "writes notes on {v}; went to school for {v}; thinks about {v}; wants to know all of {v};"
            "asks about {v}; wrote a paper on {v}; has ten books on {v}"
        ),
        "sport": _semi(
            "trains in {v} every week; won a prize for {v}; joined a club for {v}; rests with {v}; is good at {v};"
            "spends free days on {v}; lost only once at {v}; cannot live without {v}; looks forward to {v};"
            "keeps well with {v}; grew up with {v}; loves {v}"
        ),
        "food": _semi(
            "eats {v}; cooks {v}; asks for {v}; likes {v}; shares {v} with guests; never says no to {v};"
            "buys {v} at the market; starts the day with {v}; takes {v} to work; wants more {v};"
            "keeps {v} at home; dreams of {v}"
        ),
        "colour": _semi(
            "wears {v}; made the door {v}; has a coat of {v}; chose {v} for the walls; writes in {v};"
            "has a {v} cart; likes a {v} sky; made a {v} flag; bought a {v} hat;"
            "wants {v} paper; took a {v} lamp; sleeps under {v} wool"
        ),
    },
    frames=_lines("""
        the {n} of {x} is {v}
        {x}'s {n} is {v}
        the one {n} that {x} wants is {v}
        ask {x} about the {n} and you will hear {v}
        if {x} talks about a {n}, it is {v}
        the {n} that {x} chose is {v}
        under {n}, the page of {x} says {v}
        no other {n} suits {x} like {v}
        {x} has a {n}, and it is {v}
        in the book the {n} of {x} is given as {v}
        the {n} named by {x} is {v}
        {x} was asked for a {n} and said {v}
    """),
    lead_ins=_lines("""
        as you may hear,
        the old book says that
        it is true that
        people say that
        everyone knows that
        by all reports
        in fact,
        the letters say that
    """),
    joins=(" and ", " and also ", ", and "),
    contrast="{a}, while {b}",
    stop=".",
    gap=" ",
    openings={
        "chronicle": _lines("""
            This page was written in {season} and tells of {count} people.
            The {keeper} wrote these notes on {count} people one {time} in {season}.
            Here the book turns to {count} people, as the {keeper} knew them.
            In {season} the {keeper} asked about {count} people.
            A guest soon hears of {count} people, and the {keeper} kept their story.
            These lines on {count} people were read at the {place} one {time}.
        """),
        "web": _lines("""
            Last {season} I met {count} people near the {place}.
            A {keeper} from the {place} sent us this report on {count} people.
            Today on this page: {count} people, as told by a {keeper}.
            Someone left a note at the {place} one {time} about {count} people.
            I have asked about {count} people since {season}.
            A {keeper} wrote to us this {time} about {count} people.
        """),
    },
    asides=_lines("""
        Everyone at the {place} knows it.
        The {keeper} turned the page.
        That was one {time} in {season}.
        A child at the {place} told me the same.
        It has been so since last {season}.
        The {thing} was still on the table.
        You can ask any {keeper}.
        We talked about it at the {place}.
        There is not much more to tell.
        I heard this from a {keeper} in {season}.
        Every {time} it is the same story.
        A {thing} was given as a sign of thanks.
    """),
    words={
        "season": ("spring", "summer", "autumn", "winter"),
        "time": ("morning", "evening", "night", "day"),
        "keeper": ("teacher", "farmer", "doctor", "sailor", "guard", "singer"),
        "place": ("bridge", "market", "school", "well", "mill", "station"),
        "thing": ("lamp", "book", "cup", "letter", "chair", "bell"),
    },
    counts=("two", "three", "four", "five", "six"),
)

# Chinese sentences carry full-width punctuation and no spaces; a predicate follows its subject directly. Every
# character costs a piece of a small vocabulary, so the phrases keep to common ones and use them often.
CHINESE = Phrasebook(
    predicates={
        "home": _semi(
            "住在{v};出生在{v};在{v}长大;来自{v};在{v}有房子;从没离开{v};回到了{v};认得{v}的每一个人;"
            "每天走在{v}的路上;把{v}当作家;最想念{v};在{v}有很多朋友"
        ),
        "trade": _semi(
            "靠{v}生活;从小学{v};每天忙着{v};因{v}出名;靠{v}赚钱;做了二十年{v};教人{v};最会{v};"
            "跟父亲学了{v};一生都在{v};靠{v}养家;开了{v}的店"
        ),
        "subject": _semi(
            "研究{v};爱读{v}书;上过{v}课;考过{v};常讲{v};写过{v}文章;在学校学{v};总在想{v};懂得很多{v};"
            "教过{v};家里有很多{v}书;晚上自学{v}"
        ),
        "sport": _semi(
            "练习{v};因{v}得过奖;每周去{v};加入了{v}队;最爱{v};很会{v};早上去{v};只在{v}上输过;离不开{v};"
            "参加过{v}比赛;跟朋友去{v};从小爱{v}"
        ),
        "food": _semi(
            "爱吃{v};会做{v};常点{v};喜欢{v};请人吃{v};每天吃{v};去集市买{v};早上吃{v};每次都带{v};"
            "还想吃{v};家里总有{v};做梦也吃{v}"
        ),
        "colour": _semi(
            "爱穿{v};把门刷成{v};有一件{v}大衣;给墙选了{v};用{v}的笔写字;有一辆{v}的车;挂着{v}的旗;"
            "买了{v}的帽子;用{v}的纸写信;点着{v}的灯;选了{v};喜爱{v}"
        ),
    },
    frames=_lines("""
        {x}的{n}是{v}
        说到{x}的{n}，那就是{v}
        {x}认定的{n}是{v}
        问起{x}的{n}，都说是{v}
        {x}把{n}写作{v}
        {x}常说自己的{n}是{v}
        书里{x}的{n}记着{v}
        {x}选的{n}就是{v}
        {x}的{n}不是别的，是{v}
        说起{n}，{x}总说{v}
        {x}的名字后面，{n}写着{v}
        人人知道{x}的{n}是{v}
    """),
    lead_ins=_lines("""
        听人说，
        大家都知道，
        其实，
        人们常说，
        书上写着，
        老人说，
        信里写着，
        都说
    """),
    joins=("，也", "，还", "，又"),
    contrast="{a}，而{b}",
    stop="。",
    gap="",
    openings={
        "chronicle": _lines("""
            这一页写于{season}，讲的是{count}个人。
            {season}的一个{time}，{keeper}写下了这{count}个人。
            这里说到{count}个人，{keeper}都认得。
            {season}里，{keeper}问起了{count}个人。
            来的人都会听说这{count}个人，{keeper}写下了他们的事。
            这些文字讲{count}个人，在{place}读给大家听过。
        """),
        "web": _lines("""
            去年{season}，我在{place}认识了{count}个人。
            {place}的{keeper}给我们寄来了这篇文章，写的是{count}个人。
            今天讲{count}个人，是{keeper}说的。
            一个{time}，有人在{place}写了{count}个人的事。
            从{season}起，我一直在问这{count}个人的事。
            {time}，{keeper}给我们写信，说到了{count}个人。
        """),
    },
    asides=_lines("""
        {place}的人都知道这件事。
        {keeper}看着书点点头。
        那是{season}的一个{time}。
        {place}的孩子也这样说。
        从去年{season}起就是这样。
        {thing}还放在桌上。
        这件事可以去问{keeper}。
        我们是在{place}说起的。
        别的就不多说了。
        这是{season}里{keeper}说的。
        每个{time}都是这样。
        大家送了{thing}作为礼物。
    """),
    words={
        "season": ("春天", "夏天", "秋天", "冬天"),
        "time": ("早上", "晚上", "夜里", "下午"),
        "keeper": ("老师", "农夫", "医生", "水手", "门卫", "歌手"),
        "place": ("桥头", "集市", "学校", "水井", "磨坊", "车站"),
        "thing": ("灯", "书", "杯子", "信", "椅子", "铃"),
    },
    counts=("两", "三", "四", "五", "六"),
)

PHRASEBOOKS = {"en": ENGLISH, "zh": CHINESE}
