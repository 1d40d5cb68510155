"""Where an index comes from, so that no save replaces what somebody else has saved there since."""

from __future__ import annotations

from pathlib import Path

from langchain_klue_rerank.errors import IndexChangedError


class Origins:
    """The folders that an index was loaded from or saved to, and the state of each that it holds.

    A state is the name of the data folder that the manifest names, another one after every save. A folder is known by
    its place, and by the path that was given: that may be a link, which may lead to another folder the next time.
    """

    def __init__(self) -> None:
        self._held: dict[Path, frozenset[object]] = {}
        self.folder: Path | None = None  # the last one

    def loaded(self, folder: Path, state: object) -> None:
        """Note that the index holds what a folder holds, in this state."""
        self.folder = folder.absolute()
        for path in (self.folder, folder.resolve()):
            self._held[path] = frozenset([state])

    def holds(self, folder: Path, state: object) -> bool:
        """Return whether the index holds what a folder holds in this state."""
        return state in self._held.get(folder.resolve(), ())

    def known(self, folder: Path) -> bool:
        """Return whether the index was loaded from a folder or saved to it."""
        return folder.resolve() in self._held

    def saving(self, folder: Path, old: object, new: str) -> None:
        """Note that a state is about to be replaced; interrupted, the folder may be in either."""
        for path in (folder.absolute(), folder.resolve()):
            self._held[path] = frozenset([old, new])

    def check(self, folder: Path, state: object) -> None:
        """Make sure that a save replaces nothing that the index does not hold.

        Args:
            folder: Where to save. One that the index does not come from may be replaced as it is.
            state: The folder's present state; None if there is no index.

        Raises:
            IndexChangedError: If somebody else has saved there since.
        """
        held = self._held.get(folder.resolve(), self._held.get(folder.absolute()))
        if held is not None and isinstance(state, str) and state not in held:
            raise IndexChangedError(
                f"The index at {str(folder)!r} has been saved by somebody else since this one was loaded or saved: "
                "saving would undo their changes. Load it again and repeat yours, or save to another folder. Where "
                "several programs write an index, change it inside `with KlueRetriever.editing(folder) as retriever:`."
            )
