rule track:
    input:
        metrics=[run / "metrics.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        histories=[run / "history.parquet" for run in CONTENTS.runs(*CONTENTS.trained())],
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        sources=sources("workflow.tracking"),
    output:
        receipt=LAYOUT.wandb,
    log:
        f"results/logs/track/{LAYOUT.suite.suite}.log",
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=2000,
        runtime="1h",
    params:
        contents=CONTENTS.model_dump_json(),
        settings=canonical(LAYOUT.suite.tracking.model_dump()),
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.tracking --contents {params.contents:q}"
        " --settings {params.settings:q} --receipt {output.receipt:q}"
