"""Lines that a source says on many of its pages (site headers, share buttons, licence footers) leave its good pages.

Takes layouts; gives the hashes of each text's lines, from them the hashes that a source repeats, and texts without
those lines. The one idea: repetition across documents finds the lines, counted on hashes alone; what is removed is
then judged where it stands, since headings, answers and clauses repeat across documents, too. A line goes alone when
it says what sites say (a notice), or is a whole sentence, or stands outside the text proper, before or after it; any
other only among its like. Programs stay as they are: fenced and indented lines here, and documents judged as code
because the caller leaves them out of the columns and of what is stripped.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from xmodel_core.corpus.config import LinesConfig
from xmodel_core.corpus.measure.features import DIVIDERS, NOTICES
from xmodel_core.corpus.text import characters as c
from xmodel_core.corpus.text.batch import Array, TextBatch

MIN_COLUMNS = 6
"""Width of the letters of the shortest line that is hashed: 扫一扫, 分享到, Log out. A Chinese character is two columns
wide and a letter one, which is also about what each says."""
TELLING_COLUMNS = 16
"""Width from which a line says something by itself. Shorter ones repeat by nature: `None.`, `Answer: C`, 男：好的。"""
MENU_LINES = 5
"""Repeated lines in a row from which on they are a menu, however short. Four are the options of a question."""
CODE_INDENT = 4
"""Blanks from which Markdown and reStructuredText mean a program. Ideographic spaces do not count: two of them begin
every Chinese paragraph."""
CHUNK_HASHES = 1 << 22  # counted together: 32 MB, and about three times that to sort and count them
_WIDTHS = np.zeros(c.CLASSES, np.uint8)
_WIDTHS[c.VOWEL : c.HANGUL] = 1
_WIDTHS[c.HANGUL : c.HAN_RARE + 1] = 2
# What a site says, beyond the notices that the quality rules count: share buttons, prompts, credits, licences.
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
_OPENING = re.compile(r"[:：,，;；]$")  # speaks of a line that follows
_SENTENCE = re.compile(r"[.!?。！？…][\"'”’」』）)*_]*$")
# What is a document's own however often a source has it: a statute's numbered articles, the fields of a header
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
    """The text's and this sum to the characters there were: blank lines that the removal left are counted."""


def _columns(batch: TextBatch) -> Array:
    """int32 per line: the width of its letters."""
    before = np.zeros(len(batch.classes) + 1, np.int32)
    np.cumsum(_WIDTHS[batch.classes], dtype=np.int32, out=before[1:])
    return before[batch.lines.ends] - before[batch.lines.starts]


def _whole(batch: TextBatch) -> Array:
    """int64 [lines, 2]: each line from its first character, blanks included, to behind its newline."""
    newlines = np.flatnonzero(batch.classes == c.NEWLINE)
    which = np.searchsorted(newlines, batch.lines.starts)
    return np.stack((np.concatenate(([0], newlines + 1))[which], newlines[which] + 1), 1)


def _candidates(batch: TextBatch, whole: Array, columns: Array) -> Array:
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

    margin, before = lines.starts - whole[:, 0], codes[whole[:, 0]]
    indented = ((margin >= CODE_INDENT) & (before == ord(" "))) | ((margin > 0) & (before == ord("\t")))

    # A rule is judged by its beginning, middle and end: those of tables have gaps, and head a row of names.
    middle = codes[(lines.starts + lines.ends) // 2]
    rule = begins_alike & (first == last) & (first == middle) & np.isin(first, _codes("=-~^*+")) & ~fence
    underlined = np.zeros(len(lines), bool)
    underlined[:-1] = rule[1:] & (whole[1:, 0] == whole[:-1, 1]) & (lines.text[1:] == lines.text[:-1])

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
    chosen = _candidates(batch, _whole(batch), _columns(batch))
    text, hashes = batch.lines.text[chosen], batch.lines.hashes[chosen]
    order = np.lexsort((hashes, text))
    text, hashes = text[order], hashes[order]
    new = np.ones(len(text), bool)
    new[1:] = (text[1:] != text[:-1]) | (hashes[1:] != hashes[:-1])
    offsets = np.searchsorted(text[new], np.arange(batch.texts + 1)).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(hashes[new], pa.uint64()))


