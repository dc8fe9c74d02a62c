"""The report in a real browser: no error, nothing fetched, sliders by keyboard, dark mode and a phone's width."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from evaluation.report.analysis.summary import summarise
from evaluation.report.content.contents import Pictures, Texts, Traversals
from evaluation.report.rendering.html import render_html

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,1000")
PATIENCE = 30
"""Seconds until what should happen has not; only a failure waits so long."""
BETAS = (0.1, 1.0, 10.0)
PAINTED = """
return [...document.querySelectorAll(arguments[0] + " canvas")].map((canvas) => canvas.toDataURL());
"""
CONTRASTS = """
// Of every element with text of its own: WCAG's contrast of the text with what is behind it.
const parsed = (text) => {
  const numbers = text.match(/[\\d.]+/g).map(Number);
  return { channels: numbers.slice(0, 3), opacity: numbers[3] ?? 1 };
};
const luminance = (channels) => channels
  .map((value) => value / 255)
  .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
  .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
const behind = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const { channels, opacity } = parsed(getComputedStyle(at).backgroundColor);
    if (opacity === 1) return channels;
  }
  return null;
};
const found = [];
for (const element of document.querySelectorAll("main *:not(.chart *)")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!own || !element.checkVisibility()) continue;
  const pair = [parsed(getComputedStyle(element).color).channels, behind(element)].map(luminance).sort((a, b) => b - a);
  const name = element.tagName.toLowerCase() + (element.className && `.${element.className}`);
  found.push([name, (pair[0] + 0.05) / (pair[1] + 0.05)]);
}
return found;
"""


@pytest.fixture(scope="module")
def browser():
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with its chromedriver on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options, Service(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def opened():
    """What became of opening the page, once it is: its address, errors and requests."""
    return SimpleNamespace(address=None, errors=None, requests=None)


@pytest.fixture
def page(browser, opened, build, tmp_path_factory):
    """The report in a wide window in light colours. It is opened once, so tests choose what they look at."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    prefer(browser, "light")
    if opened.address is None:
        sweep = illustrated(build)
        path = tmp_path_factory.mktemp("page") / "report.html"
        path.write_text(render_html(sweep, summarise(sweep), {"points.csv": b"a,b\n1,2\n"}), encoding="utf-8")
        browser.get(path.as_uri())
        wait(browser, lambda: painted(browser, "#reconstructions") and painted(browser, "#traversal-units"))
        opened.address, opened.errors, opened.requests = path.as_uri(), severe(browser), requests(browser)
    return browser


def illustrated(build):
    """Return a sweep of two seeds with pictures, traversals, sentences and histories."""
    trials = [trial for seed in (0, 1) for trial in build.straight_pair(seed=seed)]
    return build.sweep(
        *[
            replace(
                trial,
                pictures=pictures(trial.seed, betas_of(trial)),
                texts=texts(trial.seed, betas_of(trial)),
                history=tuple(build.epoch(number) for number in range(1, 4)),
                settings={"a setting": "its value"},
                provenance={"host": "here"},
            )
            for trial in trials
        ],
        description="Everything that a report can have on it.",
        notes=("A note.",),
    )


def betas_of(trial):
    return tuple((beta,) for beta in BETAS) if trial.method == "mr-vae" else trial.betas


def pictures(seed, betas):
    """Return pictures that differ with the seed and with β, so that a look at the pixels tells which are shown."""
    random = np.random.default_rng([seed, *(int(100 * beta) for (beta,) in betas)])

    def images(*shape):
        return random.integers(0, 256, (*shape, 3, 8, 8), dtype=np.uint8)

    count = len(betas)
    units = np.tile(np.array([5, 0]), (count, 1))
    traversals = Traversals(betas, units, units + 0.25, (-2.5, 0.0, 2.5), images(count, 2, 3))
    return Pictures(betas, images(4), images(count, 4), images(count, 4), traversals)


def texts(seed, betas):
    rows = tuple((f"one of seed {seed} at {beta:g}", f"two of seed {seed} at {beta:g}") for (beta,) in betas)
    return Texts(betas, ("a first sentence", "a second sentence"), greedy=rows, sampled=rows, samples=rows)


