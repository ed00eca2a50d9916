"""A rich console for untrusted texts."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ner_edge.terminal.streams import printable


class PrintableConsole(Console):
    """A console that escapes control characters, except those from rich itself."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the segments of `renderable`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
