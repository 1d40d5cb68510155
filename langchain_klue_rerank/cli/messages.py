"""Messages of the command line, in English and, under a Korean locale, in Korean."""

from __future__ import annotations

import os
from typing import Final

_KOREAN: Final[dict[str, str]] = {
    "serve indexes over HTTP, as Cohere, Jina, OpenAI and TEI do": (
        "색인을 HTTP로 제공합니다(Cohere, Jina, OpenAI, TEI와 같은 형식)"
    ),
    "say why passages were found: the sentence, the shared words, the scores": (
        "단락을 찾은 까닭을 보입니다: 가장 가까운 문장, 같은 말, 점수"
    ),
    "the question": "질문",
    "say how large an index is": "색인의 크기를 보입니다",
    "read every file of an index and find damage": "색인의 파일을 모두 읽어 손상을 찾습니다",
    "{dir}: every file is as it was saved ({passages} passages)": (
        "{dir}: 모든 파일이 저장한 그대로입니다(단락 {passages}개)"
    ),
    "{passages} passages, {segments} segments": "단락 {passages}개, 세그먼트 {segments}개",
    "part": "부분",
    "on disk": "디스크",
    "in memory": "메모리",
    "mapped": "파일 매핑",
    "all": "합계",
    "how many results (1)": "결과 수 (1)",
    "this passage instead of the best ones": "찾은 것 대신 이 단락. 여러 번 줄 수 있습니다",
    "serve indexes to agents, over MCP": "색인을 MCP로 에이전트에 제공합니다",
    "streamable HTTP at /mcp instead of standard input": "표준 입력 대신 /mcp에서 streamable HTTP로 제공합니다",
    "port to listen on (8090)": "요청을 받을 포트(8090)",
    "most characters of passages in an answer (8000)": "답 하나에 담을 본문의 최대 글자 수(8000)",
    "folders of indexes, the default first": "색인 폴더. 맨 앞의 것이 기본 색인",
    "address to listen on (127.0.0.1)": "요청을 받을 주소(127.0.0.1)",
    "port to listen on (8080)": "요청을 받을 포트(8080)",
    "most seconds for a request (30)": "요청 하나에 허용하는 시간, 초(30)",
    "most bytes of a request (8000000)": "요청 본문의 최대 크기, 바이트(8000000)",
    "web page whose scripts may ask, such as http://localhost:3000": (
        "스크립트의 요청을 받아 줄 웹 페이지(예: http://localhost:3000). 여러 번 줄 수 있습니다"
    ),
    "most requests that wait (256)": "기다릴 수 있는 요청의 최대 수(256)",
    "{added} passages in {seconds:.1f} s ({speed:.0f}/s) -> {dir} ({passages} in all)": (
        "{seconds:.1f}초 동안 단락 {added}개를 색인했습니다(초당 {speed:.0f}개) -> {dir} (모두 {passages}개)"
    ),
    "{read} files read, {unchanged} unchanged, {gone} gone: {added} passages added, {removed} removed, "
    "{passages} in all ({seconds:.1f} s)": (
        "파일 {read}개를 읽고 {unchanged}개는 그대로, {gone}개는 없어졌습니다: 단락 {added}개 추가, {removed}개 삭제, "
        "모두 {passages}개 ({seconds:.1f}초)"
    ),
    "Not read ({count}):": "읽지 않은 것 ({count}개):",
    "columns of {file}: {columns}": "{file}의 열: {columns}",
    "and {count} more; --verbose names all": "그 밖에 {count}개. --verbose를 주면 모두 보입니다",
    "index loaded in {load:.0f} ms": "색인을 여는 데 {load:.0f}ms 걸렸습니다",
    "nothing found": "찾지 못했습니다",
    "page {page}": "{page}쪽",
    " (the answer is probably not here)": " (답이 없는 듯합니다)",
    "{name}: {questions} questions over {passages} passages": "{name}: 질문 {questions}개, 단락 {passages}개",
    " (indexed at {speed:.0f} passages/s)": " (1초에 단락 {speed:.0f}개 색인)",
    "ms/query": "질문당 ms",
    "lexical": "낱말",
    "dense": "벡터",
    "hybrid": "하이브리드",
    "+ reranked": "+ 재정렬",
    "below: 95% bootstrap intervals; p: paired test of HitRate@1 against the same without reranking": (
        "둘째 줄: 95% 신뢰구간(부트스트랩). p: 재정렬하지 않은 같은 검색과 견준 HitRate@1의 짝 검정"
    ),
    ", confidence {score:.2f}": ", 신뢰도 {score:.2f}",
    "before reranking {score:.2f}": "재정렬 전 {score:.2f}",
    "before reranking ({time:.0f} ms)": "재정렬 전 ({time:.0f}ms)",
    "after reranking ({time:.0f} ms)": "재정렬 후 ({time:.0f}ms)",
    "{count} sample passages indexed in {seconds:.1f} s, Kiwi's start included": (
        "예제 단락 {count}개를 {seconds:.1f}초에 색인했습니다(Kiwi를 여는 시간 포함)"
    ),
    "interrupted; nothing half-written is left behind.": "중단했습니다. 쓰다 만 것은 남지 않습니다.",
    "report written to {path}": "보고서를 {path}에 썼습니다",
    "watching {folders}; Ctrl-C ends": "{folders}을(를) 지켜봅니다. 그만두려면 Ctrl-C를 누르세요",
    "{count} of the files could not be read completely (--strict).": "파일 {count}개를 다 읽지 못했습니다(--strict).",
    "serving at http://{host}:{port}{path}; Ctrl-C ends": (
        "http://{host}:{port}{path} 에서 요청을 받습니다. 그만두려면 Ctrl-C를 누르세요"
    ),
    "{host} can be reached from other machines and {key} is not set: anybody there can search.": (
        "{host}은(는) 다른 컴퓨터에서 들어올 수 있는 주소인데 {key}가 없습니다. 거기서는 누구나 검색할 수 있습니다."
    ),
    "title": "제목",
    "text": "본문",
    "delimiter": "구분 기호",
    "passages": "단락",
    "postings": "낱말이 나오는 곳",
    "terms": "낱말 목록",
    "tokens": "토큰",
    "vectors": "벡터",
    "second_vectors": "둘째 벡터",
    "token_vectors": "토큰 벡터",
    "embeddings": "임베딩 모델",
    "second_embeddings": "둘째 임베딩 모델",
    "late_interaction": "늦은 상호작용 모델",
    "COMMAND": "명령",
    "usage": "사용법",
    "arguments": "인자",
    "options": "옵션",
    "show this help message and exit": "이 도움말을 보이고 끝냅니다",
    "show the version and exit": "버전을 보이고 끝냅니다",
    "folder or hub id instead of the packaged bi-encoder": "들어 있는 바이인코더 대신 쓸 모델의 폴더나 허브 이름",
    "folder or hub id instead of the packaged reranker": "들어 있는 재정렬 모델 대신 쓸 모델의 폴더나 허브 이름",
    "the model the index was built with, if not the packaged": "색인할 때 들어 있는 모델을 쓰지 않았다면 그 모델",
    "the model the indexes were built with, if not the packaged": "색인할 때 들어 있는 모델을 쓰지 않았다면 그 모델",
    "candidates handed to the reranker (30)": "재정렬 모델에 넘길 후보의 수 (30)",
    "lowest relevance score to show, 0..1": "보일 결과의 가장 낮은 점수, 0에서 1 사이",
    "as indexed by default": "찾는 방법. 기본은 색인할 때 정한 것",
    "show the first stage's order": "재정렬하지 않고 첫 단계의 순서로 보입니다",
    "'samples', 'hub', a folder (KLUE-MRC, SQuAD JSON) or your csv/jsonl": (
        "'samples', 'hub', 폴더(KLUE-MRC, SQuAD JSON), 또는 직접 만든 csv나 jsonl"
    ),
    "ask the first questions only": "앞에서부터 이만큼만 물어봅니다",
    "the reranker's share of the score (0.8)": "점수에서 재정렬 모델이 차지하는 몫 (0.8)",
    "leave the reranked lines out": "재정렬한 줄은 뺍니다",
    "questions of your own": "직접 쓴 질문",
    "index files and folders": "파일과 폴더를 색인합니다",
    "bring an index in step with files and folders": "색인을 파일과 폴더에 맞춥니다. 바뀐 것만 읽습니다",
    "search an index": "색인에서 찾습니다",
    "measure every way to search on a set of questions": "질문 묶음으로 모든 검색 방법을 잽니다",
    "index the sample documents and ask them a few questions": "예제 문서를 색인하고 몇 가지를 물어봅니다",
    "Two-stage Korean retrieval on an ordinary CPU.": "일반 CPU에서 도는 한국어 2단계 검색.",
    "examples": "보기",
    "folder of the index": "색인 폴더",
    "one or more questions; none or - for standard input, a line each": (
        "질문 하나 또는 여럿. 없거나 -이면 표준 입력에서 한 줄에 하나씩 읽습니다"
    ),
    "a file of questions, a line each": "질문이 한 줄에 하나씩 있는 파일",
    "how many results (5)": "결과 수 (5)",
    "print JSON, for machines": "프로그램이 읽을 JSON으로 출력합니다",
    "files, or folders of them": "파일, 또는 파일이 든 폴더",
    "add to the index at DIR instead of replacing it": "이미 있는 색인을 바꾸지 않고 덧붙입니다",
    "longest passage in characters (600)": "가장 긴 단락의 글자 수 (600)",
    "characters that neighbours share (80)": "이웃한 단락이 함께 갖는 글자 수 (80)",
    "exit with 1 if anything could not be read": "읽지 못한 것이 있으면 종료 코드 1로 끝납니다",
    "pattern of files to leave out, as in .gitignore; may be repeated": (
        ".gitignore처럼 쓴, 뺄 파일의 이름꼴. 여러 번 줄 수 있습니다"
    ),
    "column of the text in csv and JSON files": "csv와 JSON 파일에서 본문이 든 열",
    "column of the title": "제목이 든 열",
    "name everything that was not read": "읽지 않은 것을 모두 보입니다",
    "keep watching, and synchronise every SECONDS (2)": "계속 지켜보며 SECONDS초(2)마다 맞춥니다",
    'only passages with this metadata, as key=value or JSON ({"page": 3})': (
        '메타데이터가 이런 단락만. key=value 또는 JSON ({"page": 3})'
    ),
    "also write a report for the browser": "브라우저에서 볼 보고서도 씁니다",
}


def is_korean() -> bool:
    """Return whether the locale is Korean: the first of LC_ALL, LC_MESSAGES and LANG that is set decides."""
    names = (os.environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    return next(filter(None, names), "").lower().startswith("ko")


def say(message: str, **values: object) -> str:
    """Return a message in the language of the locale, filled with values."""
    return (_KOREAN.get(message, message) if is_korean() else message).format(**values)


def text(message: str) -> str:
    """Return a message that has no values, such as a help text."""
    return _KOREAN.get(message, message) if is_korean() else message
