"""An index in a folder: saved, loaded, and brought up to date with what another program has saved."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Self

from langchain_klue_rerank.engine.arrays import manifest, storage
from langchain_klue_rerank.engine.index import index_files
from langchain_klue_rerank.engine.index.segments.segmented import Segmented
from langchain_klue_rerank.engine.index.segments.sizes import IndexStats
from langchain_klue_rerank.errors import IndexChangedError

#: Passages up to which saving compacts every time, and up to which it does where nothing was saved before.
_FEW, _MANY = 2000, 50_000


class SavedIndex(Segmented):
    """The part of an index that knows folders."""

    def save(self, folder: Path, *, compact: bool = False) -> None:
        """Write the index completely or not at all. Searches do not wait for it.

        Segments that the folder has already are not written again. What is left of removed passages goes when their
        segment is merged, or at once with `compact`.

        Args:
            folder: Where to save.
            compact: Whether to put everything into one segment first, without what is left of removed passages. Needs
                memory for all of it. An index of up to 2,000 passages, and one of up to 50,000 of which the folder has
                nothing yet, is always compacted.

        Raises:
            IndexFormatError: If `folder` holds something else, or a file that is to be written again is damaged.
            IndexChangedError: If somebody else has saved there since this index was loaded from it or saved to it.
            IndexLockedError: If another process or thread is writing there and does not finish.
            OSError: If writing fails; an index that was there before is untouched.
        """
        folder = Path(folder)
        if not self._origins.known(folder):
            self.verify()  # all of it is to be written
        # The state is taken while nobody else can save: of two saves the later one holds what the earlier one did.
        with storage.writer_lock(folder):
            with self._lock:
                size = self._state.size
                if compact or size <= _FEW or (size <= _MANY and not self._origins.known(folder)):
                    self._compact()
                state, changes = self._state, self._changes
                terms = state.terms.parts() if state.settings.lexical and state.views else ()
            write = partial(index_files.write, state, terms)
            unchanged = index_files.unchanging(state, terms)
            storage.save_folder(folder, asdict(state.settings), write, self._origins, unchanged)
            self._saved_changes = changes

    @classmethod
    def load(cls, folder: Path, *, any_analysis: bool = False) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The folder.
            any_analysis: Whether its words may be split in another way than questions are: only to be built again.

        Raises:
            IndexFormatError: If the folder is not an index, is damaged, was written by a newer version, or has words
                that are split in another way. Damage within a file of 64 MiB or more is found by `verify`.
        """
        folder = Path(folder)
        state, name = storage.read_folder(folder, lambda files, config: (index_files.read(files, config), files.state))
        index = cls.__new__(cls)
        Segmented.__init__(index, state)
        index._origins.loaded(folder, name)
        if not any_analysis:
            index.settings.check_analysis(str(folder))
        return index

    def refresh(self) -> bool:
        """Take over what another program has saved to the folder that this index was last loaded from or saved to.

        Searches do not wait, and see the old state or the new one.

        Returns:
            Whether there was anything new.

        Raises:
            IndexChangedError: If this index has changes that are not saved, or the other one has other settings.
            IndexFormatError: If the folder is not an index any more, or is damaged; the present state stays.
            ValueError: If the index was neither loaded nor saved.
        """
        folder = self._origins.folder
        if folder is None:
            raise ValueError("refresh() reads what others save, and this index was neither loaded nor saved.")
        if self._origins.holds(folder, manifest.named_data(folder)):
            return False
        self._check_saved(folder)
        state, name = storage.read_folder(folder, lambda files, config: (index_files.read(files, config), files.state))
        if state.settings != self.settings:
            raise IndexChangedError(
                f"The index at {str(folder)!r} has been built anew with other settings. Open it with load()."
            )
        with self._lock:
            self._check_saved(folder)
            self._state, self._removed = state, state.size - state.count
            self._origins.loaded(folder, name)
        return True

    def _check_saved(self, folder: Path) -> None:
        if self._changes != self._saved_changes:
            raise IndexChangedError(
                f"This index has changes that are not saved, and the one at {str(folder)!r} has been saved by somebody "
                "else: refresh() would lose yours. Change an index that others save inside "
                "`with KlueRetriever.editing(folder) as retriever:`."
            )

    def verify(self) -> None:
        """Check the content of the files that are too large to be read when an index is loaded.

        Raises:
            IndexFormatError: If one was edited or damaged.
        """
        for view in self._state.views:
            view.segment.verify()

    def stats(self) -> IndexStats:
        """Return how large the index is."""
        return IndexStats.of(self._state, self._origins.folder)
