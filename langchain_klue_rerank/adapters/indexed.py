"""The base classes of what searches a `PassageIndex`: add, delete, sync and save documents."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import run_in_executor
from langchain_core.runnables.configurable import RunnableConfigurableFields
from langchain_core.runnables.utils import AnyConfigurableField
from pydantic import ConfigDict, Field, PrivateAttr

from langchain_klue_rerank.adapters.documents import (
    check_ids,
    searchable_texts,
    to_document,
    to_documents,
    to_passages,
)
from langchain_klue_rerank.adapters.embedding import WordsAndVectors
from langchain_klue_rerank.adapters.filters import Filter, to_keep
from langchain_klue_rerank.engine.arrays.storage import editing
from langchain_klue_rerank.engine.arrays.unit_vectors import TokenVectors
from langchain_klue_rerank.engine.index.passage_index import PassageIndex
from langchain_klue_rerank.engine.index.passages import Passage
from langchain_klue_rerank.engine.index.segments.sizes import IndexStats
from langchain_klue_rerank.engine.index.settings import IndexSettings
from langchain_klue_rerank.engine.text.kiwi import shared_analyzer
from langchain_klue_rerank.engine.text.tokenized import TokenizedTexts, tokenize
from langchain_klue_rerank.engine.threads import gently

#: Documents that `IndexedRetriever.sync` adds at a time.
_SYNC_BATCH = 512


@dataclass(frozen=True)
class SyncResult:
    """What `IndexedRetriever.sync` did.

    Attributes:
        added: Documents that were new or different.
        removed: Documents that went.
        unchanged: Documents that were there already.
    """

    added: int
    removed: int
    unchanged: int


def _is_of(identifier: str, sources: Container[str]) -> bool:
    """Return whether an id is that of a document of one of the sources; see `IndexedRetriever.sync`."""
    return any(identifier[:place] in sources for place, one in enumerate(identifier) if one == "#")


class Indexed:
    """What retrievers and the vector store over a `PassageIndex` have in common."""

    _index: PassageIndex

    def __len__(self) -> int:
        """Return the number of documents in the index."""
        return len(self._index)

    def __bool__(self) -> bool:
        """Return True, even without documents."""
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the documents with these identifiers; unknown ones are skipped."""
        return [to_document(passage) for passage in self._index.get(check_ids(ids))]

    def find_ids(self, filter: Filter | None = None) -> list[str]:
        """Return the identifiers of the documents that match a filter, or of all, in the order of adding."""
        return self._index.find(to_keep(filter))

    def documents(self) -> list[Document]:
        """Return all documents, in the order in which they were added."""
        return [to_document(passage) for passage in gently(self._index.get(self._index.find()))]

    def save(self, folder: str | Path, *, compact: bool = False) -> None:
        """Save the index, completely or not at all. What the folder has of it already is not written again.

        Args:
            folder: A new or empty folder, or an earlier save, which is replaced.
            compact: Whether to write everything anew, without what is left of removed documents. Without, their texts
                stay in the files until enough was removed or added for a segment to be merged; indexes of up to 2,000
                documents keep nothing of them. Needs memory for the whole index.

        Raises:
            IndexFormatError: If the folder holds something else.
            IndexChangedError: If somebody else has saved there since this index was loaded from it or saved to it;
                see `editing`.
            IndexLockedError: If another process or thread is writing there and does not finish.
            OSError: If writing fails; an earlier save is then untouched.
        """
        self._index.save(Path(folder), compact=compact)

    def refresh(self) -> bool:
        """Search what another program has saved since to the folder that this index was loaded from or saved to.

        Any number of programs may read a folder that one writes. Without anything new it costs a look at one file.

        Returns:
            Whether there was anything new.

        Raises:
            IndexChangedError: If this index has changes that are not saved, or the new one has other settings.
            IndexFormatError: If the folder is damaged or no index any more; the index stays as it is.
            ValueError: If the index was neither loaded nor saved.
        """
        return self._index.refresh()

    def stats(self) -> IndexStats:
        """Return how large the index is: passages, segments, bytes by part in memory and on disk, models."""
        return self._index.stats()

    def verify(self) -> None:
        """Check the content of files of 64 MiB and more, which loading leaves out; see `IndexFormatError`."""
        self._index.verify()

    @classmethod
    @contextmanager
    def editing(cls, folder: str | Path, **options: Any) -> Iterator[Self]:
        """Open a saved index, let nobody else write it meanwhile, and save it at the end: ``with ... as retriever:``.

        For programs that write an index that others write, too. After an error the folder stays as it was.

        Args:
            folder: The folder given to `save`.
            **options: Those of ``load``.

        Raises:
            IndexLockedError: If another process or thread is writing there and does not finish within half a minute.
            IndexFormatError: If the folder is not an index, is damaged, or was written by a newer version.
        """
        folder = Path(folder)
        with editing(folder):
            opened: Self = cls.load(folder, **options)  # type: ignore[attr-defined]
            yield opened
            opened.save(folder)

    def _delete(self, ids: Sequence[str] | None, filter: Filter | None) -> int:
        """Remove documents and return how many were removed.

        Args:
            ids: Identifiers of documents to remove; unknown ones are skipped.
            filter: Also remove the documents that match it.

        Raises:
            TypeError: If ids are not a list of strings.
            ValueError: If neither is given.
        """
        keep = to_keep(filter)
        if ids is None and keep is None:
            raise ValueError("delete() needs ids or a filter.")
        found = self._index.find(keep) if keep is not None else ()
        return self._index.delete([*check_ids(() if ids is None else ids), *found])


