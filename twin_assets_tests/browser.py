"""Find a browser for the browser tests; `python -m twin_assets_tests.browser` tries to provide one.

A Chromium or Chrome that is there, else Playwright's own, else Debian's package where it may be installed.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Path of a Chromium or Chrome, or None."""
    for name in NAMES:
        if path := shutil.which(name):
            return path
    return _playwrights()


def _playwrights() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def provide() -> str | None:
    """Find a browser, installing one when none is there."""
    if found := find():
        return found
    print("no Chromium or Chrome here: trying to install one for the browser tests …", file=sys.stderr)
    tries = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        tries += [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]]
    for command in tries:
        try:
            subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if found := find():
            return found
    return None


if __name__ == "__main__":
    if provide() is None:
        print("no browser: the browser tests will be skipped (under CI=true they fail)", file=sys.stderr)
