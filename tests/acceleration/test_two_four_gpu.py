"""The parts of benchmarks/two_four_gpu.py that need no GPU."""

import importlib.util
import json
import subprocess
import sys

import pytest
import torch

from pruning_lib.acceleration import two_four
from pruning_lib.files import CHECKOUT

SCRIPT = CHECKOUT / "benchmarks" / "two_four_gpu.py"
GPU = {"name": "NVIDIA A100-SXM4-80GB", "capability": [8, 0]}
TIMES = {"dense_call": 2e-4, "sparse_call": 1e-4, "dense_graph": None, "sparse_graph": None}


@pytest.fixture
def bench(monkeypatch):
    spec = importlib.util.spec_from_file_location("two_four_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    return module


def test_the_grid_has_what_was_published_and_the_bad_cases(bench):
    grid = list(bench.cases(["float16", "int8"], ["cusparselt", "cutlass"], bench.TOKENS))
    assert len(set(grid)) == len(grid)
    assert bench.SHAPES["OPT-175B FC1"] == (4 * 12288, 12288)
    for backend in ("cusparselt", "cutlass"):
        for shape in ("OPT-175B Q/K/V/out", "OPT-175B FC1", "OPT-175B FC2"):
            assert bench.Case(shape, 2048, "float16", backend) in grid  # SparseGPT's table
        assert bench.Case("tutorial 10240→3072", 3072, "float16", backend) in grid  # PyTorch's tutorial
        assert bench.Case("4096²", 1, "float16", backend) in grid  # where it loses
        assert bench.Case("model", 2048, "float16", backend) in grid
    assert not [case for case in grid if case.shape == "model" and case.dtype == "int8"]


def test_only_what_no_gpu_can_do_is_refused_beforehand(bench):
    grid = list(bench.cases(list(bench.DTYPES), ["cusparselt", "cutlass"], bench.TOKENS))
    refused = [case for case in grid if bench.refusal(case)]
    assert refused and all(case.dtype == "int8" and case.tokens <= 16 for case in refused)
    assert "more than 16 tokens" in bench.refusal(refused[0])
    bench.SHAPES["odd"] = (1000, 1000)
    assert "rows must be a multiple of 32" in bench.refusal(bench.Case("odd", 64, "float16", "cutlass"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int8])
def test_weights_are_two_four_and_full(bench, dtype):
    weight = bench.two_four_weight(32, 64, dtype, "cpu")
    assert two_four.is_two_four(weight)
    assert weight.dtype == dtype and weight.count_nonzero() >= 0.99 * weight.numel() / 2
    x = bench.activations(40, 64, dtype, "cpu")
    assert x.dtype == dtype and x.shape == (40, 64)
    assert dtype != torch.int8 or (x.abs() <= 1).all()


def test_int8_products_fit_into_int8(bench):
    torch.manual_seed(0)
    x, weight = bench.activations(64, 49152, torch.int8, "cpu"), bench.two_four_weight(64, 49152, torch.int8, "cpu")
    assert 0 < (x.double() @ weight.double().T).abs().max() < 127


def test_weights_take_turns_until_the_cache_is_full_twice(bench):
    assert bench.copies_of(weight_bytes=100, cache_bytes=50) == 1
    assert bench.copies_of(weight_bytes=40, cache_bytes=50) == 3
    for cache in (40, 50, 60, 96):  # MiB, of GPUs there are; the smallest weight is 1024² int8
        assert bench.copies_of(1024**2 // 2, cache * 2**20) * 1024**2 // 2 >= 2 * cache * 2**20
    assert bench.copies_of(weight_bytes=1, cache_bytes=50_000_000) == bench.COPIES


def test_error_is_relative_to_the_largest_value(bench):
    assert bench.error_of(torch.tensor([1.0, 8.0]), torch.tensor([0.0, 10.0])) == pytest.approx(0.2)


@pytest.mark.parametrize("wrong", [torch.nan, 2.0])
def test_a_wrong_product_is_a_failure_with_its_error(bench, wrong):
    right = torch.tensor([1.0, 10.0])
    assert bench.attempt({"algorithm": 0}, lambda: {"error": bench.checked_error(right, right, "int8")}) == {
        "algorithm": 0,
        "error": 0.0,
    }
    found = bench.attempt({}, lambda: {"error": bench.checked_error(right * wrong, right, "bfloat16")})
    assert found["failed"].startswith("wrong product: error ") and "error" not in found


@pytest.mark.parametrize(("search", "second"), [(5, (5, "wrong product: error")), (None, ("search", "no search"))])
def test_a_failing_searched_algorithm_leaves_the_default_ones_result(bench, monkeypatch, search, second):
    def prefer(*arguments, **settings):
        if search is None:
            raise RuntimeError("no search\nfor this")
        return search

    def made(weight, backend, algorithm=0):
        found = weight * (1 if algorithm == 0 else 2)
        found.packed = weight
        return found

    on_cpu = {name: getattr(bench, name) for name in ("two_four_weight", "activations")}
    for name, make in on_cpu.items():
        monkeypatch.setattr(bench, name, lambda a, b, dtype, device, make=make: make(a, b, dtype, "cpu"))
    facts = type("Facts", (), {"L2_cache_size": 1})
    monkeypatch.setattr(bench.torch.cuda, "get_device_properties", lambda device: facts)
    monkeypatch.setattr(bench.torch, "_cslt_sparse_mm_search", prefer)
    monkeypatch.setattr(bench, "sparse_weight", made)
    monkeypatch.setattr(bench, "compared", lambda dense, sparse: TIMES)
    bench.SHAPES["small"] = (32, 64)
    default, other = bench.product_runs(bench.Case("small", 8, "float16", "cusparselt"))
    assert default == {"rows": 32, "columns": 64, "algorithm": 0, "error": 0.0, **TIMES}
    assert other["algorithm"] == second[0] and other["failed"].startswith(second[1])


@pytest.fixture
def pretend(bench, monkeypatch, tmp_path):
    """A GPU whose products take a fixed time, the file to write, and what was measured."""
    seen = []

    def fixed(case):
        seen.append(case)
        if case.tokens == 3:
            raise RuntimeError("out of memory\nwith details")
        return [{"algorithm": algorithm, "error": 0.0, **TIMES} for algorithm in (0, 2)]

    monkeypatch.setattr(bench, "require_gpu", lambda backend: GPU["name"])
    monkeypatch.setattr(bench, "gpu_facts", lambda: GPU)
    monkeypatch.setattr(bench, "product_runs", fixed)
    monkeypatch.setattr(bench, "model_runs", fixed)
    monkeypatch.setattr(bench, "SHAPES", {"4096²": (4096, 4096)})
    monkeypatch.setattr(bench, "EXTRA_TOKENS", {})
    return tmp_path / "gpu.json", seen


def test_results_are_written_case_by_case_and_added_to(bench, pretend, capsys):
    path, seen = pretend
    grid = ["--out", str(path), "--dtypes", "float16", "int8", "--backends", "cusparselt", "--tokens"]
    bench.main([*grid, "1", "3"])
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["gpu"] == GPU and record["device"] == GPU["name"]
    assert {"versions", "date", "commit", "threads"} <= record.keys()
    runs = record["runs"]
    assert [run["tokens"] for run in runs] == [1, 1, 3, 2048, 2048, 1, 3]
    assert runs[0] == {"shape": "4096²", "tokens": 1, "dtype": "float16", "backend": "cusparselt", "algorithm": 0} | {
        "error": 0.0,
        **TIMES,
    }
    assert runs[2]["failed"] == "out of memory"
    assert "more than 16 tokens" in runs[-1]["skipped"]
    assert "4096², 1 tokens: algorithm 0: 2.00×" in capsys.readouterr().out
    seen.clear()
    bench.main([*grid, "1", "3", "64"])  # the failure again, and what is new
    assert [(case.dtype, case.tokens) for case in seen] == [("float16", 3), ("float16", 64), ("int8", 64)]
    assert len(json.loads(path.read_text(encoding="utf-8"))["runs"]) == len(runs) + 4


def test_a_skip_is_tried_again(bench, pretend, monkeypatch):
    path, seen = pretend
    grid = ["--out", str(path), "--dtypes", "float16", "--backends", "cusparselt", "cutlass", "--tokens", "1", "1"]

    def only_cusparselt(backend):
        if backend == "cutlass":
            raise ValueError("not on this machine")

    with monkeypatch.context() as change:
        change.setattr(bench, "require_gpu", only_cusparselt)
        bench.main(grid)
    assert [run["backend"] for run in json.loads(path.read_text())["runs"] if "skipped" in run] == ["cutlass"] * 2
    assert len(seen) == 2  # one number of tokens given twice is one case
    bench.main(grid)
    assert len(seen) == 4 and not [run for run in json.loads(path.read_text())["runs"] if "skipped" in run]


def test_time_runs_out_between_cases(bench, pretend, monkeypatch, capsys):
    path, seen = pretend
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    bench.main(["--out", str(path), "--dtypes", "float16", "--backends", "cutlass", "--seconds", "15"])
    assert len(seen) == 1 and "time is up, 7 cases are left" in capsys.readouterr().out
    assert len(json.loads(path.read_text(encoding="utf-8"))["runs"]) == 2


def test_a_file_made_under_other_conditions_is_not_added_to(bench, pretend, monkeypatch):
    path, _ = pretend
    bench.save(path, GPU | {"name": "another"}, [])
    with pytest.raises(ValueError, match="holds runs of name another"):
        bench.main(["--out", str(path)])
    with monkeypatch.context() as change:
        change.setattr(bench.torch, "__version__", "2.0.0")
        bench.save(path, GPU, [])
    with pytest.raises(ValueError, match="holds runs of torch 2.0.0, must be of"):
        bench.main(["--out", str(path)])


def test_files_are_named_by_the_gpu(bench):
    assert bench.default_out("NVIDIA A100-SXM4-80GB").name == "06b_two_four_pays.nvidia-a100-sxm4-80gb.json"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dtypes", "float64"], "invalid choice: 'float64'"),
        (["--backends", "cublas"], "invalid choice: 'cublas'"),
        (["--tokens", "0"], "--tokens holds 0"),
        (["--seconds", "0"], "--seconds is 0"),
        (["--seconds", "nan"], "--seconds is nan"),
    ],
)
def test_bad_arguments_are_errors(bench, capsys, arguments, message):
    with pytest.raises(SystemExit):
        bench.main(arguments)
    assert message in capsys.readouterr().err


def test_without_a_gpu_nothing_is_written_and_torch_alone_is_needed(tmp_path):
    code = f"""
import runpy, sys
for name in ("safetensors", "tqdm", "click", "numpy", "torchvision"):
    sys.modules[name] = None
import torch
torch.cuda.is_available = lambda: False
sys.argv = ["two_four_gpu.py", "--out", "gpu.json"]
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 1
    assert "nothing measured, nothing written" in answer.stderr and "found no GPU" in answer.stderr
    assert not list(tmp_path.iterdir())
