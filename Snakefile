"""negmark: which negatives should I train my retriever on? One suite (config/*.yaml) gives one board.

A study (`vary:` in its config) gives a board for each of its variants, and compares them. The target `advise` makes a
board of a user's own collection within a time, and says what to take.
"""

import shlex
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

# The code that runs is the code beside this file, wherever another copy may be installed.
PACKAGE = str(Path(workflow.basedir) / "workflow")
sys.path.insert(0, PACKAGE)

from negmark.advise.asked import is_advice
from negmark.suite.study import is_study

# Jobs run with this interpreter, also where its environment is not activated. `python -m` would look into the working
# folder first: a folder `negmark` there must not be what runs.
shell.prefix(
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    f" PYTHONSAFEPATH=1 PYTHONPATH={shlex.quote(PACKAGE)}${{{{PYTHONPATH:+:$PYTHONPATH}}}}; "
)


# The default target of an included file would not be that of this one.
if is_advice(config, sys.argv[1:]):

    include: "workflow/rules/advise.smk"

    rule advise:
        default_target: True
        log:
            f"results/logs/advise/{ASKED.suite}.log",
        localrule: True
        threads: 64
        params:
            command=advise_command(),
        shell:
            "{params.command} --cores {threads} 2>&1 | tee {log:q} >&2"

elif is_study(config):

    include: "workflow/rules/study.smk"

    rule all:
        default_target: True
        log:
            f"results/logs/study/{STUDY.name}.log",
        localrule: True
        threads: 64
        params:
            command=study_command("all"),
        shell:
            "{params.command} --cores {threads} 2>&1 | tee {log:q} >&2"

else:

    include: "workflow/rules/suite.smk"

    rule all:
        default_target: True
        input:
            LAYOUT.targets(),
            RUN.repaired,
        localrule: True
