"""Boilerplate lines: repeated by counting over a source's documents, removed where they are a site's, nothing else."""

import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.corpus.boilerplate.lines import Stripped, boilerplate_hashes, holds_any, line_hashes, strip
from xmodel_core.corpus.config import LinesConfig
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.corpus.text.characters import KANA, SPACE, tables

LOW = LinesConfig(min_documents=2, min_document_share=0.01)
FOOTER = "Copyright the Harbour Gazette. All rights reserved."
SITE = [
    "Harbour Gazette: all about the coast",
    "Click here to subscribe to our newsletter",
    FOOTER,
    "扫一扫",
    "版权所有 未经许可不得转载",
    "感谢您的阅读，欢迎下次再来。",
]


def repeated_in(
    texts: Sequence[str], config: LinesConfig | None = None, parts: int = 1, chunk: int = 1 << 22
) -> np.ndarray:
    """What a source of these texts repeats, its columns in `parts` parts."""
    columns = [line_hashes(make_batch(list(part))) for part in np.array_split(np.array(texts, object), parts)]
    return boilerplate_hashes(lambda: columns, config, chunk)


def stripped(texts: Sequence[str], config: LinesConfig | None = None) -> list[Stripped]:
    """Each text of a source without the lines that the source repeats."""
    return strip(texts, make_batch(texts), repeated_in(texts, config), config)


def pages(text: Callable[..., str], before: str = "", after: str = "", count: int = 30, lang: str = "en") -> list[str]:
    return [f"{before}{text(lang, 12, seed)}{after}" for seed in range(count)]


def between(line: str) -> Callable[[str], str]:
    """Puts a line alone between the first paragraph and the others."""
    return lambda page: page.replace("\n\n", f"\n\n{line}\n\n", 1)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_headers_and_footers_go_and_every_page_is_as_it_was(text: Callable[..., str], lang: str) -> None:
    clean = pages(text, lang=lang)
    header = (
        "河岸日报，河岸人自己的报纸\n当前位置：首页 > 新闻\n\n"
        if lang == "zh"
        else "Harbour Gazette\nSkip to main content\n\n"
    )
    footer = "\n\n责任编辑：王小明\n\n扫一扫" if lang == "zh" else f"\n\nShare on Facebook\n\n{FOOTER}"
    results = stripped([f"{header}{page}{footer}" for page in clean])
    assert [result.text for result in results] == clean
    assert {result.lines for result in results} == {4}
    assert {result.characters for result in results} == {len(header) + len(footer)}


@pytest.mark.parametrize(
    "line",
    [
        "Click here to read more",
        "Advertisement",
        "分享到：",
        "扫一扫",
        "责任编辑：王小明",
        "Home > News > Harbour",
        "This page is licensed under the Open Harbour Licence.",
        "All articles are kept in the town's own archive.",
        "本文由河岸日报的读者推荐，感谢大家。",
    ],
)
def test_a_notice_or_a_sentence_goes_from_the_middle_of_a_page(text: Callable[..., str], line: str) -> None:
    clean = pages(text, lang="en" if line.isascii() else "zh")
    assert [result.text for result in stripped(list(map(between(line), clean)))] == clean


@pytest.mark.parametrize(
    "line",
    [
        "Backwards compatibility and deployment",  # a heading of the source's form
        "## Backwards compatibility and deployment.",
        "Reasons for this proposal.\n==========================",
        "== Early life and education ==",
        "- View documentation for the original command:",
        "- 查看原命令的文档：",
        "None of it.",
        "Answer: the second of the options is right.",
        "Status: Final and approved by the council.",
        "男：好的，那就这样吧，没问题，谢谢你。",
        "第一条 为了加强港口管理，制定本条例。",
        "第一章　总则，以及港口管理的一般规定。",
        "[rationale]: #rationale-and-alternatives-of-the-proposal.",
        "| The name of the field | What it stands for. |",
        "\\begin{aligned} the sum of both sides. \\end{aligned}",
        "```\nprint the value of the counter.\n```",
        "Backwards compatibility.\n~~~~~~~~~~~~~~~~~~~~~~~~",
        "~~~ text\nprint the value of the counter.\n~~~",
        "    print the value of the counter.",
        "\tprint the value of the counter.",
        "from __future__ import annotations",
        "import matplotlib.pyplot as plt\nimport scientific.statistics as stats",
        "public static void main(String[] arguments) {\nSystem.out.println(arguments.length);",
        "白居易",
        "------------------------------------",
    ],
)
def test_what_is_a_documents_own_stays_however_often_a_source_has_it(text: Callable[..., str], line: str) -> None:
    texts = [between(line)(page) for page in pages(text, lang="en" if line.isascii() else "zh")]
    assert [result.text for result in stripped(texts)] == texts


