# One rule per batch of seeds. The seeds are only in its file names: a finished run stays finished, whichever batch it
# was part of.
# Trials of `tune` are trained by the same rule, under names that no other rule matches: nothing else uses them.
for SEEDS, ROW_PATTERN in LAYOUT.jobs():

    rule:
        name:
            f"{'try' if 'trial' in ROW_PATTERN else 'train'}_{'_'.join(map(str, SEEDS))}"
        input:
            unpack(lambda wildcards: PATHS.shared(DATASETS[wildcards.dataset])),
            card=lambda wildcards: PATHS.card(DATASETS[wildcards.dataset]),
            facts=lambda wildcards: PATHS.vector_facts(DATASETS[wildcards.dataset]),
            pools=lambda wildcards: PATHS.pools(DATASETS[wildcards.dataset], ROWS[wildcards.row]).values(),
            teacher=lambda wildcards: PATHS.teacher(DATASETS[wildcards.dataset], ROWS[wildcards.row]),
            start=lambda wildcards, seeds=SEEDS: PATHS.start(
                DATASETS[wildcards.dataset], ROWS[wildcards.row], seeds
            ),
            texts=lambda wildcards: PATHS.texts(DATASETS[wildcards.dataset], ROWS[wildcards.row]),
            sources=lambda wildcards: training_sources(
                LAYOUT.specs, DATASETS[wildcards.dataset], ROWS[wildcards.row]
            ),
            method=lambda wildcards: method_sources(ROWS[wildcards.row].method),
        output:
            models=PATHS.outputs(SEEDS, "model.safetensors"),
            histories=PATHS.outputs(SEEDS, "history.parquet"),
            ledgers=PATHS.outputs(SEEDS, "negatives.parquet"),
            scores=PATHS.outputs(SEEDS, "scores.parquet"),
            curves=PATHS.outputs(SEEDS, "dev.parquet"),
            manifests=PATHS.outputs(SEEDS, "manifest.json"),
        log:
            f"results/logs/train/{{suite}}/{{dataset}}/{{row}}/seed-{SEEDS[0]}.log",
        wildcard_constraints:
            row=ROW_PATTERN,
        threads: lambda wildcards: ROWS[wildcards.row].threads
        resources:
            mem_mb=memory(2000, lambda wildcards: FOOTPRINT.vectors(DATASETS[wildcards.dataset])),
            runtime="12h",
            gpu=lambda wildcards: LAYOUT.resources.gpus(ROWS[wildcards.row]),
        params:
            spec=lambda wildcards: canonical(
                LAYOUT.specs.run(DATASETS[wildcards.dataset], ROWS[wildcards.row])
            ),
            pools=lambda wildcards: [
                f"--pool {kind}={path}"
                for kind, path in PATHS.pools(DATASETS[wildcards.dataset], ROWS[wildcards.row]).items()
            ],
            teacher=lambda wildcards, input: [f"--teacher {Path(file).parent}" for file in input.teacher],
            dataset=lambda wildcards, input: Path(input.qrels).parent,
            vectors=lambda wildcards, input: Path(input.documents).parent,
            launcher=lambda wildcards: LAYOUT.resources.launcher(ROWS[wildcards.row]),
            state="results/state/{suite}/{dataset}/{row}",
        shell:
            "NEGMARK_LOG={log:q} {params.launcher} negmark.train.train {output.models:q} --spec {params.spec:q}"
            " --dataset {params.dataset:q} --vectors {params.vectors:q} {params.pools}"
            " {params.teacher} --start '{input.start}' --state {params.state:q} --threads {threads}"
            " || python -m negmark.core.failure_record {log:q} $?"
