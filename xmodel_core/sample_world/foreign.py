"""Pages in languages that no source declares: German, French, Russian, Japanese, Korean.

Takes a language; gives an endless stream of texts from a small grammar each: a subject, a verb with its object,
a place, in sentences that agree. They read like a dull diary, which is enough.
"""

from collections.abc import Iterator
from random import Random

# Per language: subjects; times; verb phrases (third person); places; complete remarks; how a sentence is put together.
_GRAMMARS: dict[str, tuple[str, ...]] = {
    "de": (
        "Der Gärtner|Die Lehrerin|Mein Bruder|Unsere Nachbarin|Der alte Fischer|Das kleine Mädchen|Die Ärztin",
        "heute Morgen|gestern Abend|am Sonntag|im Frühling|nach der Arbeit|seit drei Wochen|jeden Tag",
        "kauft frisches Brot|repariert das alte Fahrrad|liest einen langen Brief|sucht den verlorenen Schlüssel"
        "|kocht eine kräftige Suppe|erzählt eine lustige Geschichte|zählt die weißen Vögel|putzt die großen Fenster",
        "auf dem Marktplatz|hinter dem Haus|neben der Brücke|in der kleinen Küche|am Ufer des Flusses|vor der Schule",
        "Das Wetter ist schön, aber es wird bald regnen.|Niemand weiß, warum das so ist."
        "|Wir freuen uns schon auf den Winter.|Danach gehen alle zusammen nach Hause."
        "|Die Kinder lachen und spielen im Garten.|Es gibt noch viel zu tun.",
        "{subject} {verb} {place}, und zwar {time}.|{subject} {verb} {time} {place}.",
    ),
    "fr": (
        "Le jardinier|La maîtresse|Mon frère|Notre voisine|Le vieux pêcheur|La petite fille|Le médecin|Mon oncle",
        "ce matin|hier soir|le dimanche|au printemps|après le travail|depuis trois semaines|tous les jours",
        "achète du pain frais|répare le vieux vélo|lit une longue lettre|cherche la clé perdue|prépare une bonne soupe"
        "|raconte une histoire drôle|compte les oiseaux blancs|nettoie les grandes fenêtres",
        "sur la place du marché|derrière la maison|à côté du pont|dans la petite cuisine|au bord de la rivière"
        "|devant l'école",
        "Il fait beau, mais il va bientôt pleuvoir.|Personne ne sait pourquoi c'est ainsi.|Nous attendons déjà l'hiver."
        "|Ensuite, tout le monde rentre à la maison."
        "|Les enfants rient et jouent dans le jardin.|Il reste beaucoup à faire.",
        "{subject} {verb} {place} {time}.|{subject} {verb} {time}, toujours {place}.",
    ),
    "ru": (
        "Садовник|Наш учитель|Мой брат|Добрый сосед|Старый рыбак|Маленький мальчик|Молодой врач|Мой дядя",
        "сегодня утром|вчера вечером|в воскресенье|весной|после работы|уже три недели подряд|каждый день",
        "покупает свежий хлеб|чинит старый велосипед|читает длинное письмо|ищет потерянный ключ|варит густой суп"
        "|рассказывает смешную историю|считает белых птиц|моет большие окна",
        "на рыночной площади|за домом|возле моста|в маленькой кухне|на берегу реки|перед школой",
        "Погода хорошая, но скоро пойдёт дождь.|Никто не знает, почему это так.|Мы уже ждём зиму."
        "|Потом все вместе идут домой.|Дети смеются и играют в саду.|Ещё многое нужно сделать.",
        "{subject} {verb} {place}, и это бывает часто.|{subject} {verb} {place}, как говорят соседи.",
    ),
    "ja": (
        "庭師|先生|弟|となりのおばさん|年をとった漁師|小さな女の子|お医者さん|おじさん",
        "今朝|きのうの夜|日曜日に|春になると|仕事のあとで|三週間前から|毎日",
        "焼きたてのパンを買います|古い自転車を直します|長い手紙を読みます|なくした鍵をさがします|あたたかいスープを作ります"
        "|おもしろい話をします|白い鳥を数えます|大きな窓をふきます",
        "市場で|家のうらで|橋のそばで|小さな台所で|川の岸で|学校の前で",
        "天気はいいですが、もうすぐ雨が降るでしょう。|どうしてそうなのか、だれも知りません。|冬が来るのを楽しみにしています。"
        "|それから、みんなでいっしょに家へ帰ります。|子どもたちは庭で笑いながら遊んでいます。|まだすることがたくさんあります。",
        "{time}、{subject}は{place}{verb}。|{subject}は{time}{place}{verb}。",
    ),
    "ko": (
        "정원사는|선생님은|내 동생은|옆집 아주머니는|늙은 어부는|어린 소녀는|의사는|우리 삼촌은",
        "오늘 아침에|어제 저녁에|일요일마다|봄이 되면|일이 끝난 뒤에|삼 주 전부터|매일",
        "갓 구운 빵을 삽니다|낡은 자전거를 고칩니다|긴 편지를 읽습니다|잃어버린 열쇠를 찾습니다|따뜻한 국을 끓입니다"
        "|재미있는 이야기를 합니다|하얀 새를 셉니다|큰 창문을 닦습니다",
        "시장에서|집 뒤에서|다리 옆에서|작은 부엌에서|강가에서|학교 앞에서",
        "날씨는 좋지만 곧 비가 올 것입니다.|왜 그런지는 아무도 모릅니다.|우리는 벌써 겨울을 기다리고 있습니다."
        "|그다음에 모두 함께 집으로 돌아갑니다."
        "|아이들은 마당에서 웃으며 놀고 있습니다.|아직 할 일이 많이 남아 있습니다.",
        "{subject} {time} {place} {verb}.|{time} {subject} {place} {verb}.",
    ),
}
LANGUAGES = tuple(_GRAMMARS)


def foreign(lang: str, rng: Random) -> Iterator[str]:
    """Pages of two paragraphs without end."""
    subjects, times, verbs, places, remarks, frames = (part.split("|") for part in _GRAMMARS[lang])
    gap = "" if lang == "ja" else " "
    while True:
        paragraphs = []
        for _ in range(2):
            sentences = []
            for _ in range(rng.randint(6, 9)):
                text = rng.choice(frames).format(
                    subject=rng.choice(subjects),
                    time=rng.choice(times),
                    verb=rng.choice(verbs),
                    place=rng.choice(places),
                )
                sentences.append(text[0].upper() + text[1:])
            for remark in rng.sample(remarks, 2):
                sentences.insert(rng.randint(1, len(sentences)), remark)
            paragraphs.append(gap.join(sentences))
        yield "\n\n".join(paragraphs)
