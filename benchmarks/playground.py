"""How smoothly the playground runs in the built book: frames a second and script time a frame, in headless Chromium.

    make book && python benchmarks/playground.py [SECONDS]

prints one line of JSON. Needs the extra [test] and a Chromium (CHROMIUM=/path/to/it).
"""

import json
import os
import shutil
import statistics
import sys

from playwright.sync_api import sync_playwright

from lottery_lib.paths import ROOT

PAGE = ROOT / "_build" / "html" / "notebooks" / "playground.html"
CLOCK = """
const ask = requestAnimationFrame.bind(globalThis);
globalThis.framesSeen = [];
globalThis.requestAnimationFrame = (callback) => ask((now) => {
  const start = performance.now();
  callback(now);
  framesSeen.push([now, performance.now() - start]);
});
"""


def measure(seconds: float = 10) -> dict[str, float]:
    """Let it play; frames a second, and the script's time in ms a frame: its median and 95th percentile."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(CLOCK)
        page.goto(PAGE.as_uri())
        page.get_by_role("status").get_by_text("Press Play").first.wait_for()  # the first view is complete
        page.get_by_role("button", name="Play").click()
        page.evaluate("framesSeen.length = 0")
        page.wait_for_timeout(1000 * seconds)
        frames = page.evaluate("framesSeen")
        browser.close()
    script = sorted(spent for _, spent in frames)
    return {
        "frames": len(frames),
        "frames a second": round(1000 * (len(frames) - 1) / (frames[-1][0] - frames[0][0]), 1),
        "script ms, median": round(statistics.median(script), 2),
        "script ms, 95 %": round(script[int(0.95 * len(script))], 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(*map(float, sys.argv[1:])), ensure_ascii=False))
