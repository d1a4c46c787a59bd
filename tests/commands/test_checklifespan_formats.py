"""What programs read: JSON against its schema, graphs by the parsers they are made for."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.commands.schemas import errors_of, schema
from tests.needs import GRAPHVIZ, MERMAID, needs_graphviz, needs_mermaid
from tests.projects import Project

pytestmark = pytest.mark.once

HEAD = "from lifespan_app import lifespan\n\n\n"
# What means something to Mermaid, to Graphviz, or to what shows their drawings.
HOSTILE = (
    'quote " brace } bracket ] end',
    "subgraph\nend",
    "<script>alert(1)</script>",
    "back\\slash\\",
    "a|b --> c; %% #quot; &amp;",
    "開店 \x00 \x1b[31m",
)

PARSE_MERMAID = """
import { JSDOM } from "jsdom";
import { readFileSync } from "node:fs";
const { window } = new JSDOM("<body></body>");
Object.assign(globalThis, { window, document: window.document });
const { default: mermaid } = await import("mermaid");
await mermaid.parse("flowchart LR");  // the kinds of diagrams come with the first one
const diagram = await mermaid.mermaidAPI.getDiagramFromText(readFileSync(0, "utf8"));
const vertices = diagram.db.getVertices();
console.log(JSON.stringify({
    texts: [...vertices.values()].map((vertex) => vertex.text),
    edges: diagram.db.getEdges().length,
    frames: diagram.db.getSubGraphs().map((frame) => frame.title),
}));
"""


@pytest.fixture
def hostile(project: Project) -> Project:
    """Return a project whose hooks have names that mean something to a parser."""
    hooks = "\n\n\n".join(
        f"@lifespan.on_start(name={name!r})\ndef hook_{number}(): ..."
        for number, name in enumerate(HOSTILE)
    )
    return project.app("shop", lifespan=HEAD + hooks + "\n")


def shown(project: Project, form: str, *arguments: str, **environment: str) -> str:
    done = project.manage(
        "checklifespan", "--format", form, *arguments, PYTHONIOENCODING="utf-8", **environment
    )
    assert "Traceback" not in done.stderr
    return done.stdout


class TestJSON:
    """Those of broken projects are held against the schema where their problems are tested."""

    def test_json_schema_is_valid(self) -> None:
        Draft202012Validator.check_schema(schema())

    def test_json_of_the_shop_fits_the_schema(self, shop: Project) -> None:
        document = shown(shop, "json", "--service-type", "all")

        assert errors_of(document) == []
        assert len(json.loads(document)["plans"]) == 4

    def test_json_keeps_hostile_names(self, hostile: Project) -> None:
        document = shown(hostile, "json")

        assert errors_of(document) == []
        [plan] = json.loads(document)["plans"]
        assert [hook["name"] for hook in plan["hooks"]] == list(HOSTILE)

    def test_json_that_does_not_fit_the_schema_is_found(self, shop: Project) -> None:
        document = json.loads(shown(shop, "json"))
        del document["plans"][0]["hooks"][0]["kind"]

        assert errors_of(json.dumps(document)) == ["'kind' is a required property"]

    def test_json_says_of_a_hook_what_the_text_says(self, shop: Project) -> None:
        [plan] = json.loads(shown(shop, "json"))["plans"]
        hooks = {hook["key"]: hook for hook in plan["hooks"]}

        assert hooks["payments.bank"] == {
            "key": "payments.bank",
            "app": "payments",
            "name": "bank",
            "kind": "resource",
            "wave": 4,
            "priority": 0,
            "required": True,
            "wait": True,
            "state_name": "bank",
            "start_limit": 10,
            "stop_limit": 5.0,
            "waits_for": [
                {
                    "hook": "catalogue.http_client",
                    "reason": "needs",
                    "detail": "parameter 'http_client'",
                    "hard": True,
                },
                {
                    "hook": "storage.refuse_old_schema",
                    "reason": "declared",
                    "detail": "depends_on",
                    "hard": True,
                },
                {
                    "hook": None,
                    "reason": "priority",
                    "detail": "every hook up to priority -10",
                    "hard": False,
                },
            ],
            "file": "payments/lifespan.py",
            "line": 4,
        }


@needs_graphviz
class TestDot:
    def parsed(self, text: str) -> dict[str, Any]:
        """Return what Graphviz reads, or fail with what it says."""
        done = subprocess.run(
            [GRAPHVIZ.path(), "-Tdot_json"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def test_dot_reads_the_shop(self, shop: Project) -> None:
        graph = self.parsed(shown(shop, "dot", "--service-type", "all"))

        assert [frame["label"] for frame in graph["objects"] if "nodes" in frame] == [
            "app",
            "scheduler",
            "server",
            "worker",
        ]

    def test_dot_has_every_hook_and_reason(self, shop: Project) -> None:
        [plan] = json.loads(shown(shop, "json"))["plans"]
        graph = self.parsed(shown(shop, "dot"))

        boxes = [box["label"] for box in graph["objects"] if "nodes" not in box]
        assert {hook["key"] for hook in plan["hooks"]} <= {box.split(r"\n")[0] for box in boxes}
        drawn = sorted(edge["label"] for edge in graph["edges"] if edge["label"])
        assert drawn == sorted(
            wait["reason"] for hook in plan["hooks"] for wait in hook["waits_for"] if wait["hook"]
        )

    def test_dot_keeps_hostile_names(self, hostile: Project) -> None:
        graph = self.parsed(shown(hostile, "dot"))

        labels = [box["label"] for box in graph["objects"] if "nodes" not in box]
        assert labels == [
            r'shop.quote " brace } bracket ] end\nstart',
            r"shop.subgraph\\nend\nstart",
            r"shop.<script>alert(1)</script>\nstart",
            r"shop.back\\slash\\\nstart",
            r"shop.a|b --> c; %% #quot; &amp;\nstart",
            r"shop.開店 \\x00 \\x1b[31m\nstart",
        ]

    def test_dot_reads_an_empty_plan(self, project: Project) -> None:
        assert self.parsed(shown(project, "dot"))["name"] == "lifespan"


@pytest.mark.slow
@needs_mermaid
class TestMermaid:
    def parsed(self, text: str) -> dict[str, Any]:
        """Return what Mermaid reads, or fail with what it says."""
        done = subprocess.run(
            ["node", "--input-type=module", "--eval", PARSE_MERMAID],
            cwd=MERMAID.path(),
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def test_mermaid_reads_the_shop(self, shop: Project) -> None:
        frames = self.parsed(shown(shop, "mermaid", "--service-type", "all"))["frames"]

        assert sorted(frames) == ["app", "scheduler", "server", "worker"]

    def test_mermaid_has_every_hook_and_edge(self, shop: Project) -> None:
        [plan] = json.loads(shown(shop, "json"))["plans"]

        read = self.parsed(shown(shop, "mermaid"))

        keys = {text.split("<br>")[0] for text in read["texts"]}
        assert {hook["key"] for hook in plan["hooks"]} <= keys
        below_the_last = [hook for hook in plan["hooks"] if hook["priority"] < 100]
        waits = sum(len(hook["waits_for"]) for hook in plan["hooks"])
        assert read["edges"] == waits + len(below_the_last)

    def test_mermaid_reads_hostile_names(self, hostile: Project) -> None:
        """Mermaid keeps numbers of letters as it has read them, and shows the letters."""
        texts = self.parsed(shown(hostile, "mermaid"))["texts"]

        assert len(texts) == len(HOSTILE)
        assert not any(sign in text.replace("<br>", "") for text in texts for sign in '"<>[]|\\')

    def test_mermaid_reads_an_empty_plan(self, project: Project) -> None:
        assert self.parsed(shown(project, "mermaid"))["texts"] == []
