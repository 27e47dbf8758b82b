rule audit:
    input:
        ledgers=lambda wildcards: [run / "negatives.parquet" for run in CONTENTS.runs(wildcards.dataset)],
        manifests=lambda wildcards: [run / "manifest.json" for run in CONTENTS.runs(wildcards.dataset)],
        documents=lambda wildcards: f"{LAYOUT.dataset(wildcards.dataset)}/documents.parquet",
        qrels=lambda wildcards: f"{LAYOUT.dataset(wildcards.dataset)}/qrels.parquet",
        sources=sources("negmark.evaluate.audit"),
    output:
        table=f"{LAYOUT.board}/audit/{{dataset}}.csv",
    log:
        f"results/logs/audit/{LAYOUT.suite.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.audit --contents {params.contents:q}"
        " --name {wildcards.dataset:q} --dataset {params.dataset:q} --output {output.table:q}"


rule foresight:
    input:
        ledgers=lambda wildcards: [run / "negatives.parquet" for run in CONTENTS.runs(wildcards.dataset)],
        manifests=lambda wildcards: [run / "manifest.json" for run in CONTENTS.runs(wildcards.dataset)],
        vectors=lambda wildcards: [
            f"{LAYOUT.vectors(wildcards.dataset)}/{side}.npy" for side in ("documents", "queries")
        ],
        qrels=lambda wildcards: f"{LAYOUT.dataset(wildcards.dataset)}/qrels.parquet",
        sources=sources("negmark.evaluate.foresight"),
    output:
        table=f"{LAYOUT.board}/foresight/{{dataset}}.csv",
    log:
        f"results/logs/foresight/{LAYOUT.suite.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: Path(input.vectors[0]).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.foresight --contents {params.contents:q}"
        " --name {wildcards.dataset:q} --dataset {params.dataset:q} --vectors {params.vectors:q}"
        " --output {output.table:q}"
