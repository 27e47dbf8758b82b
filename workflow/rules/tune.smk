# Not part of a board: `snakemake --cores all tune` makes it, and a suite with `tuned: true` reads it when it is planned.
# So a committed tuned.json is taken as it is, and trials run again only when they are asked for.
rule tune:
    input:
        trials=LAYOUT.trials(),
        damaged=damaged_as_well,
        sources=sources("negmark.evaluate.tune"),
    output:
        tuned=LAYOUT.tuned,
        trials=f"{LAYOUT.board}/trials.csv",
    log:
        f"results/logs/tune/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        plan=LAYOUT.tuning(),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.tune --plan {params.plan:q} --output {output.tuned:q}"
