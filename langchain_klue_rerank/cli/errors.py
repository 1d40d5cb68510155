"""Errors in plain words: those of the system without their numbers, under a Korean locale the usual ones in Korean."""

from __future__ import annotations

import errno
import re
from typing import Final

from langchain_klue_rerank.cli.messages import is_korean
from langchain_klue_rerank.files.reasons import REASONS, UnreadableFileError

#: What the system refuses, in English and Korean.
_SYSTEM: Final[dict[int, tuple[str, str]]] = {
    errno.ENOENT: ("there is no such file or folder", "그런 파일이나 폴더가 없습니다"),
    errno.EACCES: ("it may not be opened (permissions)", "열 권한이 없습니다"),
    errno.EPERM: ("it may not be opened (permissions)", "열 권한이 없습니다"),
    errno.EISDIR: ("it is a folder, not a file", "파일이 아니라 폴더입니다"),
    errno.ENOTDIR: ("a part of the path is no folder", "경로 가운데 폴더가 아닌 것이 있습니다"),
    errno.ENOSPC: ("the disk is full", "디스크에 자리가 없습니다"),
    errno.EADDRINUSE: (
        "another program is listening there; take another --port",
        "다른 프로그램이 쓰고 있는 주소입니다. --port로 다른 포트를 주세요",
    ),
    errno.EADDRNOTAVAIL: ("this machine has no such address", "이 컴퓨터에 없는 주소입니다"),
    errno.EROFS: ("the disk cannot be written", "쓸 수 없는 디스크입니다"),
}
#: Errors as argparse and the package write them, and the same in Korean; groups by number.
_KOREAN: Final[tuple[tuple[str, str], ...]] = (
    (r"the following arguments are required: (.+)", "빠진 것이 있습니다: {0}"),
    (r"unrecognized arguments: (.+)", "모르는 인자입니다: {0}"),
    (r"ambiguous option: (\S+) could match (.+)", "{0}: 어느 옵션인지 알 수 없습니다({1})"),
    (
        r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)",
        "{0}: {1} 대신 다음 가운데 하나를 써 주세요. {2}",
    ),
    (r"argument (\S+): expected one argument", "{0}: 값이 하나 필요합니다"),
    (r"argument (\S+): expected at least one argument", "{0}: 값이 하나 이상 필요합니다"),
    (r"argument (\S+): ignored explicit argument (.+)", "{0}: 값을 받지 않는 옵션입니다({1})"),
    (r"argument (\S+): invalid int value: (.+)", "{0}: {1}은(는) 정수가 아닙니다"),
    (r"argument (\S+): (.+) is not a whole number from 1 up", "{0}: {1}은(는) 1 이상의 정수가 아닙니다"),
    (r"argument (\S+): (.+) is not in 0\.\.1", "{0}: {1}은(는) 0에서 1 사이의 수가 아닙니다"),
    (
        r"argument (\S+): (.+) is not a number of seconds from (\S+) to (\S+)",
        "{0}: {1}은(는) {2}에서 {3} 사이의 초가 아닙니다",
    ),
    (r"There is no file or folder (.+)\.", "{0}: 그런 파일이나 폴더가 없습니다."),
    (r"There is nothing to index: there are no files\.", "색인할 것이 없습니다: 파일이 없습니다."),
    (r"There is nothing to index: (.+?) And (\d+) more\.", "색인할 것이 없습니다: {0} 그 밖에 {1}개."),
    (r"There is nothing to index: (.+)", "색인할 것이 없습니다: {0}"),
    (r"No index at (.+): there is no such folder\.", "{0}: 그런 색인 폴더가 없습니다."),
    (
        r"(.+) is not an index: it has no manifest\.json\. .+",
        "{0}은(는) 색인이 아닙니다(manifest.json이 없음). index나 sync의 --out에 준 폴더를 써 주세요.",
    ),
    (
        r"The index at (.+) was written with the model (.+), not with (.+?)\. .+",
        "{0}의 색인은 {1} 모델로 만들었습니다. {2} 모델로는 찾을 수 없으니 같은 모델을 주거나 다시 색인해 주세요.",
    ),
    (
        r"There is no question: .+",
        "질문이 없습니다. 명령에 쓰거나, 표준 입력이나 --questions 파일에 한 줄에 하나씩 써 주세요.",
    ),
    (
        r"--filter (.+) is neither key=value nor JSON, such as (.+) or (.+)\.",
        "--filter {0}: key=value도 JSON도 아닙니다. {1}이나 {2}처럼 써 주세요.",
    ),
    (r"--filter (.+) is not JSON: (.+)\.", "--filter {0}: JSON이 아닙니다. '{{\"page\": 3}}'처럼 써 주세요."),
    (
        r"The filter on (.+) asks for (.+): write the operator with its sign, (.+)\.",
        "필터 {0}: {1}의 연산자 앞에 $를 붙여 {2}처럼 써 주세요.",
    ),
    (
        r"The filter on (.+) asks for (.+), which cannot be compared; .+",
        "필터 {0}: {1}와(과)는 견줄 수 없습니다. 문자열, 수, 참과 거짓, 날짜를 써 주세요.",
    ),
    (
        r"The filter on (.+) is an empty dictionary; .+",
        "필터 {0}: 빈 사전입니다. 값에 바라는 것을 써 주세요.",
    ),
    (
        r"The filter on (.+) mixes operators and keys: (.+)\. Use \$and for both\.",
        "필터 {0}: 연산자와 키가 섞여 있습니다({1}). 둘 다 바라면 $and를 써 주세요.",
    ),
    (
        r"The filter has the operator (.+), which is none of (.+)\. .+",
        "필터에 없는 연산자입니다: {0}. 쓸 수 있는 것은 {1}입니다.",
    ),
    (r"(\$\w+) takes a list of filters, not (.+)\.", "{0}에는 필터의 목록을 써 주세요({1} 대신)."),
    (r"(\$\w+) takes a filter, not (.+)\.", "{0}에는 필터를 써 주세요({1} 대신)."),
    (r"(\$\w+) takes a list, not (.+)\.", "{0}에는 목록을 써 주세요({1} 대신)."),
    (r"(\$\w+) takes True or False, not (.+)\.", "{0}에는 true나 false를 써 주세요({1} 대신)."),
    (r"(\$\w+) on (.+) takes a list, not (.+)\.", "필터 {1}: {0}에는 목록을 써 주세요({2} 대신)."),
    (
        r"(\$\w+) on (.+) takes a number, a string or a date, not (.+)\.",
        "필터 {1}: {0}에는 수나 문자열이나 날짜를 써 주세요({2} 대신).",
    ),
    (
        r"(\$\w+) on (.+) takes one value, not (.+); .+",
        '필터 {1}: {0}에는 값 하나를 써 주세요({2} 대신). 여럿 가운데 하나면 "$in"입니다.',
    ),
    (r"(\$\w+) stands under a metadata key: (.+)\.", "{0}은(는) 메타데이터 키 아래에 씁니다. 예: {1}"),
    (
        r"--chunk-overlap (-?\d+) must be from 0 to below --chunk-size\.",
        "--chunk-overlap {0}: 0 이상이고 --chunk-size보다 작아야 합니다.",
    ),
    (
        r"Cannot save to (.+): the folder holds other files \(such as (.+)\) and no index\. .+",
        "{0}에 저장할 수 없습니다. 색인이 아닌 파일({1})이 있는 폴더입니다. 새 폴더나 빈 폴더를 주세요.",
    ),
    (r"Cannot save to (.+): it is a file\. .+", "{0}에 저장할 수 없습니다. 파일입니다. 폴더를 주세요."),
    (r"Nothing to explain: no passage has such an id\.", "설명할 것이 없습니다: 그런 id의 단락이 없습니다."),
    (
        r"--data (.+): there is no such file or folder; (.+) and (.+) are known names\.",
        "--data {0}: 그런 파일이나 폴더가 없습니다. 이름으로 쓸 수 있는 것은 {1}와 {2}입니다.",
    ),
    (
        r"--data (.+): the folder holds neither (.+), (.+) nor SQuAD JSON\.",
        "--data {0}: 폴더에 {1}도 {2}도 SQuAD JSON도 없습니다.",
    ),
    (r"(.+), row (\d+): no (.+) among the columns (.+)\.", "{0}의 {1}번째 행: {3} 열 가운데 {2} 값이 없습니다."),
    (r"(.+), line (\d+) has no text under (.+)\.", "{0}의 {1}번째 줄: {2}에 글이 없습니다."),
    (r"(.+) is not SQuAD JSON \(.+\)\.", "{0}은(는) SQuAD 꼴의 JSON이 아닙니다."),
    (r"(.+) ends in (.+); expected (.+) or (.+)\.", "{0}은(는) {1} 파일입니다. {2}이나 {3} 파일을 주세요."),
    (r"(.+) is empty\.", "{0}은(는) 비어 있습니다."),
    (r"The question (.+) names the passage (.+), which is missing\.", "질문 {0}의 단락 {1}이 없습니다."),
    (r"The set (.+) has no questions\.", "{0}에는 질문이 없습니다."),
    (
        r"(?:.+) needs the package '(.+)', which is not installed\. Install it with: (.+)",
        "'{0}' 패키지가 있어야 합니다. 이렇게 설치해 주세요: {1}",
    ),
    (
        r"Two indexes are called (.+); rename one of the folders\.",
        "이름이 {0}인 색인이 둘입니다. 폴더 하나의 이름을 바꿔 주세요.",
    ),
    (
        r"There is no folder (.+), and it is not a hub id such as (.+)\.",
        "{0}: 그런 폴더가 없고, {1} 같은 허브 이름도 아닙니다.",
    ),
    (r"The model (.+) is a file\. .+", "{0}은(는) 파일입니다. 모델이 든 폴더를 주세요."),
    (
        r"(.+) is a bi-encoder and cannot rerank\. .+",
        "{0}은(는) 바이인코더라서 재정렬하지 못합니다. --embeddings에 주세요.",
    ),
    (
        r"The index at (.+) has format version (.+), this package reads (.+) to (.+)\. .+",
        "{0}의 색인은 형식 {1}인데 이 버전은 {2}에서 {3}까지 읽습니다. 패키지를 올리거나 다시 색인해 주세요.",
    ),
    (
        r"[^']*('[^']+').* Restore it from a copy, or build the index again\.",
        "{0}: 손상되었거나 바뀌었습니다. 사본에서 되살리거나 다시 색인해 주세요.",
    ),
    (
        r"Another process or thread is writing the index at (.+)\. Wait .+",
        "다른 프로그램이 {0}의 색인을 쓰고 있습니다. 끝난 뒤에 다시 해 주세요.",
    ),
)


def explained(error: Exception | str) -> str:
    """Return an error in words for whoever types commands.

    Args:
        error: The error, or its message.
    """
    korean = is_korean()
    if isinstance(error, UnreadableFileError):
        return error.problem.sentence(korean)
    if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
        known = _SYSTEM.get(error.errno)
        return f"{error.filename}: {known[korean] if known else error.strerror}."
    message = str(error)
    if not korean:
        return message
    for pattern, translation in _KOREAN:
        if found := re.fullmatch(pattern, message, re.DOTALL):
            message = translation.format(*found.groups())
            break
    for english, in_korean in REASONS.values():
        message = message.replace(f": {english}", f": {in_korean}")
    return message
