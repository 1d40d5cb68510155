"""Why a file, or a line of one, cannot be read: a code with a sentence in English and in Korean."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from langchain_klue_rerank.errors import KlueRerankError

#: Code -> what is said in English and in Korean.
REASONS: Final[dict[str, tuple[str, str]]] = {
    "kind": ("files of this kind are not read", "읽을 수 있는 형식이 아닙니다"),
    "old": (
        "this is the older format (doc, xls, ppt); save it as docx, xlsx, pptx or PDF",
        "예전 형식(doc, xls, ppt)입니다. docx, xlsx, pptx나 PDF로 저장해 주세요",
    ),
    "other office": (
        "files of this kind are not read; save it as docx, xlsx, pptx or PDF",
        "읽을 수 있는 형식이 아닙니다. docx, xlsx, pptx나 PDF로 저장해 주세요",
    ),
    "page or mail": (
        "files of this kind are not read; save it as html, txt or PDF",
        "읽을 수 있는 형식이 아닙니다. html, txt나 PDF로 저장해 주세요",
    ),
    "archive": (
        "archives are not read; unpack it and index the folder",
        "압축 파일은 읽지 않습니다. 풀어서 그 폴더를 주세요",
    ),
    "ole": (
        "it is protected by a password, or in the older format (doc, xls, ppt); save it without, as docx, xlsx or pptx",
        "암호가 걸렸거나 예전 형식(doc, xls, ppt)입니다. 암호를 풀고 docx, xlsx, pptx나 PDF로 저장해 주세요",
    ),
    "password": ("it is protected by a password", "암호가 걸려 있어 읽을 수 없습니다. 암호를 푼 파일을 주세요"),
    "restricted": (
        "it is a distribution document, which may not be copied",
        "배포용 문서라 내용을 읽을 수 없습니다. 일반 문서로 저장해 주세요",
    ),
    "damaged": (
        "it is damaged, or of another kind than its name says",
        "손상되었거나 이름의 끝과 내용이 다른 파일입니다",
    ),
    "empty": ("it is empty", "빈 파일입니다"),
    "no text": ("it holds no text", "글이 들어 있지 않습니다"),
    "pictures": (
        "it holds pictures only; recognise its text (OCR) first",
        "글자가 들어 있지 않습니다. 스캔한 문서라면 문자 인식(OCR)을 먼저 해 주세요",
    ),
    "encoding": (
        "its text is neither UTF-8, UTF-16 nor CP949; save it as UTF-8",
        "글자를 읽을 수 없습니다. UTF-8이나 CP949(EUC-KR)로 저장해 주세요",
    ),
    "letters": (
        "from here on some characters could not be read; the rest of the file was",
        "여기부터 읽을 수 없는 글자가 있어 그 글자만 빼고 읽었습니다",
    ),
    "hidden sheet": ("a hidden sheet is not read", "숨긴 시트는 읽지 않습니다"),
    "formulas": (
        "a sheet has formulas without values; open the file in Excel and save it",
        "계산되지 않은 수식이 있는 시트입니다. Excel에서 열어 저장하면 값까지 읽습니다",
    ),
    "binary": ("it is not text", "글이 아닌 파일입니다. 이름의 끝이 내용과 맞는지 확인해 주세요"),
    "large": ("it is larger than is read", "읽을 수 있는 크기보다 큽니다. 나누어 주세요"),
    "memory": (
        "reading it needs more memory than a document may take",
        "압축을 풀거나 읽는 데 메모리가 너무 많이 들어 너무 커서 읽지 않습니다",
    ),
    "time": ("reading it takes longer than a document may take", "읽는 데 너무 오래 걸려 그만두었습니다"),
    "output": ("it holds more text than is read", "글이 너무 많아 읽지 않습니다. 나누어 주세요"),
    "crash": (
        "its reader crashed on it; it is probably damaged",
        "읽는 중에 프로그램이 멈췄습니다. 손상된 파일로 보입니다",
    ),
    "gone": ("there is no such file", "파일이 없습니다"),
    "link": ("it is a link that leads nowhere or in a circle", "끊어졌거나 맴도는 링크입니다"),
    "folder link": (
        "it is a link to a folder; name that folder itself",
        "다른 폴더를 가리키는 링크입니다. 그 폴더를 직접 주세요",
    ),
    "special": ("it is no regular file", "일반 파일이 아닙니다"),
    "denied": ("it may not be read (permissions)", "읽을 권한이 없습니다"),
    "system": ("the system cannot read it", "시스템이 읽지 못합니다"),
    "hidden": ("it is hidden", "숨은 파일입니다"),
    "excluded": ("it is excluded by a pattern", "제외 규칙에 걸립니다"),
    "tool": ("it belongs to a program, not to you", "프로그램이 쓰는 폴더입니다"),
    "index": ("it is an index of this package", "이 프로그램의 색인입니다"),
    "same": (
        "its name is that of another file here, spelled otherwise",
        "다른 파일과 같은 이름(자모 표기만 다름)입니다",
    ),
    "json": ("it is not JSON", "JSON이 아닙니다"),
    "object": ("it is not a JSON object", "JSON 객체가 아닙니다"),
    "column": ("it has no column of that name", "그런 이름의 열이 없습니다"),
    "extra": (
        'a package is missing; install it with: pip install "langchain-klue-rerank[files]"',
        '필요한 패키지가 없습니다. 이렇게 설치해 주세요: pip install "langchain-klue-rerank[files]"',
    ),
}
#: Reasons whose detail is a sentence of a library or the system: what a Korean reader is told of it, and nothing else.
_LIBRARIES: Final = frozenset({"json", "damaged", "password", "restricted", "system", "column"})
_KOREAN_DETAILS: Final[tuple[tuple[str, str], ...]] = (
    (r"nested too deeply", "너무 깊이 겹쳐 있음"),
    (r"page (\d+)", "{0}쪽"),
    (r"(.+) is not among (.+)", "{0}. 있는 열: {1}"),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be read.

    Attributes:
        path: The file, or the folder.
        reason: A key of `REASONS`.
        line: The line, counted from 1; 0 for the file as a whole.
        detail: What the reader said, in English; may be empty.
    """

    path: str
    reason: str
    line: int = 0
    detail: str = ""

    def sentence(self, korean: bool = False, *, with_path: bool = True) -> str:
        """Return the problem in words."""
        why = REASONS[self.reason][korean]
        told = self._korean_detail() if korean and self.reason in _LIBRARIES else self.detail
        detail = f" ({told})" if told else ""
        line = f"{self.line}번째 줄: " if korean else f"line {self.line}: "
        place = line if self.line else ""
        return f"{self.path + ': ' if with_path else ''}{place}{why}{detail}."

    def _korean_detail(self) -> str:
        for pattern, translation in _KOREAN_DETAILS:
            if found := re.fullmatch(pattern, self.detail, re.DOTALL):
                return translation.format(*found.groups())
        return ""


class UnreadableFileError(KlueRerankError, ValueError):
    """A file cannot be read; the message names it and says why.

    Attributes:
        problem: The file and the reason, which also speaks Korean.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.sentence())
        self.problem = problem
