"""Dense against 2:4 on the GPU at hand: layer shapes, tokens, dtypes and backends, each pair measured in turns.

    python benchmarks/two_four_gpu.py [--out FILE] [--dtypes float16 bfloat16 int8] [--backends cusparselt cutlass]
                                      [--tokens 1 16 …] [--seconds 540]

Needs an NVIDIA GPU of compute capability 8.0 or newer, torch and this checkout, nothing else. Every finished case is
added to the file at once; started again, it makes only the missing ones.

Two times are taken of each product. `call`: as a program sees it, with what Python and the launch cost. `graph`: the
same calls replayed as a CUDA graph, the kernels alone. Weights take turns so that they come from memory, not from the
L2 cache. `algorithm` 0 is cuSPARSELt's default; the other one is the number that its search prefers for the
case, run without the split-K settings that the search may have paired it with: torch's tensor class takes none.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a GPU machine may have torch and a checkout, no more

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning_lib.acceleration.gpu import RULES, convert_, require_gpu, size_rules, sparse_weight
from pruning_lib.acceleration.latency import time_in_turns
from pruning_lib.files import CHECKOUT
from pruning_lib.reproduction.results import provenance, write_json

SHAPES = {  # name → (rows, columns) of the weight
    "1024²": (1024, 1024),
    "2048²": (2048, 2048),
    "4096²": (4096, 4096),
    "8192²": (8192, 8192),
    "OPT-175B Q/K/V/out": (12288, 12288),
    "OPT-175B FC1": (49152, 12288),
    "OPT-175B FC2": (12288, 49152),
    "tutorial 10240→3072": (3072, 10240),
}
TOKENS = [1, 16, 64, 256, 1024, 2048, 4096]
EXTRA_TOKENS = {"tutorial 10240→3072": [3072]}
DTYPES = {"float16": torch.float16, "bfloat16": torch.bfloat16, "int8": torch.int8}
REPEATS, WARMUP, CALLS = 15, 3, 4  # rounds, and calls in a round at least
COPIES = 512  # of a weight at most; small ones only need so many, so that all take about twice the L2 cache
TOLERANCE = {"float16": 0.01, "bfloat16": 0.05, "int8": 0.0}  # of a product, as `error_of` has it
BLOCKS, WIDTH = 4, 4096  # of the whole model: blocks Linear(d, 4d), GELU, Linear(4d, d)
PAIRS = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1], [0, 0, 1, 1]]).bool()


class Case(NamedTuple):
    """One thing to measure; `shape` "model" is the whole model."""

    shape: str
    tokens: int
    dtype: str
    backend: str


def cases(dtypes: list[str], backends: list[str], tokens: list[int]) -> Iterator[Case]:
    """The grid, the shapes with published numbers first, so that a short run has them."""
    published_first = sorted(SHAPES, key=lambda name: name.endswith("²"))
    for dtype in dtypes:
        for backend in backends:
            for shape in published_first:
                extra = [count for count in EXTRA_TOKENS.get(shape, []) if count not in tokens]
                yield from (Case(shape, count, dtype, backend) for count in [*tokens, *extra])
            if dtype != "int8":  # Linear, bias and GELU have no int8 form
                yield Case("model", 2048, dtype, backend)


def refusal(case: Case) -> str | None:
    """Why the case cannot be measured whatever the GPU; None if it can."""
    rows, columns = (WIDTH, WIDTH) if case.shape == "model" else SHAPES[case.shape]
    try:
        rule = size_rules(DTYPES[case.dtype], case.backend)
    except ValueError as error:
        return str(error)
    if rows % rule.sparse_rows or columns % rule.sparse_columns:
        return f"rows must be a multiple of {rule.sparse_rows}, columns of {rule.sparse_columns}"
    if case.dtype == "int8" and case.tokens <= 16:
        return "the dense int8 product (torch._int_mm) needs more than 16 tokens"
    return None


def two_four_weight(rows: int, columns: int, dtype: torch.dtype, device: str) -> Tensor:
    """A random 2:4 matrix with exactly two non-zeros in every four; int8 ones are −1 and 1, so that sums stay small."""
    keep = PAIRS.to(device)[torch.randint(len(PAIRS), (rows * columns // 4,), device=device)].view(rows, columns)
    if dtype == torch.int8:
        values = torch.randint(0, 2, (rows, columns), dtype=dtype, device=device) * 2 - 1
    else:
        values = torch.randn(rows, columns, dtype=dtype, device=device)
    return values * keep


def activations(tokens: int, columns: int, dtype: torch.dtype, device: str) -> Tensor:
    """Random inputs (tokens, columns); int8 ones are −1, 0, 1, mostly 0."""
    if dtype != torch.int8:
        return torch.randn(tokens, columns, dtype=dtype, device=device)
    sign = torch.randint(0, 2, (tokens, columns), dtype=dtype, device=device) * 2 - 1
    return sign * (torch.rand(tokens, columns, device=device) < 1 / 64)


def dense_product(x: Tensor, weight: Tensor) -> Tensor:
    """x Wᵀ; int8 gives int32."""
    return torch._int_mm(x, weight.t()) if x.dtype == torch.int8 else F.linear(x, weight)


def error_of(result: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest expected value."""
    expected = expected.float()
    return float((result.float() - expected).abs().max() / expected.abs().max())


