"""Boilerplate lines: lines that a source repeats on many pages (site headers, share buttons, licence footers).

Takes batches of texts; gives the hashes of each text's lines, from them the hashes that a source repeats, and texts
without those lines. The one idea: repetition across documents finds the lines, counted on hashes alone; each is then
judged in its place, since headings, answers and clauses repeat across documents, too. A line is removed by itself if
it is a notice of a site, a complete sentence, or before or after the text proper; any other only next to others of
its kind. Programs stay as they are: fenced and indented lines here, and documents judged as code because the caller
leaves them out of the columns and of what is stripped.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from xmodel_core.corpus.config import LinesConfig
from xmodel_core.corpus.text import characters as c
from xmodel_core.corpus.text.batch import Array, TextBatch
from xmodel_core.corpus.text.site_text import DIVIDERS, NOTICES

MIN_COLUMNS = 6
"""Width of the letters of the shortest line that is hashed: 扫一扫, 分享到, Log out. A Chinese character is two columns
wide and a letter one, which is also about what each says."""
MEANINGFUL_COLUMNS = 16
"""Width from which a line is meaningful by itself. Shorter ones repeat by nature: `None.`, `Answer: C`, 男：好的。"""
MENU_LINES = 5
"""Repeated lines in a row from which on they are a menu, however short. Four are the options of a question."""
CODE_INDENT = 4
"""Blanks from which Markdown and reStructuredText mean a program. Ideographic spaces do not count: two of them begin
every Chinese paragraph."""
CHUNK_HASHES = 1 << 22  # counted together: 32 MB, and about three times that to sort and count them
_WIDTHS = np.zeros(c.CLASSES, np.uint8)
_WIDTHS[c.VOWEL : c.HANGUL] = 1
_WIDTHS[c.HANGUL : c.HAN_RARE + 1] = 2
# Notices of sites, beyond those that the quality rules count: share buttons, prompts, credits, licences.
_ENGLISH = (
    "all rights|licen[cs]ed?|public domain|trademarks?|share (?:on|via|to|with)|tweet|facebook|twitter|instagram"
    "|linkedin|pinterest|whatsapp|mailing list|advertisements?|advertise|sponsored|skip to|back to top|leave a reply"
    "|leave a comment|your email address|unsubscribe|terms and conditions|related (?:posts|articles|stories)"
    "|originally published|continue reading|log ?out|you may also like|you might also like|most popular|read next"
    "|report (?:a|an) (?:typo|error)|photo by|for visiting|for reading"
)
_CHINESE = (
    "分享|微信|微博|朋友圈|二维码|扫码|关注我们|责编|编辑[:：]|校对[:：]|译者[:：]|选题[:：]|来源[:：]|原标题"
    "|本文由|本文来自|本文来源|译文出自|转载|许可协议|免责|投稿|广告|网站地图|相关阅读|相关推荐|推荐阅读|延伸阅读|阅读原文|查看更多|订阅|回到顶部"
    "|侵权|本站|当前位置|当前的位置|您的位置|侵權|責任編輯|編輯[:：]|來源[:：]|轉載|廣告|訂閱|相關閱讀|掃一掃|回到頂端"
)
_KNOWN = NOTICES.split("|")
_NOTICE = re.compile(
    rf"\b(?:{'|'.join(filter(str.isascii, _KNOWN))}|{_ENGLISH})\b"
    rf"|{'|'.join(known for known in _KNOWN if not known.isascii())}|{_CHINESE}"
    rf"|\s[{DIVIDERS}]\s.*\s[{DIVIDERS}]\s",  # Home > News > Asia, and menus in one line
    re.IGNORECASE,
)
_OPENING = re.compile(r"[:：,，;；]$")  # introduces a line that follows
_SENTENCE = re.compile(r"[.!?。！？…][\"'”’」』）)*_]*$")
# Content, however often a source repeats it: a statute's numbered articles, the fields of a header
# (`Status: Final`), of a form, a dialogue (答案：…, 男：…). A field that holds a notice is one (`Copyright: …`).
_CLAUSE = re.compile(r"[*（(]*第?[一二三四五六七八九十百千零〇\d]+[条條款章节節编編项項、)）]")
_CODE = re.compile(  # where a page lost the fences around its programs
    r"(?:import|package|def|class|fn|func) [\w.{*]"
    r"|from [\w.]+ import |>>> |\$ |@\w|.*[;{}=\\]$"
)
_FIELD = re.compile(r"(?:[-*>•] *)*(?:[A-Za-z][\w-]*(?: [\w-]+)?: |[^\W\d]{1,6}：)")


class Stripped(NamedTuple):
    """A text without its boilerplate lines, and what was removed."""

    text: str
    lines: int
    characters: int
    """Removed, with blank lines that the removal left: the original's less those of `text`."""


def _columns(batch: TextBatch) -> Array:
    """int32 per line: the width of its letters."""
    before = np.zeros(len(batch.classes) + 1, np.int32)
    np.cumsum(_WIDTHS[batch.classes], dtype=np.int32, out=before[1:])
    return before[batch.lines.ends] - before[batch.lines.starts]


