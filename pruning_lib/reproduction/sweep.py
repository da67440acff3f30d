"""Carry out or resume a sweep on dask workers: what is complete stays, what is not is done, one sweep to a folder."""

import logging
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pruning_lib.files import make_writable
from pruning_lib.reproduction.attempt import attempt, complete
from pruning_lib.reproduction.parameters import fault
from pruning_lib.reproduction.progress import Progress
from pruning_lib.reproduction.records import locked
from pruning_lib.reproduction.results import read_results, write_json
from pruning_lib.reproduction.run import Run
from pruning_lib.reproduction.state import differences, state_of
from pruning_lib.reproduction.sweep_file import Expected, Sweep

PLAN, _RECORD = "sweep.json", "record.json"
_ATTEMPTS = 2
ANSWER_SECONDS = 5


class Plan(BaseModel, strict=True):
    """What the sweep's folder is for: `Sweep.plan`, what is expected, and the states that its runs were made in."""

    notebook: str
    seed_parameter: str
    runs: dict[str, dict[str, Any]]
    expected: list[Expected]
    expected_late: bool = False  # whether it was changed after runs were complete
    states: list[dict[str, str]] = []


def ready(
    stack: ExitStack, sweep: Sweep, workers: int = 2, scheduler: str | None = None, threads: int = 1, mix: bool = False
) -> tuple[Any, dict[str, str]]:
    """Return a dask client and the state for `carry_out`; `stack` then holds folder and client.

    ValueError if the folder can't be used, or the scheduler does not answer or has no workers; OSError, naming the
    file, if it can't be written.
    """
    left = sum(not complete(sweep.folder / name) for name in sweep.runs)
    client = stack.enter_context(_connected(scheduler)) if scheduler and left else None
    state = stack.enter_context(opened(sweep, threads, mix))
    if left and not client:
        client = stack.enter_context(_local(min(workers, left)))
    return client, state


@contextmanager
def opened(sweep: Sweep, threads: int = 1, mix: bool = False) -> Iterator[dict[str, str]]:
    """Hold the folder of `sweep` and give the state its runs, whose kernels have so many `threads`, must have.

    ValueError unless the folder is new, empty or holds the same sweep, and no other process is at it; or if notebook,
    library or versions have changed since the runs that are there, and `mix` does not say to go on.
    """
    folder, state = sweep.folder, state_of(sweep.source, threads)
    make_writable(folder)
    # A sweep that was killed before it had its plan may have left its lock, and the plan half written.
    if not (folder / PLAN).exists() and any(not path.name.startswith(f".{PLAN}.") for path in folder.iterdir()):
        raise ValueError(f"out is {str(folder)!r}, must be a new or empty folder, or one with this sweep")
    with locked(folder / PLAN, f"a sweep is running in {folder}: wait for it, or choose another --out"):
        _planned(sweep, state, mix)
        yield state


def _planned(sweep: Sweep, state: dict[str, str], mix: bool) -> None:
    """Write the plan into the folder, or see that the one there is the same; ValueError if it is another."""
    path, states, late = sweep.folder / PLAN, [], False
    if path.exists():
        old, begun = read_plan(path), any(complete(sweep.folder / name) for name in sweep.runs)
        if old.model_dump(include=set(sweep.plan)) != sweep.plan:
            raise ValueError(f"{sweep.folder} holds another sweep, of {old.notebook}: choose another --out")
        states = old.states if begun else []
        late = old.expected_late or (begun and [entry.model_dump() for entry in old.expected] != sweep.expected)
    for before in [] if mix else states:
        if changed := differences(before, state):
            remedy = "start anew with another --out, or mix both with --mix"
            raise ValueError(f"since {sweep.folder} was begun, {changed}: {remedy}")
    if state not in states:
        states = [*states, state]
    write_json(path, sweep.plan | {"expected": sweep.expected, "expected_late": late, "states": states})


def read_plan(path: Path) -> Plan:
    """Return the plan in the file `path`; ValueError naming the file if it is something else."""
    try:
        return Plan.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise ValueError(f"{path} is no plan of a sweep: {fault(error)}") from None


