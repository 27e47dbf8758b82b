# The same batches as in train: a rule each, the seeds in its files and nowhere else.
for SEEDS in LAYOUT.batches():

    rule:
        name:
            f"evaluate_{'_'.join(map(str, SEEDS))}"
        input:
            unpack(lambda wildcards: LAYOUT.shared(wildcards.dataset)),
            models=lambda wildcards, seeds=SEEDS: LAYOUT.models(wildcards.dataset, wildcards.method, seeds),
            texts=lambda wildcards: LAYOUT.texts(wildcards.dataset, wildcards.method),
            sources=lambda wildcards: LAYOUT.stage_sources(
                "evaluate", wildcards.method, LAYOUT.evaluator(wildcards.dataset)
            ),
        output:
            metrics=LAYOUT.outputs(SEEDS, "metrics.json"),
            per_query=LAYOUT.outputs(SEEDS, "per_query.parquet"),
            runs=LAYOUT.outputs(SEEDS, "run.trec.gz"),
        log:
            f"results/logs/evaluate/{{suite}}/{{dataset}}/{{method}}/seed-{SEEDS[0]}.log",
        group:
            lambda wildcards: LAYOUT.group(wildcards.method)
        threads: lambda wildcards: LAYOUT.threads(wildcards.method)
        resources:
            mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(wildcards.dataset)),
            runtime="2h",
            gpu=lambda wildcards: LAYOUT.evaluation_gpus(wildcards.method),
        params:
            module=lambda wildcards: LAYOUT.evaluator(wildcards.dataset),
            about=lambda wildcards: LAYOUT.about(wildcards.dataset, wildcards.method),
            dataset=lambda wildcards, input: Path(input.qrels).parent,
            vectors=lambda wildcards, input: Path(input.documents).parent,
            models=lambda wildcards, input: Path(input.models[0]).parent.parent,
        shell:
            # The record of a failure is named after the log and not by a parameter: that would make runs anew which
            # another job made.
            "export NEGMARK_LOG={log:q}; failure=${{NEGMARK_LOG#results/logs/*/}};"
            ' export NEGMARK_FAILURE=results/failures/${{failure%.log}}.json; rm -f "$NEGMARK_FAILURE";'
            " python -m {params.module} {output.metrics:q} --about {params.about:q}"
            " --dataset {params.dataset:q} --vectors {params.vectors:q} --threads {threads}"
            " --models {params.models:q} || NEGMARK_LOG= python -m negmark.core.failures $NEGMARK_FAILURE $?"


rule evaluate_baseline:
    input:
        unpack(lambda wildcards: LAYOUT.shared(wildcards.dataset)),
        sources=lambda wildcards: sources(LAYOUT.evaluator(wildcards.dataset)),
    output:
        metrics="results/runs/{suite}/{dataset}/{baseline}/metrics.json",
        per_query="results/runs/{suite}/{dataset}/{baseline}/per_query.parquet",
        run="results/runs/{suite}/{dataset}/{baseline}/run.trec.gz",
    log:
        "results/logs/evaluate/{suite}/{dataset}/{baseline}.log",
    threads: 1
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.baseline(wildcards.dataset, wildcards.baseline)),
        runtime="2h",
    params:
        module=lambda wildcards: LAYOUT.evaluator(wildcards.dataset),
        about=lambda wildcards: LAYOUT.about_baseline(wildcards.dataset, wildcards.baseline),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {Path(input.documents).parent}" if wildcards.baseline == "untrained" else ""
        ),
    shell:
        "NEGMARK_LOG={log:q} python -m {params.module} {output.metrics:q} --about {params.about:q}"
        " --dataset {params.dataset:q} {params.vectors} --threads {threads}"