def _extents(batch: TextBatch) -> Array:
    """int64 [lines, 2]: each line from its first character, blanks included, to behind its newline."""
    newlines = np.flatnonzero(batch.classes == c.NEWLINE)
    which = np.searchsorted(newlines, batch.lines.starts)
    return np.stack((np.concatenate(([0], newlines + 1))[which], newlines[which] + 1), 1)


def _candidates(batch: TextBatch, extents: Array, columns: Array) -> Array:
    """bool per line: neither too short, nor a program's, nor Markdown's or reStructuredText's own structure.

    It depends on lines that are never candidates themselves, so it stays true when others are removed.
    """
    lines, codes = batch.lines, batch.codes
    if not len(lines):
        return np.zeros(0, bool)
    first, last = codes[lines.starts], codes[lines.ends - 1]
    second, third = (codes[np.minimum(lines.starts + offset, lines.ends - 1)] for offset in (1, 2))
    lengths = lines.ends - lines.starts
    begins_alike = (first == second) & (second == third) & (lengths >= 3)

    fence = begins_alike & (first == ord("`")) & ((last != first) | (lengths <= 6))  # ```like this``` is a phrase
    fence |= begins_alike & (first == ord("~")) & ((last != first) | (lengths == 3))  # longer, it underlines
    fences = np.cumsum(fence)
    first_of_text = np.searchsorted(lines.text, lines.text)
    fenced = fence | ((fences - (fences - fence)[first_of_text]) % 2 == 1)

    margin, before = lines.starts - extents[:, 0], codes[extents[:, 0]]
    indented = ((margin >= CODE_INDENT) & (before == ord(" "))) | ((margin > 0) & (before == ord("\t")))

    # A rule is judged by its beginning, middle and end: those of tables have gaps, and head a row of names.
    middle = codes[(lines.starts + lines.ends) // 2]
    rule = begins_alike & (first == last) & (first == middle) & np.isin(first, _codes("=-~^*+")) & ~fence
    underlined = np.zeros(len(lines), bool)
    underlined[:-1] = rule[1:] & (extents[1:, 0] == extents[:-1, 1]) & (lines.text[1:] == lines.text[:-1])

    markup = np.isin(first, _codes("#=|\\"))  # headings, of wikis too, tables, TeX
    maybe = np.flatnonzero(first == ord("["))
    if len(maybe):  # [name]: address
        closings = np.flatnonzero((codes[:-1] == ord("]")) & (codes[1:] == ord(":")))
        inside = np.searchsorted(closings, np.stack((lines.starts[maybe], lines.ends[maybe]), 1))
        markup[maybe] = inside[:, 1] > inside[:, 0]
    return (columns >= MIN_COLUMNS) & ~(fenced | indented | underlined | markup)


def _codes(signs: str) -> Array:
    return np.array([ord(sign) for sign in signs], np.uint32)


def line_hashes(batch: TextBatch) -> pa.ListArray:
    """list<uint64>, one entry per text: the hashes of its different lines, sorted; nothing of short lines,
    programs and headings. Case and width are folded."""
    chosen = _candidates(batch, _extents(batch), _columns(batch))
    text, hashes = batch.lines.text[chosen], batch.lines.hashes[chosen]
    order = np.lexsort((hashes, text))
    text, hashes = text[order], hashes[order]
    new = np.ones(len(text), bool)
    new[1:] = (text[1:] != text[:-1]) | (hashes[1:] != hashes[:-1])
    offsets = np.searchsorted(text[new], np.arange(batch.texts + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(hashes[new], pa.uint64()))


def _chunks(columns: Iterable[pa.ListArray], chunk_hashes: int) -> Iterator[tuple[Array, int]]:
    """(hashes, number of documents) of successive columns, joined until they are large enough to count in."""
    parts: list[Array] = []
    documents = 0
    for column in columns:
        parts.append(column.flatten().to_numpy(zero_copy_only=False))
        documents += len(column) - column.null_count
        if sum(map(len, parts)) >= chunk_hashes:
            yield np.concatenate(parts), documents
            parts, documents = [], 0
    if parts:
        yield np.concatenate(parts), documents


def boilerplate_hashes(
    columns: Callable[[], Iterable[pa.ListArray]],
    config: LinesConfig | None = None,
    chunk_hashes: int = CHUNK_HASHES,
) -> Array:
    """Sorted uint64: the hashes of the lines that a source repeats; the same however its columns are cut and ordered.

    `columns` gives the line hashes of the source's prose (a null is no document), part by part; it is called twice.
    A line that has its share of all documents has it in at least one chunk of them (Savasere et al. 1995), so the
    first pass keeps each chunk's frequent lines and the second counts those exactly. Memory: one chunk, and what is
    frequent in a chunk, of which there is at most (lines per document) / min_document_share. Time: two readings.
    """
    config = config or LinesConfig()
    share = config.min_document_share
    frequent = np.zeros(0, np.uint64)
    total = 0
    for hashes, documents in _chunks(columns(), chunk_hashes):
        values, counts = np.unique(hashes, return_counts=True)
        frequent = np.union1d(frequent, values[counts >= share * documents * (1 - 1e-9)])  # products are rounded
        total += documents
    counts = np.zeros(len(frequent), np.int64)
    for hashes, _ in _chunks(columns(), chunk_hashes):
        counts += np.bincount(np.searchsorted(frequent, hashes[_in(hashes, frequent)]), minlength=len(frequent))
    return frequent[counts >= max(config.min_documents, share * total)]


def _in(hashes: Array, ascending: Array) -> Array:
    """bool per hash: whether it is one of `ascending`."""
    if not len(ascending):
        return np.zeros(len(hashes), bool)
    return ascending[np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)] == hashes


def holds_any(column: pa.ListArray, repeated: Array) -> Array:
    """bool per text: whether it holds a line of `repeated`; no other text has anything to lose."""
    hits = np.concatenate(([0], np.cumsum(_in(column.flatten().to_numpy(zero_copy_only=False), repeated))))
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    return np.diff(hits[np.concatenate(([0], ends))]) > 0


def strip(texts: Sequence[str], batch: TextBatch, repeated: Array, config: LinesConfig | None = None) -> list[Stripped]:
    """Each text without its boilerplate lines; `batch` is theirs, `repeated` the result of
    `boilerplate_hashes`."""
    config = config or LinesConfig()
    lines = batch.lines
    extents, columns = _extents(batch), _columns(batch)
    hits = _in(lines.hashes, repeated) & _candidates(batch, extents, columns)
    meaningful = columns >= MEANINGFUL_COLUMNS
    bounds = np.searchsorted(lines.text, np.arange(batch.texts + 1)).tolist()
    results = [Stripped(text, 0, 0) for text in texts]
    for index in np.unique(lines.text[hits]).tolist():
        of_text, offset = slice(bounds[index], bounds[index + 1]), int(batch.starts[index])
        text = texts[int(index)]
        spans, hit = np.stack((lines.starts[of_text], lines.ends[of_text]), 1) - offset, hits[of_text]
        hit_lines: dict[int, str] = {at: text[spans[at, 0] : spans[at, 1]] for at in np.flatnonzero(hit).tolist()}
        hit[[at for at, line in hit_lines.items() if _is_content(line)]] = False
        removed = np.zeros(len(hit), bool)
        for first, last in _runs(hit):
            run = [hit_lines[at] for at in range(first, last)]
            outside = first == 0 or last == len(hit)
            removed[first:last] = _is_boilerplate(run, meaningful[of_text][first:last].tolist(), outside)
        lengths = spans[:, 1] - spans[:, 0]
        if removed.any() and lengths[removed].sum() <= config.max_removed_share * lengths.sum():
            kept, characters = _cut(text, np.minimum(extents[of_text] - offset, len(text)), _runs(removed))
            results[index] = Stripped(kept, int(removed.sum()), characters)
    return results


def _runs(marked: Array) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _is_content(line: str) -> bool:
    """Whether a line is content however often it repeats: a clause, a line of a program, a field of a form."""
    return bool(_CLAUSE.match(line) or _CODE.match(line) or (_FIELD.match(line) and not _NOTICE.search(line)))


def _is_boilerplate(run: Sequence[str], meaningful: Sequence[bool], outside: bool) -> bool:
    """Whether adjacent repeated lines are a site's: a menu; two meaningful lines; one that is also a sentence, or
    `outside` the text proper, at its beginning or end; a notice.

    Any other single line between lines of content is a heading, or introduces what follows it.
    """
    if len(run) >= MENU_LINES or sum(meaningful) >= 2:
        return True
    return any(
        _NOTICE.search(line) or (means and (_SENTENCE.search(line) or (outside and not _OPENING.search(line))))
        for line, means in zip(run, meaningful, strict=True)
    )


def _cut(text: str, lines: Array, runs: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """(the text without these runs of lines, how many characters were removed); `lines` are [begin, end) of the lines
    that are not blank.

    Of the blank lines around a run those before it stay, and those after it only where there are none before. The rest
    begins with a line that is not blank, and ends with a newline if the text did.
    """
    parts: list[str] = []
    position = removed = 0
    for first, last in runs:
        begin, end = lines[first, 0], lines[last - 1, 1]
        before = lines[first - 1, 1] if first else 0
        behind = lines[last, 0] if last < len(lines) else len(text)
        if last == len(lines):
            begin, end = before, behind
            if begin and not text.endswith("\n"):
                begin -= 1  # the newline of the last line that stays
        elif not first:
            begin, end = 0, behind
        elif begin > before:
            end = behind
        parts.append(text[position:begin])
        removed += int(end - begin)
        position = end
    parts.append(text[position:])
    return "".join(parts), removed
