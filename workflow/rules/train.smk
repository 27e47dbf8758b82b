rule train:
    input:
        unpack(lambda wildcards: LAYOUT.shared(wildcards.dataset)),
        unpack(lambda wildcards: LAYOUT.own(wildcards.dataset, wildcards.method, wildcards.seed)),
        card=lambda wildcards: LAYOUT.card(wildcards.dataset),
        facts=lambda wildcards: f"{LAYOUT.vectors(wildcards.dataset)}/embeddings.json",
        pools=lambda wildcards: LAYOUT.pools(wildcards.dataset, wildcards.method).values(),
        sources=sources("workflow.train"),
        method=lambda wildcards: LAYOUT.method_sources(wildcards.method),
    output:
        model="results/runs/{suite}/{dataset}/{method}/seed-{seed}/model.safetensors",
        history="results/runs/{suite}/{dataset}/{method}/seed-{seed}/history.parquet",
        ledger="results/runs/{suite}/{dataset}/{method}/seed-{seed}/negatives.parquet",
        scores="results/runs/{suite}/{dataset}/{method}/seed-{seed}/scores.parquet",
        manifest="results/runs/{suite}/{dataset}/{method}/seed-{seed}/manifest.json",
    log:
        "results/logs/train/{suite}/{dataset}/{method}/seed-{seed}.log",
    conda:
        "../envs/negbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="12h",
    params:
        spec=lambda wildcards: LAYOUT.spec(wildcards.dataset, wildcards.method, wildcards.seed),
        pools=lambda wildcards: LAYOUT.pool_options(wildcards.dataset, wildcards.method),
        own=lambda wildcards: LAYOUT.own_options(wildcards.dataset, wildcards.method, wildcards.seed),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.model).parent,
        state="results/state/{suite}/{dataset}/{method}/seed-{seed}",
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.train --spec {params.spec:q} --dataset {params.dataset:q}"
        " --vectors {params.vectors:q} {params.pools} {params.own} --folder {params.folder:q}"
        " --state {params.state:q} --threads {threads}"
