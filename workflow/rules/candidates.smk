rule bm25_pool:
    input:
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        sources=sources("workflow.candidates"),
    output:
        pool="results/pools/{dataset}/bm25/{settings}/bm25.safetensors",
    log:
        "results/logs/pools/{dataset}/bm25-{settings}.log",
    priority: 10
    conda:
        "../envs/negbench.yaml"
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        settings=LAYOUT.pool_settings(),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.candidates --kind bm25"
        " --dataset {params.dataset:q} --settings {params.settings:q} --output {output.pool:q}"


rule dense_pool:
    input:
        qrels=rules.dataset.output.qrels,
        documents=rules.embeddings.output.documents,
        queries=rules.embeddings.output.queries,
        sources=sources("workflow.candidates"),
    output:
        pool="results/pools/{dataset}/{encoder}/{settings}/dense.safetensors",
    log:
        "results/logs/pools/{dataset}/{encoder}-{settings}.log",
    priority: 10
    conda:
        "../envs/negbench.yaml"
    threads: 64
    resources:
        mem_mb=4000,
        runtime="4h",
    params:
        settings=LAYOUT.pool_settings(),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.candidates --kind dense"
        " --dataset {params.dataset:q} --vectors {params.vectors:q}"
        " --settings {params.settings:q} --output {output.pool:q} --threads {threads}"