def test_a_wrapped_paragraph_goes_as_a_whole_though_no_line_of_it_is_a_sentence(text: Callable[..., str]) -> None:
    wrapped = "These pages may be copied and given\naway to anyone at no cost whatsoever"
    clean = pages(text)
    assert [result.text for result in stripped(list(map(between(wrapped), clean)))] == clean


def test_a_title_line_goes_outside_the_text_unless_it_introduces_what_follows(text: Callable[..., str]) -> None:
    clean = pages(text)
    title, prompt = "Harbour Gazette, the paper of the coast", "Please complete the sentences above:"
    assert [result.text for result in stripped([f"{title}\n\n{page}" for page in clean])] == clean
    prompts = [f"{page}\n\n{prompt}" for page in clean]
    assert [result.text for result in stripped(prompts)] == prompts


def test_answers_stay_at_the_end_of_exercises(text: Callable[..., str]) -> None:
    texts = [f"{text('en', 4, seed)}\nAnswer: {'ABCD'[seed % 4]}" for seed in range(60)]
    assert stripped(texts) == [Stripped(each, 0, 0) for each in texts]


def test_a_refrain_stays_since_a_line_counts_once_per_document(text: Callable[..., str]) -> None:
    refrain = "And home we sailed across the bay."
    song = "\n".join(f"{line}\n{refrain}" for line in text("en", 12, 99).split(". "))
    texts = [*pages(text, count=40), song, song + " Again."]
    assert repeated_in(texts).size == 0
    assert [result.text for result in stripped(texts)] == texts


def test_menus_go_as_a_whole_and_single_entries_stay(text: Callable[..., str]) -> None:
    menu = "Politics\nOpinions\nWeather\nCulture\nTravel tips\n\n"
    clean = pages(text)
    lone = between("Weather")
    results = stripped([menu + lone(page) for page in clean])
    assert [result.text for result in results] == list(map(lone, clean))


def test_a_line_needs_enough_documents_and_a_share_of_the_source(text: Callable[..., str]) -> None:
    clean = pages(text, count=100)

    def on(count: int, config: LinesConfig) -> int:
        return len(repeated_in([f"{p}\n\n{FOOTER}" if i < count else p for i, p in enumerate(clean)], config))

    assert [on(count, LinesConfig(min_documents=8, min_document_share=0.01)) for count in (7, 8)] == [0, 1]
    assert [on(count, LinesConfig(min_documents=2, min_document_share=0.2)) for count in (19, 20)] == [0, 1]