class IndexedRetriever(Indexed, BaseRetriever):
    """A retriever over a `PassageIndex`. A subclass makes the index and searches it."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_assignment=True)

    k: int = Field(default=4, ge=0)
    scores_in_metadata: bool = True
    kiwi: bool = Field(default=True, frozen=True)
    title_key: str | None = Field(default="title", frozen=True)

    _index: PassageIndex = PrivateAttr()

    @classmethod
    def from_documents(
        cls, documents: Iterable[Document], *, ids: Iterable[str | None] | None = None, **fields: Any
    ) -> Self:
        """Build a retriever from documents; no documents make an empty one.

        Args:
            documents: The documents.
            ids: An identifier for each; without, the documents' own ids, or new UUIDs.
            **fields: The retriever's fields.
        """
        retriever = cls(**fields)
        retriever.add_documents(documents, ids=ids)
        return retriever

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Iterable[dict[str, Any]] | None = None,
        *,
        ids: Iterable[str | None] | None = None,
        **fields: Any,
    ) -> Self:
        """Build a retriever from texts; see `from_documents`."""
        return cls.from_documents(to_documents(texts, metadatas), ids=ids, **fields)

    def add_documents(self, documents: Iterable[Document], *, ids: Iterable[str | None] | None = None) -> list[str]:
        """Add documents; one with a known identifier replaces it.

        Args:
            documents: The documents.
            ids: An identifier for each; without, the documents' own ids, or new UUIDs.

        Returns:
            Their identifiers.

        Raises:
            TypeError: If one is not a Document, or an identifier is not a string.
            ValueError: If there are more or fewer ids than documents.
            ModelOutputError: If the model returns NaN, infinity or vectors of another dimension.
        """
        passages = to_passages(documents, ids)
        if passages:
            texts = searchable_texts(passages, self.title_key)
            self._index.add(passages, *self._read(passages, texts), self._token_vectors(texts))
        return [passage.id for passage in passages]

    async def aadd_documents(
        self, documents: Iterable[Document], *, ids: Iterable[str | None] | None = None
    ) -> list[str]:
        """Add documents without blocking the event loop; see `add_documents`."""
        return await run_in_executor(None, partial(self.add_documents, documents, ids=ids))

    def configurable_fields(self, **kwargs: AnyConfigurableField) -> RunnableConfigurableFields[str, list[Document]]:
        """Make fields configurable at run time; the retriever that LangChain makes of them searches the same index."""
        fields = super().configurable_fields(**kwargs)
        return _ConfigurableFields(default=fields.default, fields=kwargs)  # type: ignore[attr-defined]

    def delete(self, ids: Sequence[str] | None = None, *, filter: Filter | None = None) -> int:
        """Remove documents.

        Args:
            ids: Identifiers of documents to remove; unknown ones are skipped.
            filter: Also remove the documents that it keeps: metadata that they have, or a function of a Document.

        Returns:
            How many were removed.

        Raises:
            TypeError: If ids are not a list of strings.
            ValueError: If neither is given.
        """
        return self._delete(ids, filter)

    def sync(
        self,
        documents_by_source: Mapping[str, Sequence[Document]],
        *,
        cleanup: Literal["full", "incremental"] = "full",
        progress: Callable[[int, int], None] | None = None,
    ) -> SyncResult:
        """Bring the index in step with sources: files, pages, records of a database.

        Only documents that are new or differ from those in the index, in text or metadata, are tokenized and embedded.

        Args:
            documents_by_source: For each source, by a name that stays the same, the documents that it has now; none
                for one that is gone. Their ids become the source's name, a ``#``, and their own id or their place.
                ``source`` in their metadata is the name where they have no other.
            cleanup: What is removed: ``"full"`` (default) everything else in the index, ``"incremental"`` only what
                the named sources no longer have.
            progress: Told after each batch how many new documents of how many are in the index.

        Returns:
            How many documents were added, removed and left alone.

        Raises:
            ValueError: If two documents of a source have one id, or `cleanup` is something else.
        """
        if cleanup not in ("full", "incremental"):
            raise ValueError(f"cleanup={cleanup!r} is neither 'full' nor 'incremental'.")
        wanted: dict[str, Document] = {}
        for source, documents in documents_by_source.items():
            for place, document in enumerate(gently(documents)):
                prefix = f"{source}#"
                own = document.id or str(place)
                name = own if own.startswith(prefix) else prefix + own
                if name in wanted:
                    raise ValueError(f"Two documents of the source {source!r} have the id {own!r}.")
                metadata = {**document.metadata, "source": document.metadata.get("source") or source}
                wanted[name] = Document(document.page_content, id=name, metadata=metadata)
        present = self._index.find()
        gone = [name for name in present if name not in wanted]
        stale = gone if cleanup == "full" else [name for name in gently(gone) if _is_of(name, documents_by_source)]
        same = {
            passage.id
            for passage in gently(self._index.get([name for name in present if name in wanted]), 32)
            if passage == Passage(passage.id, (one := wanted[passage.id]).page_content, one.metadata).plain()
        }
        new = [document for name, document in wanted.items() if name not in same]
        for start in range(0, len(new), _SYNC_BATCH):
            self.add_documents(new[start : start + _SYNC_BATCH])
            if progress is not None:
                progress(min(start + _SYNC_BATCH, len(new)), len(new))
        removed = self.delete(stale) if stale else 0
        return SyncResult(len(new), removed, len(same))

    def _start(self, settings: IndexSettings) -> None:
        """Start with an empty index."""
        self._use(PassageIndex(settings))

    def _adopt(self, index: PassageIndex) -> None:
        """Search an index that another retriever made.

        Raises:
            ValueError: If it was built with other settings, or by another model.
        """
        for name in ("kiwi", "title_key"):
            if getattr(index.settings, name) != getattr(self, name):
                raise ValueError(f"{name}={getattr(self, name)!r}: this was decided when the index was built.")
        self._use(index)

    def _use(self, index: PassageIndex) -> None:
        self._index = index

    def _tokenize(self, texts: Sequence[str]) -> TokenizedTexts:
        return tokenize(texts, shared_analyzer() if self.kiwi else None)

    def _read(self, passages: Sequence[Passage], texts: Sequence[str]) -> WordsAndVectors:
        """Return what an index keeps of passages, beside themselves."""
        return self._tokenize(texts), None

    def _token_vectors(self, texts: Sequence[str]) -> TokenVectors | None:
        """Return the passages' token vectors, or None for an index without."""
        return None


class _ConfigurableFields(RunnableConfigurableFields[str, list[Document]]):
    """LangChain makes a new retriever of the fields; the index, which is none, is handed on."""

    def _prepare(self, config: RunnableConfig | None = None) -> tuple[Runnable[str, list[Document]], RunnableConfig]:
        made, config = super()._prepare(config)
        if (
            made is not self.default
            and isinstance(made, IndexedRetriever)
            and isinstance(self.default, IndexedRetriever)
        ):
            made._adopt(self.default._index)
        return made, config
