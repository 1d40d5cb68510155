"""How often `explain` names the sentence that a person would name, in the passage that answers.

    python -m benchmarks.sentences              # the samples and the seen half of the everyday questions
    python -m benchmarks.sentences --unseen     # the other half
    python -m benchmarks.sentences --encoder packaged-encoder    # as with second_embeddings="packaged-encoder"
    python -m benchmarks.sentences --data ../shared/data         # KLUE-MRC validation, too

Answer sentences were chosen by hand: of all plain samples and of 118 paraphrased ones drawn by chance (``answers`` in
the samples' questions), and of every answerable everyday question. In KLUE-MRC a sentence is right if it holds the
answer. Beside `explain` the reranker alone, a sentence drawn by chance, and how many sentences there are. Times are of
the processor. Intervals: 95% bootstrap over questions.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.everyday.sets import SEEN, UNSEEN, read_corpus
from benchmarks.figures.printed import with_interval
from langchain_klue_rerank import KlueEmbeddings, KlueReranker
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.sentences import sentence_spans
from langchain_klue_rerank.evaluation.sets import SAMPLES
from langchain_klue_rerank.explanation import explain_match
from training.data import read_jsonl, read_mrc


@dataclass(frozen=True)
class Case:
    """A question, the passage that answers it, and the sentences that a person would name."""

    question: str
    title: str
    text: str
    answers: tuple[str, ...]

    def is_named(self, sentence: str) -> bool:
        """Whether a sentence is one of the answers, or a part of one, or holds one."""
        said = "".join(sentence.split())
        return any(said and (said in answer or answer in said) for answer in map(_tight, self.answers))


def _tight(text: str) -> str:
    return "".join(text.split())


def samples() -> Iterator[tuple[str, Case]]:
    """Yield the kind and the case of every sample question with an answer sentence."""
    passages = {row["id"]: row for row in read_jsonl(SAMPLES / "passages.jsonl")}
    for row in read_jsonl(SAMPLES / "questions.jsonl"):
        if "answers" in row:
            passage = passages[row["passage_id"]]
            yield row["kind"], Case(row["question"], passage["title"], passage["text"], tuple(row["answers"]))


def everyday(name: str) -> Iterator[Case]:
    """Yield a case for every answerable question of a corpus and every passage that answers it."""
    corpus = read_corpus(name)
    documents = {document.id: document for document in corpus.documents}
    for question in corpus.questions:
        for passage in sorted(question.passages):
            document = documents[passage]
            yield Case(question.text, document.metadata["title"], document.page_content, question.answers)


def klue_mrc(data: Path) -> Iterator[Case]:
    """Yield a case for every question of KLUE-MRC validation."""
    for pair in read_mrc(data, "validation"):
        title, _, text = pair.passage.partition("\n")
        if pair.answer:
            yield Case(pair.query, title, text, (pair.answer,))


def measure(name: str, cases: list[Case], encoder: KlueEmbeddings | None) -> None:
    """Print one set's row."""
    reranker, analyzer = KlueReranker(), shared_analyzer()
    named, alone, chance, counts, seconds = [], [], [], [], []
    for case in cases:
        start = time.process_time()
        explanation = explain_match(case.question, case.text, title=case.title, encoder=encoder)
        seconds.append(time.process_time() - start)
        named.append(float(case.is_named(explanation.sentence)))
        sentences = [case.text[a:b] for a, b in sentence_spans(case.text, analyzer)]
        [scores] = reranker.score([case.question], [sentences])
        alone.append(float(case.is_named(sentences[int(np.argmax(scores))])))
        chance.append(float(np.mean([case.is_named(sentence) for sentence in sentences])))
        counts.append(len(sentences))
    print(
        f"| {name} | {len(cases)} | {np.mean(counts):.1f} | {with_interval(np.array(named))} "
        f"| {np.mean(alone):.3f} | {np.mean(chance):.3f} | {1000 * np.median(seconds):.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unseen", action="store_true", help="the everyday questions that informed nothing")
    parser.add_argument("--encoder", metavar="MODEL", help="an encoder that has a say beside the packaged models")
    parser.add_argument("--data", type=Path, help="the data folder, for KLUE-MRC validation")
    options = parser.parse_args()
    encoder = KlueEmbeddings(model=options.encoder) if options.encoder else None
    print("| questions | | sentences | `explain` (95%) | reranker alone | chance | processor ms |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    if not options.unseen:
        rows = list(samples())
        for kind in ("plain", "paraphrase"):
            measure(f"samples, {kind}", [case for its, case in rows if its == kind], encoder)
        if options.data:
            measure("KLUE-MRC validation", list(klue_mrc(options.data)), encoder)
    half = UNSEEN if options.unseen else SEEN
    measure("everyday, " + ", ".join(half), [case for name in half for case in everyday(name)], encoder)


if __name__ == "__main__":
    main()
