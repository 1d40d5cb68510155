"""The HTTP server, asked by the clients that people have, unmodified, over a socket."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
uvicorn = pytest.importorskip("uvicorn")

from langchain_core.documents import Document  # noqa: E402

from langchain_klue_rerank import KlueEmbeddings, KlueReranker, KlueRetriever  # noqa: E402
from langchain_klue_rerank.server.app import create_app  # noqa: E402
from langchain_klue_rerank.server.batching import Batcher, BusyError, UnusableError  # noqa: E402
from langchain_klue_rerank.server.services import Services  # noqa: E402
from tests.unit_tests.fakes import QUESTION, TEXTS  # noqa: E402


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Serve an application on localhost; yield its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def services(**options: Any) -> Services:
    documents = [
        Document(text, id=f"d{place}", metadata={"source": f"안내{place}.txt", "page": place, "odd": float("nan")})
        for place, text in enumerate(TEXTS)
    ]
    return Services({"안내": KlueRetriever.from_documents(documents)}, **options)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(create_app(services())) as address:
        yield address


@pytest.fixture(scope="module")
def expected() -> list[int]:
    return [result["index"] for result in KlueReranker().rerank(TEXTS, QUESTION, top_n=3)]


def test_cohere(address, expected):
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2("any", base_url=address)
    answer = client.rerank(model="packaged", query=QUESTION, documents=TEXTS, top_n=3)
    assert [result.index for result in answer.results] == expected
    [scores] = KlueReranker().score([QUESTION], [TEXTS])
    assert [result.relevance_score for result in answer.results] == pytest.approx([scores[place] for place in expected])
    old = cohere.Client("any", base_url=address)
    answer = old.rerank(model="packaged", query=QUESTION, documents=[{"text": text} for text in TEXTS], top_n=1)
    assert answer.results[0].index == expected[0]


def test_usage_is_counted(address):
    body = {"query": "전입신고 기한은?", "documents": ["이사한 날부터 14일.", "여권"] * 60}
    answer = httpx.post(f"{address}/v2/rerank", json=body, timeout=60).json()
    assert answer["meta"]["billed_units"] == {"search_units": 2}  # a unit for every hundred documents
    assert answer["usage"]["total_tokens"] == 2 + 60 * 4  # words of the query and of the documents
    answer = httpx.post(f"{address}/v1/embeddings", json={"input": ["이사한 날부터 14일.", "여권"]}).json()
    assert answer["usage"] == {"prompt_tokens": 4, "total_tokens": 4}


def test_cohere_reads_the_errors(address):
    cohere = pytest.importorskip("cohere")
    with pytest.raises(cohere.errors.UnprocessableEntityError, match="top_n"):
        cohere.ClientV2("any", base_url=address).rerank(model="m", query=QUESTION, documents=TEXTS, top_n=0)


def cohere_v1(address: str) -> list[int]:
    client = pytest.importorskip("cohere").Client("any", base_url=address)
    return [result.index for result in client.rerank(model="m", query=QUESTION, documents=TEXTS, top_n=3).results]


def langchain_cohere(address: str) -> list[int]:
    reranker = pytest.importorskip("langchain_cohere").CohereRerank(model="m", base_url=address, cohere_api_key="any")
    return [TEXTS.index(found.page_content) for found in reranker.compress_documents([*map(Document, TEXTS)], QUESTION)]


def litellm(provider: str, base: str, address: str) -> list[int]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # otherwise it asks another host for prices
    options = {"query": QUESTION, "documents": TEXTS, "top_n": 3, "api_base": address + base, "api_key": "any"}
    answer = pytest.importorskip("litellm").rerank(f"{provider}/packaged", return_documents=True, **options)
    assert all(TEXTS[result["index"]] == result["document"]["text"] for result in answer.results)
    return [result["index"] for result in answer.results]


def llama_index(module: str, name: str, base: str, address: str) -> list[int]:
    schema = pytest.importorskip("llama_index.core.schema")
    reranker = getattr(pytest.importorskip(f"llama_index.postprocessor.{module}"), name)
    keys = {} if module == "tei_rerank" else {"api_key": "any"}
    nodes = [schema.NodeWithScore(node=schema.TextNode(text=text)) for text in TEXTS]
    found = reranker(base_url=address + base, top_n=3, **keys).postprocess_nodes(nodes, query_str=QUESTION)
    return [TEXTS.index(node.text) for node in found]


def haystack(module: str, name: str, address: str, **fields: Any) -> list[int]:
    ranker = getattr(pytest.importorskip(f"haystack_integrations.components.rankers.{module}"), name)
    core = pytest.importorskip("haystack")
    secret = pytest.importorskip("haystack.utils").Secret.from_token("any")
    reranker = ranker(**{"token" if name == "HuggingFaceTEIRanker" else "api_key": secret}, top_k=3, **fields)
    found = reranker.run(query=QUESTION, documents=[core.Document(content=text) for text in TEXTS])["documents"]
    return [TEXTS.index(document.content) for document in found]


RERANKING_CLIENTS = {
    "cohere 1": cohere_v1,
    "langchain-cohere": langchain_cohere,
    "litellm cohere": partial(litellm, "cohere", ""),
    "litellm jina": partial(litellm, "jina_ai", "/v1/rerank"),
    "litellm vllm": partial(litellm, "hosted_vllm", ""),
    "llama-index cohere": partial(llama_index, "cohere_rerank", "CohereRerank", ""),
    "llama-index jina": partial(llama_index, "jinaai_rerank", "JinaRerank", "/v1"),
    "llama-index tei": partial(llama_index, "tei_rerank", "TextEmbeddingInference", ""),
    "haystack cohere": lambda url: haystack("cohere", "CohereRanker", url, api_base_url=url),
    "haystack jina": lambda url: haystack("jina", "JinaRanker", url, base_url=f"{url}/v1/rerank"),
    "haystack tei": lambda url: haystack("huggingface_api", "HuggingFaceTEIRanker", url, url=url),
}


@pytest.mark.parametrize("client", RERANKING_CLIENTS)
def test_clients_rerank(address, expected, client):
    assert RERANKING_CLIENTS[client](address) == expected


#: What applications send, as their source says: path, fields, and where the answer's results stand.
APPLICATIONS = {
    "Open WebUI": ("/v1/rerank", {"model": "reranker", "documents": TEXTS, "top_n": len(TEXTS)}, "results"),
    "Dify": ("/rerank", {"model": "reranker", "documents": TEXTS, "top_n": 3}, "results"),
    "RAGFlow, Xinference": (
        "/v1/rerank",
        {"return_documents": "true", "return_len": "true", "documents": TEXTS},
        "results",
    ),
    "RAGFlow, TEI": ("/rerank", {"texts": TEXTS, "raw_scores": False, "truncate": True}, None),
    "LightRAG": ("/rerank", {"model": "m", "documents": TEXTS, "top_k": 3}, "results"),
    "slashes too many": ("//v2/rerank/", {"documents": [{"text": text} for text in TEXTS]}, "results"),
}


@pytest.mark.parametrize("application", APPLICATIONS)
def test_applications_rerank(address, expected, application):
    path, fields, key = APPLICATIONS[application]
    answer = httpx.post(f"{address}{path}", json={"query": QUESTION, **fields}).json()
    results = answer[key] if key else answer
    assert [result["index"] for result in results][:3] == expected
    assert len(results) == fields.get("top_n", fields.get("top_k", len(TEXTS)))


def test_openai(address):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(api_key="any", base_url=f"{address}/v1")
    expected = KlueEmbeddings().embed_documents(TEXTS)
    for form in ({}, {"encoding_format": "float"}):  # without one the client asks for base64
        answer = client.embeddings.create(model="packaged", input=TEXTS, **form)
        for vector, one in zip(answer.data, expected, strict=True):
            assert vector.embedding == pytest.approx(one, abs=1e-6)
    query = client.embeddings.create(model="m", input=QUESTION, extra_body={"input_type": "query"}).data[0].embedding
    assert query == pytest.approx(KlueEmbeddings().embed_query(QUESTION), abs=1e-6)
    with pytest.raises(openai.UnprocessableEntityError, match="check_embedding_ctx_length"):
        client.embeddings.create(model="m", input=[[1, 2, 3]])


def langchain_openai(address: str) -> tuple[Any, Any]:
    embeddings = pytest.importorskip("langchain_openai").OpenAIEmbeddings(
        model="packaged", base_url=f"{address}/v1", api_key="any", check_embedding_ctx_length=False
    )
    return embeddings.embed_documents(TEXTS), None  # it cannot say that a text is a query


def cohere_embed(client: str, options: dict[str, Any], address: str) -> tuple[Any, Any]:
    embed = partial(getattr(pytest.importorskip("cohere"), client)("any", base_url=address).embed, model="m", **options)
    found = [
        embed(texts=texts, input_type=kind).embeddings
        for texts, kind in ((TEXTS, "search_document"), ([QUESTION], "search_query"))
    ]
    passages, query = [vectors.float_ if options else vectors for vectors in found]
    return passages, query[0]


def langchain_cohere_embed(address: str) -> tuple[Any, Any]:
    module = pytest.importorskip("langchain_cohere")
    embeddings = module.CohereEmbeddings(model="m", base_url=address, cohere_api_key="any")
    return embeddings.embed_documents(TEXTS), embeddings.embed_query(QUESTION)


def hub(address: str) -> tuple[Any, Any]:
    client = pytest.importorskip("huggingface_hub").InferenceClient(model=address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # which the tests switch on
        return client.feature_extraction(TEXTS), client.feature_extraction(QUESTION, prompt_name="query")[0]


def voyage(address: str) -> tuple[Any, Any]:
    embed = pytest.importorskip("voyageai").Client(api_key="any", base_url=f"{address}/v1").embed
    passages = embed(TEXTS, model="voyage-3", input_type="document").embeddings
    return passages, embed([QUESTION], model="voyage-3", input_type="query").embeddings[0]


def litellm_embed(model: str, base: str, address: str) -> tuple[Any, Any]:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    answer = pytest.importorskip("litellm").embedding(model, TEXTS, api_base=address + base, api_key="any")
    return [one["embedding"] for one in answer.data], None


EMBEDDING_CLIENTS = {
    "langchain-openai": langchain_openai,
    "cohere 1": partial(cohere_embed, "Client", {}),
    "cohere 2": partial(cohere_embed, "ClientV2", {"embedding_types": ["float"]}),
    "langchain-cohere": langchain_cohere_embed,
    "huggingface-hub": hub,
    "voyageai": voyage,
    "litellm openai": partial(litellm_embed, "openai/m", "/v1"),
    "litellm infinity": partial(litellm_embed, "infinity/m", ""),
    "litellm cohere": partial(litellm_embed, "cohere/m", "/v2/embed"),
}


@pytest.mark.parametrize("client", EMBEDDING_CLIENTS)
def test_clients_embed(address, client):
    passages, query = EMBEDDING_CLIENTS[client](address)
    for vector, one in zip(passages, KlueEmbeddings().embed_documents(TEXTS), strict=True):
        assert list(vector) == pytest.approx(one, abs=1e-6)
    assert query is None or list(query) == pytest.approx(KlueEmbeddings().embed_query(QUESTION), abs=1e-6)


def test_models_are_listed(address, tmp_path):
    client = pytest.importorskip("openai").OpenAI(api_key="any", base_url=f"{address}/v1")
    assert [model.id for model in client.models.list()] == ["packaged"]
    assert client.models.retrieve("packaged").owned_by == "klue-rerank"
    with pytest.raises(pytest.importorskip("openai").NotFoundError, match="there are: packaged"):
        client.models.retrieve("gpt-5")
    with serving(create_app(services(reranker=KlueReranker(model=str(tmp_path))))) as others:
        client = pytest.importorskip("openai").OpenAI(api_key="any", base_url=f"{others}/v1")
        uses = {model.id: client.models.retrieve(model.id).endpoints for model in client.models.list()}
        assert uses == {"packaged": ["embed"], str(tmp_path): ["rerank"]}
    info = httpx.get(f"{address}/info").json()
    assert set(info["model_type"]) == {"embedding", "reranker"}
    assert info["max_client_batch_size"] == 2048


@pytest.mark.parametrize(
    ("path", "field", "known"),
    [
        ("/v2/rerank", "topN", "top_n"),
        ("/v1/rerank", "returnDocuments", "return_documents"),
        ("/rerank", "top-k", "top_k"),
        ("/v1/embeddings", "dimension", "dimensions"),
        ("/v2/embed", "inputType", "input_type"),
        ("/v1/search", "scoreThreshold", "score_threshold"),
    ],
)
def test_another_spelling_of_a_field_is_refused_and_unknown_fields_are_not(address, path, field, known):
    body = (
        {"query": QUESTION, "documents": TEXTS}
        if "rerank" in path
        else {"input": TEXTS, "query": QUESTION, "texts": TEXTS}
    )
    wrong = httpx.post(f"{address}{path}", json={**body, field: 1})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, f"{field} is no field; did you mean {known}?")
    assert httpx.post(f"{address}{path}", json={**body, "truncation": True, "user": "na"}).status_code == 200


def test_text_embeddings_inference(address, expected):
    ranks = httpx.post(f"{address}/rerank", json={"query": QUESTION, "texts": TEXTS, "return_text": True}).json()
    assert [rank["index"] for rank in ranks[:3]] == expected
    assert ranks[0]["text"] == TEXTS[expected[0]]
    raw = httpx.post(f"{address}/rerank", json={"query": QUESTION, "texts": TEXTS, "raw_scores": True}).json()
    assert [1 / (1 + math.exp(-rank["score"])) for rank in raw] == pytest.approx([r["score"] for r in ranks], abs=1e-6)
    [vector] = httpx.post(f"{address}/embed", json={"inputs": TEXTS[0]}).json()
    assert vector == pytest.approx(KlueEmbeddings().embed_documents(TEXTS[:1])[0], abs=1e-6)


def test_search(address):
    answer = httpx.post(f"{address}/v1/search", json={"query": QUESTION, "k": 2}).json()
    assert answer["index"] == "안내"
    first = answer["results"][0]
    assert (first["rank"], first["id"], first["text"], first["metadata"]["source"]) == (1, "d0", TEXTS[0], "안내0.txt")
    assert first["metadata"]["odd"] is None  # JSON knows no NaN
    body = {"query": QUESTION, "filter": {"page": {"$gt": 2}}}
    pages = [result["metadata"]["page"] for result in httpx.post(f"{address}/v1/search", json=body).json()["results"]]
    assert pages
    assert min(pages) > 2
    assert httpx.post(f"{address}/v1/search", json={"query": QUESTION, "index": "없음"}).status_code == 404
    wrong = httpx.post(f"{address}/v1/search", json={"query": QUESTION, "filter": {"page": {"$near": 2}}})
    assert wrong.status_code == 422
    assert "$near" in wrong.json()["message"]
    wrong = httpx.post(f"{address}/v1/search", json={"query": QUESTION, "filter": {"$and": 3}})
    assert (wrong.status_code, "list" in wrong.json()["message"]) == (422, True)
    wrong = httpx.post(f"{address}/v1/search", content=json.dumps({"query": QUESTION}))
    assert "Content-Type: application/json" in wrong.json()["message"]


def test_a_search_explains_itself_on_request(address):
    body = {"query": QUESTION, "k": 2}
    plain = httpx.post(f"{address}/v1/search", json=body).json()["results"]
    assert [result["explanation"] for result in plain] == [None, None]
    for result in httpx.post(f"{address}/v1/search", json={**body, "explain": True}).json()["results"]:
        explanation = result["explanation"]
        assert result["text"][explanation["start"] : explanation["end"]] == explanation["sentence"]
        assert explanation["relevance_score"] == pytest.approx(result["score"])
        assert explanation["sentence"] in explanation["description"]


def test_health_and_metrics(address):
    assert httpx.get(f"{address}/health").json()["indexes"] == {"안내": len(TEXTS)}
    assert 'path="/health",status="200"' in httpx.get(f"{address}/metrics").text


def test_requests_at_once_get_their_own_answers(address):
    [scores] = KlueReranker().score([QUESTION], [TEXTS])

    def ask(place: int) -> None:
        texts = TEXTS[place % 6 :]
        answer = client.post(f"{address}/v2/rerank", json={"query": QUESTION, "documents": texts}).json()
        found = {result["index"]: result["relevance_score"] for result in answer["results"]}
        assert [found[index] for index in range(len(texts))] == pytest.approx(scores[place % 6 :], abs=1e-5)

    with httpx.Client(timeout=60) as client, ThreadPoolExecutor(16) as pool:
        assert len(list(pool.map(ask, range(64)))) == 64


def test_a_key_is_asked_for():
    with serving(create_app(services(), api_key="열쇠")) as address:
        body = {"query": QUESTION, "documents": TEXTS}
        for headers in ({}, {"Authorization": b"Bearer no"}, {"Authorization": "Basic 열쇠".encode()}):
            refused = httpx.post(f"{address}/v2/rerank", json=body, headers=headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        right = {"Authorization": "Bearer 열쇠".encode()}
        assert httpx.post(f"{address}/v2/rerank", json=body, headers=right).status_code == 200
        assert httpx.get(f"{address}/health").status_code == 200
        assert httpx.get(f"{address}/").status_code == 200  # as TEI's clients ask whether it is up
        assert httpx.post(f"{address}/", json={"inputs": "가"}).status_code == 401
        assert httpx.get(f"{address}/metrics").status_code == 401


def test_white_space_around_the_key_does_not_count_and_a_blank_one_is_refused():
    with serving(create_app(services(), api_key="열쇠\n")) as address:  # as a file of secrets ends
        body = {"query": QUESTION, "documents": TEXTS}
        right, wrong = ({"Authorization": f"Bearer {key}".encode()} for key in ("열쇠", "쇠"))
        assert httpx.post(f"{address}/v2/rerank", json=body, headers=right).status_code == 200
        assert httpx.post(f"{address}/v2/rerank", json=body, headers=wrong).status_code == 401
    for blank in ("", " \n"):
        with pytest.raises(ValueError, match="blank"):
            create_app(services(), api_key=blank)


def test_a_load_balancer_asks_for_the_head_of_health(address):
    assert [httpx.head(f"{address}{path}").status_code for path in ("/health", "/")] == [200, 200]


def test_dimensions_are_the_models_or_refused(address):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(api_key="any", base_url=f"{address}/v1")
    own = len(KlueEmbeddings().embed_query(QUESTION))
    assert len(client.embeddings.create(model="m", input=QUESTION, dimensions=own).data[0].embedding) == own
    with pytest.raises(openai.UnprocessableEntityError, match=f"dimensions: 256 .* {own}"):
        client.embeddings.create(model="m", input=QUESTION, dimensions=256)
    tei = httpx.post(f"{address}/embed", json={"inputs": [QUESTION], "dimensions": 256})
    assert (tei.status_code, "256" in tei.json()["message"]) == (422, True)


def test_a_body_that_is_not_read_says_what_it_lacks(address):
    body = json.dumps({"query": QUESTION}, ensure_ascii=False)
    for kind in ("text/plain", "text/json"):
        plain = httpx.post(f"{address}/v1/search", content=body.encode(), headers={"Content-Type": kind})
        assert (plain.status_code, "Content-Type: application/json" in plain.json()["message"]) == (422, True)
    header = {"Content-Type": "application/json"}
    korean = httpx.post(f"{address}/v1/search", content=body.encode("cp949"), headers=header)
    assert (korean.status_code, "UTF-8" in korean.json()["message"]) == (400, True)
    coded = {**header, "Content-Encoding": "gzip"}
    packed = httpx.post(f"{address}/v1/search", content=gzip.compress(body.encode()), headers=coded)
    assert (packed.status_code, "gzip" in packed.json()["message"]) == (415, True)


def test_a_wrong_path_or_method_says_what_there_is(address):
    chat = httpx.post(f"{address}/v1/chat/completions", json={"model": "m", "messages": []})
    assert (chat.status_code, "/v1/embeddings" in chat.json()["error"]["message"]) == (404, True)
    read = httpx.get(f"{address}/v2/rerank")
    assert (read.status_code, read.json()["message"]) == (405, "GET is not answered at /v2/rerank; use POST.")


def test_pages_of_allowed_origins_may_ask():
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    with serving(create_app(services(), api_key="key", origins=["http://localhost:3000"])) as address:
        for origin, status in (("http://localhost:3000", 200), ("http://example.com", 400)):
            answer = httpx.options(f"{address}/v2/rerank", headers={"Origin": origin, **asked})
            assert answer.status_code == status
            assert (answer.headers.get("access-control-allow-origin") == origin) is (status == 200)
        refused = httpx.post(f"{address}/v2/rerank", headers={"Origin": "http://localhost:3000"})
        assert refused.status_code == 401
        assert refused.headers["access-control-allow-origin"] == "http://localhost:3000"  # so the page can read why


def test_fields_that_are_null_are_as_if_left_out(address):
    left_out = httpx.post(f"{address}/v1/search", json={"query": QUESTION}).json()
    null = dict.fromkeys(("k", "filter", "score_threshold", "explain", "index"))
    assert httpx.post(f"{address}/v1/search", json={"query": QUESTION, **null}).json() == left_out


@pytest.mark.parametrize("condition", [{"$not": {}}, {"page": {"$gt": 10**400}}], ids=["deep", "large"])
def test_filters_without_end_are_no_failure_of_the_server(address, condition):
    for _ in range(400 if "$not" in condition else 0):
        condition = {"$not": condition}
    answer = httpx.post(f"{address}/v1/search", json={"query": QUESTION, "filter": condition})
    assert answer.status_code == (422 if "$not" in condition else 200)


def test_halves_of_characters_come_back_as_question_marks():
    half, name = "전입신고 \ud83d 기한", "/자료/\udcc7\udcd1.txt"
    document = Document(f"{half}은 14일입니다.", id=f"{name}#0", metadata={"source": name, name: name})
    with serving(create_app(Services({"i": KlueRetriever.from_documents([document])}))) as address:

        def post(path: str, **body: Any) -> Any:
            answer = httpx.post(f"{address}{path}", content=json.dumps(body).encode(), headers=header)
            assert answer.status_code == 200, answer.text
            return answer.json()

        header = {"Content-Type": "application/json"}
        found = post("/v1/search", query=half, explain=True)
        [result] = found["results"]
        assert found["query"] == half.replace("\ud83d", "?")
        assert result["text"] == f"{found['query']}은 14일입니다."
        assert result["id"] == "/자료/??.txt#0"
        assert result["metadata"]["/자료/??.txt"] == "/자료/??.txt"
        told = result["explanation"]
        assert result["text"][told["start"] : told["end"]] == told["sentence"]
        ranked = post("/v2/rerank", query=half, documents=[half], return_documents=True)
        assert ranked["results"][0]["document"]["text"] == found["query"]
        assert post("/rerank", query=half, texts=[half], return_text=True)[0]["text"] == found["query"]


def test_the_description_needs_no_other_host_and_no_key():
    with serving(create_app(services(), api_key="열쇠")) as address:
        page = httpx.get(f"{address}/docs").text
        addresses = re.findall(r"""(?:src|href|url)\s*[=:]\s*["']([^"']+)["']""", page)
        assert [one for one in addresses if one.endswith(".js")]
        assert [one for one in addresses if one.endswith(".css")]
        for one in addresses:
            assert one.startswith("/")
            assert not one.startswith("//")
            assert httpx.get(f"{address}{one}").status_code == 200
        assert not re.search("https?://", page)


def test_large_bodies_are_refused_with_and_without_their_length():
    with serving(create_app(services(), max_body=1000)) as address:
        body = json.dumps({"query": QUESTION, "documents": ["가" * 1000]}).encode()
        assert httpx.post(f"{address}/rerank", content=body).status_code == 413
        assert httpx.post(f"{address}/rerank", content=iter([body[:500], body[500:]])).status_code == 413


def test_a_request_past_its_time_is_answered():
    slow = services()
    slow.rerank._compute = lambda key, items: (time.sleep(0.5), [[0.0]] * len(items))[1]
    with serving(create_app(slow, timeout=0.1)) as address:
        late = httpx.post(f"{address}/v2/rerank", json={"query": QUESTION, "documents": ["가"]})
        assert late.status_code == 504


def test_a_full_queue_refuses():
    blocked, go = services(max_waiting=1), threading.Event()
    blocked.rerank._compute = lambda key, items: (go.wait(30), [[0.5]] * len(items))[1]
    body = {"query": QUESTION, "documents": ["가"]}
    with serving(create_app(blocked)) as address, ThreadPoolExecutor(4) as pool:
        ask = lambda _: httpx.post(f"{address}/v2/rerank", json=body, timeout=60)  # noqa: E731
        answers = [pool.submit(ask, None) for _ in range(4)]
        while sum(answer.done() for answer in answers) < 2:  # one is computed, one waits, two are refused
            time.sleep(0.01)
        go.set()
        codes = sorted(answer.result().status_code for answer in answers)
        assert codes == [200, 200, 429, 429]
        assert [a.result().headers.get("retry-after") for a in answers].count("1") == 2


def test_what_was_begun_is_answered_when_the_server_stops():
    slow, begun = services(), threading.Event()
    slow.rerank._compute = lambda key, items: (begun.set(), time.sleep(0.5), [[0.5]] * len(items))[2]
    with ThreadPoolExecutor(1) as pool:
        with serving(create_app(slow)) as address:
            body = {"query": QUESTION, "documents": ["가"]}
            answer = pool.submit(lambda: httpx.post(f"{address}/v2/rerank", json=body, timeout=60))
            assert begun.wait(30)
        assert answer.result().status_code == 200


async def test_a_job_without_a_thread_fails_and_does_not_wait_for_ever():
    batcher = Batcher(lambda key, items: items, max_waiting=10)
    batcher.start()
    assert await batcher.submit(1) == 1
    batcher._thread.shutdown()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(batcher.submit(1), 30)


async def test_one_bad_job_spoils_no_other():
    def compute(key: None, items: list[int]) -> list[int]:
        time.sleep(0.05)
        if 3 in items:
            raise ValueError("three")
        return items

    batcher = Batcher(compute, max_waiting=10)
    batcher.start()
    answers = await asyncio.gather(*(batcher.submit(number) for number in range(6)), return_exceptions=True)
    assert [answer for answer in answers if not isinstance(answer, Exception)] == [0, 1, 2, 4, 5]
    assert isinstance(answers[3], UnusableError)
    await batcher.stop()


async def test_a_batch_is_of_one_key_and_no_larger_than_it_may_be():
    batches: list[tuple[str, list[int]]] = []

    def compute(key: str, items: list[int]) -> list[int]:
        batches.append((key, items))
        return items

    batcher = Batcher(compute, max_waiting=8, max_size=2)
    waiting = [asyncio.create_task(batcher.submit(n, key="ab"[n % 2])) for n in range(8)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await batcher.submit(9)
    batcher.start()
    assert await asyncio.gather(*waiting) == list(range(8))
    assert batches == [("a", [0, 2]), ("b", [1, 3]), ("a", [4, 6]), ("b", [5, 7])]
    await batcher.stop()


def test_the_command_says_where_it_serves_and_that_a_port_is_taken(tmp_path: Path) -> None:
    KlueRetriever.from_texts(TEXTS).save(tmp_path / "index")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "langchain_klue_rerank.cli.main", "serve", str(tmp_path / "index"), "--port"]
        korean = {**os.environ, "LC_ALL": "ko_KR.UTF-8", "PYTHONIOENCODING": "utf-8"}
        refused = subprocess.run([*command, str(port)], env=korean, capture_output=True, encoding="utf-8")
    assert refused.returncode == 2
    assert refused.stderr == (
        f"klue-rerank: 127.0.0.1:{port}: 다른 프로그램이 쓰고 있는 주소입니다. --port로 다른 포트를 주세요.\n"
    )
    server = subprocess.Popen([*command, str(port)], env=korean, stderr=subprocess.PIPE, encoding="utf-8")
    assert server.stderr is not None
    with server.stderr:
        assert f"http://127.0.0.1:{port}/docs 에서 요청을 받습니다" in server.stderr.readline()
        server.send_signal(signal.SIGINT)
        server.wait()
