"""Instruction data: every field's words are in the text, copies stay copies, and what is malformed is set aside."""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.artifacts import Store
from xmodel_core.corpus.read.instructions import DIALOGUES, INSTRUCTIONS, QUESTIONS, NotOfTheForm, as_text

Record = dict[str, Any]


def alpaca(record: Record, field: str = "output") -> str:
    return as_text(record, "alpaca", field)[field]


def sharegpt(record: Record, field: str = "conversations") -> str:
    return as_text(record, "sharegpt", field)[field]


def turns(*exchanged: tuple[str, str]) -> list[Record]:
    return [{"from": speaker, "value": text} for speaker, text in exchanged]


# Words of several languages, lines, indents, tabs, signs; never blank.
texts = st.text(st.sampled_from("ab Zé写雨かナ。?？:：\n\t 4{}\"'<\ud800"), min_size=1, max_size=60).filter(str.strip)


def required(part: str) -> str:
    """What the text must hold of a field: all but the blank lines around it."""
    return part.strip("\r\n").rstrip()


@given(texts, texts, texts)
def test_every_word_of_an_exchange_stands_in_its_text_in_order(instruction: str, given_: str, output: str) -> None:
    record = {"id": 1, "instruction": instruction, "input": given_, "output": output, "note": "kept"}
    made = as_text(record, "alpaca", "output")
    assert required(instruction) in made["output"]
    assert required(given_) in made["output"]
    assert made["output"].endswith(required(output))
    assert {key: value for key, value in made.items() if key != "output"} == {"id": 1, "note": "kept"}
    assert as_text(dict(reversed(record.items())), "alpaca", "output")["output"] == made["output"]


@given(st.lists(st.tuples(st.sampled_from(["human", "gpt", "function_call", "observation"]), texts), min_size=1), texts)
def test_every_turn_stands_in_the_text_in_order(spoken: list[tuple[str, str]], last: str) -> None:
    spoken = [*spoken, ("gpt", last)]
    tools = [{"name": "look_up", "description": "查找"}]
    text = sharegpt({"conversations": turns(*spoken), "tools": json.dumps(tools, ensure_ascii=False)})
    at = text.index(json.dumps(tools, ensure_ascii=False))
    for _, part in spoken:
        at = text.index(required(part), at)


def test_the_same_exchange_reads_the_same_in_every_set_that_holds_it() -> None:
    """Otherwise a copy in another set, under another id, would be no copy any more."""
    for number in range(40):
        prompt, answer = f"Name {number} rivers.", "The Nile and the Amazon."
        first = alpaca({"id": "a", "instruction": prompt, "input": "", "output": answer, "source": "one"})
        assert alpaca({"uuid": 7, "prompt": prompt, "response": answer}, "response") == first
        assert sharegpt({"conversations": turns(("human", prompt), ("gpt", answer))}) == first
        messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
        assert sharegpt({"messages": messages}, "messages") == first


def test_templates_vary_and_no_words_of_theirs_are_in_most_texts() -> None:
    for prompt, answer, labels in (
        ("Describe the river number {}.", "It is wide.", ("Instruction:", "Request:", "User:")),
        ("How wide is the river number {}?", "It is wide.", ("Question:", "Q:", "User:")),
        ("描述第{}条河。", "河面很宽。", ("指令：", "要求：", "用户：")),
        ("第{}条河有多宽？", "河面很宽。", ("问题：", "问：", "用户：")),
    ):
        made = [alpaca({"instruction": prompt.format(number), "output": answer}) for number in range(600)]
        begun = Counter(next((label for label in labels if text.startswith(label)), "plain") for text in made)
        assert set(begun) == {*labels, "plain"}
        assert 0.4 < begun["plain"] / 600 < 0.6
        assert max(begun[label] for label in labels) < 0.25 * 600


def test_the_answers_language_decides_the_templates_language() -> None:
    def labels(instruction: str, output: str) -> set[str]:
        made = (alpaca({"instruction": f"{instruction} {n}", "output": output}) for n in range(60))
        return {text.split(instruction)[0].strip() for text in made} - {""}

    english, chinese = {"Instruction:", "Request:", "User:"}, {"指令：", "要求：", "用户："}
    assert labels("翻译成英文：雨停了。", "The rain has stopped.") == english
    assert labels("Translate into Chinese: the rain has stopped.", "雨停了。") == chinese
    program = "def add(a, b):\n    return a + b\n\nprint(add(1, 2))"
    assert labels("写一个加法函数", program) == chinese  # a program is in no language: the prompt's decides
    assert labels("Write a function that adds", program) == english
    assert labels("计算六乘七", "6 x 7 = 42") == chinese
    assert labels("列出有哪些字体", "有 Donegal, Gloria Hallelujah, Marker, Mystery Quest, Helvetica") == chinese
    assert labels("Translate into Japanese", "雨が止みました") == english


def test_chinese_labels_are_set_as_chinese_is() -> None:
    for forms in (*QUESTIONS["zh"], *INSTRUCTIONS["zh"], *DIALOGUES["zh"]):
        words = [word for word in vars(forms).values() if word.strip()]
        assert all(word.endswith(("：", "。")) for word in words)
        assert all(ord(character) > 127 for word in words for character in word)
    made = {alpaca({"instruction": f"第{n}条河在哪里？", "output": "在北方。"}) for n in range(60)}
    assert any(text.startswith("问：第") for text in made)


def test_an_input_is_never_left_hanging_on_the_answer() -> None:
    """With one line break between all three, it is unknown where the answer begins."""
    for number in range(60):
        text = alpaca({"instruction": f"Shorten sentence {number}.", "input": "It was cold.", "output": "Cold."})
        assert "It was cold.\nCold." not in text


