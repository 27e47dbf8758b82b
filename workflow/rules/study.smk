# A study varies a suite (`vary:` in its config). Its variants have plans of their own, so all rules here only start them.
# Without outputs: a variant that is done says so in seconds, and the comparison is always that of the newest boards.
import json

from negmark.suite.open import open_study

STUDY = open_study(config, workflow.configfiles)


def study_command(target):
    """Return the command that runs all variants for a target."""
    given = shlex.quote(json.dumps(config))
    snakefile = shlex.quote(workflow.main_snakefile)
    return f"set -o pipefail; python -m negmark.run.study --study {given} --snakefile {snakefile} --target {target}"


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
