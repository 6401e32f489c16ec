"""The colours of languages, the same in every table, bar and figure, on the page and in the Prefect UI."""

LANGS = ("zh", "en", "code", "other")
# Cinnabar for Chinese, ink blue for English.
COLOURS = {"zh": "#c4472f", "en": "#2d5f8b", "code": "#5d8a5a", "other": "#a39d92"}
INK, MUTED, RULE, SOFT = "#23262b", "#7a766d", "#e4dfd5", "#f3efe7"


def colour(lang: str | None) -> str:
    """The colour of a language; `multi` and unknown ones are as `other`."""
    return COLOURS.get(lang or "other", COLOURS["other"])
