"""The catalogues of the pages have every text, translated, and are compiled.

`make messages` collects and compiles; a text that is new or has changed then needs a translation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from gettext import GNUTranslations
from pathlib import Path

import pytest
from django.test import Client

import lifespan_app
from tests import records
from tests.admin.project import HOME, LIST
from tests.needs import GETTEXT, needs_gettext

PACKAGE = Path(lifespan_app.__file__).parent
LANGUAGES = ("de", "fr")


def texts_of(compiled: Path) -> dict[object, str]:
    """Return the texts of a compiled catalogue, each with its translation."""
    with compiled.open("rb") as file:
        texts: dict[object, str] = vars(GNUTranslations(file))["_catalog"]
    return {text: words for text, words in texts.items() if text}


def run(*command: str | Path, cwd: Path) -> None:
    """Run a program of gettext, or one that runs it."""
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def compiled(catalogue: Path, folder: Path) -> Path:
    """Compile a catalogue, with gettext's checks, as `compilemessages` does."""
    made = folder / "django.mo"
    run(GETTEXT.path(), "--check-format", "--check-domain", "-o", made, catalogue, cwd=folder)
    return made


def catalogue(language: str, ending: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / f"django.{ending}"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> set[object]:
    """Return all texts of the package's source, as `makemessages` finds them."""
    folder = tmp_path_factory.mktemp("source")
    package = folder / "lifespan_app"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "locale"))
    (package / "locale").mkdir()
    run(sys.executable, "-m", "django", "makemessages", "--locale", "en", cwd=package)
    # The texts of the source as their own translation, so that none is left out as untranslated.
    english = package / "locale" / "en" / "LC_MESSAGES" / "django.po"
    run("msgen", "--output-file", folder / "en.po", english, cwd=folder)
    return set(texts_of(compiled(folder / "en.po", folder)))


@needs_gettext
@pytest.mark.once
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language: str, texts: set[object], tmp_path: Path) -> None:
    """Compiling leaves out what is fuzzy or untranslated."""
    translated = set(texts_of(compiled(catalogue(language, "po"), tmp_path)))

    assert len(texts) > 400
    assert texts - translated == set(), "make messages, and translate these"
    assert translated - texts == set(), "make messages removes these"


@needs_gettext
@pytest.mark.once
@pytest.mark.parametrize(
    "damage",
    [
        ('msgid "lost"\n', '#, fuzzy\nmsgid "lost"\n'),
        ('msgid "lost"\nmsgstr "verschollen"\n', 'msgid "lost"\nmsgstr ""\n'),
        ('msgid "lost"\nmsgstr "verschollen"\n', ""),
    ],
    ids=["fuzzy", "untranslated", "not collected"],
)
def test_text_without_a_translation_is_found(
    damage: tuple[str, str], texts: set[object], tmp_path: Path
) -> None:
    text = catalogue("de", "po").read_text(encoding="utf-8")
    assert damage[0] in text
    damaged = tmp_path / "django.po"
    damaged.write_text(text.replace(*damage), encoding="utf-8")

    assert texts - set(texts_of(compiled(damaged, tmp_path))) == {"lost"}


@needs_gettext
@pytest.mark.once
@pytest.mark.parametrize("language", LANGUAGES)
def test_compiled_catalogue_has_the_translations_of_its_source(
    language: str, tmp_path: Path
) -> None:
    source = texts_of(compiled(catalogue(language, "po"), tmp_path))

    assert texts_of(catalogue(language, "mo")) == source, "make messages"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("de", ("1 Prozess ist in Betrieb", "In Betrieb seit", "Startdauer von", "vor 5 min")),
        (
            "fr",
            (
                "1 processus est en service",
                "En service depuis",
                "Durée du démarrage de",
                "il y a 5 min",
            ),
        ),
    ],
)
def test_pages_are_in_the_language_of_their_reader(
    reader: Client, language: str, words: tuple[str, ...]
) -> None:
    run = records.healthy(ago=330)
    addresses = (HOME, LIST, f"{LIST}{run.pk}/change/")

    answers = [reader.get(one, headers={"accept-language": language}) for one in addresses]
    pages = "".join(answer.content.decode() for answer in answers)

    assert [text for text in words if text not in pages] == []


def test_json_of_a_run_is_english(reader: Client) -> None:
    run = records.healthy(ago=300)

    answer = reader.get(f"{LIST}{run.pk}/json/", headers={"accept-language": "de"}).json()

    assert answer["headline"].startswith("Serving for 5 min")