def wait(browser, condition):
    WebDriverWait(browser, PATIENCE, poll_frequency=0.05).until(lambda _: condition())


def prefer(browser, scheme):
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def find(page, name):
    return page.find_element(By.ID, name)


def choose(page, name, text):
    Select(find(page, name)).select_by_visible_text(text)


def choose_traversals_of(page, method):
    choose(page, "traversal-method", method)
    wait(page, lambda: labels(page)[0].startswith(method))


def unfold(page):
    page.execute_script("for (const folded of document.querySelectorAll('details')) folded.open = true;")


def labels(page):
    """Return what a screen reader says of each row of the traversals."""
    canvases = page.find_elements(By.CSS_SELECTOR, "#traversal-units canvas")
    return [canvas.get_attribute("aria-label") for canvas in canvases]


def painted(page, within):
    """Return the pixels of every picture in an element, as addresses of PNGs."""
    return page.execute_script(PAINTED, within)


def severe(page):
    """Return the errors on the console since the last look."""
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def requests(page):
    """Return the addresses that were asked for since the last look."""
    entries = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    return {entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"}


def test_the_console_has_no_error(page, opened):
    """Neither after opening the page nor after everything that can be chosen was."""
    assert opened.errors == []
    for name in ("front", "logarithmic"):
        find(page, name).click()
    for choice in page.find_elements(By.TAG_NAME, "select"):
        for index in reversed(range(len(Select(choice).options) if choice.is_displayed() else 0)):
            Select(choice).select_by_index(index)
    unfold(page)
    prefer(page, "dark")
    assert page.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    assert severe(page) == []


def test_the_logs_tell_of_errors_and_requests(page):
    """What other tests find nothing in does hold an error, one against the security policy, and a request."""
    page.execute_script("setTimeout(() => { throw new Error('seen'); }); new Image().src = 'http://127.0.0.1:9/x.png';")
    messages, asked = [], set()

    def told():
        messages.extend(severe(page))
        asked.update(requests(page))
        return all(any(word in message for message in messages) for word in ("seen", "Content Security Policy"))

    wait(page, told)
    wait(page, lambda: asked.update(requests(page)) or "http://127.0.0.1:9/x.png" in asked)


def test_nothing_is_fetched(page, opened):
    """The page asks for itself and for what is in it, also when something is moved or chosen."""
    find(page, "beta").send_keys(Keys.HOME, Keys.END)
    choose_traversals_of(page, "β-VAE, constant")
    asked = opened.requests | requests(page)
    assert opened.address in asked
    assert {url.partition(":")[0] for url in asked - {opened.address}} <= {"data", "blob"}


@pytest.mark.parametrize(
    ("slider", "output", "within", "row"),
    [
        ("beta", "beta-value", "#reconstructions", 1),
        ("beta", "beta-value", "#samples", 0),
        ("traversal-beta", "traversal-beta-value", "#traversal-units", 0),
    ],
)
def test_an_arrow_key_moves_the_pictures(page, slider, output, within, row):
    """Each step shows the MR-VAE at another β, says which, and the way back shows what was there."""
    choose_traversals_of(page, "MR-VAE")
    control = find(page, slider)
    seen = {}
    for key, beta in ((Keys.HOME, "0.1"), (Keys.ARROW_RIGHT, "1"), (Keys.ARROW_RIGHT, "10"), (Keys.ARROW_LEFT, "1")):
        control.send_keys(key)
        assert control.get_attribute("aria-valuetext") == f"β {beta}"
        assert find(page, output).text == beta
        assert seen.setdefault(beta, painted(page, within)[row]) == painted(page, within)[row]
    assert len(set(seen.values())) == 3


def test_a_beta_vae_shows_its_nearest_beta_and_says_so(page):
    """No β-VAE was trained at 1; there is one at 10."""
    find(page, "beta").send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    assert "β-VAE, constant, nearest β 0.1" in find(page, "reconstructions").text
    find(page, "beta").send_keys(Keys.END)
    assert "nearest" not in find(page, "reconstructions").text


def test_another_seed_has_other_pictures(page):
    choose(page, "seed", "0")
    seen = []
    for seed in ("1", "0"):
        before = painted(page, "#samples")
        choose(page, "seed", seed)
        wait(page, lambda before=before: painted(page, "#samples") != before)
        seen.append(painted(page, "#samples"))
    choose(page, "seed", "1")
    wait(page, lambda: painted(page, "#samples") == seen[0])


def test_traversals_are_of_the_method_and_seed_that_are_chosen(page):
    """The pixels change with either, and β stays where it was."""
    choose(page, "traversal-seed", "0")
    choose_traversals_of(page, "MR-VAE")
    find(page, "traversal-beta").send_keys(Keys.END)
    wait(page, lambda: labels(page)[0] == "MR-VAE, unit 5 from -2.5 to 2.5, at β 10")
    seen = [painted(page, "#traversal-units")]
    for name, choice in (("traversal-seed", "1"), ("traversal-method", "β-VAE, constant"), ("traversal-seed", "0")):
        choose(page, name, choice)
        wait(page, lambda: painted(page, "#traversal-units") not in seen)
        seen.append(painted(page, "#traversal-units"))
        assert find(page, "traversal-beta").get_attribute("aria-valuetext") == "β 10"
    assert labels(page)[0] == "β-VAE, constant, unit 5 from -2.5 to 2.5, at β 10"
    rows = find(page, "traversal-units").text.split("\n")
    assert rows == ["−2.5", "0", "2.5", "unit 5, variance 5.25", "unit 0, variance 0.25"]


def test_the_sentences_follow_their_slider_and_choices(page):
    control, sentences = find(page, "text-beta"), find(page, "sentences")
    find(page, "sentence").send_keys(Keys.HOME)
    find(page, "text-seed").send_keys(Keys.HOME)
    for key, beta in ((Keys.HOME, "0.1"), (Keys.ARROW_RIGHT, "1"), (Keys.ARROW_RIGHT, "10")):
        control.send_keys(key)
        assert control.get_attribute("aria-valuetext") == f"β {beta}"
        assert f"MR-VAE: most likely words\none of seed 0 at {beta}\n" in sentences.text
    find(page, "sentence").send_keys(Keys.END)
    find(page, "text-seed").send_keys(Keys.END)
    assert "a second sentence" in sentences.text
    assert "MR-VAE: most likely words\ntwo of seed 1 at 10\n" in sentences.text


def test_the_tab_key_reaches_every_control(page):
    """Sliders, choices and boxes, in the order in which they stand on the page."""
    controls = [one for one in page.find_elements(By.CSS_SELECTOR, "main input, main select") if one.is_displayed()]
    names = [one.get_attribute("id") for one in controls]
    assert {"beta", "seed", "traversal-beta", "traversal-method", "traversal-seed", "text-beta"} <= set(names)
    page.execute_script("document.querySelector('main a').focus()")
    reached = []
    for _ in range(200):
        page.switch_to.active_element.send_keys(Keys.TAB)
        focused = page.switch_to.active_element.get_attribute("id")
        reached += [focused] if focused in names else []
        if focused == names[-1]:
            break
    assert reached == names


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(page, scheme):
    """WCAG 2 asks of body text for a contrast of 4.5 (1.4.3, level AA); the background is that of the scheme."""
    prefer(page, scheme)
    background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    level = sum(int(value) for value in background.removeprefix("rgb(").removesuffix(")").split(","))
    assert (level < 3 * 64) == (scheme == "dark")
    unfold(page)
    contrasts = page.execute_script(CONTRASTS)
    assert {"p.headline", "h1", "td", "th", "dd", "a"} <= {name for name, _ in contrasts}
    assert {name: contrast for name, contrast in contrasts if contrast < 4.5} == {}


@pytest.mark.parametrize("width", [320, 390])
def test_a_phone_scrolls_down_only(page, width):
    """No part is wider than the screen, also with everything unfolded; wide tables scroll by themselves."""
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    unfold(page)
    # The charts follow the width in their own time.
    wait(page, lambda: page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"))
    assert page.execute_script("return window.innerWidth") == width
    for canvas in page.find_elements(By.CSS_SELECTOR, "canvas"):
        box = canvas.rect
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
