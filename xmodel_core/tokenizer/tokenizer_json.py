"""tokenizer.json and tokenizer_config.json: the same tokenizer for Hugging Face's libraries, with the same ids.

Takes the bytes of a SentencePiece model, ours or any other; gives the texts of the two files. Hugging Face's unigram
lattice is SentencePiece's, but it matches every piece against the text: special pieces therefore get a score that no
path takes (their characters have pieces of their own, see train.py), and user-defined pieces, which SentencePiece
scores by a rule, get that rule's score. A BPE's merges are all ways to compose a piece, in the order of the pieces.
"""

import json
from typing import Any

from sentencepiece import sentencepiece_model_pb2 as proto

NEVER = -100_000.0
"""Far below the score of spelling out any special piece, and small enough for exact sums."""
# SentencePiece 0.2.3 scores a user-defined piece by this for each byte after its first, whatever its own score:
# measured on models made for it, by the score of a neighbouring piece at which its encoder chooses the other.
USER_DEFINED_SCORE_PER_BYTE = 0.1

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""ChatML, the form of Xmodel-2's instruction data; for tokenizers with its two tokens."""


def parsed(model: bytes) -> Any:
    """A SentencePiece model's fields: pieces, trainer_spec, normalizer_spec."""
    return proto.ModelProto.FromString(model)  # pyright: ignore[reportAttributeAccessIssue]


def _unigram(pieces: list[Any]) -> dict[str, Any]:
    vocab = []
    for piece in pieces:
        score = float(piece.score)
        if piece.type == piece.USER_DEFINED:
            score = USER_DEFINED_SCORE_PER_BYTE * (len(piece.piece.encode()) - 1)
        elif piece.type != piece.NORMAL:
            score = NEVER
        vocab.append([piece.piece, score])
    unknown = next(number for number, piece in enumerate(pieces) if piece.type == piece.UNKNOWN)
    return {"type": "Unigram", "unk_id": unknown, "vocab": vocab, "byte_fallback": True}


def _bpe(pieces: list[Any]) -> dict[str, Any]:
    vocab = {piece.piece: number for number, piece in enumerate(pieces)}
    learned = {piece.piece for piece in pieces if piece.type == piece.NORMAL}
    merges = []
    for piece in sorted((piece for piece in pieces if piece.type == piece.NORMAL), key=lambda piece: -piece.score):
        text = piece.piece
        halves = [(text[:at], text[at:]) for at in range(1, len(text))]
        merges += sorted(
            (list(both) for both in halves if learned.issuperset(both)), key=lambda both: [vocab[half] for half in both]
        )
    unknown = next(piece.piece for piece in pieces if piece.type == piece.UNKNOWN)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": unknown,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": True,
        "byte_fallback": True,
        "vocab": vocab,
        "merges": merges,
    }


def _normalizer(spec: Any) -> dict[str, Any]:
    steps: list[dict[str, Any]] = []
    if spec.remove_extra_whitespaces:
        steps.append({"type": "Replace", "pattern": {"Regex": r"\A +| +\z"}, "content": ""})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    if spec.add_dummy_prefix:
        steps.append({"type": "Prepend", "prepend": "▁"})
    steps.append({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})
    return {"type": "Sequence", "normalizers": steps}


def _behind_end_of_document(spec: Any) -> dict[str, Any]:
    """The step that puts a text behind the end-of-document token, as in training."""
    eos = {"SpecialToken": {"id": spec.eos_piece, "type_id": 0}}
    first, second = ({"Sequence": {"id": name, "type_id": kind}} for kind, name in enumerate("AB"))
    ids = {"id": spec.eos_piece, "ids": [spec.eos_id], "tokens": [spec.eos_piece]}
    return {
        "type": "TemplateProcessing",
        "single": [eos, first],
        "pair": [eos, first, second],
        "special_tokens": {spec.eos_piece: ids},
    }


def tokenizer_json(model: bytes, as_document: bool = False) -> str:
    """The text of tokenizer.json. The model must not normalise characters (ours and the released ones do not).
    `as_document`: a text is put behind the end-of-document token, unless the reader asks for no special tokens."""
    fields = parsed(model)
    pieces = list(fields.pieces)
    assert not fields.normalizer_spec.precompiled_charsmap, "a model that normalises characters"
    is_bpe = fields.trainer_spec.model_type == fields.trainer_spec.BPE
    # A text that spells a special token encodes to it there, unless the reader sets `encode_special_tokens`.
    added = [
        {
            "id": number,
            "content": piece.piece,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": piece.type != piece.USER_DEFINED,
        }
        for number, piece in enumerate(pieces)
        if piece.type in (piece.CONTROL, piece.UNKNOWN) or (is_bpe and piece.type == piece.USER_DEFINED)
    ]
    steps: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if fields.normalizer_spec.add_dummy_prefix:
        steps.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": _normalizer(fields.normalizer_spec),
            "pre_tokenizer": None,
            "post_processor": _behind_end_of_document(fields.trainer_spec) if as_document else None,
            "decoder": {"type": "Sequence", "decoders": steps},
            "model": _bpe(pieces) if is_bpe else _unigram(pieces),
        },
        ensure_ascii=False,
    )


def tokenizer_config_json(model: bytes, as_document: bool = False) -> str:
    """The text of tokenizer_config.json, which transformers' AutoTokenizer needs beside tokenizer.json.
    `as_document`: the end-of-document token is `bos_token`, too, and begins each text."""
    fields = parsed(model)
    names = [piece.piece for piece in fields.pieces if piece.type != piece.NORMAL]
    spec = fields.trainer_spec
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": spec.bos_piece if spec.bos_id >= 0 else None,
        "eos_token": spec.eos_piece,
        "unk_token": spec.unk_piece,
        "clean_up_tokenization_spaces": False,
    }
    if as_document:
        config |= {"bos_token": spec.eos_piece, "add_bos_token": True, "add_eos_token": False}
    if {"<|im_start|>", "<|im_end|>"} <= set(names):
        # Rendered templates are encoded without special tokens: a conversation brings its own.
        config["chat_template"] = ("{{ bos_token }}" if as_document else "") + CHAT_TEMPLATE
    return json.dumps(config, ensure_ascii=False, indent=1)
