"""Secrets are not in what is stored, and all other words are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import pytest
from django.test import override_settings
from django.views.debug import SafeExceptionReporterFilter

from lifespan_app.integration.redaction import MASK, forget_secrets, masked

if TYPE_CHECKING:
    from pytest_django import Settings

S = MASK


@pytest.fixture(autouse=True)
def read_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # pytest tells the test's name there, which here has passwords in it.
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    forget_secrets()
    yield
    forget_secrets()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets environment variables: `environment(API_TOKEN="...")`."""

    def set_variables(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        forget_secrets()

    return set_variables


# Addresses


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("postgres://shop:hunter2@db:5432/shop", f"postgres://{S}@db:5432/shop"),
        ("redis://:hunter2@cache/0", f"redis://{S}@cache/0"),
        ("https://ghp_0123@git.example/a.git", f"https://{S}@git.example/a.git"),
        ("'amqp://u:p%40ss@h'", f"'amqp://{S}@h'"),
        ("mysql://u:p@ss:w@h/db", f"mysql://{S}@h/db"),
        ("mysql://u:a/b?c#d@h/db", f"mysql://{S}@h/db"),
        ("mongodb://u:hunter2@one:1,two:2/db", f"mongodb://{S}@one:1,two:2/db"),
        ("redis://:a1@one/0,redis://:b2@two/0", f"redis://{S}@one/0,redis://{S}@two/0"),
        ("http://u:p@[::1]:8000/", f"http://{S}@[::1]:8000/"),
        ("(postgres://u:p@h)", f"(postgres://{S}@h)"),
        ('{"url":"http://u:p@h","a":"b@c"}', f'{{"url":"http://{S}@h","a":"b@c"}}'),
        ("at http://h/?next=http://u:p@h2/", f"at http://h/?next=http://{S}@h2/"),
    ],
)
def test_addresses_lose_user_and_password(text: str, stored: str) -> None:
    assert masked(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "https://catalogue.example/books/@emma",
        "https://catalogue.example:8080/@emma",
        "http://[::1]:8000/@emma",
        "http://catalogue.example/?mail=emma@books.example",
        "sqlite:///shop@home.sqlite3",
        "emma@books.example",
        "std::vector://",
    ],
)
def test_addresses_without_a_user_stay(text: str) -> None:
    assert masked(text) == text


# Names and values


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("host=db password=hunter2 user=shop", f"host=db password={S} user=shop"),
        ("password='hunter 2' user=shop", f"password='{S}' user=shop"),
        ("PGPASSWORD=hunter2 psql", f"PGPASSWORD={S} psql"),
        ('{"api_key": "abc", "n": 1}', f'{{"api_key": "{S}", "n": 1}}'),
        ('{"apiKey":"abc"}', f'{{"apiKey":"{S}"}}'),
        ("Client(token='abc', retries=3)", f"Client(token='{S}', retries=3)"),
        ("Client(token=abc, retries=3)", f"Client(token={S}, retries=3)"),
        ("{'PASSWORD': b'abc'}", f"{{'PASSWORD': b'{S}'}}"),
        (r"password='it\'s' x=1", f"password='{S}' x=1"),
        (r'"{\"secret\": \"abc\", \"n\": \"d\"}"', rf'"{{\"secret\": \"{S}\", \"n\": \"d\"}}"'),
        ('DATABASES["default"]["PASSWORD"] = "abc"', f'DATABASES["default"]["PASSWORD"] = "{S}"'),
        ("Server=db;Uid=shop;Pwd=abc;", f"Server=db;Uid=shop;Pwd={S};"),
        ("AccountKey=ab+/c==;Suffix=x", f"AccountKey={S};Suffix=x"),
        ("https://maps.example/?q=a&key=AIza&n=1", f"https://maps.example/?q=a&key={S}&n=1"),
        ("/?X-Amz-Signature=0ab1&x=1", f"/?X-Amz-Signature={S}&x=1"),
        ("password: hunter2", f"password: {S}"),
        ("secret => abc1", f"secret => {S}"),
        ("pg_dump --password hunter2 shop", f"pg_dump --password {S} shop"),
        ("pg_dump --password=hunter2 shop", f"pg_dump --password={S} shop"),
        ("['curl', '--api-token', 'abc', 'x']", f"['curl', '--api-token', '{S}', 'x']"),
        ("DB_PASS=abc", f"DB_PASS={S}"),
        ("Cookie: sessionid=abc1; csrftoken=def2", f"Cookie: sessionid={S}; csrftoken={S}"),
        ('password="abc', f'password="{S}'),
    ],
)
def test_value_after_the_name_of_a_secret_is_masked(text: str, stored: str) -> None:
    assert masked(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "KeyError: 'shelf'",
        "Key (email)=(3) already exists.",
        "author='Jane Austen', key='shop.cache'",
        "password authentication failed for user",
        "password: wrong",
        "SyntaxError: unexpected token: }",
        "tokenizer='words'",
        "token=None, password='', secret=true",
        "max_tokens=4096",
        "passed=3, passes=4",
        "2 passed: all well",
        "Bearer of bad news",
        "basic authentication is off",
        "Authorization: required",
        "",
    ],
)
def test_words_that_are_no_secret_stay(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("Authorization: Bearer abc.def-1", f"Authorization: Bearer {S}"),
        ("authorization: basic dTpw", f"authorization: basic {S}"),
        ("{'Authorization': 'Token 0ab1'}", f"{{'Authorization': 'Token {S}'}}"),
        ("(b'authorization', b'Bearer 0ab1')", f"(b'authorization', b'Bearer {S}')"),
        ("curl -H 'Authorization: Bearer 0ab1' h", f"curl -H 'Authorization: Bearer {S}' h"),
        ("sent Bearer eyJhbGciOi.eyJzdWIi.c2ln4", f"sent Bearer {S}"),
        ('Authorization: Digest username="u", response="0a"', f"Authorization: {S}"),
        ("Proxy-Authorization: Basic dTpw1=", f"Proxy-Authorization: Basic {S}"),
    ],
)
def test_credentials_of_a_header_are_masked(text: str, stored: str) -> None:
    assert masked(text) == stored


