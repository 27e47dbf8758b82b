"""How a run is launched: by accelerate where it has several GPUs, and evaluations of adapters in groups."""

import yaml
from accelerate.commands.launch import launch_command_parser

from builders import ROOT
from negmark.suite.checks import load
from negmark.suite.layout import Layout

MSMARCO = yaml.safe_load((ROOT / "config" / "msmarco.yaml").read_text(encoding="utf-8"))


def test_a_run_on_several_gpus_is_launched_by_accelerate() -> None:
    config = {**MSMARCO, "finetune": {**MSMARCO["finetune"], "processes": 4}}
    layout = Layout(load(config, "a test"))
    command = [
        *layout.resources.launcher(layout.rows["simans"]).split(),
        "negmark.train.train",
        "model.safetensors",
        "--threads",
        "1",
    ]
    assert command[:2] == ["accelerate", "launch"]
    options = launch_command_parser().parse_args(command[2:])
    assert (options.num_processes, options.multi_gpu, options.module, options.training_script) == (
        4,
        True,
        True,
        "negmark.train.train",
    )
    assert options.training_script_args == ["model.safetensors", "--threads", "1"]
    assert layout.resources.gpus(layout.rows["simans"]) == 4
    assert (
        layout.resources.evaluation_gpus(layout.rows["simans"]),
        layout.resources.group(layout.rows["simans"]),
    ) == (1, None)
    at_home = Layout(load({**config, "gpu": False}, "a test"))
    assert "torch.distributed.run" in at_home.resources.launcher(at_home.rows["simans"])


def test_evaluations_of_adapters_go_in_groups() -> None:
    layout = Layout(
        load({**MSMARCO, "tier": "adapter", "methods": {"inbatch": None}, "teacher": None}, "a test")
    )
    assert (
        layout.resources.evaluation_gpus(layout.rows["inbatch"]),
        layout.resources.group(layout.rows["inbatch"]),
    ) == (0, "measured")
