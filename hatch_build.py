"""What the build fills in: links in the metadata, and README.rst as a package index shows it.

The addresses are in ``[tool.hatch.metadata.hooks.custom]`` of pyproject.toml.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"`([^`<]+?)\s+<(?!https?:)([^`>]+)>`__")
"""A link of README.rst to a file of the repository."""
IMAGE = re.compile(r"^\.\. image:: (?!https?:)(\S+)\n(?: +:.*\n)*\n?", re.MULTILINE)


class AddressesHook(MetadataHookInterface):
    """Fill in the fields that depend on the project's addresses."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add ``authors``, ``urls`` and ``readme``."""
        readme = (Path(self.root) / "README.rst").read_text(encoding="utf-8")
        contact = {"email": self.config["contact"]} if self.config["contact"] else {}
        metadata["authors"] = [{"name": "lifespan_app contributors", **contact}]
        metadata["urls"] = urls(self.config)
        metadata["readme"] = {
            "content-type": "text/x-rst",
            "text": with_absolute_links(readme, self.config),
        }


def urls(addresses: dict[str, str]) -> dict[str, str]:
    """Return the links of the metadata. An address that is not set gives none."""
    repository = addresses["repository"].rstrip("/")
    documentation = addresses["documentation"].rstrip("/")
    links = {}
    if documentation:
        links["Documentation"] = f"{documentation}/"
        links["Changelog"] = f"{documentation}/changelog.html"
    if repository:
        links["Source"] = repository
        links["Issues"] = f"{repository}/issues"
    return links


def with_absolute_links(readme: str, addresses: dict[str, str]) -> str:
    """Return README.rst for a package index, where a path of the repository leads nowhere.

    A page of ``docs/`` becomes its page in the documentation, another file its page in the
    repository, and an image its raw file. If an address is not set, a link keeps its words only,
    and an image is left out.
    """
    repository = addresses["repository"].rstrip("/")
    documentation = addresses["documentation"].rstrip("/")

    def link(found: re.Match[str]) -> str:
        words, path = found.groups()
        if documentation and path.startswith("docs/") and path.endswith(".rst"):
            page = path.removeprefix("docs/").removesuffix(".rst")
            return f"`{words} <{documentation}/{page}.html>`__"
        return f"`{words} <{repository}/blob/HEAD/{path}>`__" if repository else words

    def image(found: re.Match[str]) -> str:
        return found[0].replace(found[1], f"{repository}/raw/HEAD/{found[1]}") if repository else ""

    return IMAGE.sub(image, LINK.sub(link, readme))
