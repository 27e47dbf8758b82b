"""Opens the suite that a command asks for: from config files, `--config`, or the manifest of a committed board."""

import json
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from negmark.core.errors import UserError
from negmark.core.source_files import ROOT
from negmark.suite.checks import export_folders, load
from negmark.suite.encoder_folder import left_open
from negmark.suite.layout import Layout
from negmark.suite.paths import BOARDS, MANIFEST
from negmark.suite.study import Study, is_sweep, merged, study_of
from negmark.suite.suite import MACHINE
from negmark.suite.sweep import sweep_of

DEFAULT_SUITE = "config/quickstart.yaml"


REPRODUCE = "reproduce"


BESIDE_REPRODUCE = frozenset({REPRODUCE, *MACHINE})


def open_suite(config: Mapping[str, Any], files: Sequence[str | Path], fetch: bool = False) -> Layout:
    """Return the layout of the suite that was asked for; a mistake in its config ends the program with one line.

    What its encoders' folders say is taken where it leaves a key out; with `fetch` the hub is asked for those.

    Without a config file on the command line, the default suite is read and `--config` changes its keys.
    `reproduce=<suite>` takes the config from the manifest of a committed board instead, and builds it elsewhere.
    """
    try:
        check_docstrings(sys.flags.optimize)
        if REPRODUCE in config:
            return _reproduction(config, files)
        if files:
            for file in files:
                refuse_repeated_keys(Path(file))
            whole, name = config, " + ".join(map(str, files))
        else:
            default = yaml.safe_load((ROOT / DEFAULT_SUITE).read_text(encoding="utf-8"))
            whole, name = merged(default, config), DEFAULT_SUITE
        suite = load(whole, name)
        export_folders(suite)
        if said := left_open(suite, name, fetch):
            suite = load(merged(whole, said), name)
        return Layout(suite)
    except UserError as error:
        _quit(error)


def study_in(config: Mapping[str, Any], file: str) -> Study:
    """Return the study of a config that varies or sweeps; its suites are not checked yet. Raises `UserError`."""
    return (sweep_of if is_sweep(config) else study_of)(config, file)


def open_study(config: Mapping[str, Any], files: Sequence[str | Path]) -> Study:
    """Return the study that was asked for, each variant checked; a mistake ends the program with one line."""
    try:
        check_docstrings(sys.flags.optimize)
        for file in files:
            refuse_repeated_keys(Path(file))
        file = " + ".join(map(str, files)) or "--config"
        study = study_in(config, file)
        if (Path(BOARDS) / study.name / "leaderboard.csv").is_file():
            raise UserError(
                f"{file}: suite: {BOARDS}/{study.name} is the board of a suite; give the study another name"
            )
        for variant in study.variants:
            load(variant.config, f"{file}: {' and '.join(variant.labels)}")
    except UserError as error:
        _quit(error)
    return study


def check_docstrings(optimize: int) -> None:
    """Raise `UserError` where Python drops docstrings (`sys.flags.optimize` is 2): boards show those of methods."""
    if optimize > 1:
        raise UserError(
            "PYTHONOPTIMIZE: Python drops docstrings at 2 (or -OO), and the board shows them; unset it"
        )


def _reproduction(config: Mapping[str, Any], files: Sequence[str | Path]) -> Layout:
    """Return the layout of a committed board's suite under another name, so that none of its runs is reused."""
    name = str(config[REPRODUCE])
    if files or (foreign := sorted(config.keys() - BESIDE_REPRODUCE)):
        extra = "--configfile" if files else foreign[0]
        raise UserError(
            f"{REPRODUCE}: the config comes from {BOARDS}/{name}/{MANIFEST}; leave out {extra} "
            f"(besides it only {', '.join(sorted(BESIDE_REPRODUCE - {REPRODUCE}))} may be given)"
        )
    path = Path(BOARDS, name, MANIFEST)
    if not path.is_file():
        there = sorted(file.parent.name for file in Path(BOARDS).glob(f"*/{MANIFEST}"))
        raise UserError(
            f"{REPRODUCE}: there is no {path}; boards with a manifest: {', '.join(there) or 'none'} "
            "(a run of a suite writes one beside its board)"
        )
    places = {key: config[key] for key in MACHINE if key in config}
    from negmark.store.board import read_board  # with pandas, which nothing else that starts needs

    committed = {**read_board(path)["suite"], **places}
    suite = load({**committed, "suite": f"{name}-reproduced"}, str(path))
    export_folders(suite)
    return Layout(suite, committed=name)


def _quit(error: UserError) -> NoReturn:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(2)


MERGE = "tag:yaml.org,2002:merge"
"""The key `<<`, which merges the keys of another mapping; keys beside it take precedence."""


def refuse_repeated_keys(path: Path) -> None:
    """Raise `UserError` with the line of a repeated key in a mapping; accepts JSON and YAML, as Snakemake does."""
    text = path.read_text(encoding="utf-8")
    try:
        json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except ValueError:
        loader = _Loader(text)
        loader.path = path
        loader.get_single_data()


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    mapping = dict(pairs)
    for key in mapping if len(mapping) < len(pairs) else ():
        if [name for name, _ in pairs].count(key) > 1:
            raise UserError(f"{path}: {key}: this key is repeated in one object; keep one of the two")
    return mapping


TRAPS = {
    "0[0-9_]+": "a number in base 8: write it without the 0 in front",
    "[0-9]+(:[0-5]?[0-9])+": "a number in base 60: write it without colons",
}
"""Plain whole numbers that YAML 1.1 reads as other ones than they look like, and how to write them."""


class _Loader(yaml.SafeLoader):
    """Reads plain values, as Snakemake does, and refuses repeated keys and numbers that aren't what they look like."""

    path: Path

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        written = str(node.value).lstrip("+-")
        for pattern, meant in TRAPS.items():
            if re.fullmatch(pattern, written) and written.strip("0_"):
                place = f"{self.path}: line {node.start_mark.line + 1}"
                raise UserError(f"{place}: YAML takes {node.value} for {meant}, or in quotes if it is a name")
        return super().construct_yaml_int(node)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == MERGE:
                continue
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if key in lines:
                raise UserError(
                    f"{self.path}: line {line}: {key}: this key is already on line {lines[key]}; "
                    "keep one of the two"
                )
            lines[key] = line
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
