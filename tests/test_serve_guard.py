"""Who may ask: host and origin, the key, and what no answer may lack."""

import base64

import pytest
from serving import app_of, ask, stub_tagger

from ner_edge.errors import UsageError
from ner_edge.serve.settings import ServeSettings

TAGGER = stub_tagger()
PATHS = ["/", "/models", "/health", "/metrics", "/openapi.json", "/page/script.js", "/x"]


@pytest.mark.parametrize(
    ("host", "header", "served"),
    [
        ("127.0.0.1", "127.0.0.1:8000", True),
        ("127.0.0.1", "localhost:8000", True),
        ("127.0.0.1", "LOCALHOST:8000", True),
        ("127.0.0.1", "[::1]:8000", True),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1:8001", False),
        ("127.0.0.1", "evil.example:8000", False),
        ("127.0.0.1", "127.0.0.1.evil.example:8000", False),
        ("127.0.0.1", "localhost:8000@evil.example", False),
        ("127.0.0.1", "", False),
        ("ner.example", "ner.example:8000", True),
        ("ner.example", "evil.example:8000", False),
        ("0.0.0.0", "192.0.2.7:8000", True),
        ("0.0.0.0", "[2001:db8::7]:9000", True),
        ("0.0.0.0", "localhost:9000", True),
        ("0.0.0.0", "evil.example:8000", False),
    ],
)
def test_hosts(host, header, served):
    settings = ServeSettings(host=host, authenticate=False)
    assert settings.serves(header) is served


def test_on_all_addresses_every_name_is_served_to_who_has_the_key():
    assert ServeSettings(host="0.0.0.0", api_key="k").serves("ner.example:443")
    assert not ServeSettings(host="127.0.0.1", api_key="k").serves("ner.example:443")


def test_port_80_is_left_out():
    assert ServeSettings(port=80).serves("localhost")


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_another_name_reads_nothing(path):
    answer = ask(app_of(TAGGER), "GET", path, headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert answer.json() == {"error": "this server is not the one that the Host header names"}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:8001", "http://localhost:8000"]
)
def test_a_page_of_another_origin_reads_nothing(path, origin):
    answer = ask(app_of(TAGGER), "GET", path, headers={"origin": origin})
    assert answer.status_code == 403
    assert answer.json() == {"error": "pages of other sites may not use this server"}


def test_the_own_page_may_ask():
    headers = {"origin": "http://127.0.0.1:8000"}
    answer = ask(app_of(TAGGER), "POST", "/tag", json={"text": "Ada."}, headers=headers)
    assert answer.status_code == 200


def basic(key):
    return "Basic " + base64.b64encode(f"label-studio:{key}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "right"),
    [
        ("Bearer a-key", True),
        ("bearer a-key", True),
        (basic("a-key"), True),
        ("Bearer a-ke", False),
        ("Bearer a-keyy", False),
        ("Bearer \xe9", False),
        ("Basic a-key", False),
        ("Basic \xff", False),
        (basic("b"), False),
        ("a-key", False),
        ("", False),
        (None, False),
    ],
)
def test_only_who_has_the_key_is_answered(authorization, right):
    app = app_of(TAGGER, api_key="a-key")
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    for path in ("/models", "/metrics", "/openapi.json"):
        answer = ask(app, "GET", path, headers=headers)
        assert answer.status_code == (200 if right else 401)
        if not right:
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "a-key" not in answer.text
    for path in ("/tag", "/tag/stream", "/format", "/setup", "/predict"):
        answer = ask(app, "POST", path, json={}, headers=headers)
        assert (answer.status_code == 401) is not right


def test_the_page_and_the_health_need_no_key():
    app = app_of(TAGGER, api_key="a-key")
    for path in ("/", "/health", "/page/script.js", "/page/style.css"):
        assert ask(app, "GET", path).status_code == 200


@pytest.mark.parametrize("path", [*PATHS, "/tag"])
def test_every_answer_has_the_security_headers_and_none_for_other_origins(path):
    for headers in ({}, {"host": "evil.example"}, {"origin": "http://evil.example"}):
        answer = ask(app_of(TAGGER), "GET", path, headers=headers)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_files_beside_the_page_are_not_served():
    app = app_of(TAGGER)
    for path in (
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page//etc/passwd",
    ):
        assert ask(app, "GET", path).status_code == 404


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "0.0.0.0"}, "--host 0.0.0.0: others can reach this address, so it needs"),
        ({"host": "192.0.2.7"}, "--host 192.0.2.7: others can"),
        ({"host": "ner.example"}, "--host ner.example: others can"),
        ({"host": "::"}, "--host ::: others can"),
        ({"api_key": ""}, "--api-key: is empty"),
        ({"api_key": "schlüssel"}, "--api-key: only printable ASCII"),
        ({"api_key": "a\nb"}, "--api-key: only printable ASCII"),
        ({"api_key": "a", "authenticate": False}, "--api-key and --no-auth exclude each other"),
    ],
)
def test_settings_that_are_not_safe_are_refused(settings, message):
    with pytest.raises(UsageError) as caught:
        ServeSettings(**settings)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_local_addresses_need_no_key(host):
    assert ServeSettings(host=host).is_local
