"""Texts that people paste although nobody wrote them as sentences, and ordinary text to compare."""

_NEWS = (
    "The central bank raised its main interest rate on Thursday, and analysts in London said that "
    "more would follow before the end of the year. Ada Novak, who leads the union of miners in "
    'Harlan, called the decision "a gift to the banks". Shares in Okoro & Sons fell 2.5 percent. '
)

HOSTILE = {
    "500 marks on a letter": "e" + "\u0301" * 500,
    "only marks": "\u0301" * 500,
    "emoji": "😀" * 700,
    "emoji families": "👩\u200d👩\u200d👧" * 200,
    "flags": "🇩🇪" * 300,
    "invisible": "a" + "\u200b\u200e" * 500,
    "Mr. Mr.": "Mr. " * 150,
    "[[[": "[" * 1000,
    "| |": "| " * 500,
    "[a | PER]": "[a | PER] " * 60,
    "a a a": "a " * 300,
    "A A A": "A " * 300,
    "Q Z B F": "Q Z B F " * 75,
    "1 1 1": "1 " * 300,
    "1.5 and -": "1.5 - " * 100,
    "digits": "0123456789" * 60,
    "a letter a line": "x\n" * 300,
    "a 100 kB address": "See https://example.org/" + "a1-B2/" * 17_000 + " for more",
    "base64": ("QmFzZTY0" * 9 + "+/\n") * 9,
    "capitals": "THE CENTRAL BANK RAISED ITS MAIN INTEREST RATE ON THURSDAY. " * 10,
    "mixed": "😀 [ Mr. é\u0301\u0301 7 https://a.b/c " * 20,
}


def ordinary(characters: int) -> str:
    """Return so many characters of English news."""
    return (_NEWS * (1 + characters // len(_NEWS)))[:characters]
