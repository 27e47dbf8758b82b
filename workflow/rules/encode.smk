rule warm_up:
    input:
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        own=lambda wildcards: inputs(LAYOUT.encoder_files(wildcards.encoder)),
        sources=sources(*LAYOUT.warmup_modules, "negmark.methods.inbatch"),
    output:
        model="results/warmups/{collection}/{encoder}/model.safetensors",
        facts="results/warmups/{collection}/{encoder}/warmup.json",
    log:
        "results/logs/warmups/{collection}/{encoder}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        settings=canonical(SUITE.encoder.model_dump()),
        sizes=lambda wildcards: sizes(LAYOUT.encoder_files(wildcards.encoder)),
        training=canonical(SUITE.warmup_budget().decides()),
        module=LAYOUT.warmup_modules[0],
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        folder=lambda wildcards, output: Path(output.facts).parent,
        state="results/state/warmups/{collection}/{encoder}",
    shell:
        "NEGMARK_LOG={log:q} python -m {params.module} --dataset {params.dataset:q}"
        " --settings {params.settings:q} --training {params.training:q} --folder {params.folder:q}"
        " --state {params.state:q} --threads {threads}"


# If the suite says so, several jobs each encode a share into the cache, and `embeddings` gathers them.
rule encode_part:
    input:
        warmup=lambda wildcards: PATHS.warmup(wildcards.collection, wildcards.encoder),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        own=lambda wildcards: inputs(LAYOUT.encoder_files(wildcards.encoder)),
        sources=sources("negmark.encode.embeddings"),
    output:
        record=temp("results/embeddings/{collection}/{encoder}/parts/part-{part}-of-{parts}.json"),
    log:
        "results/logs/embeddings/{collection}/{encoder}-{part}-of-{parts}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        settings=lambda wildcards: LAYOUT.specs.encoder(COLLECTIONS[wildcards.collection], wildcards.encoder),
        sizes=lambda wildcards: sizes(LAYOUT.encoder_files(wildcards.encoder)),
        dataset=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.record).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.encode.embeddings --part {wildcards.part:q} --parts {wildcards.parts:q}"
        " --dataset {params.dataset:q} --settings {params.settings:q} --folder {params.folder:q} --threads {threads}"


rule embeddings:
    input:
        parts=lambda wildcards: PATHS.encode_parts(
            f"results/embeddings/{wildcards.collection}/{wildcards.encoder}/parts"
        ),
        warmup=lambda wildcards: PATHS.warmup(wildcards.collection, wildcards.encoder),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        own=lambda wildcards: inputs(LAYOUT.encoder_files(wildcards.encoder)),
        sources=sources("negmark.encode.embeddings", *LAYOUT.table_modules()),
    output:
        documents="results/embeddings/{collection}/{encoder}/documents.npy",
        queries="results/embeddings/{collection}/{encoder}/queries.npy",
        facts="results/embeddings/{collection}/{encoder}/embeddings.json",
    log:
        "results/logs/embeddings/{collection}/{encoder}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="12h",
        gpu=0 if SUITE.shards.encode > 1 else LAYOUT.resources.gpus(),  # gathering needs none
    params:
        settings=lambda wildcards: LAYOUT.specs.encoder(COLLECTIONS[wildcards.collection], wildcards.encoder),
        sizes=lambda wildcards: sizes(LAYOUT.encoder_files(wildcards.encoder)),
        dataset=lambda wildcards, input: Path(input.documents).parent,
        folder=lambda wildcards, output: Path(output.facts).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.encode.embeddings"
        " --dataset {params.dataset:q} --settings {params.settings:q} --folder {params.folder:q} --threads {threads}"
