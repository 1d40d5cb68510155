"""What can be set: the chat model, from the environment or the page, and the numbers of the search."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

#: Longest passage in characters, and what neighbours share: shorter than the package's own, since a page shows them.
PASSAGE_LENGTH, PASSAGE_OVERLAP = 400, 50
#: Passages that an answer may cite.
SOURCES = 5
#: Candidates that are reranked, and shown where the scores are.
CANDIDATES = 30
#: Confidence of the first passage from which the bot answers. Below it, it says that it found nothing and shows the
#: nearest passages. Lower than `KlueRetriever.confidence_threshold`, since an answer below `SURE_CONFIDENCE` says that
#: it may be none: chosen on the seen everyday questions, ``python -m benchmarks.everyday.bot_answers``.
CONFIDENCE = 0.27
#: Below `SURE_CONFIDENCE` the first stage, words and meaning together, must have found this much, too: where there are
#: few passages, one is ahead of the others whatever the question. Chosen like `CONFIDENCE`.
LEAST_SCORE = 0.04
#: Below this confidence the visitor is told that the passage may not be the answer.
SURE_CONFIDENCE = 0.6
#: Nearest passages that are shown where none is taken for the answer.
NEAREST = 3
#: Passages indexed at a time; between two batches other visitors get their turn.
BATCH = 64
#: Longest question in characters.
QUESTION_LENGTH = 2000
#: Files of one visitor, and their megabytes together.
MAX_FILES, MAX_TOTAL_MEGABYTES = 200, 500
#: Largest file in megabytes; server.maxUploadSize in .streamlit/config.toml is the same.
MAX_MEGABYTES = 200

#: Answers where a server wants no key, as Ollama: the client insists on one.
NO_KEY = "no-key"


class SettingsError(ValueError):
    """The chat model cannot be used as it is set; the message tells a visitor why."""


@dataclass(frozen=True)
class ChatSettings:
    """Where the chat model is. Without a name there is none, and the bot quotes.

    Attributes:
        model: The model's name, as the server knows it.
        base_url: Address of an OpenAI-compatible server; empty for OpenAI's own.
        api_key: The key, if the server wants one.
        of_visitor: Whether a visitor named the address: it is sent nothing of this server's environment.
    """

    model: str = ""
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    of_visitor: bool = False

    @property
    def configured(self) -> bool:
        """Whether there is a chat model."""
        return bool(self.model)

    @property
    def shown_address(self) -> str:
        """The address without the name and password that it may hold."""
        return re.sub(r"^([^/?#]*//)?[^/?#]*@", r"\1", self.base_url)

    def check(self) -> None:
        """Make sure that the address is one.

        Raises:
            SettingsError: If it is not.
        """
        if not self.configured or not self.base_url:
            return
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(
                f"주소 {self.shown_address!r}은(는) http:// 나 https:// 로 시작해야 합니다. 보기: http://localhost:11434/v1"
            )


def from_environment(environment: Mapping[str, str] = os.environ) -> ChatSettings:
    """Read CHAT_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY, the same as the other examples."""
    return ChatSettings(
        model=environment.get("CHAT_MODEL", "").strip(),
        base_url=environment.get("OPENAI_BASE_URL", "").strip(),
        api_key=environment.get("OPENAI_API_KEY", "").strip(),
    )


def from_form(model: str, base_url: str, api_key: str, server: ChatSettings) -> ChatSettings:
    """Take what a visitor typed; an empty field is as the environment has it.

    The key of the environment goes to the address of the environment only: a visitor who names another server must
    not be sent it.

    Args:
        model: The model's name.
        base_url: The address.
        api_key: The visitor's own key; empty for none of their own.
        server: The settings of the environment.
    """
    model, base_url, api_key = model.strip() or server.model, base_url.strip(), api_key.strip()
    if base_url and base_url != server.base_url:
        return ChatSettings(model, base_url, api_key, of_visitor=True)
    return ChatSettings(model, server.base_url, api_key or server.api_key)
