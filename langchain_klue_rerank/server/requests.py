"""What clients send: the fields of each protocol that mean something here. Other fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

#: Most texts in one request.
MAX_TEXTS = 2048


def _whole(value: Any) -> Any:
    """Return 3 for 3.0, which JSON Schema calls an integer too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# the bounds stand before the function: only then the description has them
Count = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
#: How many passages a search returns, and how many it may.
DEFAULT_K = 4
PassageCount = Annotated[int, Field(ge=1, le=100), BeforeValidator(_whole)]


class _Request(BaseModel):
    model_config = ConfigDict(strict=True)


class DocumentText(_Request):
    """A document as an object; its ``text`` is read."""

    text: str


class RerankRequest(_Request):
    """Cohere's and Jina's request."""

    query: str
    documents: Annotated[list[str | DocumentText], Field(max_length=MAX_TEXTS)]
    top_n: Count | None = None
    return_documents: bool | None = False
    model: str | None = None

    @property
    def texts(self) -> list[str]:
        """The documents as strings."""
        return [document if isinstance(document, str) else document.text for document in self.documents]


class TeiRerankRequest(_Request):
    """Text Embeddings Inference's request to rerank."""

    query: str
    texts: Annotated[list[str], Field(max_length=MAX_TEXTS)]
    return_text: bool | None = False


class TeiEmbedRequest(_Request):
    """Text Embeddings Inference's request to embed."""

    inputs: str | Annotated[list[str], Field(max_length=MAX_TEXTS)]
    prompt_name: Literal["query", "document", "passage"] | None = None
    dimensions: Count | None = None

    @property
    def texts(self) -> list[str]:
        """The inputs as a list."""
        return [self.inputs] if isinstance(self.inputs, str) else self.inputs


class EmbeddingsRequest(_Request):
    """OpenAI's request; ``input_type`` is an addition: whether the texts are queries or passages."""

    input: str | Annotated[list[str], Field(max_length=MAX_TEXTS)]
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: Count | None = Field(default=None, description="Those of the model's vectors, or left out.")
    input_type: Literal["query", "document"] | None = "document"

    @property
    def texts(self) -> list[str]:
        """The input as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


class SearchRequest(_Request):
    """A search of an index."""

    query: str
    k: PassageCount | None = DEFAULT_K
    filter: dict[str, Any] | None = Field(default=None, description="Condition on metadata, as of `KlueRetriever`.")
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    explain: bool | None = Field(default=False, description="Whether results say why they were found.")
    index: str | None = Field(default=None, description="Name of the index: that of its folder. Default: the first.")
