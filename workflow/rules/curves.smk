rule curves:
    input:
        curves=lambda wildcards: [
            run / "dev.parquet"
            for run in CONTENTS.runs(wildcards.dataset)
            if run.parent.name in LAYOUT.curved_rows()
        ],
        metrics=lambda wildcards: [
            run / "metrics.json"
            for run in CONTENTS.runs(wildcards.dataset)
            if run.parent.name in LAYOUT.curved_rows()
        ],
        sources=sources("workflow.curves"),
        style=asset("workflow/report/negbench.mplstyle"),
    output:
        multiext(f"{LAYOUT.board}/figures/{{dataset}}-curves", ".svg", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"results/logs/curves/{LAYOUT.suite.suite}/{{dataset}}.log",
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=2000,
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        rows=" ".join(LAYOUT.curved_rows()),
        folder=lambda wildcards, output: Path(output[0]).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.curves --contents {params.contents:q}"
        " --dataset {wildcards.dataset:q} --folder {params.folder:q} --rows {params.rows:q}"
