"""Instruction data as pretraining text: what people ask models, and the answers, in plain words.

Takes a record of the Alpaca form (prompt, perhaps an input, answer) or of the ShareGPT form (turns, perhaps
tools); gives the record with its text, or the reason why it is not of that form. Xmodel-2's decay stage reads
such data as documents, its prompts diversified by rules (arXiv 2412.19638, section 2.4; the rules are not published,
these are ours). A hash of the prompt chooses among templates, so that the same record gives the same text on every
machine and in every data set that holds it: copies stay copies.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

from xmodel_core.corpus.read.fields import NotText, text_of
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.corpus.text.language import HAN_SHARE, KANA_SHARE, detect

PROMPT_FIELDS = ("instruction", "prompt", "question", "problem", "query")
INPUT_FIELDS = ("input", "context")
FORM_FIELDS = (*PROMPT_FIELDS, *INPUT_FIELDS, "system", "history", "tools")
"""What becomes part of a text, beside the field with the answer or the turns."""
SPEAKER_FIELDS = ("from", "role")
TEXT_FIELDS = ("value", "content")

SYSTEM, PROMPT, ANSWER, CALL, RESULT = "system", "prompt", "answer", "call", "result"
SPEAKERS = {
    "system": SYSTEM,
    "human": PROMPT,
    "user": PROMPT,
    "gpt": ANSWER,
    "assistant": ANSWER,
    "function_call": CALL,
    "observation": RESULT,
    "tool": RESULT,
    "function": RESULT,
}
"""ShareGPT's, LLaMA-Factory's and OpenAI's names for who speaks."""

_HAN = re.compile("[\u3400-\u9fff]")
_KANA = re.compile("[\u3040-\u30ff]")
_LATIN = re.compile("[A-Za-z]{2,}")  # words: the x of a product and the A of a choice are in no language
# Alpaca's authors asked for a note where an instruction needs no input; it is no text (AlpacaDataCleaned).
_NO_INPUT = re.compile(r"(?:\W|&lt;|&gt;)*(?:no\s*input|无输入)(?:\W|&lt;|&gt;)*", re.IGNORECASE)


class NotOfTheForm(Exception):
    """What a record has instead of what its form asks for, and in which field."""


@dataclass(frozen=True)
class Exchange:
    """How one prompt and its answer are separated. An empty label: by the blank line alone."""

    prompt: str
    answer: str
    input: str = ""
    between: str = "\n\n"
    """Only where prompt and answer are a line each; else a blank line, or the input would seem part of the answer."""


@dataclass(frozen=True)
class Dialogue:
    """How the turns of a longer conversation are separated, and what introduces tools, calls and their results."""

    prompt: str
    answer: str
    tools: str
    call: str
    result: str


# Half of the templates have no words of their own, so that no label is learnt instead of the text. Labels in Chinese
# end in the full-width colon and no space follows it, as Chinese is set. Headings (### …) are left out: in a short
# exchange their signs are more than a tenth of the words, which the quality rules take for tag lists (measured).
QUESTIONS = {
    "en": (
        Exchange("", ""),
        Exchange("", "", between="\n"),
        Exchange("", ""),
        Exchange("Question:", "Answer:", between="\n"),
        Exchange("Q:", "A:", between="\n"),
        Exchange("User:", "Assistant:"),
    ),
    "zh": (
        Exchange("", ""),
        Exchange("", "", between="\n"),
        Exchange("", ""),
        Exchange("问题：", "回答：", between="\n"),
        Exchange("问：", "答：", between="\n"),
        Exchange("用户：", "助手："),
    ),
}
"""For prompts that end in a question mark."""
INSTRUCTIONS = {
    "en": (
        Exchange("", ""),
        Exchange("", "", between="\n"),
        Exchange("", ""),
        Exchange("Instruction:", "Response:", "Input:"),
        Exchange("Request:", "Reply:", "Given:"),
        Exchange("User:", "Assistant:"),
    ),
    "zh": (
        Exchange("", ""),
        Exchange("", "", between="\n"),
        Exchange("", ""),
        Exchange("指令：", "回答：", "输入："),
        Exchange("要求：", "答复：", "材料："),
        Exchange("用户：", "助手："),
    ),
}
"""For all other prompts."""
DIALOGUES = {
    "en": (
        Dialogue("User:", "Assistant:", "Tools:", "Call:", "Result:"),
        Dialogue("Human:", "AI:", "Available functions:", "Function call:", "Returned:"),
        Dialogue("Q:", "A:", "Functions:", "Calling:", "Output:"),
        Dialogue("", "", "The following tools may be called.", "Tool call:", "Tool result:"),
    ),
    "zh": (
        Dialogue("用户：", "助手：", "工具：", "调用：", "结果："),
        Dialogue("提问：", "回答：", "可用函数：", "函数调用：", "返回："),
        Dialogue("问：", "答：", "函数：", "执行：", "输出："),
        Dialogue("", "", "可以调用下列工具。", "工具调用：", "工具结果："),
    ),
}
"""For several turns, and wherever there are tools."""


