"""Language modeling: training, perplexity, generated text, and the trained GPT that ships with the package.

python -m pruning_lib.workbench.language --out FILE makes a checkpoint: one thread, 1,000 steps, resumed if interrupted.
"""

import argparse
import math
import os
import platform
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import AdamW
from tqdm.auto import tqdm

from pruning_lib.checks import check_at_least
from pruning_lib.modes import evaluating
from pruning_lib.resuming import save_state, saved_state
from pruning_lib.workbench import text
from pruning_lib.workbench.checkpoint import load_checkpoint, save_checkpoint
from pruning_lib.workbench.gpt import GPT, Config, generate

__all__ = ["GPT", "Config", "bits_per_byte", "generate", "load_checkpoint", "perplexity", "save_checkpoint", "train"]

_WARMUP = 50  # steps in which the learning rate rises
SAVED_EVERY = 100  # steps


def perplexity(
    model: nn.Module, tokens: Tensor, context: int | None = None, batch_size: int = 16, progress: bool = False
) -> float:
    """exp of the mean of −log p(token | tokens before it in its segment): the number of equally likely choices.

    As the SparseGPT paper measures it: `tokens` are cut into segments of `context` that do not overlap, what is left
    over is dropped, and the first token of each segment is given, not predicted.

    Parameters
    ----------
    model : gives logits (batch, tokens, vocabulary), or an object with such `.logits`, as Hugging Face models do
    tokens : (count,) int64
    context : length of a segment; left out, the context of a `GPT`

    Raises
    ------
    ValueError
        If there are fewer tokens than one segment, the context is under 2 or longer than the model's, or it is left
        out for a model that is no `GPT`.
    """
    if context is None:
        if not isinstance(model, GPT):
            raise ValueError(f"context is None, must be given for a {type(model).__name__}")
        context = model.config.context
    check_at_least(1, batch_size=batch_size)
    device = next(model.parameters()).device
    rows = text.segments(tokens, context)
    total = torch.zeros((), dtype=torch.float64)
    with evaluating(model):
        for batch in tqdm(rows.split(batch_size), disable=not progress, leave=False, desc="perplexity"):
            logits = model(batch.to(device))
            logits = logits if isinstance(logits, Tensor) else logits.logits
            total += _negative_log_likelihood(logits[:, :-1], batch[:, 1:].to(device), "sum").double().cpu()
    return torch.exp(total / (len(rows) * (context - 1))).item()


def bits_per_byte(perplexity: float, tokens_per_byte: float = 1.0) -> float:
    """log₂(`perplexity`)·`tokens_per_byte`: what one byte of text costs, whatever a model's tokens are.

    So models of bytes and of longer tokens can be compared. `tokens_per_byte` is counted on the text that the
    perplexity is of; in a model of bytes each token is a byte.
    """
    return math.log2(perplexity) * tokens_per_byte


def _negative_log_likelihood(logits: Tensor, targets: Tensor, reduction: str) -> Tensor:
    """Cross-entropy of `logits` (batch, tokens, vocabulary) in float32 or finer on `targets` (batch, tokens)."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)


def train(
    model: GPT,
    tokens: Tensor,
    steps: int = 1000,
    *,
    batch_size: int = 16,
    lr: float = 2e-3,
    weight_decay: float = 0.1,
    seed: int = 0,
    state: str | os.PathLike | None = None,
    progress: bool = True,
) -> list[float]:
    """Train `model` in place to predict each next byte of `tokens` (count,); return the loss of each step.

    AdamW; the learning rate rises to `lr` in `_WARMUP` steps and falls to a tenth of it on a cosine. The windows of a
    step follow from `seed` and its number, so that a run resumed gives the weights of one never interrupted.

    Parameters
    ----------
    state : file that keeps weights and optimizer every `SAVED_EVERY` steps; if it is there, training goes on from it

    Raises
    ------
    ValueError
        If an option is out of range, `tokens` is no longer than the model's context, `state` is of another run, or
        the loss is no longer finite (`model` is then what it had become).
    """
    check_at_least(0, steps=steps, weight_decay=weight_decay)
    check_at_least(1, batch_size=batch_size)
    if not 0 < lr < math.inf:
        raise ValueError(f"lr is {lr}, must be positive")
    text.check_length(tokens, model.config.context + 1)
    parameters = dict(model.named_parameters())
    matrices = [parameter for parameter in parameters.values() if parameter.ndim > 1]
    others = [parameter for parameter in parameters.values() if parameter.ndim <= 1]  # biases and norms do not decay
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = AdamW(groups, lr, betas=(0.9, 0.95))
    run = {"config": vars(model.config), "steps": steps, "batch_size": batch_size, "lr": lr, "decay": weight_decay}
    run |= {"seed": seed, "sha256": text.digest(tokens)}
    losses = []
    device = next(model.parameters()).device
    if found := saved_state(state, run) if state else None:
        tensors, losses = found
        for name, parameter in parameters.items():
            parameter.data.copy_(tensors[f"weight.{name}"])
            moments = {kind: tensors[f"{kind}.{name}"].to(device) for kind in ("exp_avg", "exp_avg_sq")}
            optimizer.state[parameter] = {"step": tensors[f"step.{name}"], **moments}
    model.train()
    with tqdm(total=steps, initial=len(losses), disable=not progress, desc="training", unit="step") as bar:
        for step in range(len(losses), steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * warm_cosine(step, steps)
            window = text.windows(tokens, model.config.context + 1, batch_size, seed * 1_000_003 + step).to(device)
            optimizer.zero_grad()
            loss = _negative_log_likelihood(model(window[:, :-1]), window[:, 1:], "mean")
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise ValueError(f"loss is {losses[-1]} in step {step + 1}, must be finite: is lr = {lr} too large?")
            bar.update()
            bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
            if state and (step + 1) % SAVED_EVERY == 0:
                tensors = {
                    f"{kind}.{name}": tensor
                    for name, parameter in parameters.items()
                    for kind, tensor in {"weight": parameter, **optimizer.state[parameter]}.items()
                }
                save_state(state, run, tensors, losses)
    return losses


def warm_cosine(step: int, steps: int) -> float:
    warm = min((step + 1) / _WARMUP, 1.0)
    return warm * (0.55 + 0.45 * math.cos(math.pi * step / steps))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pruning_lib.workbench.language", description="Train the GPT.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--text", default="topics", help="'topics' or a file")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)  # so that the same machine gives the same bits
    source = text.load(given.text)
    model = GPT(seed=given.seed)
    state = given.out.with_suffix(".training")
    losses = train(model, source.train, given.steps, seed=given.seed, state=state)
    model.half().float()  # what a reader of the file will have
    about = {
        "command": f"{parser.prog} --out {given.out.name} --text {source.name} "
        f"--steps {given.steps} --seed {given.seed}",
        "text": source.name,
        "train_sha256": text.digest(source.train),
        "held_out_sha256": text.digest(source.held_out),
        "perplexity": {part: perplexity(model, getattr(source, part)) for part in ("train", "held_out")},
        "losses": [round(sum(losses[i : i + 50]) / len(losses[i : i + 50]), 4) for i in range(0, len(losses), 50)],
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    save_checkpoint(given.out, model, about)
    state.unlink(missing_ok=True)
    print(f"{source}\n{given.out}: {given.out.stat().st_size:,} bytes, perplexity per byte {about['perplexity']}")


if __name__ == "__main__":
    main()
