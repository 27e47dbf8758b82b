"""Checkpoints of a training run: outside the declared outputs, complete or absent, refused if they don't fit.

Snakemake deletes the outputs of a job that failed, so the state is kept elsewhere, in a folder keyed by
the run's config and code. Streams are counted by step, so a resumed run draws what an unbroken one draws.
"""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from negmark.core.files import canonical, replacing_folder
from negmark.core.provenance import sources_sha256
from negmark.core.source_files import method_sources, sources
from negmark.core.tier_modules import training_modules
from negmark.methods import registry
from negmark.store.collection import columns, write_table

if TYPE_CHECKING:
    from negmark.train.run import Run

log = logging.getLogger(__name__)


class Checkpoint:
    """Saves and restores a run. The newest complete checkpoint counts."""

    def __init__(self, folder: Path, spec: Mapping[str, Any], every: int) -> None:
        self._key = canonical({"spec": dict(spec), "code": code_of(spec)})
        self._folder, self._every = folder, every
        self.resumed_at: int | None = None

    def save_if_due(self, run: "Run", step: int, steps: int) -> None:
        """Save when `step` steps are done and a checkpoint is due; none is due at the end."""
        if step % self._every == 0 and step != steps and run.encoder.writes:
            self.save(run, step)

    def save(self, run: "Run", step: int) -> None:
        """Save the state after `step` steps and delete older checkpoints."""
        run.clock.stop()
        target = self._folder / f"step-{step:09d}"
        with replacing_folder(target) as partial:
            save_file(_tensors(run), partial / "state.safetensors", metadata={"key": self._key})
            run.ledger.write(partial / "ledger.parquet")
            write_table(partial / "history.parquet", columns(run.history))
        for older in self._complete():
            if older != target:
                shutil.rmtree(older, ignore_errors=True)

    def restore(self, run: "Run") -> int:
        """Restore a run from its newest checkpoint and return the steps done, 0 if none fits."""
        for folder in reversed(self._complete()):
            try:
                self._load(run, folder)
            except Exception as error:  # whatever is wrong with it, the run can start again
                log.warning("%s: not used (%s)", folder, error)
                shutil.rmtree(folder, ignore_errors=True)
                continue
            self.resumed_at = int(folder.name.removeprefix("step-"))
            log.info("resumed at step %d", self.resumed_at)
            return self.resumed_at
        return 0

    def clear(self) -> None:
        """Delete the state: the run is done and its outputs are written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _complete(self) -> list[Path]:
        return sorted(self._folder.glob("step-*")) if self._folder.is_dir() else []

    def _load(self, run: "Run", folder: Path) -> None:
        with safe_open(folder / "state.safetensors", framework="pt") as file:
            if (file.metadata() or {}).get("key") != self._key:
                raise ValueError("it belongs to another config or other code")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        history = pq.read_table(folder / "history.parquet").to_pylist()
        run.ledger.restore(folder / "ledger.parquet")
        run.history[:] = history
        run.encoder.load_state_dict(_with_prefix(tensors, "encoder."))
        run.method.extra_modules().load_state_dict(_with_prefix(tensors, "extra."))
        run.services.load_state_dict(_with_prefix(tensors, "momentum."))
        run.method.load_state_dict(_with_prefix(tensors, "method."))
        run.batches.load_state_dict(_with_prefix(tensors, "batches."))
        _load_optimizer(run.optimizer, tensors)
        run.schedule.load_state_dict(_value(tensors["schedule"]))
        for group, rate in zip(run.optimizer.param_groups, run.schedule.get_last_lr(), strict=True):
            group["lr"] = rate
        run.services.counters.__dict__.update(_value(tensors["counters"]))
        run.clock.load_state_dict(_value(tensors["clock"]))
        run.curve[:] = _value(tensors["curve"])
        run.scores[:] = _scores(tensors)


def code_of(spec: Mapping[str, Any], stage: str = "negmark.train.train") -> str:
    """Return a hash of the code behind a run: the stage's, its tier's, its method's, its loss's and its batches'."""
    names = [spec["method"], *(spec[other]["method"] for other in ("loss", "composer") if other in spec)]
    methods = [registry.available()[name] for name in names]
    return sources_sha256([*sources(stage, *training_modules(spec)), *method_sources(*methods)])


def _tensors(run: "Run") -> dict[str, torch.Tensor]:
    """Return all that changes while a run trains, ledger and history aside, as named tensors."""
    tensors = {f"encoder.{name}": value for name, value in run.encoder.state_dict().items()}
    tensors |= {f"extra.{name}": value for name, value in run.method.extra_modules().state_dict().items()}
    tensors |= {f"momentum.{name}": value for name, value in run.services.state_dict().items()}
    tensors |= {f"method.{name}": value for name, value in run.method.state_dict().items()}
    tensors |= {f"batches.{name}": value for name, value in run.batches.state_dict().items()}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    schedule = {key: value for key, value in run.schedule.state_dict().items() if key != "lr_lambdas"}
    tensors["schedule"] = _bytes({**schedule, "lr_lambdas": [None]})
    tensors["counters"] = _bytes(run.services.counters.as_dict())
    tensors["clock"] = _bytes(run.clock.state_dict())
    tensors["curve"] = _bytes(run.curve)
    tensors |= {f"scores.{kind}.{step}": torch.from_numpy(values) for step, kind, values in run.scores}
    return {name: value.detach().clone().contiguous() for name, value in tensors.items()}


def _bytes(value: Any) -> torch.Tensor:
    return torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)


def _value(tensor: torch.Tensor) -> Any:
    return json.loads(bytes(tensor.tolist()).decode())


def _with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _with_prefix(tensors, "optimizer.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _scores(tensors: Mapping[str, torch.Tensor]) -> list[tuple[int, str, Any]]:
    order = {"positive": 0, "in_batch": 1, "negative": 2}
    scores = []
    for name, value in _with_prefix(tensors, "scores.").items():
        kind, _, step = name.partition(".")
        scores.append((int(step), kind, value.numpy()))
    return sorted(scores, key=lambda entry: (entry[0], order[entry[1]]))
