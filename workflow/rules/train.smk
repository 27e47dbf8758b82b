# A rule for every batch of seeds. The seeds stand in its files and nowhere else: a run that is done stays done,
# whichever batch it was part of.
# Trials of `tune` are trained by the same rule, under names that no other rule knows: nothing else is done to them.
for SEEDS, ROWS in LAYOUT.jobs():

    rule:
        name:
            f"{'try' if 'trial' in ROWS else 'train'}_{'_'.join(map(str, SEEDS))}"
        input:
            unpack(lambda wildcards: LAYOUT.shared(wildcards.dataset)),
            card=lambda wildcards: LAYOUT.card(wildcards.dataset),
            facts=lambda wildcards: f"{LAYOUT.vectors(wildcards.dataset)}/embeddings.json",
            pools=lambda wildcards: LAYOUT.pools(wildcards.dataset, wildcards.method).values(),
            teacher=lambda wildcards: LAYOUT.teacher(wildcards.dataset, wildcards.method),
            start=lambda wildcards, seeds=SEEDS: LAYOUT.start(wildcards.dataset, wildcards.method, seeds),
            texts=lambda wildcards: LAYOUT.texts(wildcards.dataset, wildcards.method),
            sources=lambda wildcards: LAYOUT.train_sources(wildcards.dataset, wildcards.method),
            method=lambda wildcards: LAYOUT.method_sources(wildcards.method),
        output:
            models=LAYOUT.outputs(SEEDS, "model.safetensors"),
            histories=LAYOUT.outputs(SEEDS, "history.parquet"),
            ledgers=LAYOUT.outputs(SEEDS, "negatives.parquet"),
            scores=LAYOUT.outputs(SEEDS, "scores.parquet"),
            curves=LAYOUT.outputs(SEEDS, "dev.parquet"),
            manifests=LAYOUT.outputs(SEEDS, "manifest.json"),
        log:
            f"results/logs/train/{{suite}}/{{dataset}}/{{method}}/seed-{SEEDS[0]}.log",
        wildcard_constraints:
            method=ROWS,
        threads: lambda wildcards: LAYOUT.threads(wildcards.method)
        resources:
            mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(wildcards.dataset)),
            runtime="12h",
            gpu=lambda wildcards: LAYOUT.gpus(wildcards.method),
        params:
            spec=lambda wildcards: LAYOUT.spec(wildcards.dataset, wildcards.method),
            pools=lambda wildcards: LAYOUT.pool_options(wildcards.dataset, wildcards.method),
            teacher=lambda wildcards, input: [f"--teacher {Path(file).parent}" for file in input.teacher],
            dataset=lambda wildcards, input: Path(input.qrels).parent,
            vectors=lambda wildcards, input: Path(input.documents).parent,
            launcher=lambda wildcards: LAYOUT.launcher(wildcards.method),
            state="results/state/{suite}/{dataset}/{method}",
        shell:
            # The record of a failure is named after the log and not by a parameter: that would make runs anew which
            # another job made.
            "export NEGMARK_LOG={log:q}; failure=${{NEGMARK_LOG#results/logs/*/}};"
            ' export NEGMARK_FAILURE=results/failures/${{failure%.log}}.json; rm -f "$NEGMARK_FAILURE";'
            " {params.launcher} negmark.train.train {output.models:q} --spec {params.spec:q}"
            " --dataset {params.dataset:q} --vectors {params.vectors:q} {params.pools}"
            " {params.teacher} --start '{input.start}' --state {params.state:q} --threads {threads}"
            " || NEGMARK_LOG= python -m negmark.core.failures $NEGMARK_FAILURE $?"
