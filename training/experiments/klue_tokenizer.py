"""A tokenizer as KLUE's, learnt from texts: cased WordPiece whose pieces keep to the borders of morphemes.

KLUE cut words into morphemes with Mecab to learn its vocabulary, and only for that: the finished tokenizer knows
WordPiece alone (Park et al. 2021, section 4). Here Kiwi does the cutting. The files, the numbers of the special tokens
and the class are those of klue/roberta: a `BertTokenizer` in front of a RoBERTa body.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.words import MAX_WORD_LENGTH, clean

logger = logging.getLogger("training.experiments.klue_tokenizer")

#: In the order of their numbers in klue/roberta.
SPECIAL_TOKENS = ("[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]")

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")  # as BERT splits: runs of letters and digits, and every sign by itself
_HANGUL = re.compile("[가-힣]")
_INSIDE = "\ue000"  # marks a morpheme that does not begin its word; a private character, so it is in no text


def learn(texts: Iterable[str], vocabulary: int, max_length: int, least: int = 2) -> Any:
    """Learn a tokenizer.

    Of pieces that are equally frequent it is chance which are kept: the vocabulary differs a little from run to run.

    Args:
        texts: What to learn from.
        vocabulary: Number of tokens, the five special ones included.
        max_length: Longest input of the model, in tokens, for the tokenizer's configuration.
        least: Words that occur less often are left out. Default 2.

    Returns:
        A `transformers.BertTokenizerFast` whose pairs get token types 0 and 1, as KLUE's.

    Raises:
        ValueError: If no word of the texts occurs `least` times.
    """
    from transformers import BertTokenizerFast

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word in _WORD.findall(clean(text)) if len(word) <= MAX_WORD_LENGTH)
    segments = count_segments({word: count for word, count in counts.items() if count >= least})
    if not segments:
        raise ValueError(f"No word occurs {least} times in the texts: there is nothing to learn a vocabulary from.")
    pieces = _learn_pieces(segments, vocabulary)
    logger.info("%d words, %d tokens", len(counts), len(pieces))
    tokenizer = BertTokenizerFast(
        vocab={piece: number for number, piece in enumerate(pieces)},
        do_lower_case=False,
        strip_accents=False,
        model_max_length=max_length,
    )
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    return tokenizer


def count_segments(counts: dict[str, int]) -> Counter[str]:
    """Cut words where Kiwi sees a morpheme begin.

    Args:
        counts: How often each word occurs.

    Returns:
        How often each piece occurs; pieces from within a word carry a mark before them.
    """
    segments: Counter[str] = Counter()
    korean = [word for word in counts if _HANGUL.search(word)]
    for word, tokens in zip(korean, shared_analyzer().kiwi.tokenize(korean), strict=True):
        begins, end = [0], 0
        for token in tokens:
            if token.start >= end and token.start > begins[-1]:  # contracted morphemes overlap: they stay together
                begins.append(token.start)
            end = max(end, token.start + token.len)
        for number, (first, last) in enumerate(zip(begins, [*begins[1:], len(word)], strict=True)):
            segments[(_INSIDE if number else "") + word[first:last]] += counts[word]
    for word in counts.keys() - set(korean):
        segments[word] += counts[word]
    return segments


def _learn_pieces(segments: Counter[str], vocabulary: int) -> list[str]:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.trainers import WordPieceTrainer

    def lines() -> Iterator[str]:
        for segment, count in sorted(segments.items()):
            for first in range(0, count, 1000):
                yield " ".join([segment] * min(1000, count - first))

    learner = Tokenizer(WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = WhitespaceSplit()
    # A piece may be learnt twice, at a word's beginning and within: learn more than are needed, keep the first.
    learner.train_from_iterator(
        lines(),
        WordPieceTrainer(vocab_size=2 * vocabulary, limit_alphabet=vocabulary // 6, show_progress=False),
    )
    numbers = learner.get_vocab()
    pieces = list(SPECIAL_TOKENS)
    for piece in sorted(numbers, key=numbers.__getitem__):
        if piece.startswith(_INSIDE):
            piece = "##" + piece[len(_INSIDE) :]
        if piece.replace("##", "") and _INSIDE not in piece:
            pieces.append(piece)
    return list(dict.fromkeys(pieces))[:vocabulary]
