"""Texts into token numbers, kept, and two of them into the pair that a transformer reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langchain_klue_rerank.engine.text.cache import TextCache
from langchain_klue_rerank.errors import ModelLoadError

Ids = NDArray[np.int32]

#: Tokens that a cache keeps, of all passages together; 4 bytes each.
CACHED_TOKENS = 8_000_000


@dataclass(frozen=True)
class Template:
    """What stands around the two texts of a pair, such as ``[CLS] query [SEP] passage [SEP]``.

    Attributes:
        before: Token numbers before the query.
        between: Between query and passage.
        after: After the passage.
        types: Token types of the five parts: before, query, between, passage, after.
    """

    before: tuple[int, ...]
    between: tuple[int, ...]
    after: tuple[int, ...]
    types: tuple[int, int, int, int, int] = (0, 0, 0, 0, 0)

    @property
    def size(self) -> int:
        """Tokens that a pair has beside its texts."""
        return len(self.before) + len(self.between) + len(self.after)

    def assemble(self, query: Sequence[int], passage: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return a pair's token numbers and token types."""
        parts = (self.before, query, self.between, passage, self.after)
        ids = [int(number) for part in parts for number in part]
        types = [kind for part, kind in zip(parts, self.types, strict=True) for _ in part]
        return ids, types

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Template:
        """Rebuild a template; raises KeyError or TypeError if `values` is not one."""
        return cls(**{name: tuple(values[name]) for name in ("before", "between", "after", "types")})


#: Texts whose pairs show a tokenizer's template: short and long, of several tokens, with spaces and signs.
PROBES = (
    ("대한민국의 수도는 어디인가?", "서울은 한강이 흐르는 큰 도시이다."),
    ("가", "나 다"),
    ("전화 02-120 (평일)", " 문의는 이메일로도 받습니다. "),
)


def find_template(
    encode: Callable[[str], Sequence[int]], encode_pair: Callable[[str, str], tuple[Sequence[int], Sequence[int]]]
) -> Template:
    """Find out how a tokenizer makes one sequence of two texts, and prove it on the probes.

    Args:
        encode: A text's token numbers, nothing added.
        encode_pair: A pair's token numbers and token types as the model gets them.

    Raises:
        ValueError: If the pairs are not the texts' tokens with something constant around them.
    """
    query, passage = (list(encode(text)) for text in PROBES[0])
    ids, types = (list(values) for values in encode_pair(*PROBES[0]))
    first = _find(query, ids, 0)
    second = _find(passage, ids, first + len(query)) if first >= 0 else -1
    if second < 0:
        raise ValueError("the texts' tokens do not stand one after the other in the pair's")
    ends = (0, first, first + len(query), second, second + len(passage), len(ids))
    kinds = [set(types[start:end]) or {0} for start, end in pairwise(ends)]
    if any(len(kind) > 1 for kind in kinds):
        raise ValueError("a text has tokens of several types")
    template = Template(
        tuple(ids[:first]),
        tuple(ids[first + len(query) : second]),
        tuple(ids[second + len(passage) :]),
        tuple(kind.pop() for kind in kinds),  # type: ignore[arg-type]
    )
    for one, other in PROBES:
        expected = tuple(list(values) for values in encode_pair(one, other))
        if template.assemble(encode(one), encode(other)) != expected:
            raise ValueError(f"the pair of {one!r} and {other!r} follows another rule")
    return template


def _find(part: list[int], whole: list[int], start: int) -> int:
    places = range(start, len(whole) - len(part) + 1)
    return next((place for place in places if whole[place : place + len(part)] == part), -1)


class PairTokenizer:
    """Tokenizes texts once and keeps what it has tokenized. May be used by several threads at once.

    Args:
        encode: Texts into token numbers, nothing added or cut; itself safe for threads.
        template: What stands around the texts of a pair.
        padding: Number of the padding token.
        reads_types: Whether the model is given token types.
        cached_tokens: Most tokens to keep; the passages that were not used for longest go first.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[str]], Sequence[Sequence[int]]],
        template: Template,
        padding: int,
        reads_types: bool,
        cached_tokens: int = CACHED_TOKENS,
    ) -> None:
        self.template = template
        self.padding = padding
        self.reads_types = reads_types
        self._encode = encode
        self._cache: TextCache[Ids] = TextCache(cached_tokens, len)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Return the token numbers of texts, from the cache where they are there.

        Args:
            texts: Clean texts (no lone surrogates).

        Returns:
            For each an array of int32, not to be changed.
        """
        found = self._cache.get(texts)
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            ids = [np.asarray(one, np.int32) for one in self._encode(missing)]
            new = dict(zip(missing, ids, strict=True))
            found |= new
            self._cache.put(new)
        return [found[text] for text in texts]


def rust_encode(tokenizer: Any) -> Callable[[Sequence[str]], Sequence[Sequence[int]]]:
    """Return the encoding function of a `tokenizers.Tokenizer` of our own: it cuts and pads nothing.

    Args:
        tokenizer: A ``tokenizers.Tokenizer`` that nobody else uses; its truncation and padding are switched off, so
            that threads cannot change them under one another.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        return [one.ids for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    return encode


def pair_tokenizer(model: Any, name: str) -> PairTokenizer:
    """Make a tokenizer of pairs from a loaded sentence-transformers CrossEncoder, and check that the two agree.

    Args:
        model: The model.
        name: Its name, for the error.

    Raises:
        ModelLoadError: If the model does not read a pair as two texts with constant tokens around them.
    """
    tokenizer = model.tokenizer
    encode: Callable[[Sequence[str]], Sequence[Sequence[int]]]
    if getattr(tokenizer, "is_fast", False):
        from tokenizers import Tokenizer

        encode = rust_encode(Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()))
    else:  # written in Python: it keeps no state between calls

        def encode(texts: Sequence[str]) -> list[list[int]]:
            return [tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] for text in texts]

    def encode_pair(one: str, other: str) -> tuple[list[int], list[int]]:
        features = model.preprocess([(one, other)])
        ids = features["input_ids"][0].tolist()
        types = features.get("token_type_ids")
        return ids, types[0].tolist() if types is not None else [0] * len(ids)

    try:
        template = find_template(lambda text: encode([text])[0], encode_pair)
    except ValueError as error:
        raise ModelLoadError(
            f"The model {name!r} reads pairs in a way that this reranker cannot follow: {error}. Take a cross-encoder "
            "whose input is two texts, not a prompt."
        ) from error
    return PairTokenizer(encode, template, tokenizer.pad_token_id or 0, "token_type_ids" in tokenizer.model_input_names)