def as_text(record: Mapping[str, Any], form: str, text_field: str) -> dict[str, Any]:
    """The record with its complete text under `text_field` and, beside it, only what is not in that text.

    `form`: alpaca (`text_field` has the answer) or sharegpt (`text_field` has the turns).
    NotOfTheForm: a field is missing, empty, or not what the form says."""
    rest = {key: value for key, value in record.items() if key != text_field}
    tools = _tools(rest)
    if form == "alpaca":
        instruction, given, turns = _alpaca(record, rest, text_field)
    else:
        turns = _sharegpt(record, rest, text_field)
        instruction, given = next((text for speaker, text in turns if speaker == PROMPT), ""), ""
    lang = "zh" if _in_chinese(turns, instruction) else "en"
    asked = f"{instruction}\n\n{given}" if given else instruction
    chosen = xxhash.xxh3_64_intdigest(asked.encode("utf-8", "surrogatepass"))
    before = [text for speaker, text in turns if speaker == SYSTEM]
    dialogue = [(speaker, text) for speaker, text in turns if speaker != SYSTEM]
    if not tools and [speaker for speaker, _ in dialogue] == [PROMPT, ANSWER]:
        text = _exchange(instruction, given, dialogue[-1][1], lang, chosen)
    else:
        text = _dialogue(tools, dialogue, DIALOGUES[lang][chosen % len(DIALOGUES[lang])])
    return {**rest, text_field: "\n\n".join([*before, text])}


def _text(value: Any, name: str) -> str:
    """A field's text, or that of a message's parts, without blank lines around it; empty where there is none."""
    if value is None:
        return ""
    if type(value) is not str:
        try:
            value = text_of(value, name)
        except NotText as error:
            raise NotOfTheForm(str(error)) from None
    return "" if value.isspace() else value.strip("\r\n").rstrip()


def _asked(value: Any, name: str) -> str:
    """A field's text, which must be there."""
    text = _text(value, name)
    if not text:
        raise NotOfTheForm(f"{name!r} is {'null' if value is None else 'empty'}")
    return text


def _tools(rest: dict[str, Any]) -> str:
    """The tools as JSON, taken out of the rest; empty where there are none."""
    tools = rest.pop("tools", None)
    if isinstance(tools, str) and tools.strip():
        try:
            return tools.strip() if json.loads(tools) else ""
        except (ValueError, RecursionError):
            raise NotOfTheForm("'tools' is not JSON") from None
    if not isinstance(tools, list | dict | str | None):
        raise NotOfTheForm(f"'tools' is {type(tools).__name__}, not JSON text or a list")
    return json.dumps(tools, ensure_ascii=False) if tools else ""


def _alpaca(record: Mapping[str, Any], rest: dict[str, Any], text_field: str) -> tuple[str, str, list[tuple[str, str]]]:
    """Instruction, input, and all turns: the system's and earlier ones, where there are any, and the last exchange."""
    if text_field not in record:
        raise NotOfTheForm(f"no field {text_field!r}")
    answer = _asked(record[text_field], text_field)
    field = next((name for name in PROMPT_FIELDS if name in rest), None)
    instruction = _text(rest.pop(field), field) if field else ""
    field = next((name for name in INPUT_FIELDS if name in rest), None)
    given = _text(rest[field], field) if field else ""
    if _NO_INPUT.fullmatch(given):
        given = ""  # the note stays in the rest
    elif field:
        rest.pop(field)
    if not instruction and not given:
        raise NotOfTheForm(f"no prompt: none of {', '.join(PROMPT_FIELDS)} holds text")
    if not instruction:
        instruction, given = given, ""
    turns = [(SYSTEM, system)] if (system := _text(rest.pop("system", None), "system")) else []
    history = rest.pop("history", None)
    if not isinstance(history, list | None):
        raise NotOfTheForm(f"'history' is {type(history).__name__}, not a list of exchanges")
    for number, exchange in enumerate(history or ()):
        if not isinstance(exchange, list) or len(exchange) != 2:
            raise NotOfTheForm(f"'history[{number}]' is not a prompt and its answer")
        for speaker, text in zip((PROMPT, ANSWER), exchange, strict=True):
            turns.append((speaker, _asked(text, f"history[{number}]")))
    prompt = "\n\n".join(part for part in (instruction, given) if part)
    return instruction, given, [*turns, (PROMPT, prompt), (ANSWER, answer)]


