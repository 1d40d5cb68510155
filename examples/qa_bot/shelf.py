"""The files of one visitor: indexed in the background, searched as far as they are ready."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from examples.qa_bot.documents import UnreadableFileError, file_name, read_file
from examples.qa_bot.settings import BATCH, CANDIDATES, MAX_FILES, MAX_TOTAL_MEGABYTES
from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever

logger = logging.getLogger(__name__)


class State(Enum):
    """What has become of a file."""

    WAITING = "waiting"
    READING = "reading"
    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"


@dataclass
class File:
    """A file on the shelf.

    Attributes:
        name: Its name, in NFC.
        digest: What tells equal contents.
        state: What has become of it.
        message: Why it could not be read; empty otherwise.
        passages: How many passages it has, 0 until it was read.
        indexed: How many of them can be searched.
    """

    name: str
    digest: str
    state: State = State.WAITING
    message: str = ""
    passages: int = 0
    indexed: int = 0
    removed: bool = field(default=False, repr=False)

    @property
    def busy(self) -> bool:
        """Whether it is still worked on."""
        return self.state in (State.WAITING, State.READING, State.INDEXING)

    @property
    def ids(self) -> list[str]:
        """The ids of the passages that can be searched."""
        return [f"{self.digest}.{number}" for number in range(self.indexed)]


@lru_cache(maxsize=1)
def _models() -> tuple[KlueEmbeddings, KlueReranker]:
    """The packaged models, loaded once for all visitors."""
    return KlueEmbeddings(), KlueReranker()


class Shelf:
    """Files of one visitor and their index. Everybody has their own; only the models are shared.

    Files are read one after the other by a thread that lives as long as there is something to do, in small batches, so
    that questions, this visitor's and others', are answered meanwhile.

    Args:
        left: Says whether the visitor has left; what is still to be read then is not read.

    Attributes:
        retriever: What searches the files.
    """

    def __init__(self, left: Callable[[], bool] = lambda: False) -> None:
        self._left = left
        self._bytes: dict[str, int] = {}
        embeddings, reranker = _models()
        self.retriever = KlueRetriever(k=CANDIDATES, fetch_k=CANDIDATES, embeddings=embeddings, reranker=reranker)
        self._files: dict[str, File] = {}
        self._waiting: deque[tuple[File, bytes]] = deque()
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None

    @property
    def files(self) -> list[File]:
        """The files, in the order in which they came."""
        with self._lock:
            return list(self._files.values())

    @property
    def busy(self) -> bool:
        """Whether files are still worked on."""
        return any(file.busy for file in self.files)

    def put(self, name: str, content: bytes) -> str:
        """Take a file; it is read in the background.

        Args:
            name: Its name.
            content: Its bytes.

        Returns:
            What the visitor should be told: that its contents are here already, or that it replaces a file of the
            same name. Empty if there is nothing to tell.
        """
        name, digest = file_name(name), hashlib.sha256(content).hexdigest()[:32]
        with self._lock:
            twin = next((f for f in self._files.values() if f.digest == digest and f.state != State.FAILED), None)
            if twin:
                return (
                    f"{name}: 이미 올린 {'파일' if twin.name == name else twin.name}과(와) 내용이 같아 넣지 않았습니다."
                )
            old = self._files.get(name)
            too_much = self._too_much(name, len(content), known=old is not None)
        if too_much:
            return too_much
        if old:
            self.remove(name)
        with self._lock:
            file = self._files[name] = File(name, digest)
            self._bytes[name] = len(content)
            self._waiting.append((file, content))
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="qa-bot-shelf", daemon=True)
                self._worker.start()
        return f"{name}: 같은 이름의 파일을 새 내용으로 바꿨습니다." if old and old.state != State.FAILED else ""

    def _too_much(self, name: str, size: int, *, known: bool) -> str:
        """Say why a file does not fit beside the others; empty if it does."""
        if not known and len(self._files) >= MAX_FILES:
            return f"{name}: 문서는 {MAX_FILES}개까지 올릴 수 있어 넣지 않았습니다."
        if sum(self._bytes.values()) - self._bytes.get(name, 0) + size > MAX_TOTAL_MEGABYTES << 20:
            return f"{name}: 문서를 모두 합쳐 {MAX_TOTAL_MEGABYTES}MB까지 올릴 수 있어 넣지 않았습니다."
        return ""

    def remove(self, name: str) -> None:
        """Take a file off the shelf; an unknown name is passed over."""
        with self._lock:
            file = self._files.pop(name, None)
            self._bytes.pop(name, None)
            if file is None:
                return
            file.removed = True  # a worker that is at it stops, and cleans up behind itself
            finished = not file.busy
        if finished:
            self.retriever.delete(file.ids)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until everything is read."""
        worker = self._worker
        if worker is not None:
            worker.join(timeout)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._left():
                    self._waiting.clear()
                if not self._waiting:
                    self._worker = None
                    return
                file, content = self._waiting.popleft()
            if not file.removed:
                self._add(file, content)

    def _add(self, file: File, content: bytes) -> None:
        state, message = State.READY, ""
        try:
            file.state = State.READING
            documents = read_file(file.name, content)
            file.passages = len(documents)
            file.state = State.INDEXING
            for start in range(0, len(documents), BATCH):
                if file.removed or self._left():
                    break
                batch = documents[start : start + BATCH]
                numbers = range(start, start + len(batch))
                self.retriever.add_documents(batch, ids=[f"{file.digest}.{number}" for number in numbers])
                file.indexed = numbers.stop
        except UnreadableFileError as error:
            state, message = State.FAILED, str(error)
        except Exception:
            logger.exception("reading an uploaded file failed")
            state, message = State.FAILED, f"{file.name}: 읽는 중에 오류가 났습니다. 다른 형식으로 저장해 올려 보세요."
        with self._lock:
            file.state, file.message = state, message
            give_up = file.removed or state == State.FAILED
        if give_up:
            self.retriever.delete(file.ids)
