"""A real browser on a real JupyterLab: the harness for widgets and notebooks.

`lab` is a running server; `lab.open(page, notebook)` shows a notebook and runs its cells. `page` is a fresh browser
page, or with `lab` the one that all such tests share; `page_errors` is the list of what it complained about so far.

Nothing here or in the tests waits for a time: each wait is for a state, and the limits are far beyond need.
"""

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from widget_page import LIMIT, new_page

from pruning_lib.teaching.stills import chromium

LAB_CONFIG = {
    "ServerApp": {"ip": "127.0.0.1", "port": 0, "open_browser": False},
    "LabApp": {"expose_app_in_browser": True},
}
NO_NEWS = {"fetchNews": "false", "checkForUpdates": False}  # else a question covers part of the page
# What anywidget says, or throws, of a widget that took more than two seconds to load; it comes all the same, and is
# tested then.
BUSY = "[anywidget] Failed to initialize model."
POLLING = 200  # ms; each frame, as by default, costs more than the page itself
RUN_ALL = "window.jupyterapp.commands.execute('notebook:run-all-cells')"
# Where JupyterLab is there already: the notebook that is open goes, unsaved, and another takes its place.
TAKE_PLACE = """async (path) => {
  const { commands, shell } = window.jupyterapp;
  window.ranCells = shell.currentWidget.context.model.dirty = false;
  await commands.execute("application:close");
  await (await commands.execute("docmanager:open", { path })).context.ready;
}"""


@dataclass
class Lab:
    """A JupyterLab server: its folder for notebooks, how to reach it, and the page that shows it."""

    folder: Path
    url: str
    token: str
    page: Any

    def open(self, page, notebook: str) -> None:
        """Open a notebook of `folder` in `page`, run its cells and wait until the kernel has done them.

        The notebook must name its kernel in its metadata, else JupyterLab asks for one and waits.
        """
        if page.url.startswith(self.url):
            page.evaluate(TAKE_PLACE, notebook)
        else:
            page.goto(f"{self.url}lab/tree/{notebook}?reset&token={self.token}")
        kernel = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
        page.wait_for_function(f"{kernel}?.status === 'idle'", polling=POLLING)
        page.evaluate(f"{RUN_ALL}.then(() => (window.ranCells = true)) && null")
        page.wait_for_function(f"window.ranCells && {kernel}.status === 'idle'", polling=POLLING)

    def start_kernel(self, folder: str) -> str:
        """The id of a kernel that works in `folder`, for `attach`."""
        return json.load(self._ask("POST", "api/kernels", {"path": folder}))["id"]

    def attach(self, notebook: str, kernel: str) -> None:
        """Have a notebook use this kernel when it is opened, in place of one of its own."""
        session = {"path": notebook, "name": notebook, "type": "notebook", "kernel": {"id": kernel}}
        self._ask("POST", "api/sessions", session).close()

    def shut_down_kernels(self) -> None:
        """End all kernels, as a lecturer's laptop may do it in the middle of a demonstration."""
        for kernel in json.load(self._ask("GET", "api/kernels")):
            self._ask("DELETE", f"api/kernels/{kernel['id']}").close()

    def _ask(self, method: str, path: str, body: dict | None = None):
        headers, data = {"Authorization": f"token {self.token}"}, json.dumps(body).encode() if body else None
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        return urllib.request.urlopen(request, timeout=LIMIT / 1000)


def pytest_addoption(parser) -> None:
    """Known where this folder or a file in it is named on the command line."""
    parser.addoption("--record-widgets", action="store_true", help="write figures/measured/widgets.json")


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """Chromium without a window; the tests are skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    sync_api.expect.set_options(timeout=LIMIT)
    with ExitStack() as stack:
        try:
            browser = stack.enter_context(chromium())
        except FileNotFoundError as error:
            pytest.skip(str(error))
        yield browser


@pytest.fixture
def page(browser, request) -> Iterator:
    """A fresh page, 1200 × 900; with `lab` the one it has: JupyterLab takes longer to load than most tests."""
    if "lab" in request.fixturenames:
        shared = request.getfixturevalue("lab").page
        shared.set_viewport_size({"width": 1200, "height": 900})
        yield shared
        return
    with new_page(browser) as page:
        yield page


@pytest.fixture
def page_errors(page) -> list[str]:
    """Uncaught exceptions and console errors of `page`, in the order they came."""
    errors = []

    def hear(text: str) -> None:
        if text != BUSY:
            errors.append(text)

    page.on("pageerror", lambda error: hear(str(error)))
    page.on("console", lambda message: hear(message.text) if message.type == "error" else None)
    return errors


@pytest.fixture(scope="session")
def lab(browser, tmp_path_factory) -> Iterator[Lab]:
    """JupyterLab on a free port of the loopback, with a configuration, a token and a folder of its own."""
    home = tmp_path_factory.mktemp("lab")
    places = {name: home / name for name in ("notebooks", "config", "data", "runtime", "ipython")}
    for place in places.values():
        place.mkdir()
    (places["config"] / "jupyter_lab_config.json").write_text(json.dumps(LAB_CONFIG))
    settings = places["config"] / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(NO_NEWS))
    token = secrets.token_hex(16)
    environment = os.environ | {
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(places["config"]),
        "JUPYTER_DATA_DIR": str(places["data"]),
        "JUPYTER_RUNTIME_DIR": str(places["runtime"]),
        "IPYTHONDIR": str(places["ipython"]),
    }
    log = home / "lab.log"
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={places['notebooks']}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT, cwd=home)
    try:
        url = wait_until_up(server, places["runtime"], log)
        with new_page(browser) as page:
            yield Lab(places["notebooks"], url, token, page)
    finally:
        server.terminate()  # takes its kernels along
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_up(server: subprocess.Popen, runtime: Path, log: Path, timeout: float = LIMIT / 1000) -> str:
    """The server's address, which it writes into its runtime folder once it listens."""
    stop = time.monotonic() + timeout
    while time.monotonic() < stop and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                return json.loads(file.read_text(encoding="utf-8"))["url"]
            except json.JSONDecodeError:  # half written: look again
                pass
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not come up; its log ends:\n{log.read_text(encoding='utf-8')[-2000:]}")
