"""Nothing here opens a format that can run code: no pickle, no foreign code, no shell, no template without escapes."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builders import ROOT
from negmark.suite.checks import load
from negmark.suite.layout import Layout

SOURCES = [*(ROOT / "workflow").rglob("*.py"), *(ROOT / "methods").rglob("*.py")]
RULES = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
NO_ARGUMENT = {("allow_pickle", True), ("trust_remote_code", True)}
ONE_PLACE = "model_files.py"
"""The one module that lets transformers open a folder, always with `SAFELY`."""


def faults(path: Path, text: str) -> list[str]:
    """Calls that are unsafe by an argument, which ruff has no rule for."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    found = [
        f"{ast.unparse(call.func)}({word.arg}=True)"
        for call in calls
        for word in call.keywords
        if (word.arg, getattr(word.value, "value", None)) in NO_ARGUMENT
    ]
    for call in calls:
        safe = path.name == ONE_PLACE and "**SAFELY" in ast.unparse(call)
        safe |= {"gguf_file", "trust_remote_code"} <= {
            word.arg for word in call.keywords
        }  # GGUF holds no code
        if ast.unparse(call.func).endswith(".from_pretrained") and not safe:
            found.append(ast.unparse(call.func))
    return found


def test_no_source_calls_what_is_unsafe_by_an_argument() -> None:
    found = {str(path): faults(path, path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: told for path, told in found.items() if told} == {}


@pytest.mark.parametrize(
    "line",
    [
        "np.load(path, allow_pickle=True)",
        "x(trust_remote_code=True)",
        "AutoModel.from_pretrained(folder, **SAFELY)",
    ],
)
def test_the_test_sees_what_it_looks_for(line: str) -> None:
    assert faults(ROOT / "workflow" / "made.py", line)


UNSAFE = [
    "import joblib", "from torch import hub", "torch.load(path)", "torch.jit.load(path)", "pickle.loads(data)",
    "pandas.read_pickle(path)", "yaml.load(text)", "yaml.unsafe_load(text)", "eval(text)", "exec(text)",
    "os.system(line)", "subprocess.run(line, shell=True)", "jinja2.Environment(autoescape=False)",
    "ElementTree.parse(path)", "tarfile.open(path).extractall()",
]  # fmt: skip


def test_ruff_refuses_what_can_run_code() -> None:
    text = "import jinja2, os, pandas, pickle, subprocess, tarfile, torch, yaml\nfrom xml.etree import ElementTree\n"
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--output-format=json",
        "--stdin-filename=methods/made.py",
    ]
    lines = text + "\n".join(UNSAFE)
    done = subprocess.run([*command, "-"], cwd=ROOT, input=lines, capture_output=True, text=True)
    told = [fault for fault in json.loads(done.stdout) if re.match(r"S\d|TID", fault["code"])]
    assert {fault["location"]["row"] for fault in told} == set(range(3, 3 + len(UNSAFE))), done.stderr


PLAIN = {
    "threads", "wildcards.figure", "input.start", "input.teachers", "input.judgments", "params.launcher",
    "params.module", "params.pools", "params.options", "params.tables", "params.truth", "params.vectors",
    "params.command",
}  # fmt: skip
"""What stands in a shell line as it is: options, and paths whose parts are names that the settings bound."""


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.name)
def test_every_value_of_a_config_is_quoted_in_a_shell_line(path):
    """A name or text with a space or a quote in it would else be words of the shell."""
    text = path.read_text(encoding="utf-8")
    blocks = re.findall(r"shell:\n((?: +(?:#.*|\".*\"|'.*')\n)+)", text)
    assert len(blocks) == text.count("shell:\n")
    for block in blocks:
        for name, how in re.findall(r"(?<!\{)\{([a-z][\w.\[\]]*)(?::(\w))?\}", block):
            assert how == "q" or name in PLAIN, name


@pytest.mark.parametrize(
    "model",
    ["./a b", "./{b}", "$(touch x)", "a;b", "'", '"', "..", "/", "~", "\u00e9", "x" * 300, "a\nb", "-rf"],
)
def test_a_folder_named_after_a_model_is_a_plain_word(model):
    config = {
        "suite": "s",
        "datasets": {"scifact": None},
        "methods": {"simans": None},
        "encoder": {"model": model},
    }
    layout = Layout(load(config, "s.yaml"))
    found = layout.paths.pool(layout.datasets["scifact"], "dense")
    assert re.fullmatch(r"results/pools/scifact-\w{8}/[a-z0-9._-]{9,60}/pools-\w{8}/dense.safetensors", found)