def test_a_program_keeps_its_indents() -> None:
    for number in range(30):
        text = alpaca({"instruction": f"Go {number}.", "output": "    if x:\n        return 1\n"})
        assert "\n    if x:\n        return 1" in text


def test_alpacas_note_that_there_is_no_input_is_no_text() -> None:
    for note in ("<noinput>", "No input", "&lt;无输入&gt;", "无输入。"):
        record = as_text({"instruction": "Sing.", "input": note, "output": "La."}, "alpaca", "output")
        assert note not in record["output"]
        assert record["input"] == note
    assert "There is no input here" in alpaca({"instruction": "x", "input": "There is no input here", "output": "y"})


def test_tools_calls_and_results_are_told_apart() -> None:
    conversation = turns(
        ("human", "晴天吗？"), ("function_call", '{"name": "天气"}'), ("observation", '{"晴": 1}'), ("gpt", "晴天。")
    )
    text = sharegpt({"system": "你是助手。", "conversations": conversation, "tools": [{"name": "天气"}]})
    assert text.startswith("你是助手。\n\n")
    places = [text.index(part) for part in ('[{"name": "天气"}]', "晴天吗？", '：{"name"', '：{"晴"', "晴天。")]
    assert places == sorted(places)
    calls = [{"function": {"name": "weather", "arguments": "{}"}}]
    messages = [{"role": "user", "content": "Sunny?"}, {"role": "assistant", "content": None, "tool_calls": calls}]
    assert json.dumps(calls) in sharegpt({"messages": messages}, "messages")


def test_what_a_turn_has_beside_its_words_stays_with_the_record() -> None:
    conversation = [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Hello.", "score": 3}]
    assert as_text({"conversations": conversation}, "sharegpt", "conversations")["turns"] == [{}, {"score": 3}]


ALPACA = {
    "no field 'output'": {"instruction": "a"},
    "'output' is empty": {"instruction": "a", "output": " \n"},
    "'output' is null": {"instruction": "a", "output": None},
    "'output' is a list of int, not text": {"instruction": "a", "output": [3]},
    "'instruction' is int, not text": {"instruction": 3, "output": "b"},
    "'input' is dict, not text": {"instruction": "a", "input": {}, "output": "b"},
    "no prompt: none of instruction, prompt, question, problem, query holds text": {"instruction": "", "output": "b"},
    "'history' is str, not a list of exchanges": {"instruction": "a", "output": "b", "history": "c"},
    "'history[0]' is not a prompt and its answer": {"instruction": "a", "output": "b", "history": [["c"]]},
    "'tools' is not JSON": {"instruction": "a", "output": "b", "tools": "[{"},
}
SHAREGPT = {
    "no field 'conversations'": {"messages": []},
    "'conversations' is str, not a list of turns": {"conversations": "Hi."},
    "'conversations[0]' is str, not a turn": {"conversations": ["Hi."]},
    "'conversations[0]' has no speaker: neither from nor role": {"conversations": [{"value": "Hi."}]},
    "'conversations[0].value' is null": {"conversations": [{"from": "human"}]},
    "'conversations[1].value' is empty": {"conversations": turns(("human", "Hi."), ("gpt", ""))},
    "'conversations[0].content' is empty": {"conversations": [{"role": "user", "content": [{"type": "text"}]}]},
    "'conversations' has no turn of an assistant": {"conversations": turns(("human", "Hi."))},
}


@pytest.mark.parametrize(
    ("form", "why", "record"),
    [("alpaca", *case) for case in ALPACA.items()] + [("sharegpt", *case) for case in SHAREGPT.items()],
)
def test_what_is_not_of_the_form_says_which_field_and_what_stands_there(form: str, why: str, record: Record) -> None:
    with pytest.raises(NotOfTheForm) as error:
        as_text(record, form, "output" if form == "alpaca" else "conversations")
    assert str(error.value) == why


def test_an_unknown_speaker_is_named() -> None:
    with pytest.raises(NotOfTheForm, match=r"'conversations\[1\].from' is 'narrator', none of system, human"):
        sharegpt({"conversations": turns(("human", "Hi."), ("narrator", "He smiled."))})


def test_a_scan_reads_instruction_data_and_sets_aside_what_is_none(
    tmp_path: Path, store: Store, jsonl, source, scanned
) -> None:
    records = [
        {"id": "good", "instruction": "Name a river.", "input": "", "output": "The Nile.", "mark": 5},
        {"id": "bad", "instruction": "Name a river."},
    ]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl(records))
    good, bad = scanned(source(tmp_path / "raw", records="alpaca"), store)
    assert (good["id"], good["meta"]) == ("good", '{"mark": 5}')
    assert good["text"] == alpaca(records[0])
    assert (bad["id"], bad["text"], bad["unreadable"]) == ("a.jsonl:1", "", "no field 'output'")


@pytest.mark.shared_data
@pytest.mark.parametrize("step", [50, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_the_real_sets_are_read_completely(step: int, shared_data: Path) -> None:
    read, wrong = 0, Counter[str]()
    for path in sorted((shared_data / "sft").rglob("part-00000-*.jsonl.gz")):
        for line in gzip.decompress(path.read_bytes()).decode().splitlines()[::step]:
            record = json.loads(line)
            form, field = ("sharegpt", "conversations") if "conversations" in record else ("alpaca", "output")
            try:
                text = as_text(record, form, field)[field]
            except NotOfTheForm as error:
                wrong[str(error)] += 1
                continue
            parts = [turn["value"] for turn in record.get("conversations", ())] or [
                record["instruction"],
                record["output"],
            ]
            assert all(required(part) in text for part in parts), record["id"]
            read += 1
    assert read > 10_000 / step
    assert set(wrong) <= {"'output' is empty"}
    assert wrong.total() < 0.001 * max(read, 5000)