# Values of settings and variables

SECRET = "s3cr&t/p@ss wörd"


@pytest.mark.parametrize(
    "spell",
    [
        str,
        repr,
        json.dumps,
        quote,
        quote_plus,
        lambda value: quote(value, safe=""),
        lambda value: quote(value, safe="").replace("%C3%B6", "%c3%b6").replace("%2F", "%2f"),
        lambda value: f"x{value}x",
    ],
    ids=["plain", "repr", "json", "quote", "quote_plus", "all", "lower", "inside"],
)
def test_value_is_masked_however_it_is_spelled(
    settings: Settings, spell: Callable[[str], str]
) -> None:
    settings.STRIPE_SECRET = SECRET

    stored = masked(f"asked for {spell(SECRET)} in vain")

    assert MASK in stored
    for part in ("s3cr", "p@ss", "p%40ss", "rd"):
        assert part not in stored.replace("asked for", "")


@pytest.mark.parametrize(
    "value",
    [
        {"stripe": "hunter22"},
        ["other", "hunter22"],
        {"a": [{"b": ("hunter22",)}]},
        b"hunter22",
        " hunter22\n",
    ],
    ids=["dict", "list", "nested", "bytes", "spaces"],
)
def test_secret_is_found_in_what_a_setting_holds(settings: Settings, value: object) -> None:
    settings.PAYMENT_SECRETS = value

    assert masked("no hunter22 here") == f"no {S} here"


def test_database_password_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = {"NAME": "books", "OPTIONS": {"passwd": "hunter22"}, "PASSWORD": "abc9"}
    monkeypatch.setitem(settings.DATABASES, "shop", shop)

    assert masked("hunter22, abc9, books") == f"{S}, {S}, books"


def test_secret_key_is_found(settings: Settings) -> None:
    assert masked(f"key {settings.SECRET_KEY!r}") == f"key '{S}'"


def test_environment_variable_is_found(environment: Callable[..., None]) -> None:
    environment(PAYMENT_API_KEY="sk_live_0123")

    assert masked("refused: sk_live_0123") == f"refused: {S}"


def test_password_in_the_address_of_a_setting_is_found_alone(
    environment: Callable[..., None], settings: Settings
) -> None:
    environment(DATABASE_URL="postgres://shop:hunt%40r22@db/shop")
    settings.BROKER = ["amqp://shop:rabbit22@mq"]

    assert masked("wrong: hunt@r22 hunt%40r22 rabbit22") == f"wrong: {S} {S} {S}"


def test_config_is_looked_through(
    settings: Settings, tmp_path: Path, environment: Callable[..., None]
) -> None:
    settings.LIFESPAN = {
        "CONFIG": {"catalogue": {"api_key": "hunter22", "address": "books.example"}}
    }
    file = tmp_path / "config.toml"
    file.write_text('[mail]\npassword = "rabbit22"\n')
    environment(LIFESPAN_CONFIG_FILE=str(file))

    assert masked("hunter22 rabbit22 books.example") == f"{S} {S} books.example"


def test_config_file_that_is_broken_hides_nothing_of_the_rest(
    settings: Settings, environment: Callable[..., None]
) -> None:
    environment(LIFESPAN_CONFIG_FILE="/nowhere.toml", API_TOKEN="hunter22")

    assert masked("hunter22") == S


def test_each_line_of_a_private_key_is_found(environment: Callable[..., None]) -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----"
    environment(SIGNING_KEY=key)

    assert masked(f"({key})") == f"({S})"
    assert masked("  MIIEvQIBADANBgkq\n") == f"  {S}\n"
    assert masked(repr(key)) == f"'{S}'"


