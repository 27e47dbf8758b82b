rule dataset:
    input:
        sources=sources("workflow.data"),
        tables=["workflow/datasets.yaml"],
    output:
        documents="results/datasets/{dataset}/documents.parquet",
        queries="results/datasets/{dataset}/queries.parquet",
        qrels="results/datasets/{dataset}/qrels.parquet",
        card="results/datasets/{dataset}/card.json",
    params:
        settings=lambda wildcards: LAYOUT.dataset_settings(LAYOUT.by_key(wildcards.dataset)),
        folder=lambda wildcards, output: Path(output.card).parent,
    log:
        "results/logs/datasets/{dataset}.log",
    resources:
        mem_mb=2000,
        runtime="30m",
    conda:
        "../envs/negbench.yaml"
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.data --settings {params.settings:q} --folder {params.folder:q}"


rule embeddings:
    input:
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        sources=sources("workflow.embeddings"),
    output:
        documents="results/embeddings/{dataset}/{encoder}/documents.npy",
        queries="results/embeddings/{dataset}/{encoder}/queries.npy",
        facts="results/embeddings/{dataset}/{encoder}/embeddings.json",
    params:
        settings=LAYOUT.encoder_settings(),
        dataset=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.facts).parent,
    log:
        "results/logs/embeddings/{dataset}/{encoder}.log",
    threads: 64
    resources:
        mem_mb=4000,
        runtime="12h",
    conda:
        "../envs/negbench.yaml"
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.embeddings"
        " --dataset {params.dataset:q} --settings {params.settings:q} --folder {params.folder:q}"
