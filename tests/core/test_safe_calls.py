"""Nothing here opens a format that can run code: no pickle, no foreign code, no shell, no template without escapes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from builders import ROOT
from negmark.suite.checks import load
from negmark.suite.layout import Layout

SOURCES = [*(ROOT / "workflow").rglob("*.py"), *(ROOT / "methods").rglob("*.py")]
RULES = [ROOT / "Snakefile", *(ROOT / "workflow" / "rules").glob("*.smk")]
NO_IMPORT = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "xml", "torch.hub"}
NO_CALL = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "yaml.load", "yaml.full_load",
    "yaml.unsafe_load", "os.system", "os.popen", "pd.read_pickle", "pandas.read_pickle", "np.lib.format.read_array",
}  # fmt: skip
NO_ARGUMENT = {("allow_pickle", True), ("trust_remote_code", True), ("shell", True), ("autoescape", False)}
ONE_PLACE = "model_files.py"
"""The one module that lets transformers open a folder, always with `SAFELY`."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def faults(path: Path, text: str) -> list[str]:
    """What a source does that none may do."""
    tree = ast.parse(text)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            module = getattr(node, "module", None)
            all_names = {*names, module, *(f"{module}.{name}" for name in names)}
            found += [f"imports {name}" for name in all_names & NO_IMPORT]
    for name, call in calls(tree):
        if name in NO_CALL:
            found.append(f"calls {name}")
        for word in call.keywords:
            value = getattr(word.value, "value", None)
            if (word.arg, value) in NO_ARGUMENT:
                found.append(f"{name}({word.arg}={value})")
        if name.endswith(".from_pretrained") and not (
            path.name == ONE_PLACE and "**SAFELY" in ast.unparse(call)
        ):
            found.append(f"calls {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_opens_what_can_run_code(path):
    assert faults(path, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from pickle import loads", "import torch; torch.load(path)", "yaml.load(text)", "eval(text)",
        "np.load(path, allow_pickle=True)", "subprocess.run(line, shell=True)", "AutoModel.from_pretrained(folder)",
        "x(trust_remote_code=True)", "jinja2.Environment(autoescape=False)", "from torch import hub",
    ],
)  # fmt: skip
def test_the_test_sees_what_it_looks_for(line):
    assert faults(ROOT / "workflow" / "made.py", line)


PLAIN = {
    "threads", "wildcards.figure", "input.start", "params.launcher", "params.module", "params.pools", "params.teacher",
    "params.vectors", "params.command",
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
    found = layout.pool_options("scifact", "simans")
    assert re.fullmatch(
        r"--pool dense=results/pools/scifact-\w{8}/[a-z0-9._-]{9,60}/pools-\w{8}/dense.safetensors", found
    )
