rule track:
    input:
        contents=rules.contents.output.contents,
        metrics=CONTENTS.files("metrics.json"),
        histories=[run / "history.parquet" for run in CONTENTS.runs(*CONTENTS.trained())],
        scores=[run / "scores.parquet" for run in CONTENTS.runs(*CONTENTS.trained())],
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        sources=sources("negmark.share.track"),
    output:
        receipt=PATHS.wandb,
    log:
        f"results/logs/track/{SUITE.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        settings=canonical(SUITE.tracking.model_dump()),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.track --contents {input.contents:q}"
        " --settings {params.settings:q} --receipt {output.receipt:q}"


# A rule of its own, as boards are made more often than runs.
rule track_board:
    input:
        contents=rules.contents.output.contents,
        table=rules.leaderboard.output.csv,
        page=rules.leaderboard.output.html,
        manifest=rules.manifest.output.manifest,
        sources=sources("negmark.share.track"),
    output:
        receipt=PATHS.wandb_board,
    log:
        f"results/logs/track/{SUITE.suite}-board.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        settings=canonical(SUITE.tracking.model_dump()),
        folder=lambda wildcards, input: Path(input.table).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.track --contents {input.contents:q}"
        " --settings {params.settings:q} --receipt {output.receipt:q} --folder {params.folder:q}"


# The only rule that needs the network and a key; no other target depends on it.
rule sync:
    input:
        receipts=[rules.track.output.receipt, rules.track_board.output.receipt],
        sources=sources("negmark.share.sync"),
    output:
        receipt=f"results/tracking/{SUITE.suite}.synced.json",
    log:
        f"results/logs/sync/{SUITE.suite}.log",
    localrule: True
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.sync {input.receipts:q} --output {output.receipt:q}"


rule export:
    input:
        warmup=lambda wildcards: PATHS.warmup_of(DATASETS[wildcards.dataset]),
        model="results/runs/{suite}/{dataset}/{row}/seed-{seed}/model.safetensors",
        manifest="results/runs/{suite}/{dataset}/{row}/seed-{seed}/manifest.json",
        metrics="results/runs/{suite}/{dataset}/{row}/seed-{seed}/metrics.json",
        sources=sources("negmark.share.export"),
        method=lambda wildcards: method_sources(*ROWS[wildcards.row].methods),
    output:
        # The folder rather than its files: which files a model has varies, and Snakemake removes the old folder
        # before the job, so that none of its files is left among the new ones.
        model=directory("results/models/{suite}/{dataset}/{row}/seed-{seed}"),
    log:
        "results/logs/export/{suite}/{dataset}/{row}/seed-{seed}.log",
    resources:
        mem_mb=memory(4000),
        runtime="30m",
    params:
        encoder=lambda wildcards: canonical(PATHS.encoder_of(DATASETS[wildcards.dataset])),
        run=lambda wildcards, input: Path(input.model).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.export {params.run:q}"
        " --encoder {params.encoder:q} --output {output.model:q}"


rule models:
    input:
        RUN.repaired,
        expand(
            "results/models/{suite}/{dataset}/{row}/seed-{seed}",
            suite=SUITE.suite,
            dataset=CONTENTS.trained(),
            row=[row.name for row in LAYOUT.rows.values() if not row.tier.scores_pairs],  # no vectors there
            seed=CONTENTS.seeds[0],
        ),
    localrule: True


# One file for each trainer, of which a user names one or asks for all of them (`negatives`).
rule negatives_file:
    input:
        ledger="results/runs/{suite}/{dataset}/{row}/seed-{seed}/negatives.parquet",
        manifest="results/runs/{suite}/{dataset}/{row}/seed-{seed}/manifest.json",
        documents=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/documents.parquet",
        queries=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/queries.parquet",
        qrels=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/qrels.parquet",
        sources=sources("negmark.share.negatives"),
    output:
        file="results/negatives/{suite}/{dataset}/{row}/seed-{seed}/{file}",
        record="results/negatives/{suite}/{dataset}/{row}/seed-{seed}/{file}.about.json",
    log:
        "results/logs/negatives/{suite}/{dataset}/{row}/seed-{seed}-{file}.log",
    wildcard_constraints:
        file="|".join(map(re.escape, WRITERS)),
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.texts(DATASETS[wildcards.dataset])),
        runtime="30m",
    params:
        run=lambda wildcards, input: Path(input.ledger).parent,
        dataset=lambda wildcards, input: Path(input.qrels).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.negatives {params.run:q} --dataset {params.dataset:q}"
        " --output {output.file:q} --record {output.record:q}"


