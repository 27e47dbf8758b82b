# Shared work has priority: it takes all cores, and would leave some idle while it waits for a long run to end.
rule dataset:
    input:
        sources=lambda wildcards: sources(*LAYOUT.preparers(LAYOUT.named(wildcards.dataset))),
        tables=asset("workflow/negmark/data/datasets.yaml"),
    output:
        documents="results/datasets/{dataset}/documents.parquet",
        queries="results/datasets/{dataset}/queries.parquet",
        qrels="results/datasets/{dataset}/qrels.parquet",
        card="results/datasets/{dataset}/card.json",
    log:
        "results/logs/datasets/{dataset}.log",
    priority: 10
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.texts(wildcards.dataset)),
        runtime="4h",  # MS MARCO has 8.8 million passages to read
    params:
        settings=lambda wildcards: LAYOUT.dataset_settings(LAYOUT.named(wildcards.dataset)),
        folder=lambda wildcards, output: Path(output.card).parent,
        module=lambda wildcards: LAYOUT.preparer(LAYOUT.named(wildcards.dataset)),
    shell:
        "NEGMARK_LOG={log:q} python -m {params.module} --settings {params.settings:q} --folder {params.folder:q}"


rule warm_up:
    input:
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        sources=sources("negmark.train.warmup", "negmark.train.tiers.finetune", "negmark.methods.inbatch"),
    output:
        model="results/warmups/{dataset}/{encoder}/model.safetensors",
        facts="results/warmups/{dataset}/{encoder}/warmup.json",
    log:
        "results/logs/warmups/{dataset}/{encoder}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(wildcards.dataset)),
        runtime="12h",
        gpu=LAYOUT.gpus(),
    params:
        settings=lambda wildcards: canonical(LAYOUT.suite.encoder.model_dump()),
        training=canonical(LAYOUT.suite.finetune.decides()),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        folder=lambda wildcards, output: Path(output.facts).parent,
        state="results/state/warmups/{dataset}/{encoder}",
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.train.warmup --dataset {params.dataset:q}"
        " --settings {params.settings:q} --training {params.training:q} --folder {params.folder:q}"
        " --state {params.state:q} --threads {threads}"


# Where the suite says so, jobs encode a share each into the cache, and `embeddings` gathers them.
rule encode_part:
    input:
        warmup=lambda wildcards: LAYOUT.warmup(wildcards.dataset, wildcards.encoder),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        sources=sources("negmark.encode.embeddings"),
    output:
        record=temp("results/embeddings/{dataset}/{encoder}/parts/part-{part}-of-{parts}.json"),
    log:
        "results/logs/embeddings/{dataset}/{encoder}-{part}-of-{parts}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(wildcards.dataset)),
        runtime="12h",
        gpu=LAYOUT.gpus(),
    params:
        settings=lambda wildcards: LAYOUT.encoder_settings(wildcards.dataset, wildcards.encoder),
        dataset=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.record).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.encode.embeddings --part {wildcards.part:q} --parts {wildcards.parts:q}"
        " --dataset {params.dataset:q} --settings {params.settings:q} --folder {params.folder:q} --threads {threads}"


rule embeddings:
    input:
        parts=lambda wildcards: LAYOUT.encode_parts(
            f"results/embeddings/{wildcards.dataset}/{wildcards.encoder}/parts"
        ),
        warmup=lambda wildcards: LAYOUT.warmup(wildcards.dataset, wildcards.encoder),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        sources=sources("negmark.encode.embeddings"),
    output:
        documents="results/embeddings/{dataset}/{encoder}/documents.npy",
        queries="results/embeddings/{dataset}/{encoder}/queries.npy",
        facts="results/embeddings/{dataset}/{encoder}/embeddings.json",
    log:
        "results/logs/embeddings/{dataset}/{encoder}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(wildcards.dataset)),
        runtime="12h",
        gpu=0 if LAYOUT.suite.shards.encode > 1 else LAYOUT.gpus(),  # to gather needs none
    params:
        settings=lambda wildcards: LAYOUT.encoder_settings(wildcards.dataset, wildcards.encoder),
        dataset=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.facts).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.encode.embeddings"
        " --dataset {params.dataset:q} --settings {params.settings:q} --folder {params.folder:q} --threads {threads}"


# Where tokens are known and not in the dataset stage: another tokenizer makes new cards, and no new dataset.
rule card:
    input:
        documents=lambda wildcards: f"{LAYOUT.dataset(wildcards.dataset)}/documents.parquet",
        queries=lambda wildcards: f"{LAYOUT.dataset(wildcards.dataset)}/queries.parquet",
        qrels=lambda wildcards: f"{LAYOUT.dataset(wildcards.dataset)}/qrels.parquet",
        told=lambda wildcards: LAYOUT.card(wildcards.dataset),
        pools=lambda wildcards: LAYOUT.approximate(wildcards.dataset),
        sources=sources("negmark.board.card"),
    output:
        card=f"{LAYOUT.board}/cards/{{dataset}}.json",
        markdown=report(
            f"{LAYOUT.board}/cards/{{dataset}}.md",
            caption="../report/card.rst",
            category="Datasets",
            labels={"dataset": "{dataset}"},
        ),
    log:
        f"results/logs/cards/{LAYOUT.suite.suite}/{{dataset}}.log",
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.texts(wildcards.dataset)),
        runtime="1h",
    params:
        settings=lambda wildcards: canonical(LAYOUT.suite.encoder.model_dump()),
        dataset=lambda wildcards, input: Path(input.told).parent,
        pools=lambda wildcards, input: [f"--pool {pool}" for pool in input.pools],
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.board.card {params.pools}"
        " --dataset {params.dataset:q} --settings {params.settings:q} --output {output.card:q}"
