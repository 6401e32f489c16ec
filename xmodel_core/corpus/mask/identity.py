"""Chinese identity numbers and bank cards: numbers that check digits prove, or a word before them.

Identity numbers: GB 11643 (18 digits, with a check digit) and its predecessor of 15 digits, which only a word proves.
Cards: ISO/IEC 7812 (the Luhn check and the issuer's range, or a word).
"""

import re
from datetime import date

from xmodel_core.corpus.mask.numbers import OTHER_NUMBER, Numbers, Spans, digits_of, in_runs, stands_alone, text_before

# The first two digits of an administrative division (GB/T 2260); 81 to 83 are residence permits.
_PROVINCE = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
_IDENTITY = re.compile(r"(?<![0-9])([1-8][0-9]{5})([- ]?)((?:19|20)[0-9]{6})\2([0-9]{3}[0-9Xx])(?![0-9])")
_OLD_IDENTITY = re.compile(r"(?<![0-9])([1-8][0-9]{5})([0-9]{6})[0-9]{3}(?![0-9])")
_IDENTITY_WORD = re.compile(
    r"(?:身[份分][证證号號]|[证證]件[号號]|公民身[份分]|居民[证證]|(?<![a-z])(?:identity|id)\s(?:card|number|no))"
    r"[^0-9\n。<>]{0,12}$",
    re.IGNORECASE,
)
_WEIGHTS = tuple(2 ** (17 - place) % 11 for place in range(17))


def _born(year: str, month: str, day: str) -> bool:
    """Whether somebody alive when texts were written can have been born on this day."""
    try:
        return 1890 <= date(int(year), int(month), int(day)).year < 2030
    except ValueError:
        return False


def identity_numbers(text: str, numbers: Numbers) -> Spans:
    """Chinese identity numbers of 18 digits, and of 15 after a word for one."""
    for match in in_runs(_IDENTITY, text, numbers):
        region, _, birth, rest = match.groups()
        body = region + birth + rest[:3]
        check = "10X98765432"[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, body, strict=True)) % 11]
        if (
            _PROVINCE.match(region)
            and _born(birth[:4], birth[4:6], birth[6:])
            and rest[3].upper() == check
            and stands_alone(text, *match.span())
            and not OTHER_NUMBER.search(text_before(text, match.start(), 28))
        ):
            yield match.span()
    for match in in_runs(_OLD_IDENTITY, text, numbers):
        region, birth = match.groups()
        if (
            _PROVINCE.match(region)
            and _born("19" + birth[:2], birth[2:4], birth[4:])
            and _IDENTITY_WORD.search(text_before(text, match.start(), 28))
            and stands_alone(text, *match.span())
        ):
            yield match.span()


_CARD = re.compile(
    r"(?<![0-9])(?:[0-9]{13,19}"
    r"|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}"
    r"|[0-9]{6}[ -][0-9]{10,13})(?![0-9])"
)
# Issuers that stand for themselves, with their lengths (ISO/IEC 7812 registry): UnionPay, Visa, Mastercard,
# Discover, JCB. Shorter cards (American Express, Diners, old Visa) need their grouping or a telling word.
_ISSUER = re.compile(
    r"62[0-9]{14}(?:[0-9]{3})?|4[0-9]{15}|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|35(?:2[89]|[3-8][0-9]))[0-9]{12}"
)
_GROUPED_ISSUER = re.compile(r"3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}")
_CARD_WORD = re.compile(
    r"(?:[银銀]行|卡[号號]|[信储儲借此该刷]\S{0,2}卡|[账帐賬帳][户戶号號]|[开開][户戶]|工行|农行|建行|中行|招行|汇款|转账|打款"
    r"|(?<![a-z])(?:card|account|acct|visa|mastercard|amex|unionpay|debit|credit)s?(?![a-z]))[^0-9\n。<>]{0,14}$",
    re.IGNORECASE,
)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def bank_cards(text: str, numbers: Numbers) -> Spans:
    """Card numbers that pass the Luhn check and are in an issuer's range or follow a word for a card."""
    for match in in_runs(_CARD, text, numbers):
        digits = digits_of(match.group())
        before = text_before(text, match.start(), 28)
        labelled = _CARD_WORD.search(before)
        proven = _ISSUER.fullmatch(digits) or (not match.group().isdecimal() and _GROUPED_ISSUER.fullmatch(digits))
        grouped_with_more = re.search(r"[0-9][- ]$", before) or re.match(
            r"[- ][0-9]", text[match.end() : match.end() + 2]
        )
        if (
            (labelled or (proven and not grouped_with_more))
            and len(set(digits)) > 1
            and _luhn(digits)
            and not (len(digits) == 13 and digits[:3] in ("978", "979"))  # an ISBN
            and stands_alone(text, *match.span())
            and not OTHER_NUMBER.search(before)
        ):
            yield match.span()
