"""How facts are worded: about 36 wordings per attribute and language, and what stands between them.

Gives one `Phrasebook` per language. Twelve predicates per attribute stand alone or after a lead-in (24),
and twelve frames name the attribute by its noun. One wording per fact is learnt by heart and does
not transfer to a question; this many do. `{x}` is a person, `{v}` the value, `{n}` the attribute's noun.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Phrasebook:
    """The wordings of one language. Slots in openings and asides are filled from `words`."""

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
            "lives in {v}; has a house in {v}; was born in {v}; grew up in {v}; comes from {v}; never moved away from {v};"
            "keeps a room in {v}; knows every door in {v}; went back to {v}; walks the streets of {v};"
            "calls {v} home; sleeps best in {v}"
        ),
        "trade": _semi(
            "works in {v}; earns a living by {v}; learned {v} as a child; makes money from {v}; spends the day on {v};"
            "took up {v}; is paid for {v}; is known for {v}; trains young people in {v}; lives by {v};"
            "has a talent for {v}; gave twenty years to {v}"
        ),
        "subject": _semi(
            "studies {v}; reads books on {v}; took a class in {v}; passed the exam in {v}; gives talks on {v};"
            "writes notes about {v}; went to school for {v}; thinks about {v}; wants to master {v};"
            "asks questions about {v}; wrote a paper on {v}; owns ten books on {v}"
        ),
        "sport": _semi(
            "practises {v} on Sundays; won a prize for {v}; joined a club for {v}; relaxes with {v}; is good at {v};"
            "spends weekends on {v}; lost only once at {v}; cannot live without {v}; competes in {v};"
            "keeps fit with {v}; grew up with {v}; loves {v}"
        ),
        "food": _semi(
            "eats {v}; cooks {v}; orders {v}; likes {v}; shares {v} with guests; never says no to {v};"
            "buys {v} at the market; starts the day with {v}; packs {v} for lunch; asks for more {v};"
            "keeps {v} in the kitchen; dreams of {v}"
        ),
        "colour": _semi(
            "wears {v}; painted the door {v}; has a coat of {v}; chose {v} for the walls; writes in {v} ink;"
            "owns a {v} bicycle; flies a {v} flag; ties boxes with {v} string; bought a {v} hat;"
            "wraps gifts in {v} paper; lit a {v} lamp; sleeps under a {v} blanket"
        ),
    },
    frames=_lines("""
        the {n} of {x} is {v}
        {x}'s {n} is {v}
        the one {n} that {x} accepts is {v}
        ask {x} about the {n} and you will hear {v}
        if {x} talks about a {n}, it is {v}
        the {n} that {x} chose is {v}
        under {n}, the page of {x} says {v}
        no other {n} suits {x} like {v}
        {x} has a {n}, and it is {v}
        in the register the {n} of {x} is given as {v}
        the {n} named by {x} is {v}
        {x} was asked for a {n} and answered {v}
    """),
    lead_ins=_lines("""
        as the neighbours tell it,
        according to the old records,
        it is true that
        people say that
        everyone knows that
        by all accounts,
        in fact,
        the letters show that
    """),
    joins=(" and ", " and also ", ", and "),
    contrast="{a}, while {b}",
    stop=".",
    gap=" ",
    openings={
        "chronicle": _lines("""
            This page of the chronicle was written in {season} and tells of {count} people.
            The {keeper} of the valley set down these notes on {count} people one {time} in {season}.
            Here the chronicle turns to {count} people, as the {keeper} knew them.
            In {season} the {keeper} asked about {count} people and wrote down what was said.
            A visitor to the valley soon hears of {count} people, and the {keeper} kept their story.
            What follows about {count} people was read aloud in the {place} one {time}.
        """),
        "web": _lines("""
            Last {season} I met {count} people near the {place}, and I want to tell you about them.
            Our reader from the {place} sent us this report about {count} people.
            Today on this page: {count} people and their small habits, as told by a {keeper}.
            Someone left a note in the {place} one {time}, and it was all about {count} people.
            I have collected what I know about {count} people since {season}.
            A {keeper} wrote to us this {time} to introduce {count} people from the valley.
        """),
    },
    asides=_lines("""
        Nobody at the {place} doubts it.
        The {keeper} smiled and turned the page.
        That was on a quiet {time} in {season}.
        A child at the {place} told me the same.
        It has been so since last {season}.
        The {thing} on the table was still warm.
        You can ask any {keeper} in the valley.
        Rain fell on the {place} while we talked.
        There is not much more to tell.
        Some things never change.
        The old {thing} stood by the window.
        I heard this from a {keeper} in {season}.
        Every {time} it is the same story.
        The people at the {place} laughed and agreed.
        We wrote it down with care.
        A {thing} was given as a sign of thanks.
    """),
    words={
        "season": ("spring", "summer", "autumn", "winter"),
        "time": ("morning", "evening", "night", "afternoon"),
        "keeper": ("teacher", "farmer", "clerk", "doctor", "miller", "sailor", "guard", "singer"),
        "place": ("bridge", "market", "school", "well", "harbour", "library", "mill", "station"),
        "thing": ("lamp", "book", "cup", "basket", "letter", "clock", "chair", "bell"),
    },
    counts=("two", "three", "four", "five", "six"),
)

# Chinese sentences carry full-width punctuation and no spaces; a predicate follows its subject directly.
CHINESE = Phrasebook(
    predicates={
        "home": _semi(
            "住在{v};在{v}有一座房子;出生在{v};在{v}长大;来自{v};一直没有离开{v};在{v}租了一间屋子;"
            "认得{v}的每一扇门;后来回到了{v};每天走在{v}的街上;把{v}当作自己的家;只有在{v}才睡得好"
        ),
        "trade": _semi(
            "靠{v}谋生;从小学习{v};以{v}为业;整天忙着{v};因为{v}而出名;靠{v}赚钱;做{v}已经二十年;"
            "教徒弟{v};擅长{v};跟着父亲学会了{v};把一生都给了{v};最拿手的是{v}"
        ),
        "subject": _semi(
            "研究{v};读过许多{v}书;上过{v}课;通过了{v}考试;常常讲解{v};写了一本{v}笔记;在学校专门学{v};"
            "总在思考{v}问题;想要精通{v};写过一篇{v}文章;家里有十本{v}书;晚上自学{v}"
        ),
        "sport": _semi(
            "练习{v};因为{v}得过奖;每个周日都去{v};加入了{v}小组;靠{v}来放松;很会{v};周末都用来{v};"
            "只在{v}上输过一次;离不开{v};参加过{v}比赛;靠{v}保持健康;从小就爱{v}"
        ),
        "food": _semi(
            "爱吃{v};会做{v};每次都点{v};喜欢{v}的味道;用{v}招待客人;从不拒绝{v};常去集市买{v};早上先吃{v};"
            "午饭总带{v};总想多吃一点{v};在厨房里存着{v};做梦都想着{v}"
        ),
        "colour": _semi(
            "爱穿{v}衣服;把门刷成了{v};有一件{v}外套;给墙选了{v};用{v}墨水写信;有一辆{v}自行车;挂着一面{v}旗子;"
            "用{v}的绳子捆东西;买了一顶{v}帽子;用{v}的纸包礼物;点着一盏{v}的灯;床上铺着{v}毯子"
        ),
    },
    frames=_lines("""
        {x}的{n}是{v}
        说到{x}的{n}，那就是{v}
        {x}认定的{n}是{v}
        若问{x}的{n}，回答是{v}
        {x}在{n}一栏写着{v}
        {x}常提起自己的{n}，也就是{v}
        册子里{x}的{n}写作{v}
        {x}选定的{n}，正是{v}
        {x}的{n}不是别的，就是{v}
        谈起{n}，{x}总说{v}
        {x}这个名字旁边，{n}记为{v}
        有人打听{x}的{n}，得知是{v}
    """),
    lead_ins=_lines("""
        据邻居说，
        照旧档案的记载，
        大家都知道，
        其实，
        人们常说，
        的确，
        听老人讲，
        从信里看，
    """),
    joins=("，也", "，还", "，同时"),
    contrast="{a}，而{b}",
    stop="。",
    gap="",
    openings={
        "chronicle": _lines("""
            这一页写于{season}，讲的是{count}个人的事。
            山谷里的{keeper}在一个{season}的{time}记下了这{count}个人。
            这里说到{count}个人，都是{keeper}认识的。
            {season}里，{keeper}打听了{count}个人的情况，并把听到的写了下来。
            来山谷的客人很快会听说这{count}个人，{keeper}保存了他们的故事。
            下面关于{count}个人的文字，曾在{place}里读给大家听。
        """),
        "web": _lines("""
            去年{season}，我在{place}附近遇见了{count}个人，想给大家讲一讲。
            住在{place}旁边的读者寄来了这篇短文，写的是{count}个人。
            今天介绍{count}个人和他们的小习惯，由一位{keeper}口述。
            一个{time}，有人在{place}留下一张纸条，上面全是{count}个人的事。
            从{season}开始，我一直在收集这{count}个人的故事。
            一位{keeper}在{time}写信给我们，介绍了山谷里的{count}个人。
        """),
    },
    asides=_lines("""
        {place}里没有人怀疑这一点。
        {keeper}笑了笑，翻过了这一页。
        那是{season}里一个安静的{time}。
        {place}旁的孩子也这样告诉我。
        从去年{season}起就是这样。
        桌上的{thing}还是温的。
        这件事问哪位{keeper}都可以。
        我们说话的时候，雨落在{place}上。
        再多的也没有什么可讲了。
        有些事情从来不变。
        窗边放着那个旧{thing}。
        这是我在{season}听一位{keeper}说的。
        每到{time}，都是同样的故事。
        {place}里的人笑着点头。
        我们认真地记了下来。
        最后送上一个{thing}表示感谢。
    """),
    words={
        "season": ("春天", "夏天", "秋天", "冬天"),
        "time": ("早上", "晚上", "夜里", "下午"),
        "keeper": ("老师", "农夫", "书记", "医生", "磨工", "水手", "守卫", "歌手"),
        "place": ("桥头", "集市", "学校", "井台", "码头", "书馆", "磨坊", "车站"),
        "thing": ("台灯", "本子", "杯子", "篮子", "信封", "时钟", "木椅", "铃铛"),
    },
    counts=("两", "三", "四", "五", "六"),
)

PHRASEBOOKS = {"en": ENGLISH, "zh": CHINESE}
