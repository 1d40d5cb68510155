"""LlamaIndex: a node postprocessor that reranks, and a retriever over a `KlueRetriever` (extra ``llama-index``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from langchain_core.documents import Document
from llama_index.core.callbacks.schema import CBEventType, EventPayload
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import BaseNode, ImageNode, IndexNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.adapters.documents import SCORE_KEYS
from langchain_klue_rerank.adapters.filters import Filter
from langchain_klue_rerank.reranker import KlueReranker
from langchain_klue_rerank.retriever import KlueRetriever

#: The metadata key of what a node has beside its text, id and metadata, and what is kept elsewhere or not at all.
_REST = "_node"
_KEPT_ELSEWHERE = {"text", "id_", "metadata", "embedding"}
#: Kinds of nodes that come back as such.
_KINDS: dict[str, type[TextNode]] = {"IndexNode": IndexNode, "ImageNode": ImageNode}


class KlueNodePostprocessor(BaseNodePostprocessor):
    """Reranks nodes: the best ``top_n``, with the reranker's scores in 0..1. The nodes given in stay as they are.

    Args:
        reranker: What scores them. Default: the packaged reranker.
        top_n: How many nodes to keep. Default 3.
        score_threshold: Lowest score to keep, 0..1; None keeps all.
    """

    model_config = ConfigDict(extra="forbid")

    top_n: int = Field(default=3, ge=1)
    score_threshold: float | None = Field(default=None, ge=0, le=1)

    _reranker: KlueReranker = PrivateAttr()

    def __init__(self, reranker: KlueReranker | None = None, **fields: Any) -> None:
        super().__init__(**fields)
        self._reranker = reranker or KlueReranker()

    @classmethod
    def class_name(cls) -> str:
        """Return the name by which LlamaIndex saves it."""
        return "KlueNodePostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("Reranking needs the question: give query_str or query_bundle.")
        if not nodes:
            return []
        payload: dict[Any, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: self._reranker.model_name or "packaged",
            EventPayload.QUERY_STR: query_bundle.query_str,
            EventPayload.TOP_K: self.top_n,
        }
        with self.callback_manager.event(CBEventType.RERANKING, payload=payload) as event:
            texts = [_with_title(node.node) for node in nodes]
            ranked = self._reranker.rerank(texts, query_bundle.query_str, top_n=self.top_n)
            kept = [
                NodeWithScore(node=nodes[one["index"]].node, score=float(one["relevance_score"]))
                for one in ranked
                if one["relevance_score"] >= (self.score_threshold or 0)
            ]
            event.on_end(payload={EventPayload.NODES: kept})
        return kept


def _with_title(node: BaseNode) -> str:
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    title = node.metadata.get("title")
    return f"{title}\n{text}" if isinstance(title, str) and title else text


class KlueIndexRetriever(BaseRetriever):
    """Searches a `KlueRetriever` from LlamaIndex.

    Args:
        retriever: What searches; its ``k`` decides how many nodes come.
        filter: Which documents may be found, as of ``KlueRetriever.invoke``; None for all.
        hidden_metadata: Keys of metadata that prompts and embeddings of nodes leave out, beside our scores and those
            that the nodes themselves hide. Default none.
        **options: Those of LlamaIndex's ``BaseRetriever``, such as ``callback_manager``.
    """

    def __init__(
        self,
        retriever: KlueRetriever,
        filter: Filter | None = None,
        hidden_metadata: Iterable[str] = (),
        **options: Any,
    ) -> None:
        self.retriever = retriever
        self.filter = filter
        self.hidden_metadata = sorted({*SCORE_KEYS, *hidden_metadata})
        super().__init__(**options)

    @classmethod
    def from_nodes(cls, nodes: Iterable[BaseNode], **fields: Any) -> KlueIndexRetriever:
        """Index LlamaIndex's nodes, under their ids.

        Args:
            nodes: The nodes; a ``title`` in their metadata is searched with the text.
            **fields: Fields of the `KlueRetriever`: ``k``, ``reranker`` and so on.
        """
        return cls(KlueRetriever.from_documents([to_document(node) for node in nodes], **fields))

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [self._to_node(one) for one in self.retriever.invoke(query_bundle.query_str, filter=self.filter)]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self.retriever.ainvoke(query_bundle.query_str, filter=self.filter)
        return [self._to_node(one) for one in found]

    def _to_node(self, document: Document) -> NodeWithScore:
        metadata = dict(document.metadata)
        score = metadata.pop("relevance_score", None)
        rest = metadata.pop(_REST, None)
        rest = dict(rest) if isinstance(rest, dict) else {}
        named = {"id_": document.id} if document.id else {}
        kind = _KINDS.get(rest.pop("class_name", ""), TextNode)
        node = kind(text=document.page_content, metadata=metadata, **named, **rest)
        for keys in (node.excluded_llm_metadata_keys, node.excluded_embed_metadata_keys):
            keys += [key for key in self.hidden_metadata if key in metadata and key not in keys]
        return NodeWithScore(node=node, score=score)


def to_document(node: BaseNode) -> Document:
    """Turn a node into a document with its id and metadata.

    What else a node has, such as its relationships, is kept under the metadata key ``_node``.
    """
    rest = node.model_dump(mode="json", exclude=_KEPT_ELSEWHERE, exclude_defaults=True)
    if rest.pop("class_name", "") in _KINDS:
        rest["class_name"] = node.class_name()
    metadata = {**node.metadata, _REST: rest} if rest else dict(node.metadata)
    return Document(node.get_content(metadata_mode=MetadataMode.NONE), id=node.node_id, metadata=metadata)
