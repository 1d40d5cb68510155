"""The project's base: a multilingual encoder with the pieces that Korean text uses, on a tiny one of the same shape."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402
from transformers import BertConfig, BertModel  # noqa: E402

from tests.tiny_models import TINY  # noqa: E402
from training.recipes import base  # noqa: E402

TEXTS = ["query: 강물이 바다로 흐른다", "query: 산에서 바다를 본다", "query: 강과 산"]


def original() -> tuple[BertModel, dict[str, Any]]:
    """A body and a ``tokenizer.json`` like XLM-RoBERTa's: Unigram, ``<mask>`` last, pieces of several scripts."""
    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "▁",
        "▁강",
        "▁산",
        "▁바다",
        "물",
        "이",
        "과",
        "에서",
        "를",
        "로",
        "▁본다",
    ]
    pieces += ["▁흐른다", "▁query", ":", "Ж", "ع", "ब", "<mask>"]
    tokenizer = Tokenizer(models.Unigram([(piece, -float(rank)) for rank, piece in enumerate(pieces)], unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    torch.manual_seed(5)
    config = BertConfig(vocab_size=len(pieces), max_position_embeddings=64, pad_token_id=1, **TINY)
    return BertModel(config, add_pooling_layer=False).eval(), json.loads(tokenizer.to_str())


def test_korean_pieces_stay_and_texts_of_them_have_the_same_vectors(tmp_path: Path) -> None:
    body, full = original()
    before = Tokenizer.from_str(json.dumps(full))
    pieces = [piece for piece, _ in full["model"]["vocab"]]
    counts = base.count_pieces(before, TEXTS)
    kept = [number for number in base.choose_pieces(pieces, counts, 19) if pieces[number] != "<mask>"]
    assert {"▁바다", "에서", "▁query", ":"} <= {pieces[number] for number in kept}
    assert "ब" not in {pieces[number] for number in kept}
    cut, tokenizer = base.cut_body(body, kept, pieces.index("<mask>")), base.cut_tokenizer(full, kept)
    after = Tokenizer.from_str(json.dumps(tokenizer))
    found = base.check((body, before), (cut, after), kept, TEXTS)
    assert found["texts"] == 3
    assert found["same_pieces"] == 1
    assert found["lowest_cosine"] > 0.99999

    from sentence_transformers import SentenceTransformer

    base.save(cut, tokenizer, tmp_path / "base")
    model = SentenceTransformer(str(tmp_path / "base"), device="cpu")
    [vector] = model.encode([TEXTS[0].removeprefix("query: ")], prompt_name="query")
    assert vector @ base.embed(body, [before.encode(TEXTS[0]).ids])[0] == pytest.approx(1, abs=1e-5)


def test_what_the_data_uses_is_kept_before_what_it_does_not() -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁강", "Ж", "ع", "ब"]
    assert base.choose_pieces(pieces, Counter({6: 5, 7: 1}), 6) == [0, 1, 2, 3, 4, 6]


def test_fewer_layers_are_evenly_spaced_and_end_with_the_last() -> None:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=6, num_attention_heads=2, intermediate_size=8, pad_token_id=1
    )
    body = BertModel(config, add_pooling_layer=False).eval()
    cut = base.cut_layers(body, 3)
    assert cut.config.num_hidden_layers == 3
    for place, number in enumerate((1, 3, 5)):
        ours, theirs = cut.encoder.layer[place].state_dict(), body.encoder.layer[number].state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(SystemExit, match="--layers 7"):
        base.cut_layers(body, 7)
