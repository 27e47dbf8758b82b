"""negmark: which negatives should I train my retriever on? One suite (config/*.yaml) gives one board."""

import shlex
import sys
from pathlib import Path

from snakemake.utils import min_version

# The code that runs is the code beside this file, wherever another copy may be installed.
PACKAGE_PATH = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE_PATH)

from negmark.run.second_plan import go_on_without
from negmark.core.files import canonical
from negmark.suite.memory import Footprint, memory
from negmark.suite.open import open_suite
from negmark.run.repair import damaged_results, promise, remade
from negmark.run.start import begin, check_folder
from negmark.core.source_files import asset, sources
from negmark.run.terminal import closing_words, one_line_a_job

min_version("9.20")
one_line_a_job()

if workflow.is_main_process:
    check_folder()

LAYOUT = open_suite(config, workflow.configfiles)
CONTENTS = LAYOUT.contents()
FOOTPRINT = Footprint(LAYOUT)
DAMAGED = damaged_results(LAYOUT) if workflow.is_main_process else []
damaged_as_well = remade(workflow, DAMAGED)

# Jobs run with this interpreter, also where its environment is not activated.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" PYTHONPATH={shlex.quote(PACKAGE_PATH)}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
)


report: "workflow/report/workflow.rst"


wildcard_constraints:
    suite="[a-z0-9][a-z0-9_-]*",
    dataset="[a-z0-9][a-z0-9_-]*",
    method="[a-z0-9][a-z0-9_-]*",
    gate="[a-z0-9][a-z0-9_-]*",
    seed="[0-9]+",
    baseline="untrained|bm25_search",


rule all:
    default_target: True
    input:
        LAYOUT.targets(),
        damaged_as_well,
    localrule: True


include: "workflow/rules/data.smk"
include: "workflow/rules/candidates.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/gates.smk"
include: "workflow/rules/leaderboard.smk"
include: "workflow/rules/reproduce.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/tracking.smk"
include: "workflow/rules/export.smk"


# Not in a dry run or a report, and no longer than this process lives.
onstart:
    begin(DAMAGED)


onerror:
    go_on_without(LAYOUT.recorded_failures())


onsuccess:
    promise([])
    if "reproduce" not in workflow.dag_settings.targets:  # which ends with its own table
        print(closing_words(LAYOUT.board, untuned=LAYOUT.untuned))
