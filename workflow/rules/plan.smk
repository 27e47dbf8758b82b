# Prints and keeps nothing that anything waits for, so it runs whenever it is asked for.
rule plan:
    log:
        f"results/logs/plan/{LAYOUT.suite.suite}.log",
    localrule: True
    conda:
        "../envs/negbench.yaml"
    threads: 64
    params:
        suite=lambda wildcards: canonical(LAYOUT.as_given()),
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.plan --suite {params.suite:q} --cores {threads}"
