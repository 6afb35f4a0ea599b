"""The page for people in a real browser: headless Chromium, driven by Playwright."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import signal
import time
from urllib.parse import urlsplit

import pytest
from service_support import running_server, save_tiny_artifact

pytestmark = pytest.mark.system

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
TOKEN = "b" * 32
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
PANELS = ("q=honda", "batch", "labels", "model", "live")
QUALITY = {"precision": 0.92, "coverage": 0.66, "labels": 1.2, "coverage_at_90": 0.67}
POINTS = [[0.1, 1.0], [0.5, 0.95], [0.9, 0.7]]
TRAINING = {
    "quality": {
        "queries": 999,
        "calibration_error": 0.02,
        **{
            view: {"queries": QUALITY, "traffic": QUALITY | {"precision": 0.5}}
            for view in ("all labels", "topics", "subtopics")
        },
    },
    "curves": {
        view: {"queries": POINTS, "traffic": POINTS[:2]}
        for view in ("all labels", "topics", "subtopics")
    },
    "per_label": {"V": [39, 24, 24], "V1": [5, 0, 0]},
    "expected": {"coverage": 0.66, "unknown_tokens": 0.05, "labels": {"V": 0.033, "V1": 0.003}},
}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.fail("there is no chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "tiny"
    save_tiny_artifact(path, training=TRAINING)
    return path


@pytest.fixture(scope="module")
def server(artifact, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with running_server(artifact, folder, "--log-sample", "1", "--max-query-bytes", "200") as found:
        yield found


@pytest.fixture
def visit(browser, server):
    """Opens the page; at the end nothing was fetched from elsewhere and no script has failed."""
    contexts, failures, addresses = [], [], []

    def told(message):
        # The browser itself tells of every answer that is an error.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            failures.append(message.text)

    def opened(fragment="", on=server, width=1000, height=800, scheme="light", **options):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", told)
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("request", lambda request: addresses.append(request.url))
        page.goto(f"http://127.0.0.1:{on.port}/#{fragment}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert failures == []
    hosts = {urlsplit(address).hostname for address in addresses if address.startswith("http")}
    assert hosts == {"127.0.0.1"}
    assert all("honda" not in address.partition("#")[0] for address in addresses)


def names(page):
    return page.locator("#query-results .label-name").all_inner_texts()


# --- a query --------------------------------------------------------------------------------------


def test_topics_as_one_types(visit):
    page = visit()
    expect(page.locator("#query-text")).to_be_focused()
    page.keyboard.type("honda soup zzz", delay=20)
    expect(page.locator("#query-results .label")).to_have_count(3)
    expect(page.locator("#query-status")).to_contain_text("2 topics, 1 subtopic.")
    assert [re.sub(r"\s+", " ", name).strip() for name in names(page)] == [
        "Vehicles V",
        "Cars V1",
        "Food F",
    ]
    first = page.locator("#query-results .label").nth(1)
    expect(first.locator(".word")).to_have_text(["honda +8.0"])
    expect(first.locator(".track")).to_have_attribute("aria-label", re.compile("threshold 50"))
    expect(page.locator("#query-unknown")).to_have_text("Not known to the model: zzz")
    assert page.url.endswith("#q=honda%20soup%20zzz")
    assert page.title() == "honda soup zzz – topiccore"


def test_a_shared_link(visit):
    page = visit("q=cr%C3%A8me%20custard")
    expect(page.locator("#query-text")).to_have_value("crème custard")
    expect(page.locator("#query-results")).to_contain_text("Crème brûlée")
    page.evaluate("location.hash = 'q=%E0%A4%A'")
    expect(page.locator("#query-text")).to_have_value("%E0%A4%A")


def test_an_explanation(visit):
    page = visit("q=honda")
    head = page.locator("button.head").first
    expect(head).to_have_attribute("aria-expanded", "false")
    head.focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-expanded", "true")
    why = page.locator(f"#{head.get_attribute('aria-controls')}")
    expect(why).to_contain_text("bias")
    expect(why).to_contain_text("brings it along")
    expect(page.locator(".why").nth(1)).to_be_hidden()


def test_options(visit):
    page = visit("q=honda")
    expect(page.locator(".label")).to_have_count(2)
    page.check("#query-topics-only")
    expect(page.locator(".label")).to_have_count(1)
    page.uncheck("#query-topics-only")
    page.fill("#query-text", "truck")
    page.check("#query-below")
    expect(page.locator(".label.below")).not_to_have_count(0)
    expect(page.locator(".tag").first).to_have_text("below threshold")


def test_a_query_of_nothing_known(visit):
    page = visit("q=zzz")
    expect(page.locator("#query-status")).to_contain_text("No label reaches its threshold")
    expect(page.locator(".label.below")).to_have_count(3)
    page.fill("#query-text", "")
    expect(page.locator(".label")).to_have_count(0)
    expect(page.locator("#query-examples")).to_be_visible()


def test_late_answers_are_dropped(visit):
    page = visit()
    late = []

    def answer(route):
        if json.loads(route.request.post_data)["query"] == "soup":
            late.append(route)
        else:
            route.continue_()

    page.route("**/v1/topics", answer)
    page.fill("#query-text", "soup")
    page.wait_for_timeout(400)
    page.fill("#query-text", "truck")
    expect(page.locator("#query-results")).to_contain_text("Vehicles")
    assert len(late) == 1
    late[0].continue_()
    page.wait_for_timeout(400)
    expect(page.locator("#query-results")).not_to_contain_text("Food")


def test_few_requests_while_one_types(visit):
    page = visit()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.keyboard.type("honda civic truck", delay=5)
    expect(page.locator(".label").first).to_be_visible()
    assert sum(address.endswith("/v1/topics") for address in asked) < 6


def test_a_query_that_is_too_long(visit):
    page = visit()
    page.fill("#query-text", "a" * 300)
    expect(page.locator("#query-message")).to_contain_text("200 bytes")
    page.fill("#query-text", "soup")
    expect(page.locator("#query-message")).to_be_hidden()


# --- hostile text ---------------------------------------------------------------------------------


def test_hostile_text_stays_text(visit, tmp_path):
    page = visit()

    def poisoned(route):
        response = route.fetch()
        text = response.text().replace("Vehicles", HOSTILE.replace('"', '\\"'))
        route.fulfill(response=response, body=text)

    page.route("**/v1/*", poisoned)
    page.fill("#query-text", f"honda {HOSTILE}")
    expect(page.locator("#query-results")).to_contain_text("<img src=x")
    assert HOSTILE in page.title()
    page.evaluate("location.hash = 'labels=V'")
    expect(page.locator("#labels-tree")).to_contain_text("<script>")
    page.evaluate("location.hash = 'batch'")
    file = tmp_path / "<b>x.csv"
    file.write_text(f'{HOSTILE.replace(chr(34), "")},b\nhonda,1\n')
    page.set_input_files("#batch-file", str(file))
    page.check("#batch-header")
    expect(page.locator("#batch-column")).to_contain_text("<img")
    page.uncheck("#batch-header")
    page.click("#batch-run")
    expect(page.locator("#batch-rows")).to_contain_text("<script>")
    assert page.locator("img").count() == 1
    assert page.evaluate("window.hit") is None
    assert page.evaluate("document.querySelectorAll('main script, main b b').length") == 0


def test_scripts_may_not_make_markup(browser, server):
    # Not by ``visit``: that Chromium tells of its refusal is what is asked for.
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.port}/")
    for script in ("document.body.innerHTML = '<p>'", "new Function('1')"):
        assert page.evaluate(
            f"() => {{ try {{ {script}; return 'made' }} catch (error) {{ return error.name }} }}"
        ) in ("TypeError", "EvalError")
    page.close()


# --- many queries ---------------------------------------------------------------------------------


def download(page, button):
    with page.expect_download() as found:
        page.click(button)
    return found.value.suggested_filename, open(found.value.path(), "rb").read()


def test_pasted_queries(visit):
    page = visit("batch")
    page.fill("#batch-text", 'honda\n\n  \nsoup, "hot"\nzzz\n=1+1\n')
    expect(page.locator("#batch-count")).to_have_text("4 queries")
    page.focus("#batch-run")
    page.keyboard.press("Enter")
    expect(page.locator("#batch-status")).to_contain_text("4 of 4 queries answered")
    expect(page.locator("#batch-tiles")).to_contain_text("50.0")
    expect(page.locator("#batch-topics")).to_contain_text("Vehicles")
    name, content = download(page, "#batch-csv")
    assert name == "topics.csv"
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8"))))
    assert [row["query"] for row in rows] == ["honda", 'soup, "hot"', "zzz", "=1+1"]
    assert [row["codes"] for row in rows] == ["V|V1", "F", "", ""]
    assert rows[0]["names"] == "Vehicles|Cars"
    assert rows[0]["scores"] == "0.9820|0.9820"
    page.check("#batch-spreadsheet")
    _, content = download(page, "#batch-csv")
    assert content.startswith(b"\xef\xbb\xbfquery,")
    assert b"\r\n'=1+1," in content
    name, content = download(page, "#batch-jsonl")
    assert name == "topics.jsonl"
    lines = [json.loads(line) for line in content.decode().splitlines()]
    assert [line["query"] for line in lines] == ["honda", 'soup, "hot"', "zzz", "=1+1"]
    assert [x["code"] for x in lines[0]["topics"]] == ["V", "V1"]
    assert set(lines[0]) == {"query", "topics", "truncated", "model"}


def test_a_csv_file(visit, tmp_path):
    page = visit("batch")
    file = tmp_path / "queries.csv"
    file.write_bytes('\ufeffid;Query\r\n1;"honda; ""civic""\nred"\r\n2;soup\r\n'.encode())
    page.set_input_files("#batch-file", str(file))
    expect(page.locator("#batch-count")).to_have_text("2 queries")
    assert page.locator("#batch-column").input_value() == "1"
    page.click("#batch-run")
    expect(page.locator("#batch-status")).to_contain_text("2 of 2")
    _, content = download(page, "#batch-csv")
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[1][:2] == ['honda; "civic"\nred', "V|V1"]
    page.click("#batch-forget")
    expect(page.locator("#batch-text")).to_be_enabled()


def test_files_that_are_no_text(visit, tmp_path):
    page = visit("batch")
    for content, text in ((b"\xff\xfe\x00", "UTF-8"), (b"", "empty")):
        (tmp_path / "x.txt").write_bytes(content)
        page.set_input_files("#batch-file", str(tmp_path / "x.txt"))
        expect(page.locator("#batch-message")).to_contain_text(text)


def test_many_chunks_and_a_query_that_is_refused(visit):
    page = visit("batch")
    sizes = []
    page.on(
        "request",
        lambda request: (
            sizes.append(len(json.loads(request.post_data)["queries"]))
            if request.url.endswith(":batch")
            else None
        ),
    )
    queries = ["honda"] * 1200
    queries[700] = "x" * 500
    page.fill("#batch-text", "\n".join(queries))
    page.click("#batch-run")
    expect(page.locator("#batch-status")).to_contain_text("1,200 of 1,200")
    expect(page.locator("#batch-tiles")).to_contain_text("1 refused")
    _, content = download(page, "#batch-jsonl")
    lines = [json.loads(line) for line in content.decode().splitlines()]
    assert [line["query"] for line in lines] == queries
    assert [place for place, line in enumerate(lines) if "error" in line] == [700]
    assert "200 bytes" in lines[700]["error"]
    assert max(sizes) <= 500
    assert len(sizes) < 30


def test_a_server_of_smaller_batches(visit, artifact, tmp_path):
    with running_server(artifact, tmp_path, "--max-batch-queries", "7", workers=1) as small:
        page = visit("batch", on=small)
        page.fill("#batch-text", "\n".join(["honda", "soup"] * 20))
        page.click("#batch-run")
        expect(page.locator("#batch-status")).to_contain_text("40 of 40")


def test_cancelling(visit):
    page = visit("batch")
    held = []
    page.route(
        "**/v1/topics:batch",
        lambda route: route.continue_() if not held.append(1) and len(held) == 1 else None,
    )
    page.fill("#batch-text", "\n".join(["honda"] * 1200))
    page.click("#batch-run")
    expect(page.locator("#batch-status")).to_contain_text("500 of 1,200 answered")
    assert 0.3 < page.locator("#batch-bar").evaluate("bar => bar.value") < 0.5
    page.keyboard.press("Enter")  # the button to cancel has the focus
    expect(page.locator("#batch-status")).to_contain_text("Cancelled. 500 of 1,200")
    expect(page.locator("#batch-run")).to_be_enabled()
    _, content = download(page, "#batch-jsonl")
    assert content.count(b"\n") == 500


# --- labels, model, live --------------------------------------------------------------------------


def test_labels(visit):
    page = visit("labels")
    expect(page.locator("#labels-status")).to_contain_text("2 topics, 2 subtopics")
    page.fill("#labels-search", "creme BRULEE")
    expect(page.locator("#labels-tree li:visible")).to_have_count(2)
    expect(page.locator("#labels-status")).to_have_text("1 label found")
    page.keyboard.press("Escape")
    page.locator("button[data-label=V]").click()
    expect(page.locator("li[data-code=V] > div > .detail")).to_contain_text("24 of 24 emitted")
    expect(page.locator("li[data-code=V] > div > .detail")).to_contain_text("score 0.50")
    expect(page.locator("li[data-code=V] > div > .detail")).to_contain_text("3.3")
    page.evaluate("location.hash = 'labels=F1'")
    expect(page.locator("button[data-label=F1]")).to_be_focused()
    expect(page.locator("button[data-label=F1]")).to_have_attribute("aria-expanded", "true")


def test_the_model(visit):
    page = visit("model")
    expect(page.locator("#model-chart polyline")).to_have_count(3)
    expect(page.locator("#model-chart circle.dot")).to_have_count(3)
    expect(page.locator("#model-chart svg")).to_have_attribute("aria-label", re.compile("92.0"))
    expect(page.locator("#model-tiles")).to_contain_text("92.0")
    page.check("#model-traffic")
    expect(page.locator("#model-tiles")).to_contain_text("50.0")
    page.click("text=The points as a table")
    expect(page.locator("#model-points tbody tr")).to_have_count(6)
    box = page.locator("#model-chart svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    expect(page.locator("#model-chart .told")).to_contain_text("95.0")


def test_a_model_without_figures(visit, tmp_path):
    save_tiny_artifact(tmp_path / "bare")
    with running_server(tmp_path / "bare", tmp_path, workers=1) as bare:
        page = visit("model", on=bare)
        expect(page.locator("#model-no-curve")).to_be_visible()
        page.evaluate("location.hash = 'labels=V'")
        expect(page.locator(".detail:visible").first).to_contain_text("score 0.50")


def test_live(visit, server):
    page = visit("live")
    expect(page.locator("#live-tiles")).to_contain_text("Requests a second")
    for _ in range(50):
        server.ask("/v1/topics?q=soup")
    expect(page.locator("#live-throughput polyline")).to_have_count(1)
    expect(page.locator("#live-tiles")).to_contain_text("in training 66.0")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("location.hash = 'model'")
    expect(page.locator("#model-content")).to_be_visible()
    page.wait_for_timeout(2500)
    assert not [address for address in asked if address.endswith("stats")]


# --- when things go wrong -------------------------------------------------------------------------


def test_an_overloaded_service(visit):
    page = visit()
    times = []

    def answer(route):
        times.append(time.monotonic())
        if len(times) <= 2:  # with and without an explanation
            route.fulfill(status=503, headers={"Retry-After": "2"}, json={"detail": "x"})
        else:
            route.continue_()

    page.route("**/v1/topics", answer)
    page.fill("#query-text", "truck")
    expect(page.locator("#query-message")).to_have_text(
        "The service is busy. Trying again in 2 s."
    )
    expect(page.locator("#query-results")).to_contain_text("Vehicles")
    expect(page.locator("#query-message")).to_be_hidden()
    assert times[2] - times[1] >= 1.9


def test_a_batch_waits_for_an_overloaded_service(visit):
    page = visit("batch")
    refused = []

    def answer(route):
        if refused:
            route.continue_()
        else:
            refused.append(1)
            route.fulfill(status=503, headers={"Retry-After": "1"}, json={})

    page.route("**/v1/topics:batch", answer)
    page.fill("#batch-text", "honda")
    page.click("#batch-run")
    expect(page.locator("#batch-status")).to_contain_text("Trying again in 1 s")
    expect(page.locator("#batch-status")).to_contain_text("1 of 1")


def test_a_service_that_is_down(visit, artifact, tmp_path):
    with running_server(artifact, tmp_path, workers=1) as short:
        page = visit("q=truck", on=short)
        expect(page.locator("#query-results")).to_contain_text("Vehicles")
        short.stop(signal.SIGTERM)
        page.fill("#query-text", "soup")
        expect(page.locator("#query-message")).to_contain_text("cannot be reached")
        page.evaluate("location.hash = 'live'")
        expect(page.locator("#live-message")).to_contain_text("cannot be reached")


def test_a_token_is_asked_for(visit, artifact, tmp_path):
    (tmp_path / "tokens").write_text(TOKEN)
    options = ("--tokens", str(tmp_path / "tokens"))
    with running_server(artifact, tmp_path, *options, workers=1) as closed:
        page = visit(on=closed)
        page.wait_for_timeout(200)
        expect(page.locator("dialog")).to_be_hidden()
        page.keyboard.type("truck")
        expect(page.locator("#token-text")).to_be_focused()
        page.keyboard.type("c" * 32)
        page.keyboard.press("Enter")
        expect(page.locator("#token-why")).to_contain_text("not valid")
        page.keyboard.type(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("dialog")).to_be_hidden()
        expect(page.locator("#query-results")).to_contain_text("Vehicles")
        page.reload()
        expect(page.locator("#query-results")).to_contain_text("Vehicles")
        assert page.evaluate("Object.values(sessionStorage)") == [TOKEN]
        assert page.evaluate("localStorage.length") == 0
        page.click("#forget-token")
        page.fill("#query-text", "soup")
        expect(page.locator("#token-text")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#query-message")).to_contain_text("Without a token")
        assert TOKEN not in closed.log


# --- for everyone ---------------------------------------------------------------------------------


def test_the_keyboard_alone(visit):
    page = visit("model")
    expect(page.locator("#model-content")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("/")
    expect(page.locator("#query-text")).to_be_focused()
    page.keyboard.type("honda")
    expect(page.locator(".label")).to_have_count(2)
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.locator("button.head").first).to_be_focused()
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    expect(page.locator(".why").first).to_be_visible()
    for panel in ("batch", "labels", "model", "live"):
        page.focus(f"nav a[data-panel={panel}]")
        page.keyboard.press("Enter")
        expect(page.locator(f"#{panel} h1")).to_be_visible()
        expect(page.locator("nav a[aria-current]")).to_have_attribute("data-panel", panel)
    page.go_back()
    expect(page.locator("#model h1")).to_be_visible()


@pytest.mark.parametrize("panel", PANELS)
def test_a_phone(visit, panel):
    page = visit(panel, width=390, height=844, has_touch=True, is_mobile=True)
    page.wait_for_timeout(500)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    expect(page.locator("main > section:visible h1")).to_have_count(1)


def test_light_and_dark(visit):
    colours = {
        scheme: visit("q=honda", scheme=scheme).evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        for scheme in ("light", "dark")
    }

    def brightness(colour):
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert brightness(colours["light"][0]) > 700 > 100 > brightness(colours["light"][1]) - 50
    assert brightness(colours["dark"][0]) < 100
    assert brightness(colours["dark"][1]) > 650


def test_no_query_is_in_the_log(visit, server):
    page = visit("q=honda+truck")
    expect(page.locator("#query-results")).to_contain_text("Vehicles")
    page.evaluate("location.hash = 'batch'")
    page.fill("#batch-text", "custard")
    page.click("#batch-run")
    expect(page.locator("#batch-status")).to_contain_text("1 of 1")
    deadline = time.monotonic() + 20
    while '"/v1/topics:batch"' not in server.log and time.monotonic() < deadline:
        time.sleep(0.1)
    assert '"/v1/topics:batch"' in server.log
    assert "custard" not in server.log
    assert "truck" not in server.log
