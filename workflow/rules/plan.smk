# Prints and keeps nothing that anything waits for, so it runs whenever it is asked for.
rule plan:
    log:
        f"results/logs/plan/{LAYOUT.suite.suite}.log",
    localrule: True
    threads: 64
    params:
        suite=lambda wildcards: canonical(LAYOUT.as_given()),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.plan.plan --suite {params.suite:q} --cores {threads}"
