"""Two GPTs that write, on a page without a kernel: the stream, keyboard, what is typed, pictures, both themes."""

from packed_models import packed
from widget_page import LIMIT, PIXELS, TWO_FRAMES, all_drawn_anew, check_page, show

from pruning_lib.teaching.widgets.gpt_writer import GPTWriter
from pruning_lib.workbench.packed_gpt import PackedGPT

PROMPT = "Go on: "
TEXTS = "[...document.querySelectorAll('.text')].map((place) => place.textContent)"
WRITTEN = "Number(document.querySelector('input.written').value)"


def wait_until_written(page) -> None:
    page.wait_for_selector(".gpt-writer[aria-busy=false]")


def bare(page) -> list[str]:
    """Both texts without what their next byte may change: a space that two dots replace, a character half written."""
    return [text.replace("·", " ").rstrip("�") for text in page.evaluate(TEXTS)]


def test_a_control_moves_text_and_bars(page, page_errors):
    from playwright.sync_api import expect

    show(page, GPTWriter(packed(), prompt=PROMPT, written=20))
    wait_until_written(page)
    expect(page.locator(".pruned b")).to_have_text("a, 50 %: perplexity 6.00")
    expect(page.locator("[role=status]")).to_contain_text("the dense one writes “")
    for control, key in ((".temperature", "ArrowRight"), (".seed", "ArrowUp"), ("input.written", "ArrowLeft")):
        before, texts = page.evaluate(PIXELS), page.evaluate(TEXTS)
        page.locator(control).press(key)
        wait_until_written(page)
        assert all_drawn_anew(page, before), control
        assert all(one.startswith(PROMPT) for one in page.evaluate(TEXTS))
        assert page.evaluate(TEXTS) != texts
    dense, pruned = page.evaluate(TEXTS)
    page.locator(".method").select_option("b")
    wait_until_written(page)
    assert page.evaluate(TEXTS)[0] == dense and page.evaluate(TEXTS)[1] != pruned
    page.locator(".method").select_option("a")
    assert page.evaluate(TEXTS) == [dense, pruned]  # kept, so there at once
    page.locator(".temperature").press("Home")
    expect(page.locator(".temperature + output")).to_have_text("0, likeliest")
    wait_until_written(page)
    likeliest = page.evaluate(TEXTS)
    page.locator(".seed").press("ArrowUp")
    wait_until_written(page)
    assert page.evaluate(TEXTS) == likeliest
    page.locator(".start").press("Enter")
    expect(page.locator("[role=status]")).to_contain_text("Nothing is written yet")
    check_page(page, page_errors)


def test_what_is_typed(page, page_errors):
    from playwright.sync_api import expect

    show(page, GPTWriter(packed(), prompt=PROMPT, written=5))
    wait_until_written(page)
    status, prompt = page.locator("[role=status]"), page.locator(".prompt")
    before = page.evaluate(TEXTS)
    prompt.fill("")
    expect(status).to_have_text(
        "The prompt is empty, must have at least one byte. Below is still what “Go on: ” led to."
    )
    assert page.evaluate(TEXTS) == before
    prompt.fill("Größe 😀")
    wait_until_written(page)
    expect(status).to_contain_text("Nothing is written yet")
    assert page.evaluate(TEXTS) == ["Größe 😀"] * 2
    page.locator(".next").press("Enter")
    wait_until_written(page)
    expect(status).to_contain_text("The two texts ")
    prompt.fill("x" * 100)
    wait_until_written(page)
    expect(status).to_contain_text("Of the prompt's 100 bytes the last 16 are read: the model sees 80 at a time.")
    page.locator("input.written").press("End")
    wait_until_written(page)
    expect(status).to_contain_text("The model's 80 bytes are full: it can't write on.")
    prompt.press("ArrowUp")
    wait_until_written(page)
    assert prompt.input_value() == "A class is " and page.evaluate(TEXTS)[0].startswith("A class is ")
    prompt.press("ArrowDown")
    expect(prompt).to_have_value("The import statement ")
    wait_until_written(page)
    texts = page.evaluate(TEXTS)
    for typed in ("", "-1", "10000", "1.5"):
        page.locator(".seed").fill(typed)
        expect(status).to_have_text(
            f"The seed is “{typed}”, must be a whole number from 0 to 9999. Below is still seed 2."
        )
    assert page.evaluate(TEXTS) == texts
    page.locator(".seed").blur()
    expect(page.locator(".seed")).to_have_value("2")
    expect(status).to_contain_text("The two texts ")
    assert page_errors == []


def test_a_variant_that_cannot_be_unpacked_says_so_and_leaves_the_others_alone(page, page_errors):
    from playwright.sync_api import expect

    model = packed()
    writer = GPTWriter(model, prompt=PROMPT, written=5)
    part, content = model.index["parts"]["b, 50 %"], bytearray(model.content)
    content[part["at"] : part["at"] + part["length"]] = bytes(part["length"])  # no zlib stream begins with zeros
    writer.set_trait("content", bytes(content))
    show(page, writer)
    wait_until_written(page)
    status, texts = page.locator("[role=status]"), page.evaluate(TEXTS)
    page.locator(".method").select_option("b")
    expect(status).to_contain_text("The weights could not be unpacked: ")
    page.locator(".method").select_option("a")
    expect(status).to_contain_text("The two texts ")
    assert page.evaluate(TEXTS) == texts and page_errors == []


def test_a_film_that_was_held_up_writes_what_is_due(page, page_errors):
    page.clock.install(time=0)
    show(page, GPTWriter(packed(), prompt=PROMPT, written=0))
    wait_until_written(page)
    page.clock.pause_at(3600)  # from here on no time passes by itself
    page.locator(".play").press("Enter")
    for due in (16, 32, 48):
        page.clock.fast_forward(400)  # each timer fires once at most, as on a page that draws nothing for so long
        assert page.evaluate(WRITTEN) == due
    page.locator(".play").press("Enter")
    assert page_errors == []


def test_off_the_page_nothing_is_computed(page, page_errors):
    show(page, GPTWriter(packed(), prompt=PROMPT, written=5))
    wait_until_written(page)
    texts = page.evaluate(TEXTS)
    page.evaluate("window.end()")
    page.locator("input.written").press("End")
    page.evaluate(TWO_FRAMES)
    assert page.evaluate(TEXTS) == texts and page_errors == []


def test_the_shipped_models_stream_stop_and_go_on(page, page_errors):
    from playwright.sync_api import expect

    show(page, GPTWriter(PackedGPT.load(), method="sparsegpt", written=0), width=1000)
    wait_until_written(page)
    play = page.locator(".play")
    play.press("Enter")
    expect(play).to_have_text("pause")
    page.wait_for_function(f"{WRITTEN} >= 8")
    play.press("Enter")
    expect(play).to_have_text("play")
    stopped = page.evaluate(WRITTEN)
    wait_until_written(page)
    texts = bare(page)
    expect(page.locator("[role=status]")).to_contain_text("The two texts ")
    play.press("Enter")
    page.wait_for_function(f"{WRITTEN} >= {stopped + 5}", timeout=LIMIT)
    play.press("Enter")
    wait_until_written(page)
    assert all(new.startswith(old) for old, new in zip(texts, bare(page), strict=True))
    assert page_errors == []