@contextmanager
def _local(workers: int) -> Iterator[Any]:
    """Give a dask client of so many new processes on this machine."""
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is told by the sweep itself
    cluster = LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        dashboard_address="127.0.0.1:0",  # any free port, for this machine only
        memory_limit=0,  # the memory is in the kernels, which are other processes
        silence_logs=logging.CRITICAL,
    )
    with cluster, Client(cluster, set_as_default=False) as client:
        yield client


def _connected(scheduler: str) -> Any:
    """Return a dask client of the scheduler at that address; ValueError if none answers or it has no workers."""
    from distributed import Client
    from distributed.comm import get_address_host_port

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        # Asked first: a client that nobody answers leaves the thread of its event loop running for good.
        socket.create_connection(get_address_host_port(scheduler), ANSWER_SECONDS).close()
        client = Client(scheduler, timeout=ANSWER_SECONDS, set_as_default=False)
    except Exception as error:  # an address that is none, nobody there, another protocol
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"scheduler is {scheduler!r}, must answer within {ANSWER_SECONDS} s: {reason}") from None
    try:
        client.wait_for_workers(1, timeout=ANSWER_SECONDS)
    except TimeoutError:
        client.close()
        start = f"dask worker {scheduler} --nthreads 1"
        raise ValueError(f"scheduler {scheduler!r} has no workers, must have one; to start it: {start}") from None
    return client


def carry_out(
    sweep: Sweep, client: Any, state: dict[str, str], mix: bool = False, page: Callable[[Any], str] | None = None
) -> list[str]:
    """Do the runs that are not complete, each at most twice; return the failures, a line each.

    `page` makes the web page of a run, see `execute`; workers must be able to import it. ConnectionError if the
    scheduler is gone before all is done.
    """
    from distributed import as_completed

    left = [name for name in sweep.runs if not complete(sweep.folder / name)]
    progress = Progress(len(sweep.runs), len(sweep.runs) - len(left))
    topic = f"sweep-{uuid.uuid4().hex}"
    environment = {name: state["threads"] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    if "PRUNING_LIB_DATA" in os.environ:
        environment["PRUNING_LIB_DATA"] = os.environ["PRUNING_LIB_DATA"]

    def submit(name: str) -> Any:
        run = Run(sweep.source, "sweep", sweep.runs[name], sweep.folder / name)
        return client.submit(attempt, run, state, environment, topic, not mix, page, pure=False)

    client.subscribe_topic(topic, lambda event: progress.told(event[1]["run"], event[1]["line"]))
    tries = {submit(name): (name, 1) for name in left}
    failures, done = [], as_completed(list(tries), loop=client.loop)
    try:
        for future in done:
            name, number = tries.pop(future)
            failure = _failure_of(future)
            if client.status != "running":
                raise ConnectionError("the scheduler is gone")
            if failure and number < _ATTEMPTS:
                progress.again(name, failure)
                future = submit(name)
                tries[future] = (name, number + 1)
                done.add(future)
            else:
                progress.ended(name, failure)
                failures += [f"{name}: {failure}"] if failure else []
    finally:
        progress.close()
        if tries and client.status == "running":
            client.cancel(list(tries))
    return failures


def _failure_of(future: Any) -> str:
    """Return what `attempt` returned, or why it could not: its worker died again and again, its code is not there."""
    try:
        return future.result()
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())


def recorded(sweep: Sweep) -> Path | None:
    """Write all results into one file, for keeping, and remove traces of killed attempts; None if any run lacks."""
    if not all(complete(sweep.folder / name) for name in sweep.runs):
        return None
    for name in sweep.runs:
        for trace in sweep.folder.glob(f".{name}.*"):
            shutil.rmtree(trace) if trace.is_dir() else trace.unlink()
    plan = read_plan(sweep.folder / PLAN)
    runs = [
        {"run": name, "given": given} | read_results(sweep.folder / name / "results.json")
        for name, given in sweep.runs.items()
    ]
    about, seconds = f"Sweep over {sweep.source.stem}, {len(runs)} runs.", sum(run["seconds"] for run in runs)
    record = {"about": about, "settings": plan.model_dump(exclude={"runs"}), "seconds": round(seconds, 1), "runs": runs}
    write_json(sweep.folder / _RECORD, record)
    return sweep.folder / _RECORD
