"""Numbers with their nouns, as messages show them."""


def counted(number: int, noun: str) -> str:
    """`1 sentence`, `12 000 entities`."""
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{grouped(number)} {noun}"


def grouped(number: int) -> str:
    """`12 000`: groups of three digits, set apart by a space."""
    return f"{number:,}".replace(",", " ")
