"""Quality rules: small named functions over feature columns; a rule's name is the reason of a drop.

Takes columns and one language's thresholds; a rule gives a boolean mask of the documents that it drops. Documents
are judged by the rules for code where the source's policy or the text is code, else by those of their detected
language. The first rule that drops a document names the reason.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.measure.features import FEATURES
from xmodel_core.corpus.measure.perplexity import PERPLEXITY
from xmodel_core.corpus.rules import chinese, code, english

KEPT = ""
NAMES = tuple(dict.fromkeys(rule.__name__ for rule in (*english.RULES, *chinese.RULES, *code.RULES)))
"""The names of all rules."""
COLUMNS = [*FEATURES, PERPLEXITY]
"""The columns that rules read."""


def judge(columns: Mapping[str, np.ndarray], lang: np.ndarray, policy: str, config: CorpusConfig) -> np.ndarray:
    """The name of the first rule that drops each document, or KEPT; one string per row of the columns."""
    is_code = (lang == "code") | (policy == "code")
    sets: list[tuple[np.ndarray, Sequence[Callable[..., np.ndarray]], object]] = [
        (is_code, code.RULES, config.code),
        (~is_code & (lang == "zh"), chinese.RULES, config.chinese),
        (~is_code & (lang != "zh"), english.RULES, config.english),
    ]
    reasons = np.full(len(lang), KEPT, object)
    for applies, rules, thresholds in sets:
        for rule in rules:
            drops = rule(columns, thresholds)
            reasons[applies & drops & (reasons == KEPT)] = rule.__name__
    return reasons
