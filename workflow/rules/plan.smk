# Without outputs, so it runs whenever it is requested.
rule plan:
    log:
        f"results/logs/plan/{SUITE.suite}.log",
    localrule: True
    threads: 64
    params:
        suite=canonical(LAYOUT.as_given()),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.plan.plan --suite {params.suite:q} --cores {threads}"
