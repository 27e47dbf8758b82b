"""negmark: which negatives should I train my retriever on? One suite (config/*.yaml) gives one board."""

import shlex
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# The code that runs is the code beside this file, wherever another copy may be installed.
PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)

from negmark.core.files import canonical
from negmark.core.source_files import asset, method_sources, sources
from negmark.core.tier_modules import training_modules
from negmark.run.suite_run import open_run
from negmark.suite.figures import OF_DATASET, OF_SUITE, planned
from negmark.suite.memory import Footprint, memory
from negmark.suite.row_code import evaluation_sources, training_sources
from negmark.suite.tuned_rows import rate_task, tuning_task, value_task

RUN = open_run(workflow, config)
LAYOUT = RUN.layout
SUITE, PATHS, CONTENTS = LAYOUT.suite, LAYOUT.paths, LAYOUT.contents
# What a wildcard names: {dataset} a dataset by the suite's name for it, {collection} one by the folder of what is
# prepared of it, {row} a row of the board.
DATASETS, COLLECTIONS, ROWS = LAYOUT.datasets, LAYOUT.collections, LAYOUT.rows
FOOTPRINT = Footprint(LAYOUT)

# Jobs run with this interpreter, also where its environment is not activated.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" PYTHONPATH={shlex.quote(PACKAGE)}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
)


report: "workflow/report/workflow.rst"


wildcard_constraints:
    suite="[a-z0-9][a-z0-9_-]*",
    dataset="[a-z0-9][a-z0-9_-]*",
    collection="[a-z0-9][a-z0-9_-]*",
    row="[a-z0-9][a-z0-9_-]*",
    gate="[a-z0-9][a-z0-9_-]*",
    seed="[0-9]+",
    baseline="untrained|bm25_search",


rule all:
    default_target: True
    input:
        LAYOUT.targets(),
        RUN.repaired,
    localrule: True


include: "workflow/rules/data.smk"
include: "workflow/rules/encode.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tune.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/board.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/share.smk"


# Not in a dry run or a report, and no longer than this process lives.
onstart:
    RUN.start()


onerror:
    RUN.board_without_failures()


onsuccess:
    RUN.finish()
