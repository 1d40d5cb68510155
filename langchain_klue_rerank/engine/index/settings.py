"""What an index holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from langchain_klue_rerank.engine.arrays.mapped import RESTORE
from langchain_klue_rerank.engine.text.words import ANALYSIS_VERSION
from langchain_klue_rerank.errors import IndexFormatError

#: The fields of vectors: those of the bi-encoder, and those of a second one.
VECTORS: Final = "vectors"
SECOND_VECTORS: Final = "second_vectors"


@dataclass(frozen=True)
class IndexSettings:
    """What an index holds; saved with it.

    Attributes:
        lexical: Whether it keeps tokens and lexical postings.
        dense: Whether it keeps vectors.
        kiwi: Whether its tokens have Kiwi morphemes.
        title_key: The metadata key of the title that is searched with the text; None for the text alone.
        model: Identity of the model that made the vectors; None if unknown.
        window_words: Words of the windows of which it keeps vectors; None for one vector a passage.
        token_vectors: Identity of the late-interaction model whose token vectors it keeps; None for no token vectors.
        second_model: Identity of the second bi-encoder, whose vectors it also keeps; None for none.
        second_window_words: As `window_words`, of the second bi-encoder.
        analysis: Version of the way from texts to words; see `text.words.ANALYSIS_VERSION`.
    """

    lexical: bool = True
    dense: bool = True
    kiwi: bool = True
    title_key: str | None = "title"
    model: str | None = None
    window_words: int | None = None
    token_vectors: str | None = None
    second_model: str | None = None
    second_window_words: int | None = None
    analysis: int = ANALYSIS_VERSION

    @property
    def vector_fields(self) -> tuple[str, ...]:
        """The fields of vectors."""
        if not self.dense:
            return ()
        return (VECTORS,) if self.second_model is None else (VECTORS, SECOND_VECTORS)

    @classmethod
    def from_config(cls, config: dict[str, Any], where: str) -> IndexSettings:
        """Read settings that were saved.

        Raises:
            IndexFormatError: If there are unknown ones, or values of another kind.
        """
        for name, value in config.items():
            allowed = _KINDS.get(name)
            if allowed is None:
                raise IndexFormatError(
                    f"The index at {where!r} has unknown settings ({name!r}). Upgrade langchain-klue-rerank, or build "
                    "the index again."
                )
            if type(value) not in allowed:
                raise IndexFormatError(f"The setting {name!r} of the index at {where!r} cannot be {value!r}. {RESTORE}")
        return cls(**{"analysis": 1, **config})

    def check_analysis(self, where: str) -> None:
        """Check that the words of a saved index are split as this version splits a question.

        Raises:
            IndexFormatError: If they are not.
        """
        if self.lexical and self.analysis != ANALYSIS_VERSION:
            raise IndexFormatError(
                f"The index at {where!r} has words as version {self.analysis} of the text analysis splits them; this "
                f"is version {ANALYSIS_VERSION}. rebuild({where!r}) of the class that opens it builds it again "
                "from the texts that it holds."
            )


#: The types that each setting may have in a manifest.
_KINDS: dict[str, tuple[type, ...]] = {
    "lexical": (bool,),
    "dense": (bool,),
    "kiwi": (bool,),
    "title_key": (str, type(None)),
    "model": (str, type(None)),
    "window_words": (int, type(None)),
    "token_vectors": (str, type(None)),
    "second_model": (str, type(None)),
    "second_window_words": (int, type(None)),
    "analysis": (int,),
}
