"""Where a sweep is: a line that renews itself on a terminal, else a line whenever a run starts or ends."""

import shutil
import sys
import threading
import time


class Progress:
    """Counts runs and tells, at first and at each change, which are at what cell; of `total`, `done` were complete."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.failed = total, done, 0
        self.running: dict[str, str] = {}  # run -> the cell it is at
        self.over: set[str] = set()
        self.start, self.live = time.monotonic(), sys.stderr.isatty()
        self.lock = threading.Lock()  # dask's thread tells, the main thread counts
        self._show()

    def told(self, run: str, line: str) -> None:
        """Take note of a line from a worker, which may come when the run is over."""
        with self.lock:
            if run not in self.over:
                new = run not in self.running
                self.running[run] = line.split(": ", 1)[-1].split("  ")[0] if ": cell " in line else ""
                if new or self.live:
                    self._show()

    def again(self, run: str, failure: str) -> None:
        """Tell that `run` failed and gets its second try."""
        with self.lock:
            self.running.pop(run, None)
            self._show(f"{run}: {failure}; once more\n")

    def ended(self, run: str, failure: str) -> None:
        """Count a run that is through."""
        with self.lock:
            self.over.add(run)
            self.running.pop(run, None)
            self.done, self.failed = self.done + (not failure), self.failed + bool(failure)
            self._show(f"{run}: {failure or 'done'}\n")

    def close(self) -> None:
        """End the line that renews itself."""
        if self.live:
            sys.stderr.write("\n")

    def _show(self, line: str = "") -> None:
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        left = self.total - self.done - self.failed
        now = ", ".join(f"{run} ({where})" if where and self.live else run for run, where in self.running.items())
        status = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}  {self.done} done, {self.failed} failed, {left} left"
        status += f"; now: {now or 'none'}"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\033[K{line}{status[:width]}" if self.live else f"{line}{status}\n")
        sys.stderr.flush()
