"""Small documents of every kind that `ner-edge` reads."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

import docx

PDF_OBJECTS = (
    "<</Type/Catalog/Pages 2 0 R>>",
    "<</Type/Pages/Kids[3 0 R]/Count 1>>",
    "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R"
    "/Resources<</Font<</F1 5 0 R>>>>>>",
    "<</Length {length}>>stream\n{content}\nendstream",
    "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
)


def save_docx(path: Path, *paragraphs: str) -> Path:
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    cells = document.add_table(1, 2).rows[0].cells
    cells[0].text, cells[1].text = "Bob", "Ghent"
    document.sections[0].header.paragraphs[0].text = "For Rosa"
    document.save(str(path))
    return path


def save_docx_with_entity(path: Path) -> Path:
    """A Word file whose first paragraph refers to an external entity."""
    save_docx(path, "Ada")
    with _packed_again(path) as (members, out):
        for name, data in members.items():
            if name == "word/document.xml":
                head, xml = data.split(b"?>", 1)
                doctype = b'?><!DOCTYPE d [<!ENTITY x SYSTEM "x">]>'
                data = head + doctype + xml.replace(b"Ada", b"Ada&x; and Bob")
            out.writestr(name, data)
    return path


@contextmanager
def _packed_again(path: Path) -> Iterator[tuple[dict[str, bytes], zipfile.ZipFile]]:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        yield members, out


def save_bomb(path: Path, megabytes: int) -> Path:
    """A Word file whose text is so long."""
    save_docx(path)
    with _packed_again(path) as (members, out):
        for name, data in members.items():
            out.writestr(name, data)
        with out.open("word/bomb.xml", "w") as member:
            for _ in range(megabytes):
                member.write(bytes(1_000_000))
    return path


def save_pdf(path: Path, text: str) -> Path:
    content = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET"
    data, places = "%PDF-1.4\n", []
    for number, value in enumerate(PDF_OBJECTS, 1):
        places.append(len(data))
        value = value.replace("{length}", str(len(content))).replace("{content}", content)
        data += f"{number} 0 obj{value}endobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    path.write_text(
        f"{data}xref\n0 6\n0000000000 65535 f \n{table}"
        f"trailer<</Size 6/Root 1 0 R>>\nstartxref\n{len(data)}\n%%EOF\n"
    )
    return path


def save_mail(path: Path, text: str, html: str | None = None) -> Path:
    message = EmailMessage()
    message["From"] = "Ada Lovelace <ada@example.org>"
    message["Subject"] = "Zoë"
    message.set_content(text)
    if html is not None:
        message = EmailMessage()
        message["From"] = "Ada Lovelace <ada@example.org>"
        message.set_content(html, subtype="html")
    message.add_attachment(b"x", maintype="image", subtype="png", filename="rosa.png")
    path.write_bytes(bytes(message))
    return path