def checked_error(result: Tensor, expected: Tensor, dtype: str) -> float:
    """`error_of`; RuntimeError if it is nan or above the tolerance: a wrong product's time means nothing."""
    error = error_of(result, expected)
    if not error <= TOLERANCE[dtype]:
        raise RuntimeError(f"wrong product: error {error}, must be at most {TOLERANCE[dtype]}")
    return error


def attempt(about: dict, run: Callable[[], dict]) -> dict:
    """`about` with what `run` finds, or with the reason why it failed: torch's refusals, memory, a wrong product."""
    try:
        return about | run()
    except RuntimeError as error:
        return about | {"failed": str(error).split("\n")[0]}


def copies_of(weight_bytes: int, cache_bytes: int) -> int:
    """How many weights have to take turns so that none of them is still in the cache when it is used again."""
    return min(COPIES, max(1, math.ceil(2 * cache_bytes / weight_bytes)))


def per_call(rounds: dict[str, list[Callable]]) -> dict[str, float]:
    """Seconds of one call of each kind, medians of rounds in turns."""
    runs = {name: lambda calls=calls: run_all(calls) for name, calls in rounds.items()}
    times = time_in_turns(runs, REPEATS, WARMUP, device="cuda")
    return {name: times[name].seconds / len(calls) for name, calls in rounds.items()}


def run_all(calls: list[Callable]) -> None:
    for call in calls:
        call()


