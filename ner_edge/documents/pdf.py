"""The text of PDF files, page by page."""

from pathlib import Path

from ner_edge.documents.extract import text_of
from ner_edge.errors import DataError


def read_text(path: Path) -> str:
    """Return the text of a PDF, each page a paragraph.

    Raises `DataError` if it is none, needs a password, or consists of images.
    """
    import pypdf
    from pypdf.errors import PyPdfError

    try:
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError("is encrypted with a password")
        pages = [page.extract_text() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError("is not a PDF file, or is damaged") from error
    if pages and not any(page.strip() for page in pages):
        raise DataError("contains no text; if its pages are images, it needs OCR first")
    return text_of(pages)