def test_case_and_width_do_not_hide_a_line(text: Callable[..., str]) -> None:
    forms = [FOOTER, FOOTER.upper(), "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in FOOTER)]
    clean = pages(text, count=60)
    texts = [f"{page}\n\n{forms[index % 3]}" for index, page in enumerate(clean)]
    assert [result.text for result in stripped(texts, LinesConfig(min_document_share=0.5))] == clean


def test_a_document_that_is_mostly_repeated_lines_is_a_template_and_stays_whole(text: Callable[..., str]) -> None:
    texts = [*pages(text, after=f"\n{FOOTER}"), f"Closed.\n{FOOTER}", FOOTER]
    assert [result.lines for result in stripped(texts)] == [1] * 30 + [0, 0]


def test_blank_lines_around_a_cut_do_not_add_up() -> None:
    repeated = repeated_in([FOOTER] * 10)

    def cut(page: str) -> str:
        texts = [page.replace("X", FOOTER)]
        return strip(texts, make_batch(texts), repeated)[0].text

    body = ["The river rose in the night. " * 4, "Nobody in the village slept. " * 4]
    one, two = (line.strip() for line in body)
    assert cut(f"{one}\n\nX\n\n{two}") == f"{one}\n\n{two}"
    assert cut(f"{one}\nX\n{two}\n") == f"{one}\n{two}\n"
    assert cut(f"{one}\nX\n\n{two}\n") == f"{one}\n\n{two}\n"
    assert cut(f"{one}\n\nX\n{two}") == f"{one}\n\n{two}"
    assert cut(f"\n\nX\n \n{one}\n\n\n{two}") == f"{one}\n\n\n{two}"
    assert cut(f"{one}\n\n{two}\n\nX\n\n") == f"{one}\n\n{two}\n"
    assert cut(f"{one}\n\n{two}\n\n  X") == f"{one}\n\n{two}"
    assert cut(f"　　{one}\n\nX\n\n　　{two}") == f"　　{one}\n\n　　{two}"


def test_texts_without_lines_and_sources_without_documents_are_nothing_special() -> None:
    for texts in ([], [""], ["", "\n \n", "x"]):
        column = line_hashes(make_batch(texts))
        assert column.to_pylist() == [[] for _ in texts]
        assert boilerplate_hashes(lambda column=column: [column]).tolist() == []
        assert stripped(texts) == [Stripped(text, 0, 0) for text in texts]
    assert boilerplate_hashes(list).tolist() == []


def test_documents_that_lose_nothing_are_known_from_their_columns(text: Callable[..., str]) -> None:
    texts = [f"{page}\n\n{FOOTER}" if index % 3 else page for index, page in enumerate(pages(text))]
    column = line_hashes(make_batch(texts))
    repeated = boilerplate_hashes(lambda: [column])
    assert holds_any(column, repeated).tolist() == [
        result.lines > 0 for result in strip(texts, make_batch(texts), repeated)
    ]
    assert holds_any(column.slice(4, 7), repeated).tolist() == holds_any(column, repeated)[4:11].tolist()
    assert not holds_any(column, repeated[:0]).any()


def test_a_null_column_entry_is_no_document(text: Callable[..., str]) -> None:
    column = line_hashes(make_batch(pages(text, after=f"\n\n{FOOTER}", count=10)))
    column = pa.concat_arrays([column, pa.nulls(100, column.type)])
    config = LinesConfig(min_document_share=0.5)
    repeated = boilerplate_hashes(lambda: [column], config)
    assert len(repeated) == 1
    assert holds_any(column, repeated).tolist() == [True] * 10 + [False] * 100


# What must always hold, on documents made of a site's lines, prose, markup and blanks in any order.
REMOVABLE = [
    *SITE,
    "Weather",
    "Backwards compatibility and deployment",
    "- Display help:",
    "　　他在星期天早晨修好了那座桥。",
    *(f"The {thing} was painted in the {season}." for thing in ("door", "boat") for season in ("spring", "autumn")),
]
OTHERS = ["Status: Final and approved.", "## Summary of it all", "第二条 略。", "    indented with care."]
PIECES = st.sampled_from([*REMOVABLE, *OTHERS, "```", "~~~~", "=====", "", " "])
DOCUMENTS = st.lists(st.lists(PIECES, max_size=9).map("\n".join), min_size=1, max_size=12)
ANY_CONFIG = st.builds(
    LinesConfig,
    min_documents=st.integers(2, 4),
    min_document_share=st.sampled_from([0.01, 0.1, 0.3, 0.5]),
    max_removed_share=st.sampled_from([0.3, 0.67, 1.0]),
)
many = settings(max_examples=60)


@many
@given(DOCUMENTS, ANY_CONFIG, st.randoms(use_true_random=False))
def test_neither_the_order_of_documents_nor_how_they_are_cut_into_parts_matters(
    texts: list[str], config: LinesConfig, rng: random.Random
) -> None:
    shuffled = rng.sample(texts, len(texts))
    repeated = repeated_in(texts, config)
    for parts, chunk in ((1, 1), (3, 1), (len(texts), 1), (len(texts), 5)):
        assert repeated_in(shuffled, config, parts, chunk).tolist() == repeated.tolist()
    alone = [strip([text], make_batch([text]), repeated, config)[0] for text in texts]
    assert strip(texts, make_batch(texts), repeated, config) == alone


def plain_lines(text: str) -> set[str]:
    """The lines that count, in plain Python: neither short, nor code, nor markup; case and width folded."""
    written = text.split("\n")
    inked = [
        (at, line.strip()) for at, line in enumerate(written) if any(tables().classes[ord(c)] > SPACE for c in line)
    ]
    result, fenced = set(), False
    for order, (at, line) in enumerate(inked):
        fence = line.startswith("```") and not (line[-1] == "`" and len(line) > 6)
        fence |= line.startswith("~~~") and (line == "~~~" or line[-1] != "~")
        fenced ^= fence
        following = inked[order + 1] if order + 1 < len(inked) else (at, "x")
        after = following[1]
        rule = after[0] in "=-~^*+" and {after[0]} == {*after[:3], after[len(after) // 2], after[-1]}
        underlined = following[0] == at + 1 and len(after) >= 3 and rule and after != "~~~"
        width = sum(2 if tables().classes[ord(c)] >= KANA else 1 for c in line if unicodedata.category(c)[0] in "LM")
        markup = line[0] in "#=|\\" or (line[0] == "[" and "]:" in line)
        if not (fenced or fence or underlined or markup or written[at].startswith(("    ", "\t")) or width < 6):
            result.add("".join(chr(tables().folded[ord(c)]) for c in line))
    return result


@many
@given(DOCUMENTS, ANY_CONFIG)
def test_counting_hashes_finds_what_counting_lines_finds(texts: list[str], config: LinesConfig) -> None:
    counts = Counter(line for text in texts for line in plain_lines(text))
    needed = max(config.min_documents, config.min_document_share * len(texts))
    wanted = [line for line, count in counts.items() if count >= needed]
    hashes = sorted(make_batch([line]).lines.hashes[0] for line in wanted)
    assert repeated_in(texts, config).tolist() == hashes


@many
@given(DOCUMENTS, ANY_CONFIG)
def test_what_goes_are_whole_lines_and_what_stays_is_untouched(texts: list[str], config: LinesConfig) -> None:
    for text, result in zip(texts, stripped(texts, config), strict=True):
        assert len(result.text) + result.characters == len(text)
        before = [line for line in text.split("\n") if line.strip()]
        after = [line for line in result.text.split("\n") if line.strip()]
        assert len(before) - len(after) == result.lines
        rest = iter(before)
        assert all(line in rest for line in after), "what stays keeps its order"
        assert set(before) - set(after) <= set(REMOVABLE)
        assert result.lines or result.text is text
        inked = sum(len(line.strip()) for line in before)
        assert sum(len(line.strip()) for line in after) >= inked * (1 - config.max_removed_share) - 1e-6


@many
@given(DOCUMENTS, ANY_CONFIG)
def test_stripping_twice_is_stripping_once(texts: list[str], config: LinesConfig) -> None:
    repeated = repeated_in(texts, config)
    once = [result.text for result in strip(texts, make_batch(texts), repeated, config)]
    assert strip(once, make_batch(once), repeated, config) == [Stripped(text, 0, 0) for text in once]


@many
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), max_size=8), DOCUMENTS)
def test_a_text_without_a_repeated_line_is_given_back_as_it_is(strange: list[str], texts: list[str]) -> None:
    repeated = repeated_in(texts, LOW)
    results = strip(strange, make_batch(strange), repeated, LOW)
    held = holds_any(line_hashes(make_batch(strange)), repeated)
    assert all(
        result == Stripped(text, 0, 0) for text, result, has in zip(strange, results, held, strict=True) if not has
    )
    assert all(len(result.text) + result.characters == len(text) for text, result in zip(strange, results, strict=True))
