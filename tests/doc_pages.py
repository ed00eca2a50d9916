"""The pages of the documentation: their blocks, commands and headings."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
CLI = "docs/cli.md"
_DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *_DOCS]
_BLOCK = re.compile(
    r"(?:^ *<!-- docs-test: (?P<mark>\w+) ?(?P<reason>[^>]*?) *-->\n)?"
    r"^ *```(?P<language>\w+)\n(?P<body>.*?)^ *```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the `docs-test` comment before it, which readers do not see."""

    page: str
    language: str
    body: str
    mark: str = ""
    """`skip`, `long`, `output`, or nothing."""
    reason: str = ""
    """Why a block is skipped."""

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The commands after `$ `, each with the output that is shown below it."""
        prompts = re.split(r"^\$ ", self.body, flags=re.MULTILINE)
        assert not prompts[0], f"{self.page}: a console block begins with '$ '"
        found = []
        for text in prompts[1:]:
            lines = text.splitlines(keepends=True)
            count = 1 + next(i for i, line in enumerate(lines) if not line.endswith("\\\n"))
            command = "".join(lines[:count]).replace("\\\n", " ").strip()
            found.append((command, "".join(lines[count:])))
        return found


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks_of(page: str) -> list[Block]:
    return [
        Block(
            page,
            match["language"],
            textwrap.dedent(match["body"]),
            match["mark"] or "",
            match["reason"] or "",
        )
        for match in _BLOCK.finditer(read_page(page))
    ]


def prose(page: str) -> str:
    """Return the text without fenced and indented blocks and comments."""
    text = _BLOCK.sub("", read_page(page))
    return re.sub(r"<!--.*?-->|^ {4}.*$", "", text, flags=re.MULTILINE)


def anchors(page: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
