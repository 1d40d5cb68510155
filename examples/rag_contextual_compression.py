"""A RAG chain of LangChain's own parts: FAISS finds 30 candidates, our reranker keeps the best 3.

pip install "langchain-klue-rerank[langchain]"
python -m examples.rag_contextual_compression "감자 상자에 뭘 같이 넣어 두면 순이 덜 나오나요?"
"""

from __future__ import annotations

import sys

from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_community.vectorstores import FAISS
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnablePassthrough

from examples.chat_model import chat_model
from examples.documents import PROMPT, numbered, sample_documents
from langchain_klue_rerank import KlueEmbeddings, KlueReranker


def build_chain(model: BaseChatModel) -> Runnable[str, str]:
    """Return the chain: a question in, an answer out."""
    # 1. The bi-encoder's candidates. A fine-tuned one goes in by name: KlueEmbeddings(model="...").
    store = FAISS.from_documents(sample_documents(), KlueEmbeddings())
    candidates = store.as_retriever(search_kwargs={"k": 30})
    # 2. The cross-encoder's choice.
    retriever = ContextualCompressionRetriever(base_compressor=KlueReranker(top_n=3), base_retriever=candidates)
    # 3. The chain.
    sources = {"context": retriever | numbered, "question": RunnablePassthrough()}
    return sources | PROMPT | model | StrOutputParser()


if __name__ == "__main__":
    chain = build_chain(chat_model())
    for question in sys.argv[1:] or ["혼자 사는데 세탁기가 탈수하다가 덜컹거리며 멈춰요"]:
        print(f"Q. {question}\nA. {chain.invoke(question)}\n")
