"""The page, in a real browser: what people see, press and take away.

Every test also checks that the page asks no other host and that its console stays empty.
"""

from urllib.parse import urlsplit

import pytest
from browser import KnownNames, chromium, serving

from ner_edge.serve.answers import written

NAMES = {
    "Ada": ("PER", 0.97),
    "Zoe": ("PER", 0.4),
    "Rome": ("LOC", 0.9),
    "Fjordlight": ("ORG", 0.6),
}
OTHER_NAMES = {**NAMES, "Rome": ("ORG", 0.5), "Turin": ("LOC", 0.8)}
TEXT = "🎉 Ada met Zoe in Rome.\n\nZoe left Fjordlight 👩‍👩‍👧 for Turin. Ada stayed."
HOSTILE = (
    "<img src=x onerror=alert(1)> Ada </textarea><script>alert(2)</script> & Zoe\n\n\n\"'Rome`"
)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def one_model():
    with serving({"model-a": KnownNames(NAMES)}) as url:
        yield url


@pytest.fixture(scope="module")
def two_models():
    with serving({"model-a": KnownNames(NAMES), "model-b": KnownNames(OTHER_NAMES)}) as url:
        yield url


@pytest.fixture
def open_page(browser):
    """Opens a page; at the end checks its requests and its console."""
    contexts, requests, messages = [], [], []
    messages_expected: list[str] = []

    def open_page(url, **settings):
        context = browser.new_context(accept_downloads=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("dialog", lambda dialog: messages.append(dialog.message))
        page.expected_messages, page.requests = messages_expected, requests
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {urlsplit(url).hostname for url in requests if not url.startswith("blob:")} == {
        "127.0.0.1"
    }
    assert [text for text in messages if not any(part in text for part in messages_expected)] == []


def find(page, text=TEXT):
    page.fill("#text", text)
    page.press("#text", "Control+Enter")
    page.wait_for_selector("#copy:enabled")


def marks(page, column=0):
    """The text and label of each highlighted entity of a column."""
    return page.evaluate(
        """(column) => [...document.querySelectorAll('#text-shown .row:not(.names)')].flatMap(
            (row) => [...row.children[column].querySelectorAll('mark:not(.off)')].map((mark) =>
                [mark.firstChild.data, mark.querySelector('.label').textContent]))""",
        column,
    )


def shown_text(page, column=0):
    """The text of a column, without the labels."""
    return page.evaluate(
        """(column) => [...document.querySelectorAll('#text-shown .row:not(.names)')].map((row) => {
            const copy = row.children[column].cloneNode(true);
            copy.querySelectorAll('mark > span').forEach((span) => span.remove());
            return copy.textContent;
        })""",
        column,
    )


def downloaded(page, kind):
    page.select_option("#format", kind)
    with page.expect_download() as download:
        page.click("#download")
    return download.value.path().read_text(encoding="utf-8")


def set_least(page, value):
    page.evaluate(
        """(value) => {
            const slider = document.getElementById('least');
            slider.value = value;
            slider.dispatchEvent(new Event('input'));
            return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        }""",
        value,
    )


def test_entities_are_highlighted_where_they_are(open_page, one_model):
    page = open_page(one_model)
    find(page)
    assert marks(page) == [
        ["Ada", "PER"],
        ["Zoe", "PER"],
        ["Rome", "LOC"],
        ["Zoe", "PER"],
        ["Fjordlight", "ORG"],
        ["Ada", "PER"],
    ]
    assert shown_text(page) == TEXT.split("\n\n")
    assert page.text_content("#status") == "6 entities in 3 sentences."
    assert page.text_content("#models") == "model-a"
    assert [page.text_content(f"[data-label={label}]") for label in ("PER", "LOC", "MISC")] == [
        "PER4",
        "LOC1",
        "MISC0",
    ]


def test_a_screen_reader_hears_label_and_score(open_page, one_model):
    page = open_page(one_model)
    find(page)
    assert page.text_content("mark:first-of-type .spoken") == " (PER, score 0.97)"
    assert page.get_attribute("mark:first-of-type .label", "aria-hidden") == "true"
    assert page.get_attribute("#status", "aria-live") == "polite"
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter((e) => !e.hidden && !e.labels?.length && !e.ariaLabel && !e.innerText)
            .map((e) => e.id)"""
    )
    assert unnamed == ["file"] or unnamed == []


def test_a_score_is_seen_on_hover(open_page, one_model):
    page = open_page(one_model)
    find(page)
    page.hover("mark >> nth=1")
    shown = page.evaluate(
        "() => getComputedStyle(document.querySelectorAll('mark')[1], '::after').content"
    )
    assert shown == '"PER 0.40"'


def test_markup_in_a_text_stays_text(open_page, one_model):
    page = open_page(one_model)
    find(page, HOSTILE)
    assert [label for _, label in marks(page)] == ["PER", "PER", "LOC"]
    assert shown_text(page) == HOSTILE.split("\n\n\n")
    html = downloaded(page, "html")
    assert "<script" not in html
    assert "<img" not in html


def test_entities_appear_before_the_last_one_is_found(open_page):
    tagger = KnownNames(NAMES)
    tagger.waits_after = 2
    with serving({"slow": tagger}) as url:
        page = open_page(url)
        page.fill("#text", TEXT)
        page.click("#find")
        page.wait_for_selector("mark >> nth=4")
        assert page.text_content(".pending") == " Ada stayed."
        assert page.text_content("#status") == "Tagging …"
        assert page.is_disabled("#download")
        page.click("#stop")
        page.wait_for_selector("#stop", state="hidden")
        status = page.text_content("#status")
        assert status.startswith("5 entities in 2 sentences. Tagging stopped")
        assert page.is_disabled("#download")  # such as a text redacted by half


def test_the_slider_hides_entities_without_asking_again(open_page, one_model):
    page = open_page(one_model)
    find(page)
    asked = len(page.requests)
    page.focus("#least")
    for _ in range(41):
        page.keyboard.press("ArrowRight")
    page.wait_for_selector("#status:has-text('4 entities')")
    assert page.text_content("#least-shown") == "0.41"
    assert ["Zoe", "PER"] not in marks(page)
    assert shown_text(page) == TEXT.split("\n\n")
    assert len(page.requests) == asked


def test_labels_are_switched_by_keyboard(open_page, one_model):
    page = open_page(one_model)
    find(page)
    page.focus("[data-label=PER]")
    page.keyboard.press("Space")
    assert page.get_attribute("[data-label=PER]", "aria-pressed") == "false"
    assert marks(page) == [["Rome", "LOC"], ["Fjordlight", "ORG"]]
    page.keyboard.press("Enter")
    assert len(marks(page)) == 6


def test_downloads(open_page, one_model):
    page = open_page(one_model)
    find(page)
    tagger = KnownNames(NAMES)
    found = tagger(TEXT)
    for kind in ("brackets", "jsonl", "conll", "html", "redacted"):
        assert downloaded(page, kind) == written(kind, TEXT, found) + "\n"
    redacted = TEXT.replace("Ada", "[PER_1]").replace("Zoe", "[PER_2]")
    redacted = redacted.replace("Rome", "[LOC_1]").replace("Fjordlight", "[ORG_1]")
    assert downloaded(page, "redacted") == redacted + "\n"
    assert page.is_visible("#caution")
    set_least(page, 0.95)
    assert downloaded(page, "brackets") == TEXT.replace("Ada", "[Ada | PER]") + "\n"


def test_copy(open_page, one_model):
    page = open_page(one_model, permissions=["clipboard-read", "clipboard-write"])
    find(page)
    page.click("#copy")
    page.wait_for_selector("#status:has-text('Copied.')")
    copied = page.evaluate("() => navigator.clipboard.readText()")
    assert copied == written("brackets", TEXT, KnownNames(NAMES)(TEXT))


def test_two_models_side_by_side(open_page, two_models):
    page = open_page(two_models)
    find(page)
    assert ["Rome", "LOC"] in marks(page, 0)
    assert ["Rome", "ORG"] in marks(page, 1)
    assert ["Turin", "LOC"] in marks(page, 1)
    assert page.text_content("#difference") == "2 differences"
    differing = page.eval_on_selector_all(
        "mark.differs", "(found) => found.map((mark) => mark.firstChild.data)"
    )
    assert differing == ["Rome", "Rome", "Turin"]
    page.select_option("#source", label="model-b")
    assert "[Turin | LOC]" in downloaded(page, "brackets")
    set_least(page, 0.55)  # one of the differences is less certain, and another label is gone
    assert page.text_content("#difference") == "2 differences"
    set_least(page, 0.95)
    assert page.text_content("#difference") == "0 differences"
    assert page.is_disabled("#next")


def test_differences_are_visited_by_keyboard(open_page, two_models):
    page = open_page(two_models)
    find(page)
    page.focus("#text-shown")
    said = []
    for key in "nnnp":
        page.keyboard.press(key)
        said.append(page.text_content("#difference"))
        assert page.evaluate("() => document.activeElement.matches('mark.current')")
    rome = "1 of 2: Rome (LOC) / Rome (ORG)"
    turin = "2 of 2: nothing / Turin (LOC)"
    assert said == [rome, turin, rome, turin]
    page.focus("#next")
    page.keyboard.press("Enter")
    assert page.text_content("#difference") == rome


def test_everything_is_reached_by_the_tab_key(open_page, two_models):
    page = open_page(two_models)
    find(page)
    page.focus("#text")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.id"))
    wanted = ["find", "open", "least", "previous", "next", "format", "source", "copy", "download"]
    assert [name for name in reached if name in wanted][: len(wanted)] == wanted
    assert "text-shown" in reached


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_opened(open_page, one_model, tmp_path, encoding):
    path = tmp_path / "letter.txt"
    path.write_bytes(TEXT.encode(encoding))
    page = open_page(one_model)
    page.set_input_files("#file", path)
    page.wait_for_selector("#copy:enabled")
    assert shown_text(page) == TEXT.split("\n\n")


def test_a_file_is_dropped(open_page, one_model):
    page = open_page(one_model)
    transfer = page.evaluate_handle(
        """(text) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([text], 'letter.txt'));
            return transfer;
        }""",
        TEXT,
    )
    page.dispatch_event("#text", "drop", {"dataTransfer": transfer})
    page.wait_for_selector("#copy:enabled")
    assert page.input_value("#text") == TEXT


def test_a_file_that_is_no_text_is_refused(open_page, one_model, tmp_path):
    path = tmp_path / "photo.txt"
    path.write_bytes(b"\x89PNG\xff\xfe\x00")
    page = open_page(one_model)
    page.set_input_files("#file", path)
    page.wait_for_selector("#error:has-text('Photo.txt is not a text in UTF-8.')")


def test_errors_of_the_server_are_shown(open_page):
    with serving({"model-a": KnownNames(NAMES)}, max_body=200) as url:
        page = open_page(url)
        page.expected_messages.append("413")
        page.fill("#text", "Ada. " * 100)
        page.click("#find")
        page.wait_for_selector("#error:has-text('The request is larger than 0.0002 MB')")
    page.expected_messages.append("ERR_CONNECTION_REFUSED")
    page.fill("#text", "Ada.")
    page.click("#find")
    page.wait_for_selector("#error:has-text('The server does not answer')")


def test_the_page_asks_for_the_key_and_forgets_it(open_page):
    with serving({"model-a": KnownNames(NAMES)}, api_key="a-key") as url:
        page = open_page(url)
        page.expected_messages.append("401")
        for key in ("wrong", "a-key"):
            page.wait_for_selector("#key[open]")
            page.fill("#key-value", key)
            page.keyboard.press("Enter")
        find(page)
        assert len(marks(page)) == 6
        kept = page.evaluate("() => [localStorage.length, sessionStorage.length, document.cookie]")
        assert kept == [0, 0, ""]
        page.reload()
        page.wait_for_selector("#key[open]")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_and_width(open_page, two_models, scheme):
    page = open_page(two_models, color_scheme=scheme, viewport={"width": 360, "height": 700})
    find(page)
    page.select_option("#format", "redacted")
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 12
    assert {name: value for name, value in contrasts.items() if value < 4.5} == {}


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = numbers(colour).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const background = (element) => {
    const { backgroundColor } = getComputedStyle(element);
    return numbers(backgroundColor)[3] === 0 ? background(element.parentElement) : backgroundColor;
  };
  const found = {};
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.disabled || !element.checkVisibility()) continue;
    const pair = [getComputedStyle(element).color, background(element)].map(luminance).sort();
    const name = `${element.tagName} ${element.id} ${element.className}`;
    found[name] = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  }
  return found;
}"""
