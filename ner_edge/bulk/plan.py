"""The plan of a run: its input files, cut into parts, and the names of the parts' files."""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow
from pyarrow import parquet

from ner_edge.bulk.attempts import Attempts
from ner_edge.bulk.formats.scan import Wanted
from ner_edge.bulk.formats.table import FORMATS, format_of
from ner_edge.bulk.manifest import Input, PlannedPart, Settings, read_manifest
from ner_edge.bulk.parts import Part
from ner_edge.bulk.storage import Location, find
from ner_edge.bulk.worker import Source, Work
from ner_edge.errors import DataError, UsageError, first_line
from ner_edge.folders.sources import check_apart

_UNSAFE = re.compile(r"[^\w.-]+")
_STEM = 80  # bytes; file systems take names of 255


class Plan:
    """The files to tag and the folder for the results.

    Raises `DataError` or `UsageError` for a file that cannot be read or has no text column, and for
    a folder that holds anything but parts of the same run.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        out: str,
        settings: Settings,
        source_format: str | None = None,
        progress: Callable[[float, float], None] = lambda done, total: None,
    ) -> None:
        self.settings = settings
        self.out = Location(out).absolute()
        for path in inputs:
            if self.out.holds(Location(path).absolute()):
                raise UsageError(f"--out {out}: contains {path}, which is read; give another")
            if self.out.is_local and Location(path).is_local:
                check_apart(f"--out {out}", Path(out), Path(path))
        self.begun = read_manifest(self.out)
        """The manifest of the folder, if a run was begun there."""
        self._sources = list(self._scanned(inputs, source_format, progress))
        self._columns = self._common_columns() if settings.format == "parquet" else {}
        parts = [part for source in self._sources for part in source.scan.parts]
        self.parts = [PlannedPart(self._file(part), part) for part in parts]
        """All parts, in the order of the files."""

    @property
    def texts(self) -> int:
        """The number of texts in all files."""
        return sum(planned.part.rows for planned in self.parts)

    @property
    def inputs(self) -> list[Input]:
        """The files, as the manifest names them."""
        return [
            Input(s.location.name, s.format, sum(part.rows for part in s.scan.parts))
            for s in self._sources
        ]

    def work(self, attempts: Attempts) -> Work:
        """Return what workers need to know."""
        sources = [s._replace(scan=s.scan._replace(parts=[])) for s in self._sources]
        return Work(sources, self.settings, self._columns, self.out, attempts)

    def _scanned(
        self,
        inputs: Sequence[str],
        source_format: str | None,
        progress: Callable[[float, float], None],
    ) -> Iterator[Source]:
        settings = self.settings
        wanted = Wanted(settings.text_column, settings.part_size, settings.format == "parquet")
        found = (location.absolute() for name in inputs for location in find(name))
        # A glob or URL may match the output of a run that goes on.
        locations = [place for place in dict.fromkeys(found) if not self.out.holds(place)]
        formats = [source_format or format_of(location) for location in locations]
        for number, (location, format) in enumerate(zip(locations, formats, strict=True)):
            progress(number, len(locations))
            scan = FORMATS[format].scan(location, number, wanted)
            if not scan.parts:
                raise DataError(f"{location.shown}: holds no text")
            yield Source(location, format, scan)

    def _common_columns(self) -> dict[str, Any]:
        """Return the columns that all parts have. Raises `DataError` if the files do not agree."""
        columns: dict[str, Any] = {}
        first: Source | None = None
        for source in self._sources:
            types = source.scan.columns
            if first is None:
                first, columns = source, types
            elif source.format == "parquet" or first.format == "parquet":
                if types != columns:
                    raise _other_columns(source, first)
            else:
                schemas = [pyarrow.schema(list(t.items())) for t in (columns, types)]
                try:
                    merged = pyarrow.unify_schemas(schemas, promote_options="permissive")
                except pyarrow.ArrowException:
                    raise _other_columns(source, first) from None
                columns = {field.name: field.type for field in merged}
        _check_writable(columns)
        return columns

    def _file(self, part: Part) -> str:
        """Return the name of a part's file: the number and name of its input, and its rows."""
        source = self._sources[part.input]
        stem = _UNSAFE.sub("-", PurePosixPath(source.location.name).stem)
        stem = stem.encode()[:_STEM].decode(errors="ignore")
        last_part = source.scan.parts[-1]
        width = len(str(last_part.first + last_part.rows - 1))
        rows = f"{part.first:0{width}}-{part.first + part.rows - 1:0{width}}"
        number = f"{part.input + 1:0{len(str(len(self._sources)))}}"
        return f"{number}-{stem}-{rows}.{self.settings.format}"


def _check_writable(columns: dict[str, Any]) -> None:
    """Raise `DataError` for a column that Parquet cannot hold, such as empty objects."""
    for name, kind in columns.items():
        sink = io.BytesIO()
        try:
            parquet.write_table(pyarrow.schema([(name, kind)]).empty_table(), sink)
            parquet.read_schema(sink)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"the field {name!r} does not fit a column of Parquet ({first_line(error)}); "
                "use --format jsonl"
            ) from None


def _other_columns(source: Source, first: Source) -> DataError:
    return DataError(
        f"{source.location.shown}: its columns are not those of {first.location.shown}; "
        "give the files to several runs, or use --format jsonl"
    )
