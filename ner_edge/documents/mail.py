"""The text of mail files: the headers that people see, and the body."""

from email import policy
from email.message import EmailMessage, MIMEPart
from email.parser import BytesParser
from pathlib import Path

from ner_edge.documents.extract import text_of
from ner_edge.errors import DataError

_HEADERS = ("From", "To", "Cc", "Bcc", "Reply-To", "Date", "Subject")


def read_text(path: Path) -> str:
    """Return the headers, the body, and a line with the name of each attachment, which is not read.

    Raises `DataError` if the file is no mail.
    """
    with path.open("rb") as file:
        message = BytesParser(EmailMessage, policy=policy.default).parse(file)
    if not any(message[name] for name in _HEADERS):
        raise DataError("is not a mail (.eml) file: it has none of the usual headers")
    paragraphs = [f"{name}: {value}" for name in _HEADERS for value in message.get_all(name, [])]
    body = message.get_body(("plain", "html"))
    if body is not None:
        paragraphs.append(_content(body))
    for attachment in message.iter_attachments():
        paragraphs.append(f"Attachment: {attachment.get_filename('without a name')}")
    return text_of(paragraphs)


def _content(part: MIMEPart) -> str:
    data = part.get_payload(decode=True)
    text = data if isinstance(data, bytes) else b""
    if part.get_content_subtype() == "html":
        from ner_edge.documents.html import text_of_html

        return text_of_html(text)
    try:
        return text.decode(part.get_content_charset("utf-8"), "replace").replace("\r\n", "\n")
    except LookupError:  # an unknown encoding
        return text.decode("utf-8", "replace").replace("\r\n", "\n")