def test_longer_secret_is_masked_whole(settings: Settings) -> None:
    settings.A_TOKEN = "hunter22"
    settings.B_TOKEN = "hunter22-and-more"

    assert masked("hunter22-and-more hunter22") == f"{S} {S}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", ""),
        ("API_TOKEN", "abc"),
        ("AUTH_ENABLED", "true"),
        ("API_PORT", "8080"),
        ("AUTH_USER_MODEL", "auth.User"),
        ("API_RENDERER", "json.JSONEncoder"),
        ("AUTH_HANDLER", "json:dumps"),
        ("KEY_PREFIX", "lifespan_app"),
        ("PASSWORD_FILE", "/etc/shop-password"),
        ("PASSWORD_RESET_TIMEOUT", 259200),
    ],
)
def test_values_that_are_ordinary_words_stay(settings: Settings, name: str, value: object) -> None:
    setattr(settings, name, value)
    text = f"in lifespan_app true abc: {value}"

    assert masked(text) == text


def test_short_secret_is_no_part_of_a_word(settings: Settings) -> None:
    settings.API_TOKEN = "able"

    assert masked("table able, able. ables") == f"table {S}, {S}. ables"


def test_cache_may_be_called_what_it_likes() -> None:
    cache = {"BACKEND": "a.b", "LOCATION": "memory", "KEY_PREFIX": "secret77"}
    with override_settings(CACHES={"auth": cache}):
        assert masked("memory secret77") == f"memory {S}"


def test_password_that_is_the_name_of_an_app_hides_no_file(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(settings.DATABASES, "shop", {"PASSWORD": "lifespan_app"})

    assert masked("lifespan_app/models.py") == "lifespan_app/models.py"
    assert masked("password=lifespan_app") == f"password={S}"


def test_djangos_own_defaults_are_no_secrets() -> None:
    text = "django.contrib.auth.hashers.PBKDF2PasswordHasher auth.User"

    assert masked(text) == text


class HidesAccounts(SafeExceptionReporterFilter):
    hidden_settings = __import__("re").compile("API|KEY|PASS|SECRET|TOKEN|IBAN", 2)


class HidesNothing:
    pass


def test_setting_that_a_project_hides_is_hidden(settings: Settings) -> None:
    settings.SHOP_IBAN = "DE0012345678"
    assert masked("DE0012345678 iban='DE99'") == "DE0012345678 iban='DE99'"

    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = f"{__name__}.HidesAccounts"

    assert masked("DE0012345678 iban='DE99' KeyError: 'x'") == f"{S} iban='{S}' KeyError: 'x'"


@pytest.mark.parametrize("name", ["HidesNothing", "Missing"])
def test_filter_of_another_kind_leaves_djangos_names(settings: Settings, name: str) -> None:
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = f"{__name__}.{name}"
    settings.API_TOKEN = "hunter22"

    assert masked("hunter22") == S


def test_setting_that_can_not_be_read_hides_nothing_of_the_rest(settings: Settings) -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError

        __hash__ = None  # type: ignore[assignment]

    settings.PAYMENT = Odd()
    settings.API_TOKEN = "hunter22"

    assert masked("hunter22") == S


def test_setting_that_holds_itself_comes_to_an_end(settings: Settings) -> None:
    endless: dict[str, Any] = {"API_TOKEN": "hunter22"}
    endless["again"] = endless
    settings.PARTNERS = endless

    assert masked("hunter22") == S


# Any text


HOSTILE = [
    "a",
    " ",
    "-",
    "://",
    "://a:",
    "://a:b@",
    "password",
    "password=",
    'password="',
    "password='",
    'password=\\"',
    'password="\\"',
    "password:",
    "--password ",
    "--",
    "pass",
    "api_",
    "Bearer ",
    "Bearer a",
    "authorization",
    "authorization: ",
    "authorization: digest ",
    "\\",
    "'",
    '"',
    "hunter2",
    "h",
    "\n",
    "eyJ",
    "eyJaaaaaaaa.",
    "ghp_a",
    "-----BEGIN PRIVATE KEY-----",
]


@pytest.mark.once
@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_masking_time_grows_with_the_length_and_no_faster(settings: Settings, piece: str) -> None:
    settings.API_TOKEN = "hunter22"
    settings.API_TOKENS = [f"h{number:05}x" for number in range(50)]

    def seconds(size: int) -> float:
        text = (piece * size)[:size]
        begun = time.process_time()
        masked(text)
        return time.process_time() - begun

    masked("")
    # Four times the text takes four times as long; what grows with the square, sixteen times.
    ratios = (seconds(100_000) / max(seconds(25_000), 0.001) for _ in range(5))
    assert any(ratio < 9 for ratio in ratios)
