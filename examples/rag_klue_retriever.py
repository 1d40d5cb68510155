"""The same chain with our own retriever: lexical and dense candidates, fused and reranked, from one index.

pip install langchain-klue-rerank
python -m examples.rag_klue_retriever "감자 상자에 뭘 같이 넣어 두면 순이 덜 나오나요?"
"""

from __future__ import annotations

import sys

from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnablePassthrough

from examples.chat_model import chat_model
from examples.documents import PROMPT, numbered, sample_documents
from langchain_klue_rerank import KlueRetriever


def build_chain(model: BaseChatModel) -> Runnable[str, str]:
    """Return the chain: a question in, an answer out."""
    retriever = KlueRetriever.from_documents(sample_documents(), k=3)
    sources = {"context": retriever | numbered, "question": RunnablePassthrough()}
    return sources | PROMPT | model | StrOutputParser()


if __name__ == "__main__":
    chain = build_chain(chat_model())
    for question in sys.argv[1:] or ["혼자 사는데 세탁기가 탈수하다가 덜컹거리며 멈춰요"]:
        print(f"Q. {question}\nA. {chain.invoke(question)}\n")
