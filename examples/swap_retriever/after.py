"""The same app with KlueRetriever in the place of FAISS: words and vectors, fused and reranked.

diff examples/swap_retriever/before.py examples/swap_retriever/after.py
python -m examples.swap_retriever.after "전입신고는 언제까지 해야 하나요?"
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
    for question in sys.argv[1:] or ["전입신고는 언제까지 해야 하나요?"]:
        print(f"Q. {question}\nA. {chain.invoke(question)}\n")
