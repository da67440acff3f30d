"""Where a sweep is: a line that renews itself on a terminal, else a line whenever a run starts or ends."""

import shutil
import sys
import threading
import time


class Progress:
    """Counts runs and tells which are at what cell.

    Parameters
    ----------
    total
        All runs.
    done
        How many were complete before.
    """

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done, self.failed = total, done, 0
        self.running: dict[str, str] = {}
        self.over: set[str] = set()
        self.start, self.live = time.monotonic(), sys.stderr.isatty()
        self.lock = threading.Lock()  # dask's thread tells, the main thread counts

    def status(self) -> str:
        """Return the line."""
        minutes, seconds = divmod(int(time.monotonic() - self.start), 60)
        left = self.total - self.done - self.failed
        now = ", ".join(f"{run} ({where})" if where and self.live else run for run, where in self.running.items())
        counts = f"{self.done} done, {self.failed} failed, {left} left"
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}  {counts}; now: {now or 'none'}"

    def told(self, run: str, line: str) -> None:
        """Take note of a line from a worker."""
        with self.lock:
            if run in self.over:
                return
            new = run not in self.running
            self.running[run] = line.split(": ", 1)[-1].split("  ")[0] if ": cell " in line else ""
            self.show() if new or self.live else None

    def again(self, run: str, failure: str) -> None:
        """Tell that `run` failed and gets its second try."""
        with self.lock:
            self.running.pop(run, None)
            self.show(f"{run}: {failure}; once more")

    def ended(self, run: str, failure: str) -> None:
        """Count a run that is through."""
        with self.lock:
            self.over.add(run)
            self.running.pop(run, None)
            self.done, self.failed = self.done + (not failure), self.failed + bool(failure)
            self.show(f"{run}: {failure}" if failure else f"{run}: done")

    def show(self, line: str = "") -> None:
        """Print `line`, if any, and the status."""
        status = self.status()
        if self.live:
            status = status[: shutil.get_terminal_size().columns - 1]
            text = "\r\033[K" + (f"{line}\n" if line else "") + status
        else:
            text = (f"{line}\n" if line else "") + f"{status}\n"
        sys.stderr.write(text)
        sys.stderr.flush()

    def close(self) -> None:
        """End the line that renews itself."""
        if self.live:
            sys.stderr.write("\n")
