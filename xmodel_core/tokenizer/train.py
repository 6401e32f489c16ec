"""Trains a SentencePiece model: lines of text in, the bytes of a model out, the same on every machine.

Lines are fed one by one and a newline is a piece of its own, so a document encodes as its lines do.
No dummy space before a text, for the same reason: a line's first word looks the same at every line.
A unigram's scores are then rounded to sixteenths, so that float32 sums of them are exact: which pieces a word is
cut into depends neither on where in a text it is nor on who adds up (tokenizer.json is read with float64).
"""

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import sentencepiece

from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer.config import LEAST_COVERAGE, TokenizerConfig
from xmodel_core.tokenizer.tokenizer_json import parsed

# Sums of float32 depend on how sentences are divided among threads: their number is a constant, never the machine's.
THREADS = 16
# SentencePiece drops sentences of more bytes than this; ours are far shorter (see sample.py).
LONGEST_SENTENCE_BYTES = 1 << 16
SPACE = "▁"
"""As SentencePiece writes it. The character itself, U+2581, is in no text of a corpus (corpus/write/masked.py)."""
# Given, not learned: runs of newlines and of tabs. SentencePiece reserves the tab while it trains.
WHITE_SPACE_PIECES = ("\n", "\n\n", "\t", "\t\t", "\t\t\t", "\t\t\t\t")
# Unigram starts from this many frequent strings and prunes. On 2M characters of zh, en and code, 10 pieces to seed one
# survivor gave the same tokens per character on unseen text as SentencePiece's million, in a third of the time.
SEEDS_PER_PIECE = 30
FEWEST_SEEDS, MOST_SEEDS = 50_000, 1_000_000
# Sums of sixteenths are exact in float32 up to a million: four times the largest sum over a part of a text.
SCORE_STEPS = 16
BYTES = 256
BYTE_PIECE_CHARACTERS = "<0x123456789ABCDEF>"
# Above this the suffix array needs 64-bit positions; decided by the recipe, not by the text that is there.
LARGE_SAMPLE_CHARACTERS = 500_000_000

Lines = Callable[[], Iterator[str]]

TOO_LARGE = re.compile(r"Vocabulary size too high .* <= (\d+)")
TOO_SMALL = re.compile(r"Vocabulary size is smaller than required_chars\. \d+ vs (\d+)")


def _train(lines: Lines, config: TokenizerConfig, vocab_size: int) -> bytes:
    """A model with a piece for the space: it would else be written as the bytes of SPACE, and read as that character.
    A sample with too few spaces for one is trained on again; others keep the model that they always gave."""
    model = _trained(lines(), config, vocab_size)
    if SPACE not in (piece.piece for piece in parsed(model).pieces):
        model = _trained(lines(), config, vocab_size, SPACE)
    return _with_exact_scores(model) if config.model_type == "unigram" else model


def _trained(lines: Iterable[str], config: TokenizerConfig, vocab_size: int, required: str = "") -> bytes:
    """SentencePiece's own model, with pieces for the `required` characters."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type=config.model_type,
        vocab_size=vocab_size,
        character_coverage=config.character_coverage,
        max_sentencepiece_length=config.max_piece_length,
        max_sentence_length=LONGEST_SENTENCE_BYTES,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        # Indentation is meaning: runs of spaces stay, and become pieces.
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        add_dummy_prefix=False,
        # Control pieces, not user-defined ones: text that spells them must not turn into them. Their characters are
        # pieces in any case, so that such text is never spelled in bytes.
        control_symbols=list(config.control_tokens),
        required_chars="".join(
            sorted({*"".join(config.control_tokens), *"<s/unk>", *BYTE_PIECE_CHARACTERS, *required} - {" "})
        ),
        user_defined_symbols=list(WHITE_SPACE_PIECES),
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        shuffle_input_sentence=False,
        seed_sentencepiece_size=min(max(SEEDS_PER_PIECE * vocab_size, FEWEST_SEEDS), MOST_SEEDS),
        train_extremely_large_corpus=config.sample_characters > LARGE_SAMPLE_CHARACTERS,
        num_threads=THREADS,
        minloglevel=2,
    )
    return model.getvalue()


def _with_exact_scores(model: bytes) -> bytes:
    """The model with scores in sixteenths. The given white space becomes ordinary pieces with the best score of all:
    SentencePiece scores user-defined pieces by a rule of its own, in tenths."""
    fields = parsed(model)
    learned = [piece for piece in fields.pieces if piece.type == piece.NORMAL]
    for piece in learned:
        piece.score = round(piece.score * SCORE_STEPS) / SCORE_STEPS
    best = max(piece.score for piece in learned)
    for piece in fields.pieces:
        if piece.type == piece.USER_DEFINED:
            piece.type, piece.score = piece.NORMAL, best
    return fields.SerializeToString(deterministic=True)


def _largest_vocabulary(lines: Lines, config: TokenizerConfig, hint: int) -> int:
    """The largest vocabulary that trains on these lines, from SentencePiece's hint down; the hint may be too high."""
    while True:
        try:
            _train(lines, config, hint)
            return hint
        except RuntimeError as error:
            refusal = TOO_LARGE.search(str(error))
            if not refusal or int(refusal[1]) >= hint:
                raise
            hint = int(refusal[1])


def _affordable_coverage(lines: Lines, vocab_size: int) -> float:
    """The coverage at which single characters take half of a vocabulary, rounded down."""
    counts: Counter[str] = Counter()
    for line in lines():
        counts.update(line)
    kept = sum(count for _, count in counts.most_common((vocab_size - BYTES) // 2))
    return math.floor(kept / counts.total() * 10_000) / 10_000


def train(lines: Lines, config: TokenizerConfig) -> bytes:
    """The bytes of a tokenizer.model. XmodelError where the text does not allow the configured vocabulary."""
    try:
        return _train(lines, config, config.vocab_size)
    except RuntimeError as error:
        if refusal := TOO_LARGE.search(str(error)):
            largest = _largest_vocabulary(lines, config, int(refusal[1]))
            raise XmodelError(
                "the vocabulary is larger than the text allows",
                expected=f"tokenizer.vocab_size of at most {largest}",
                found=f"{config.vocab_size}, and a sample of {sum(map(len, lines())):,} characters",
                where="tokenizer.vocab_size",
                remedy=f"run again with --set tokenizer.vocab_size={largest}, or add text to the corpus",
            ) from None
        if refusal := TOO_SMALL.search(str(error)):
            coverage = _affordable_coverage(lines, config.vocab_size)
            fewer_characters = (
                f", or --set tokenizer.character_coverage={coverage}: single characters then take half of the "
                "vocabulary, and the rarer ones are written in byte pieces"
            )
            raise XmodelError(
                "the vocabulary is smaller than the text's characters",
                expected=f"tokenizer.vocab_size above {refusal[1]}: a piece for each character of the sample "
                f"(character_coverage {config.character_coverage}), and room for longer pieces",
                found=config.vocab_size,
                where="tokenizer.vocab_size",
                remedy="set a larger tokenizer.vocab_size" + (fewer_characters if coverage >= LEAST_COVERAGE else ""),
            ) from None
        raise
