"""Masking of secrets in texts before they are stored, logged or sent.

Masked are: user and password in URLs; values after names such as ``password`` or ``api_key`` in DSNs,
JSON, keyword arguments, command options and headers; keys and tokens of well-known forms, and private
keys; and the values of settings and environment variables that Django's error pages hide.

Each rule is one pass of linear time: its repetitions are bounded or possessive.
"""

from __future__ import annotations

import re
from functools import cache

from django.core.signals import setting_changed
from django.views.debug import SafeExceptionReporterFilter

from .sensitive import hidden_names, is_ordinary, secrets

__all__ = ["MASK", "forget_secrets", "masked"]

MASK = SafeExceptionReporterFilter.cleansed_substitute
"""The replacement of a secret, Django's own."""

_NAME = r"""
    passw(?:or)?d | passphrase | pwd | secret | token(?!i[sz]) | credential | signature | session_?id
  | (?:api|access|account|auth|encryption|license|master|private|service|shared|signing|ssh|storage)
    [_-]?key
  | (?<![a-z]) pass (?![a-z])
  | (?<=[?&]) (?:key|sig)
"""
"""Parts of the names of secrets, in texts with a name and a value.

Django's list for settings also has KEY, AUTH and PASS, which would mask the message of a ``KeyError``,
and authors. Names that a project adds to that list are used here, too.
"""

_WORDS = ("pass", "pwd", "secret", "token", "credential", "sig", "session", "key")
"""One of these is in each name."""

_VALUE = r"""
    (?P<opening> [bBfFrRuU]{0,2}" ) (?: [^"\\\r\n] | \\. )++
  | (?P<opening_single> [bBfFrRuU]{0,2}' ) (?: [^'\\\r\n] | \\. )++
  | (?P<opening_escaped> [bBfFrRuU]{0,2}\\{1,3}["'] ) [^"'\\\r\n]++
  | (?P<bare> [^\s;&"'<>\\] [^\s;&"<>\\]*+ )
"""

_AUTHORIZATION = re.compile(
    r"""
    (?P<before>
        authorization \\{0,3}["']? [ \t]{0,8} [:=,] [ \t]{0,8} (?: b? \\{0,3}["'] )?
        (?P<scheme> (?:apikey|basic|bearer|negotiate|token) [ \t]{1,8} )?
      | \b (?:basic|bearer) [ \t]{1,8} (?= [^\s"'\\]{8} ) (?= [^\s"'\\]{0,60} [\d=] )
    )
    (?P<value> digest [ \t] [^\r\n]*+ | [^\s"'\\]++ )
    """,
    re.IGNORECASE | re.VERBOSE,
)

_SCHEMES = ("authorization", "basic", "bearer")
"""One of these is in each header."""

_FORMS = re.compile(
    r"""
    (?<![\w-]) (?:
        eyJ[\w-]{8,4096}+ \. eyJ[\w-]{8,4096}+ \. [\w-]{0,4096}+           # JSON Web Token
      | gh[pousr]_[A-Za-z0-9]{30,255}+ | github_pat_\w{30,255}+ | glpat-[\w-]{16,255}+
      | xox[abeprs]-[\w-]{10,255}+ | (?:AKIA|ASIA)[A-Z0-9]{16}(?!\w) | AIza[\w-]{35}(?![\w-])
      | [rs]k_(?:live|test)_[A-Za-z0-9]{16,255}+ | hooks\.slack\.com/[\w/-]{16,255}+
    )
  | -----BEGIN [ ] [A-Z ]{0,40} PRIVATE [ ] KEY-----
    (?: [\w+/=\s\\:,] | -(?!----) )*+ (?: -----END [ ] [A-Z ]{0,40} PRIVATE [ ] KEY----- )?+
    """,
    re.VERBOSE,
)
"""Secrets that are recognised by themselves; the end of a private key may be cut off."""