def _gathered(columns: Iterable[pa.ListArray], chunk_hashes: int) -> Iterator[tuple[Array, int]]:
    """(hashes, documents) of runs of columns, large enough to count in."""
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


def boilerplate(
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
    found = np.zeros(0, np.uint64)
    total = 0
    for hashes, documents in _gathered(columns(), chunk_hashes):
        values, counts = np.unique(hashes, return_counts=True)
        found = np.union1d(found, values[counts >= share * documents * (1 - 1e-9)])  # products are rounded
        total += documents
    counts = np.zeros(len(found), np.int64)
    for hashes, _ in _gathered(columns(), chunk_hashes):
        counts += np.bincount(np.searchsorted(found, hashes[_in(hashes, found)]), minlength=len(found))
    return found[counts >= max(config.min_documents, share * total)]


def _in(hashes: Array, found: Array) -> Array:
    if not len(found):
        return np.zeros(len(hashes), bool)
    return found[np.minimum(np.searchsorted(found, hashes), len(found) - 1)] == hashes


def holders(column: pa.ListArray, found: Array) -> Array:
    """bool per text: whether it holds a line of `found`; no other text has anything to lose."""
    hits = np.concatenate(([0], np.cumsum(_in(column.flatten().to_numpy(zero_copy_only=False), found))))
    ends = np.cumsum(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    return np.diff(hits[np.concatenate(([0], ends))]) > 0


def strip(texts: Sequence[str], batch: TextBatch, found: Array, config: LinesConfig | None = None) -> list[Stripped]:
    """Each text without its boilerplate lines; `batch` is theirs, `found` what `boilerplate` gave."""
    config = config or LinesConfig()
    lines = batch.lines
    whole, columns = _whole(batch), _columns(batch)
    hits = _in(lines.hashes, found) & _candidates(batch, whole, columns)
    telling = columns >= TELLING_COLUMNS
    bounds = np.searchsorted(lines.text, np.arange(batch.texts + 1)).tolist()
    results = [Stripped(text, 0, 0) for text in texts]
    for index in np.unique(lines.text[hits]).tolist():
        mine, offset = slice(bounds[index], bounds[index + 1]), int(batch.starts[index])
        text = texts[int(index)]
        inked, hit = np.stack((lines.starts[mine], lines.ends[mine]), 1) - offset, hits[mine]
        written: dict[int, str] = {at: text[inked[at, 0] : inked[at, 1]] for at in np.flatnonzero(hit).tolist()}
        hit[[at for at, line in written.items() if _is_its_own(line)]] = False
        going = np.zeros(len(hit), bool)
        for first, last in _runs(hit):
            run = [written[at] for at in range(first, last)]
            outside = first == 0 or last == len(hit)
            going[first:last] = _is_boilerplate(run, telling[mine][first:last].tolist(), outside)
        lengths = inked[:, 1] - inked[:, 0]
        if going.any() and lengths[going].sum() <= config.max_removed_share * lengths.sum():
            kept, characters = _cut(text, np.minimum(whole[mine] - offset, len(text)), _runs(going))
            results[index] = Stripped(kept, int(going.sum()), characters)
    return results


def _runs(marked: Array) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], marked, [False]))))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _is_its_own(line: str) -> bool:
    return bool(_CLAUSE.match(line) or _CODE.match(line) or (_FIELD.match(line) and not _NOTICE.search(line)))


def _is_boilerplate(run: Sequence[str], telling: Sequence[bool], outside: bool) -> bool:
    """Whether repeated lines that stand together are a site's: a menu; two that say something; one that does and is a
    sentence, or stands `outside` the text, at its beginning or end; a notice.

    Any other line alone between lines of the document's own is a heading, or introduces what follows it.
    """
    if len(run) >= MENU_LINES or sum(telling) >= 2:
        return True
    return any(
        _NOTICE.search(line) or (tells and (_SENTENCE.search(line) or (outside and not _OPENING.search(line))))
        for line, tells in zip(run, telling, strict=True)
    )


def _cut(text: str, lines: Array, runs: Sequence[tuple[int, int]]) -> tuple[str, int]:
    """(the text without these runs of lines, how many characters less); `lines` are [begin, end) of the inked lines.

    Of the blank lines around a run those before it stay, and those after it only where none stand before. What is
    left begins with ink, and ends with a newline if the text did.
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
