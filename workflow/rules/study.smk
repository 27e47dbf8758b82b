# A study varies a suite (`vary:` in its config). Its variants have plans of their own, so all rules here only start them.
# Without outputs: a variant that is done says so in seconds, and the comparison is always that of the newest boards.
from negmark.suite.open import open_study
from negmark.suite.study import as_json

STUDY = open_study(config, workflow.configfiles)


def study_command(target):
    """Return what gives the command that runs all variants for a target: Snakemake would fill in braces of a text."""
    given = shlex.quote(as_json(STUDY))
    snakefile = shlex.quote(workflow.main_snakefile)
    command = f"set -o pipefail; python -m negmark.run.study --study {given} --snakefile {snakefile} --target {target}"
    return lambda wildcards: command


for TARGET in ("tune", "plan"):

    rule:
        name:
            TARGET
        log:
            f"results/logs/study/{STUDY.name}-{TARGET}.log",
        localrule: True
        threads: 64
        params:
            command=study_command(TARGET),
        shell:
            "{params.command} --cores {threads} 2>&1 | tee {log:q} >&2"