_IN_FORMS = (
    *("eyJ", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox"),
    *("hooks.slack.com", "AKIA", "ASIA", "AIza", "k_live_", "k_test_", "PRIVATE KEY"),
)
"""One of these is in each of them."""

_ADDRESS = re.compile(r'://[^\s"<>`\\]++')


def masked(text: str) -> str:
    """Return a text with the recognisable secrets masked."""
    if not text:
        return text
    text = _values().sub(MASK, text)
    text = _ADDRESS.sub(_without_users, text)
    if any(word in text for word in _IN_FORMS):
        text = _FORMS.sub(MASK, text)
    # Most texts have no such word, and a search for a word is fast.
    lower = text.lower()
    if any(word in lower for word in _SCHEMES):
        text = _AUTHORIZATION.sub(_without_credentials, text)
    words, named = _named()
    if any(word in lower for word in words):
        text = named.sub(_without_value, text)
    return text


def forget_secrets(**kwargs: object) -> None:
    """Clear the caches of settings and environment."""
    _values.cache_clear()
    _named.cache_clear()


setting_changed.connect(forget_secrets)


def _without_credentials(match: re.Match[str]) -> str:
    # "Authorization: required" is a sentence.
    is_sentence = match["scheme"] is None and match["value"].isalpha()
    return match[0] if is_sentence else match["before"] + MASK


def _without_users(match: re.Match[str]) -> str:
    """Return adjacent URLs without user and password."""
    return "://".join(map(_without_user, match[0].split("://")))


def _without_user(address: str) -> str:
    """Return the part of a URL after ``://`` without user and password, which end at the last @ before the path."""
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    at = authority.rfind("@")
    if at < 0:
        # A password with a slash in it, which should have been quoted. A port is no password.
        host, colon, port = authority.partition(":")
        if colon and not port.isdigit() and not host.startswith("["):
            at = address.find("@")
    return address if at < 0 else MASK + address[at:]


def _without_value(match: re.Match[str]) -> str:
    before, bare = match["before"], match["bare"]
    if bare is None:
        opening = match["opening"] or match["opening_single"] or match["opening_escaped"]
        return before + opening + MASK
    value = bare.rstrip(",.)]}'")
    # "password: wrong" is a sentence.
    is_sentence = ":" in before and "=" not in before and value.isalpha()
    if is_sentence or is_ordinary(value) or not any(map(str.isalnum, value)):
        return match[0]
    return before + MASK + bare[len(value) :]


@cache
def _named() -> tuple[list[str], re.Pattern[str]]:
    """Return the words in names of secrets, and the pattern of values after such names."""
    added = hidden_names()
    name = "|".join([_NAME, *added])
    pattern = rf"""
        (?P<before>
            (?: {name} ) [\w-]{{0,40}}+
            \\{{0,3}} ["']? \]? [ \t]{{0,8}} (?: => | ={{1,2}} | : ) [ \t]{{0,8}}
          | (?<![\w-]) -- (?=\w) [\w-]{{0,40}}? (?: {name} ) [\w-]{{0,40}}+ (?: ["'],? )? [ \t]{{1,8}}
        )
        (?: {_VALUE} )
    """
    words = [*_WORDS, *(word.lower() for word in added)]
    return words, re.compile(pattern, re.IGNORECASE | re.VERBOSE)


@cache
def _values() -> re.Pattern[str]:
    """Return the pattern of the secrets of this process."""
    # Longest first: a shorter secret may be a part of a longer one.
    found = sorted(secrets(), key=lambda secret: (-len(secret), secret))
    return re.compile("|".join(map(_exactly, found)) or r"(?!)")


_PART_OF_A_WORD = 8
"""The length from which a secret is also masked inside a longer word."""


def _exactly(secret: str) -> str:
    """Return the pattern of a secret; it begins with a literal character, which ``re`` finds fastest."""
    first, rest = re.escape(secret[0]), re.escape(secret[1:])
    if len(secret) >= _PART_OF_A_WORD:
        return first + rest
    before = rf"(?<!\w{first})" if secret[0].isalnum() else ""
    after = r"(?!\w)" if secret[-1].isalnum() else ""
    return first + before + rest + after
