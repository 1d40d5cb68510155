"""A small question-answering app as it often stands: FAISS of langchain-community behind a chain.

python -m examples.swap_retriever.before "전입신고는 언제까지 해야 하나요?"
"""

from __future__ import annotations

import sys

from langchain_community.vectorstores import FAISS
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import BaseChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnablePassthrough

from examples.chat_model import chat_model
from examples.documents import PROMPT, numbered, sample_documents

# Stands for HuggingFaceEmbeddings(model_name="..."), so that this runs without a download; its vectors mean nothing.
embeddings = DeterministicFakeEmbedding(size=384)


def build_chain(model: BaseChatModel) -> Runnable[str, str]:
    """Return the chain: a question in, an answer out."""
    store = FAISS.from_documents(sample_documents(), embeddings)
    retriever = store.as_retriever(search_kwargs={"k": 3})
    sources = {"context": retriever | numbered, "question": RunnablePassthrough()}
    return sources | PROMPT | model | StrOutputParser()


if __name__ == "__main__":
    chain = build_chain(chat_model())
    for question in sys.argv[1:] or ["전입신고는 언제까지 해야 하나요?"]:
        print(f"Q. {question}\nA. {chain.invoke(question)}\n")
