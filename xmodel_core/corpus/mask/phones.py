"""Phone numbers: Chinese mobiles, landlines and hotlines, North American and international numbers, and whatever a word
before it calls a phone's."""

import re

from xmodel_core.corpus.mask.numbers import OTHER_NUMBER, Numbers, Spans, digits_of, in_runs, stands_alone, text_before

# Numbers that their form proves. Mobiles are written in groups of 3-4-4, rarely otherwise.
_MOBILE = re.compile(
    r"(?<![0-9])(?:[(（]?(?:\+|00)?86[)）]?[- ]{0,2}|0)?"
    r"1[3-9][0-9](?:[0-9]{8}|([-. ])[0-9]{4}\1[0-9]{4}|([- ])[0-9]{3}\2[0-9]{5}|[0-9]([- ])[0-9]{3}\3[0-9]{4}"
    r"|[0-9]{4}[- ][0-9]{4}|[- ][0-9]{8})(?![0-9])"
)
# Area codes: 010, 02x, and 0 with three digits; then seven or eight digits that begin with 2 to 8, and an extension.
_LANDLINE = re.compile(
    r"(?<![0-9])(?:[(（]?(?:\+|00)?86[)）]?[- ]{0,2}[(（]?|[(（]?(?=0))"
    r"0?(?:10|2[0-57-9]|[3-9][0-9]{2})(?:[)）][- ]{0,2}|[- ]{1,2})"
    r"[2-8][0-9]{2,3}[- ]?[0-9]{4}(?:-[0-9]{1,6})?(?![0-9])"
)
# Hotlines (400, 800) in the groupings that are not the North American one; mobiles of Taiwan.
_SERVICE = re.compile(
    r"(?<![0-9])(?:[48]00-[0-9]{4}-[0-9]{3}|[48]00[0-9]-[0-9]{3}-[0-9]{3}|09[0-9]{2}-[0-9]{3}-[0-9]{3})(?![0-9])"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![0-9])(?:\+?1[-. ]{1,2})?"
    r"(?:\([2-9][0-9]{2}\)[-. ]?[2-9][0-9]{2}[-. ]|[2-9][0-9]{2}([-.])[2-9][0-9]{2}\1)[0-9]{4}(?![0-9])"
)
_INTERNATIONAL = re.compile(r"(?<![0-9A-Za-z)+])\+([1-9][0-9]{0,2}(?:[-. ]?\(?[0-9]{1,4}\)?){2,6})(?![0-9])")
_COUNTRY = re.compile(
    r"7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-689][0-9]|3[578][0-9]|42[0-9]|5[09][0-9]"
    r"|6[789][0-9]|8[0578][0-9]|9[679][0-9]"
)
# Numbers that a word before them labels as a phone's.
_LABELLED = re.compile(r"(?<![0-9])\+?[(（]?[0-9](?:[-. ()（）]{0,2}[0-9]){6,14}(?![0-9])")
_PHONE_WORD = re.compile(
    r"(?:[电電][话話]|手[机機]|[热熱][线線]|[专專][线線]|[传傳]真|座[机機]|[联聯][系络絡繫]方式|致[电電]|来电|[拨撥]打|短信|客服"
    r"|咨询|[请請][拨打撥]|(?<![a-z])(?:telephone|phone|tel|mobile|cell|cellphone|fax|hotline|whatsapp|dial"
    r"|call|ring)(?![a-z]));?[^0-9\n。；;,，<>]{0,10}$",
    re.IGNORECASE,
)
_NEXT_NUMBER = re.compile(r"[\s、,，/;；或or]{1,4}$")
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-. ]?(?:0?[1-9]|1[0-2])[-. ]?(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")


def _international(number: str) -> bool:
    """Whether a number after a + has a country's code and a length that goes with it."""
    digits = digits_of(number)
    if digits[0] == "1":  # North America: an area code and an exchange that begin with 2 to 9
        return len(digits) == 11 and digits[1] >= "2" and digits[4] >= "2"
    grouped = len(re.findall("[0-9]+", number)) > 2
    return bool(_COUNTRY.match(digits)) and (9 if grouped else 10) <= len(digits) <= 15


def phone_numbers(text: str, numbers: Numbers) -> Spans:
    """Phone numbers by form, then by the word before them; a list after such a word counts as a whole."""
    for pattern in (_MOBILE, _LANDLINE, _SERVICE, _INTERNATIONAL, _NORTH_AMERICAN):
        for match in in_runs(pattern, text, numbers):
            start, end = _without_open_bracket(match)
            if (
                (pattern is not _INTERNATIONAL or _international(match.group()))
                and stands_alone(text, start, end)
                and not OTHER_NUMBER.search(text_before(text, start, 28))
            ):
                yield start, end
    last = -1
    for match in in_runs(_LABELLED, text, numbers):
        start, end = _without_open_bracket(match)
        number, before = text[start:end], text_before(text, start, 28)
        word = _PHONE_WORD.search(before)
        # Programs call and dial, too: after a verb a number must look like a phone's.
        if word and word.group()[:4].lower() in ("call", "dial", "ring") and number.isdecimal() and len(number) < 10:
            continue
        labelled = word or (last >= 0 and _NEXT_NUMBER.fullmatch(text[last:start]))
        if (
            labelled
            and not OTHER_NUMBER.search(before)
            and not _DATE.match(number)
            and not _DECIMAL.fullmatch(number)
            and not set(digits_of(number)) <= {"0", "1"}  # binary
            and stands_alone(text, start, end)
        ):
            last = end
            yield start, end


def _without_open_bracket(match: re.Match[str]) -> tuple[int, int]:
    """The span of a match, less a bracket that opens before it and closes behind it."""
    start, end = match.span()
    if match.group()[0] in "(（" and not re.search("[)）]", match.group()):
        start += 1
    return start, end