rule negatives:
    input:
        RUN.repaired,
        expand(
            "results/negatives/{suite}/{dataset}/{row}/seed-{seed}/{file}",
            suite=SUITE.suite,
            dataset=CONTENTS.trained(),
            row=[
                row.name
                for row in LAYOUT.rows.values()
                if row.gives_documents and row.name not in CONTENTS.controls
            ],
            seed=CONTENTS.seeds[0],
            file=WRITERS,
        ),
    localrule: True


# What MTEB's tools read beside the results of other models.
rule mteb:
    input:
        RUN.repaired,
        contents=rules.contents.output.contents,
        metrics=CONTENTS.files("metrics.json"),
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        sources=sources("negmark.share.mteb_results"),
        tasks=asset("workflow/negmark/share/mteb_tasks.yaml"),
    output:
        # The folder, as Snakemake removes it before the job: no result of a row that is gone is left in it.
        folder=directory(f"results/mteb/{SUITE.suite}"),
    log:
        f"results/logs/mteb/{SUITE.suite}.log",
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.mteb_results --contents {input.contents:q}"
        " --output {output.folder:q}"


rule trec_file:
    input:
        metrics="results/runs/{suite}/{dataset}/{row}/seed-{seed}/metrics.json",
        run="results/runs/{suite}/{dataset}/{row}/seed-{seed}/run.trec.gz",
        manifest=lambda wildcards: PATHS.run_files(
            DATASETS[wildcards.dataset].home, wildcards.row, [int(wildcards.seed)], "manifest.json"
        ),
        sources=sources("negmark.share.annotated_run"),
    output:
        file="results/trec/{suite}/{dataset}/{row}/seed-{seed}.trec",
    log:
        "results/logs/trec/{suite}/{dataset}/{row}/seed-{seed}.log",
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        reference=LAYOUT.reference,
        folder=lambda wildcards, input: Path(input.metrics).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.annotated_run {params.folder:q} --manifest {input.manifest:q}"
        " --reference {params.reference:q} --output {output.file:q}"


rule trec:
    input:
        RUN.repaired,
        expand(
            "results/trec/{suite}/{dataset}/{row}/seed-{seed}.trec",
            suite=SUITE.suite,
            dataset=[name for name in CONTENTS.cards if name not in CONTENTS.sentences],
            row=CONTENTS.rows,
            seed=CONTENTS.seeds,
        ),
    localrule: True


# What to ask a judge of false negatives, and what one who knows the hidden labels would say.
rule judge_file:
    input:
        pool=lambda wildcards: PATHS.pool(DATASETS[wildcards.dataset], "dense"),
        documents=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/documents.parquet",
        queries=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/queries.parquet",
        qrels=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/qrels.parquet",
        sources=sources("negmark.share.to_judge"),
    output:
        file="results/to_judge/{suite}/{dataset}/{kind}.jsonl",
    log:
        "results/logs/to_judge/{suite}/{dataset}/{kind}.log",
    wildcard_constraints:
        kind="prompts|truth",
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.texts(DATASETS[wildcards.dataset])),
        runtime="1h",
    params:
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        truth=lambda wildcards: "--truth" if wildcards.kind == "truth" else "",
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.to_judge {params.truth} --pool {input.pool:q}"
        " --dataset {params.dataset:q} --output {output.file:q}"


rule to_judge:
    input:
        RUN.repaired,
        LAYOUT.judge_files(),
    localrule: True
