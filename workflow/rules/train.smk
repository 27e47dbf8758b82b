# One rule per batch of seeds. The seeds are only in its file names: a finished run stays finished, whichever batch it
# was part of.
for SEEDS in LAYOUT.batches():

    rule:
        name:
            f"train_{'_'.join(map(str, SEEDS))}"
        input:
            unpack(
                lambda wildcards, seeds=SEEDS: PATHS.inputs(
                    DATASETS[wildcards.dataset], ROWS[wildcards.row], seeds
                )
            ),
            sources=lambda wildcards: training_sources(
                LAYOUT.specs, DATASETS[wildcards.dataset], ROWS[wildcards.row]
            ),
            method=lambda wildcards: method_sources(*ROWS[wildcards.row].methods),
        output:
            models=PATHS.outputs(SEEDS, "model.safetensors"),
            histories=PATHS.outputs(SEEDS, "history.parquet"),
            ledgers=PATHS.outputs(SEEDS, "negatives.parquet"),
            scores=PATHS.outputs(SEEDS, "scores.parquet"),
            curves=PATHS.outputs(SEEDS, "dev.parquet"),
            manifests=PATHS.outputs(SEEDS, "manifest.json"),
        log:
            f"results/logs/train/{{suite}}/{{dataset}}/{{row}}/seed-{SEEDS[0]}.log",
        threads: lambda wildcards: ROWS[wildcards.row].threads
        resources:
            mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(DATASETS[wildcards.dataset])),
            runtime="12h",
            gpu=lambda wildcards: LAYOUT.resources.gpus(ROWS[wildcards.row]),
        params:
            spec=lambda wildcards: canonical(
                LAYOUT.specs.run(DATASETS[wildcards.dataset], ROWS[wildcards.row])
            ),
            sizes=lambda wildcards: sizes(PATHS.ranker_files(ROWS[wildcards.row])),
            options=lambda wildcards: PATHS.options(DATASETS[wildcards.dataset], ROWS[wildcards.row]),
            launcher=lambda wildcards: LAYOUT.resources.launcher(ROWS[wildcards.row]),
            state="results/state/{suite}/{dataset}/{row}",
        shell:
            "NEGMARK_LOG={log:q} {params.launcher} negmark.train.train {output.models:q} --spec {params.spec:q}"
            " {params.options} --start '{input.start}' --teachers '{input.teachers}' --judgments '{input.judgments}'"
            " --state {params.state:q} --threads {threads}"
            " || python -m negmark.core.failure_record {log:q} $?"
