"""What clients send: the fields of each protocol that mean something here.

Other fields are ignored, as vLLM, Infinity and TEI do: clients of one protocol send what only some of its servers read.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

#: Most texts in one request.
MAX_TEXTS = 2048
#: The kind of error that `_Request` raises itself; its message is whole.
OTHER_SPELLING: Final = "other_spelling"


def _whole(value: Any) -> Any:
    """Return 3 for 3.0, which JSON Schema calls an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flag(value: Any) -> Any:
    """Return True for "true", as clients of Xinference write it."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


def _letters(name: str) -> str:
    """Return what the spellings of a field have in common: ``top_n``, ``topN`` and ``top-n``; ``dimension(s)``."""
    return re.sub(r"[\W_]", "", name.lower()).rstrip("s")


# the bounds stand before the function: only then the description has them
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
#: How many passages a search returns, and how many it may.
DEFAULT_K = 4
PassageCount = Annotated[int, Field(ge=1, le=100), BeforeValidator(_whole)]
Flag = Annotated[bool, BeforeValidator(_flag)]
Texts = Annotated[list[str], Field(max_length=MAX_TEXTS)]
#: What Cohere, NVIDIA and Voyage call the kinds of texts.
InputType = Literal["query", "document", "passage", "search_query", "search_document", "classification", "clustering"]
_QUERIES = frozenset({"query", "search_query", "retrieval.query"})


def kind_of(name: str | None) -> Literal["query", "document"]:
    """Return as what texts are embedded: as documents unless a protocol's name for queries is given."""
    return "query" if name in _QUERIES else "document"


class _Request(BaseModel):
    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _no_other_spelling(cls, fields: Any) -> Any:
        """Refuse a known field in another spelling: ignored as unknown ones are, it would seem to be obeyed."""
        if isinstance(fields, dict):
            known = {_letters(name): name for name in cls.model_fields}
            for name in fields.keys() - cls.model_fields.keys():
                if _letters(name) in known:
                    problem = "{name} is no field; did you mean {known}?"
                    raise PydanticCustomError(OTHER_SPELLING, problem, {"name": name, "known": known[_letters(name)]})
        return fields


class DocumentText(_Request):
    """A document as an object; its ``text`` is read."""

    text: str


class RerankRequest(_Request):
    """The request of Cohere and Jina, and of vLLM and other servers that follow them."""

    query: str
    documents: Annotated[list[str | DocumentText], Field(max_length=MAX_TEXTS)]
    top_n: Count | None = None
    top_k: Count | None = Field(default=None, description="What Voyage calls `top_n`.")
    return_documents: Flag | None = False
    model: str | None = None

    @property
    def texts(self) -> list[str]:
        """The documents as strings."""
        return [document if isinstance(document, str) else document.text for document in self.documents]


class TeiRerankRequest(_Request):
    """Text Embeddings Inference's request to rerank."""

    query: str
    texts: Texts
    return_text: Flag | None = False
    raw_scores: Flag | None = Field(default=False, description="Whether scores are log odds, not probabilities.")


def _reranking(body: Any) -> str:
    return "documents" if isinstance(body, dict) and "documents" in body and "texts" not in body else "texts"


#: What ``/rerank`` is sent: by TEI's clients with ``texts``, by those of vLLM, Infinity and LocalAI with ``documents``.
AnyRerankRequest = Annotated[
    Annotated[TeiRerankRequest, Tag("texts")] | Annotated[RerankRequest, Tag("documents")], Discriminator(_reranking)
]


class TeiEmbedRequest(_Request):
    """Text Embeddings Inference's request to embed."""

    inputs: str | Texts
    prompt_name: Literal["query", "document", "passage"] | None = None
    dimensions: Count | None = None

    @property
    def texts(self) -> list[str]:
        """The inputs as a list."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs


class EmbeddingsRequest(_Request):
    """OpenAI's request; whether the texts are queries is said by Voyage's ``input_type`` or Jina's ``task``."""

    input: str | Texts
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Count | None = Field(default=None, description="Those of the model's vectors, or left out.")
    input_type: InputType | None = "document"
    task: str | None = Field(default=None, description="`retrieval.query` for queries.")

    @property
    def texts(self) -> list[str]:
        """The input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class CohereEmbedRequest(_Request):
    """Cohere's request to embed."""

    texts: Texts
    input_type: InputType | None = None
    embedding_types: list[Literal["float", "base64"]] | None = Field(
        default=None, description="In which forms the vectors come; `/v1/embed` gives a bare list if it is left out."
    )
    output_dimension: Count | None = None
    model: str | None = None


class SearchRequest(_Request):
    """A search of an index."""

    query: str
    k: PassageCount | None = DEFAULT_K
    filter: dict[str, Any] | None = Field(default=None, description="Condition on metadata, as of `KlueRetriever`.")
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    explain: bool | None = Field(default=False, description="Whether results say why they were found.")
    index: str | None = Field(default=None, description="Name of the index: that of its folder. Default: the first.")
