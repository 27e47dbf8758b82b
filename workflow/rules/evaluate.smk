rule evaluate:
    input:
        unpack(lambda wildcards: LAYOUT.shared(wildcards.dataset)),
        model=rules.train.output.model,
        sources=sources("workflow.evaluate"),
    output:
        metrics="results/runs/{suite}/{dataset}/{method}/seed-{seed}/metrics.json",
        per_query="results/runs/{suite}/{dataset}/{method}/seed-{seed}/per_query.parquet",
        run="results/runs/{suite}/{dataset}/{method}/seed-{seed}/run.trec.gz",
    log:
        "results/logs/evaluate/{suite}/{dataset}/{method}/seed-{seed}.log",
    conda:
        "../envs/negbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="2h",
    params:
        about=lambda wildcards: LAYOUT.about(wildcards.dataset, wildcards.method, wildcards.seed),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.metrics).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.evaluate --about {params.about:q}"
        " --dataset {params.dataset:q} --vectors {params.vectors:q} --model {input.model:q}"
        " --folder {params.folder:q} --threads {threads}"


rule evaluate_baseline:
    input:
        unpack(lambda wildcards: LAYOUT.shared(wildcards.dataset)),
        sources=sources("workflow.evaluate"),
    output:
        metrics="results/runs/{suite}/{dataset}/{baseline}/metrics.json",
        per_query="results/runs/{suite}/{dataset}/{baseline}/per_query.parquet",
        run="results/runs/{suite}/{dataset}/{baseline}/run.trec.gz",
    log:
        "results/logs/evaluate/{suite}/{dataset}/{baseline}.log",
    conda:
        "../envs/negbench.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime="2h",
    params:
        about=lambda wildcards: LAYOUT.about_baseline(wildcards.dataset, wildcards.baseline),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {Path(input.documents).parent}" if wildcards.baseline == "untrained" else ""
        ),
        folder=lambda wildcards, output: Path(output.metrics).parent,
    shell:
        "NEGBENCH_LOG={log:q} python -m workflow.evaluate --about {params.about:q}"
        " --dataset {params.dataset:q} {params.vectors} --folder {params.folder:q} --threads {threads}"
