"""rich's console for texts of which nobody knows what they hold."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ner_edge.terminal.streams import printable


class PrintableConsole(Console):
    """A console that escapes what a terminal would obey, unless it comes from rich."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of `renderable`."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
