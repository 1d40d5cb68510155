"""Tiny cross-encoders of the shapes that hub models have; KLUE's is in conftest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

_TEXTS = [
    "전입신고는 새집에 이사한 날부터 14일 안에 합니다.",
    "여권은 구청 민원실에서 신청합니다. (02-120)",
    "도서관 책은 다섯 권까지 빌립니다.",
]


#: Shape of all tiny models.
TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def save_bert_tokenizer(folder: Path, texts: Sequence[str]) -> int:
    """Save BERT's tokenizer whose pieces are the signs of some texts; return how many there are."""
    pytest.importorskip("transformers")
    from transformers import BertTokenizerFast

    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *sorted({sign for text in texts for sign in text if sign != " "}),
    ]
    vocabulary += [f"##{sign}" for sign in vocabulary[5:]]
    BertTokenizerFast(
        vocab={word: number for number, word in enumerate(vocabulary)}, do_lower_case=False
    ).save_pretrained(str(folder))
    return len(vocabulary)


def save_bert_cross_encoder(folder: Path) -> Path:
    """BERT: two token types, ``[CLS] query [SEP] passage [SEP]``."""
    torch = pytest.importorskip("torch")
    from transformers import BertConfig, BertForSequenceClassification

    pieces = save_bert_tokenizer(folder, _TEXTS)
    torch.manual_seed(3)
    config = BertConfig(vocab_size=pieces, max_position_embeddings=64, initializer_range=0.3, num_labels=1, **TINY)
    BertForSequenceClassification(config).eval().save_pretrained(str(folder))
    return folder


def save_roberta_cross_encoder(folder: Path) -> Path:
    """RoBERTa: bytes, one token type, ``<s> query </s></s> passage </s>``."""
    torch = pytest.importorskip("torch")
    from tokenizers import ByteLevelBPETokenizer
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    bytes_ = ByteLevelBPETokenizer()
    bytes_.train_from_iterator(
        _TEXTS, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False
    )
    bytes_.save_model(str(folder))
    tokenizer = RobertaTokenizerFast.from_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    torch.manual_seed(4)
    config = RobertaConfig(
        vocab_size=len(tokenizer),
        max_position_embeddings=258,
        type_vocab_size=1,
        initializer_range=0.3,
        num_labels=1,
        **TINY,
    )
    RobertaForSequenceClassification(config).eval().save_pretrained(str(folder))
    return folder
