"""The server's description and what it does agree, for whatever a client sends."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")
schemathesis = pytest.importorskip("schemathesis")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from schemathesis import GenerationMode  # noqa: E402
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

from langchain_klue_rerank import KlueRetriever  # noqa: E402
from langchain_klue_rerank.server.app import create_app  # noqa: E402
from langchain_klue_rerank.server.services import Services  # noqa: E402
from tests.integration_tests.test_server import serving  # noqa: E402
from tests.unit_tests.fakes import TEXTS  # noqa: E402

READ = ["/health", "/metrics", "/v1/models", "/v1/models/{name}", "/info"]
PATHS = [
    *("/v1/rerank", "/v2/rerank", "/rerank", "/embed", "/v1/embed", "/v2/embed", "/v1/embeddings", "/v1/search"),
    *READ,
]


@pytest.fixture(scope="module")
def described():
    services = Services({"안내": KlueRetriever.from_texts(TEXTS)})
    with serving(create_app(services)) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


def test_every_path_is_fuzzed(described):
    assert sorted(described) == sorted(PATHS)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_as_described(described, path, mode):
    method = "GET" if path in READ else "POST"
    if method == "GET" and mode is GenerationMode.NEGATIVE:
        return  # it takes nothing that could be wrong

    # filters' operators, dimensions, names of models and spellings of fields are checked beyond the description
    excluded = [] if path in ("/health", "/metrics", "/v1/models", "/info") else [positive_data_acceptance]

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=described[path][method].as_strategy(generation_mode=mode))
    def ask(case):
        case.call_and_validate(excluded_checks=excluded)

    ask()