def _sharegpt(record: Mapping[str, Any], rest: dict[str, Any], text_field: str) -> list[tuple[str, str]]:
    """The turns in their order, the system's first. What a turn has beside its speaker and text stays in the rest."""
    if text_field not in record:
        raise NotOfTheForm(f"no field {text_field!r}")
    conversation = record[text_field]
    if not isinstance(conversation, list):
        raise NotOfTheForm(f"{text_field!r} is {type(conversation).__name__}, not a list of turns")
    turns = [(SYSTEM, system)] if (system := _text(rest.pop("system", None), "system")) else []
    extra: list[dict[str, Any]] = []
    for number, turn in enumerate(conversation):
        name = f"{text_field}[{number}]"
        if not isinstance(turn, dict):
            raise NotOfTheForm(f"{name!r} is {type(turn).__name__}, not a turn")
        # Parquet gives every field to every turn: null where a turn does not have it.
        held = {key: value for key, value in turn.items() if value is not None}
        speaker_field = next((key for key in SPEAKER_FIELDS if key in held), None)
        if speaker_field is None:
            raise NotOfTheForm(f"{name!r} has no speaker: neither {' nor '.join(SPEAKER_FIELDS)}")
        speaker = SPEAKERS.get(str(held[speaker_field]).lower())
        if speaker is None:
            raise NotOfTheForm(f"'{name}.{speaker_field}' is {held[speaker_field]!r}, none of {', '.join(SPEAKERS)}")
        key = next((key for key in TEXT_FIELDS if key in held), TEXT_FIELDS[0])
        calls = held.get("tool_calls")  # OpenAI's form: an answer that calls may have no text of its own
        text = (
            _text(held.get(key), f"{name}.{key}")
            if calls or speaker == SYSTEM
            else _asked(held.get(key), f"{name}.{key}")
        )
        turns += [(speaker, text)] if text else []
        turns += [(CALL, json.dumps(calls, ensure_ascii=False, default=str))] if calls else []
        extra.append({k: v for k, v in held.items() if k not in (speaker_field, key, "tool_calls")})
    if not any(speaker in (ANSWER, CALL) for speaker, _ in turns):
        raise NotOfTheForm(f"{text_field!r} has no turn of an assistant")
    if any(extra):
        rest["turns"] = extra
    return turns


def _in_chinese(turns: list[tuple[str, str]], instruction: str) -> bool:
    """Whether the answers are in Chinese. The prompt decides where they are neither Chinese nor in Latin letters, are a
    program, or have Chinese among many foreign names."""
    answers = "\n".join(text for speaker, text in turns if speaker == ANSWER)
    chinese, asked_in_chinese = _chinese(answers), bool(_chinese(instruction))
    if chinese is None:
        return asked_in_chinese
    return chinese or (asked_in_chinese and (bool(_HAN.search(answers)) or _is_code(answers)))


def _is_code(text: str) -> bool:
    valid = text.encode("utf-8", "replace").decode()  # half of a surrogate pair is no character
    languages, _ = detect([valid], make_batch([valid]))
    return languages == ["code"]


def _chinese(text: str) -> bool | None:
    """Whether a text is in Chinese, or in Latin letters; None where it is neither (Japanese has both kinds of
    characters, the language check's own limit decides that)."""
    if text.isascii():
        return False if _LATIN.search(text) else None
    han, latin, kana = (sum(map(len, pattern.findall(text))) for pattern in (_HAN, _LATIN, _KANA))
    if not han + latin or kana > KANA_SHARE * (han + kana):
        return None
    return han >= HAN_SHARE * (han + latin)


def labelled(label: str, text: str) -> str:
    """A text after its label: in the label's line if it is one line, below it otherwise, so that indents stay."""
    if not label:
        return text
    if "\n" in text:
        return f"{label}\n{text}"
    return f"{label} {text}" if label.endswith(":") else f"{label}{text}"


def _exchange(instruction: str, given: str, answer: str, lang: str, chosen: int) -> str:
    question = instruction.endswith(("?", "？"))
    forms = (QUESTIONS if question else INSTRUCTIONS)[lang]
    form = forms[chosen % len(forms)]
    parts = [instruction, given] if given else [instruction]
    if given and form.input:
        parts = [labelled(form.prompt, instruction), labelled(form.input, given)]
    else:
        if question and chosen // len(forms) % 2:
            parts.reverse()  # a question may follow what it is about; an instruction mostly says "the following"
        parts = [labelled(form.prompt, "\n\n".join(parts))]
    parts.append(labelled(form.answer, answer))
    return ("\n\n" if any("\n" in part for part in parts) else form.between).join(parts)


def _dialogue(tools: str, turns: list[tuple[str, str]], form: Dialogue) -> str:
    labels = {PROMPT: form.prompt, ANSWER: form.answer, CALL: form.call, RESULT: form.result}
    parts = [f"{form.tools}\n{tools}"] if tools else []
    return "\n\n".join([*parts, *(labelled(labels[speaker], text) for speaker, text in turns)])
