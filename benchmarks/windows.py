"""What several vectors a passage would bring dense search: the best of its windows against one vector of the whole.

    python -m benchmarks.windows --data ../shared/data/klue_mrc --limit 240     # KLUE-MRC validation

A window is so many words, each beginning half a window after the last, headed by the passage's title. Nothing in the
package does this yet; this shows what it would cost (vectors a passage) and bring.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.checks import searchable_text
from langchain_klue_rerank.engine.fusion import fuse_scores
from langchain_klue_rerank.engine.lexical import LexicalIndex
from langchain_klue_rerank.engine.metrics import interval
from langchain_klue_rerank.engine.models import packaged_bi_encoder
from langchain_klue_rerank.engine.ragged import Ragged
from langchain_klue_rerank.engine.text import TokenizedTexts, shared_analyzer, split_words, tokenize
from langchain_klue_rerank.engine.token_store import TokenStore
from langchain_klue_rerank.evaluation import read_sets


def cut(texts: TokenizedTexts, headings: list[int], size: int) -> tuple[TokenizedTexts, NDArray[np.int64]]:
    """Cut passages into windows.

    Args:
        texts: The passages.
        headings: How many of each one's first words are its title.
        size: Words in a window, the title not counted.

    Returns:
        The windows, each headed by the title, and for each passage its first window.
    """
    rows: list[NDArray[np.int32]] = []
    firsts = []
    for number, heading in enumerate(headings):
        words = texts.word_ids[texts.offsets[number] : texts.offsets[number + 1]]
        firsts.append(len(rows))
        for start in range(heading, max(len(words) - size // 2, heading + 1), size // 2):
            rows.append(np.concatenate([words[:heading], words[start : start + size]]))
    ragged = Ragged.from_rows(row.tolist() for row in rows)
    return TokenizedTexts(texts.words, texts.morphemes, ragged.values, ragged.offsets), np.asarray(firsts)


def main() -> None:
    """Print hit rates of dense and hybrid search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="samples", help="as for klue-rerank evaluate; of several sets the last")
    parser.add_argument("--limit", type=int, help="ask the first questions only")
    parser.add_argument("--words", type=int, nargs="+", default=[100, 50], help="words in a window (100 50)")
    options = parser.parse_args()
    data = read_sets(options.data)[-1].first(options.limit)
    texts = [searchable_text(one.page_content, one.metadata, "title") for one in data.documents]
    headings = [len(split_words(one.metadata.get("title", ""))) for one in data.documents]
    passages, questions = tokenize(texts, shared_analyzer()), tokenize(data.questions, shared_analyzer())
    row = {document.id: number for number, document in enumerate(data.documents)}
    right = np.asarray([row[next(iter(relevant))] for relevant in data.relevant])
    encoder = packaged_bi_encoder()
    asked = encoder.encode(questions)
    store = TokenStore()
    store.add(passages)
    lexical = LexicalIndex(store).scores(questions)
    print(f"{data.name}: {len(right)} questions over {len(texts)} passages, HitRate with 95% intervals")

    def show(name: str, scores: NDArray[np.float32]) -> None:
        ranks = (scores > scores[np.arange(len(right)), right][:, None]).sum(axis=1)
        cells = []
        for k in (1, 10, 30):
            hits = np.asarray(ranks < k, np.float64)
            low, high = interval(hits)
            cells.append(f"@{k} {hits.mean():.3f} ({low:.3f}-{high:.3f})")
        print(f"{name:40s} {'  '.join(cells)}")

    show("lexical", lexical)
    for size in (None, *options.words):
        windows, firsts = (passages, np.arange(len(texts))) if size is None else cut(passages, headings, size)
        cosines = np.maximum.reduceat(asked @ encoder.encode(windows).T, firsts, axis=1)
        name = "whole passages" if size is None else f"windows of {size} words"
        print(f"{name}: {len(windows) / len(texts):.1f} vectors a passage")
        show("  dense", cosines)
        show("  hybrid", fuse_scores(lexical, cosines, 0.3))


if __name__ == "__main__":
    main()
