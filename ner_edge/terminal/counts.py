"""Numbers with their nouns, as messages show them."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 sentence`, `12 000 entities`."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{grouped(number)} {noun}"


def grouped(number: int) -> str:
    """Return a number with its digits in groups of three: `12 000`."""
    return f"{number:,}".replace(",", " ")
