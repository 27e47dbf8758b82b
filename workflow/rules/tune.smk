# Not part of a board: `snakemake --cores all tune` makes it, and a suite with `tuned: true` reads it when it is planned.
# So a committed tuned.json is used as it is, and trials run again only on request.
rule tune:
    input:
        trials=LAYOUT.trial_curves(),
        damaged=RUN.repaired,
        sources=sources("negmark.evaluate.tune"),
    output:
        tuned=PATHS.tuned,
        trials=f"{PATHS.board}/trials.csv",
    log:
        f"results/logs/tune/{SUITE.suite}.log",
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        task=tuning_task(SUITE, LAYOUT.specs, [place for place in LAYOUT.failed if place[1] in LAYOUT.trials]),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.tune --task {params.task:q} --output {output.tuned:q}"
