# One suite: its rows, datasets and targets, and the rules that make them.
import re

from negmark.core.files import canonical
from negmark.core.source_files import asset, method_sources, sources
from negmark.core.tier_modules import training_modules
from negmark.run.suite_run import open_run
from negmark.share.trainer_files import WRITERS
from negmark.suite.figures import OF_DATASET, OF_SUITE, planned
from negmark.suite.memory import Footprint, memory
from negmark.suite.own_files import inputs, sizes
from negmark.suite.row_code import evaluation_sources, training_sources
from negmark.suite.tuned_rows import rate_task, tuning_task, value_task

RUN = open_run(workflow, config)
LAYOUT = RUN.layout
SUITE, PATHS, CONTENTS = LAYOUT.suite, LAYOUT.paths, LAYOUT.contents
# What a wildcard names: {dataset} a dataset by the suite's name for it, {collection} one by the folder of what is
# prepared of it, {row} a row of the board.
DATASETS, COLLECTIONS, ROWS = LAYOUT.datasets, LAYOUT.collections, LAYOUT.rows
FOOTPRINT = Footprint(LAYOUT)


report: "../report/workflow.rst"


wildcard_constraints:
    suite="[a-z0-9][a-z0-9_-]*",
    dataset="[a-z0-9][a-z0-9_-]*",
    collection="[a-z0-9][a-z0-9_-]*",
    row="[a-z0-9][a-z0-9_-]*",
    gate="[a-z0-9][a-z0-9_-]*",
    seed="[0-9]+",
    baseline="untrained|bm25_search",


include: "data.smk"
include: "encode.smk"
include: "search.smk"
include: "train.smk"
include: "tune.smk"
include: "evaluate.smk"
include: "compare.smk"
include: "board.smk"
include: "plan.smk"
include: "share.smk"


# Not in a dry run or a report, and no longer than this process lives.
onstart:
    RUN.start()


onerror:
    RUN.board_without_failures()


onsuccess:
    RUN.finish()