def graphed(calls: list[Callable]) -> Callable[[], None]:
    """One function that replays all calls as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # what is allocated on first use must not be captured
        run_all(calls)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run_all(calls)
    return graph.replay


def compared(dense: list[Callable], sparse: list[Callable]) -> dict:
    """Times per call of both, as called and replayed; the replay is None with its reason where it is not possible."""
    times = per_call({"dense": dense, "sparse": sparse})
    found = {"dense_call": times["dense"], "sparse_call": times["sparse"], "dense_graph": None, "sparse_graph": None}
    try:
        replays = {"dense": [graphed(dense)], "sparse": [graphed(sparse)]}
    except RuntimeError as error:
        return found | {"no_graph": str(error).split("\n")[0]}
    times = per_call(replays)
    found |= {"dense_graph": times["dense"] / len(dense), "sparse_graph": times["sparse"] / len(sparse)}
    return found


@torch.no_grad()
def product_runs(case: Case) -> list[dict]:
    """Measure one product, with cuSPARSELt's default algorithm and the one its search prefers."""
    rows, columns = SHAPES[case.shape]
    dtype = DTYPES[case.dtype]
    count = copies_of(rows * columns * dtype.itemsize // 2, torch.cuda.get_device_properties(0).L2_cache_size)
    weights = [two_four_weight(rows, columns, dtype, "cuda") for _ in range(count)]
    x = activations(case.tokens, columns, dtype, "cuda")
    turns = [place % count for place in range(max(count, CALLS))]

    def run(algorithm: int) -> dict:
        sparse = [sparse_weight(weight, case.backend, algorithm) for weight in weights]
        error = checked_error(F.linear(x, sparse[0]), dense_product(x, weights[0]), case.dtype)
        found = compared(
            [lambda weight=weights[place]: dense_product(x, weight) for place in turns],
            [lambda weight=sparse[place]: F.linear(x, weight) for place in turns],
        )
        return {"error": error} | found

    def search() -> dict:
        padded = F.pad(x, (0, 0, 0, -case.tokens % size_rules(dtype, case.backend).dense_rows))  # as torch pads
        packed = sparse_weight(weights[0], case.backend).packed
        return {"algorithm": torch._cslt_sparse_mm_search(packed, padded.t(), transpose_result=True)}

    size = {"rows": rows, "columns": columns}
    runs = [attempt(size | {"algorithm": 0}, lambda: run(0))]
    if case.backend == "cusparselt":
        best = attempt(size | {"algorithm": "search"}, search)
        if "failed" in best:
            runs.append(best)
        elif best["algorithm"] != 0:
            runs.append(attempt(best, lambda: run(best["algorithm"])))
    return runs


@torch.no_grad()
def model_runs(case: Case) -> list[dict]:
    """Measure a whole model of Linear layers, dense and converted."""
    dtype = DTYPES[case.dtype]

    def build() -> nn.Sequential:
        torch.manual_seed(0)
        with torch.device("cuda"):
            layers = [
                layer
                for _ in range(BLOCKS)
                for layer in (nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
            ]
            model = nn.Sequential(*layers).to(dtype)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.copy_(two_four_weight(*layer.weight.shape, dtype, "cuda") / WIDTH**0.5)
        return model.eval()

    dense, sparse = build(), build()
    left = convert_(sparse, case.backend)
    x = activations(case.tokens, WIDTH, dtype, "cuda")
    error = checked_error(sparse(x), dense(x), case.dtype)
    found = compared([lambda: dense(x)] * CALLS, [lambda: sparse(x)] * CALLS)
    about = f"{BLOCKS} × (Linear {WIDTH}→{4 * WIDTH}, GELU, Linear {4 * WIDTH}→{WIDTH})"
    return [{"model": about, "left_dense": left, "algorithm": 0, "error": error} | found]


def measured(case: Case) -> list[dict]:
    """The runs of a case, or one entry that says why there are none."""
    reason = refusal(case)
    if reason is None:
        try:
            require_gpu(case.backend)
        except ValueError as error:
            reason = str(error)
    if reason is not None:
        return [case._asdict() | {"skipped": reason}]
    torch.manual_seed(0)
    try:
        runs = model_runs(case) if case.shape == "model" else product_runs(case)
    except RuntimeError as error:  # before anything was measured
        runs = [{"failed": str(error).split("\n")[0]}]
    torch.cuda.empty_cache()
    return [case._asdict() | run for run in runs]


def gpu_facts() -> dict:
    facts = torch.cuda.get_device_properties(0)
    return {
        "name": facts.name,
        "capability": [facts.major, facts.minor],
        "memory": facts.total_memory,
        "l2_cache": facts.L2_cache_size,
        "cuda": torch.version.cuda,
        "cusparselt": torch.backends.cusparselt.version(),
    }


def conditions(gpu: dict) -> dict:
    """What all runs of one file must have in common."""
    told = {key: gpu.get(key) for key in ("name", "cuda", "cusparselt")}
    return told | {"torch": torch.__version__, "repeats": REPEATS, "copies": COPIES}


def finished(path: Path, gpu: dict) -> list[dict]:
    """The runs in the file already; ValueError if they were made under other `conditions`."""
    if not path.exists():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    for key, now in conditions(gpu).items():
        then = record.get("conditions", {}).get(key)
        if then != now:
            raise ValueError(f"{path} holds runs of {key} {then}, must be of {now}: give another --out")
    return record["runs"]


def case_of(run: dict) -> Case:
    return Case(*(run[key] for key in Case._fields))


def save(path: Path, gpu: dict, runs: list[dict]) -> None:
    record = {"about": __doc__.split("\n")[0]} | provenance() | {"device": gpu["name"], "gpu": gpu}
    record |= {"times": "seconds per call, median", "conditions": conditions(gpu)}
    write_json(path, record | {"runs": runs})


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, help="JSON file; by default figures/measured/06b_two_four_pays.GPU.json")
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--backends", nargs="+", choices=RULES, default=["cusparselt", "cutlass"])
    parser.add_argument("--tokens", nargs="+", type=int, default=TOKENS)
    parser.add_argument("--seconds", type=float, default=540, help="no case is begun after this time")
    given = parser.parse_args(arguments)
    if min(given.tokens) < 1:
        parser.error(f"--tokens holds {min(given.tokens)}, must be at least 1")
    for name in ("dtypes", "backends", "tokens"):  # twice the same would be measured twice
        setattr(given, name, list(dict.fromkeys(getattr(given, name))))
    if not given.seconds > 0:
        parser.error(f"--seconds is {given.seconds}, must be above 0")
    return given


def default_out(gpu: str) -> Path:
    name = "-".join("".join(letter if letter.isalnum() else " " for letter in gpu.lower()).split())
    return CHECKOUT / "figures" / "measured" / f"06b_two_four_pays.{name}.json"


def outcome(run: dict) -> str:
    if "dense_call" not in run:
        return run.get("skipped") or f"failed: {run['failed']}"
    kernels = "" if run["dense_graph"] is None else f", kernels {run['dense_graph'] / run['sparse_graph']:.2f}×"
    return f"algorithm {run['algorithm']}: {run['dense_call'] / run['sparse_call']:.2f}×{kernels}"


def main(arguments: list[str] | None = None) -> None:
    given = options(arguments)
    refusals = []
    for backend in given.backends:
        try:
            require_gpu(backend)
        except ValueError as error:
            refusals.append(str(error))
    if len(refusals) == len(given.backends):
        sys.exit(f"nothing measured, nothing written: {refusals[0]}")
    start, gpu = time.perf_counter(), gpu_facts()
    out = given.out or default_out(gpu["name"])
    runs = finished(out, gpu)
    done = {case_of(run) for run in runs if "dense_call" in run}  # a failure or a skip is tried again
    wanted = [case for case in cases(given.dtypes, given.backends, given.tokens) if case not in done]
    for number, case in enumerate(wanted):
        if time.perf_counter() - start > given.seconds:
            print(f"time is up, {len(wanted) - number} cases are left: start again to add them")
            break
        runs = [run for run in runs if case_of(run) != case]
        for run in measured(case):
            runs.append(run)
            print(f"{case.dtype} {case.backend} {case.shape}, {case.tokens} tokens: {outcome(run)}", flush=True)
        save(out, gpu, runs)


if __name__ == "__main__":
    main()
