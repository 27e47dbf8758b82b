# Not part of a board: `snakemake --cores all tune` makes tuned.json, and a suite with `tuned:` reads it when it is
# planned. So a committed tuned.json is used as it is, and trials run again only on request.
# A row is tuned as the config has it, whatever was chosen for it before.
TRIED = SUITE.rows
TRIAL_SOURCES = lambda wildcards: [
    *sources(
        "negmark.evaluate.trials",
        *training_modules(LAYOUT.specs.trials(DATASETS[wildcards.dataset], TRIED[wildcards.row])),
    ),
    *method_sources(*TRIED[wildcards.row].methods),
]
TRIAL_INPUTS = lambda wildcards: PATHS.inputs(
    DATASETS[wildcards.dataset], TRIED[wildcards.row], SUITE.trial_start_seeds()
)


# Every rate at the row's own parameters: all trials and seeds in one process.
rule try_rates:
    input:
        unpack(TRIAL_INPUTS),
        sources=TRIAL_SOURCES,
    output:
        f"{PATHS.trials}/{{dataset}}/{{row}}/rates.json",
    log:
        f"results/logs/try_rates/{SUITE.suite}/{{dataset}}/{{row}}.log",
    threads: lambda wildcards: TRIED[wildcards.row].threads
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(DATASETS[wildcards.dataset])),
        runtime="24h",
        gpu=lambda wildcards: LAYOUT.resources.gpus(TRIED[wildcards.row]),
    params:
        task=lambda wildcards: rate_task(
            SUITE, LAYOUT.specs, DATASETS[wildcards.dataset], TRIED[wildcards.row]
        ),
        options=lambda wildcards: PATHS.options(DATASETS[wildcards.dataset], TRIED[wildcards.row]),
        launcher=lambda wildcards: LAYOUT.resources.launcher(TRIED[wildcards.row]),
        state=f"results/state/{SUITE.suite}/{{dataset}}/{{row}}/rates",
    shell:
        "NEGMARK_LOG={log:q} {params.launcher} negmark.evaluate.trials --output {output:q} --task {params.task:q}"
        " {params.options} --start '{input.start}' --teachers '{input.teachers}' --judgments '{input.judgments}'"
        " --state {params.state:q} --threads {threads}"


# The rates that all rows of a dataset try: more of them where a row's best is at the edge.
rule rate_grid:
    input:
        trials=lambda wildcards: LAYOUT.trials("rates", wildcards.dataset),
        sources=sources("negmark.evaluate.rate_grid"),
    output:
        f"{PATHS.trials}/{{dataset}}/grid.json",
    log:
        f"results/logs/rate_grid/{SUITE.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.rate_grid {input.trials:q} --output {output:q}"


# The rates that the grid has grown by, then every value of the method's main parameter at the best rate.
rule try_values:
    input:
        unpack(TRIAL_INPUTS),
        rates=rules.try_rates.output[0],
        grid=rules.rate_grid.output[0],
        sources=TRIAL_SOURCES,
    output:
        f"{PATHS.trials}/{{dataset}}/{{row}}/values.json",
    log:
        f"results/logs/try_values/{SUITE.suite}/{{dataset}}/{{row}}.log",
    threads: lambda wildcards: TRIED[wildcards.row].threads
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(DATASETS[wildcards.dataset])),
        runtime="24h",
        gpu=lambda wildcards: LAYOUT.resources.gpus(TRIED[wildcards.row]),
    params:
        task=lambda wildcards: value_task(
            SUITE, LAYOUT.specs, DATASETS[wildcards.dataset], TRIED[wildcards.row]
        ),
        options=lambda wildcards: PATHS.options(DATASETS[wildcards.dataset], TRIED[wildcards.row]),
        launcher=lambda wildcards: LAYOUT.resources.launcher(TRIED[wildcards.row]),
        state=f"results/state/{SUITE.suite}/{{dataset}}/{{row}}/values",
    shell:
        "NEGMARK_LOG={log:q} {params.launcher} negmark.evaluate.trials --output {output:q} --task {params.task:q}"
        " --rates {input.rates:q} --grid {input.grid:q}"
        " {params.options} --start '{input.start}' --teachers '{input.teachers}' --judgments '{input.judgments}'"
        " --state {params.state:q} --threads {threads}"


rule tune:
    input:
        trials=LAYOUT.trials("values"),
        grids=LAYOUT.grids(),
        damaged=RUN.repaired,
        sources=sources("negmark.compare.tune"),
    output:
        tuned=PATHS.tuned,
        trials=f"{PATHS.board}/trials.csv",
    log:
        f"results/logs/tune/{SUITE.suite}.log",
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        task=tuning_task(SUITE, LAYOUT.specs, PATHS),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.compare.tune --task {params.task:q} --output {output.tuned:q}"
