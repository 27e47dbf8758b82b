BM25_POOLS = "results/pools/{collection}/bm25/{settings}"
DENSE_POOLS = "results/pools/{collection}/{encoder}/{settings}"


# If the suite says so, several jobs each search a share, and the pool's own job merges the results.
rule pool_part:
    input:
        qrels=rules.dataset.output.qrels,
        searched=lambda wildcards: (
            f"results/embeddings/{wildcards.collection}/{wildcards.owner}/documents.npy"
            if wildcards.kind == "dense"
            else f"results/datasets/{wildcards.collection}/documents.parquet"
        ),
        sources=sources("negmark.search.parts"),
    output:
        part=temp(
            "results/pools/{collection}/{owner}/{settings}/{kind}-parts/{documents}x{queries}/{part}.safetensors"
        ),
    log:
        "results/logs/pools/{collection}/{owner}-{settings}-{kind}-{documents}x{queries}-{part}.log",
    wildcard_constraints:
        kind="bm25|dense",
        documents="[0-9]+",
        queries="[0-9]+",
        part="[0-9]+",
    priority: 10
    threads: lambda wildcards: 64 if wildcards.kind == "dense" else 1
    resources:
        mem_mb=memory(
            4000, lambda wildcards: FOOTPRINT.search(COLLECTIONS[wildcards.collection], wildcards.kind)
        ),
        runtime="4h",
    params:
        settings=LAYOUT.specs.pools(),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {Path(input.searched).parent}" if wildcards.kind == "dense" else ""
        ),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.search.parts --part {wildcards.part:q}"
        " --documents {wildcards.documents:q} --queries {wildcards.queries:q}"
        " --dataset {params.dataset:q} {params.vectors} --settings {params.settings:q}"
        " --output {output.part:q} --threads {threads}"


rule bm25_pool:
    input:
        parts=lambda wildcards: PATHS.pool_parts(BM25_POOLS.format(**wildcards), "bm25"),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        sources=sources("negmark.search.candidates", "negmark.search.parts"),
    output:
        pool=f"{BM25_POOLS}/bm25.safetensors",
    log:
        "results/logs/pools/{collection}/bm25-{settings}.log",
    priority: 10
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.search(COLLECTIONS[wildcards.collection], "bm25")),
        runtime="4h",
    params:
        command=lambda wildcards: LAYOUT.pool_command(BM25_POOLS.format(**wildcards), "bm25"),
        settings=LAYOUT.specs.pools(),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m {params.command}"
        " --dataset {params.dataset:q} --settings {params.settings:q} --output {output.pool:q}"


rule dense_pool:
    input:
        parts=lambda wildcards: PATHS.pool_parts(DENSE_POOLS.format(**wildcards), "dense"),
        qrels=rules.dataset.output.qrels,
        documents=rules.embeddings.output.documents,
        queries=rules.embeddings.output.queries,
        sources=sources("negmark.search.candidates", "negmark.search.parts"),
    output:
        pool=f"{DENSE_POOLS}/dense.safetensors",
    log:
        "results/logs/pools/{collection}/{encoder}-{settings}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.search(COLLECTIONS[wildcards.collection], "dense")),
        runtime="4h",
    params:
        command=lambda wildcards: LAYOUT.pool_command(DENSE_POOLS.format(**wildcards), "dense"),
        settings=LAYOUT.specs.pools(),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m {params.command}"
        " --dataset {params.dataset:q} --vectors {params.vectors:q}"
        " --settings {params.settings:q} --output {output.pool:q} --threads {threads}"


# Negatives that a user's file gives, matched with the collection.
rule given_pool:
    input:
        own=lambda wildcards: inputs(COLLECTIONS[wildcards.collection].given_files),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        sources=sources("negmark.data.given"),
    output:
        pool="results/pools/{collection}/given/{settings}/given.safetensors",
        table="results/pools/{collection}/given/{settings}/given.parquet",
    log:
        "results/logs/pools/{collection}/given-{settings}.log",
    priority: 10
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="1h",
    params:
        file=lambda wildcards: COLLECTIONS[wildcards.collection].given_files[0],
        sizes=lambda wildcards: sizes(COLLECTIONS[wildcards.collection].given_files),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.data.given --file {params.file:q} --dataset {params.dataset:q}"
        " --output {output.pool:q} --table {output.table:q}"


# Verdicts on pairs that a user's file has, matched with the collection.
rule verdicts_pool:
    input:
        own=lambda wildcards: inputs(COLLECTIONS[wildcards.collection].verdict_files),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        sources=sources("negmark.data.verdicts"),
    output:
        pool="results/pools/{collection}/verdicts/{settings}/verdicts.safetensors",
    log:
        "results/logs/pools/{collection}/verdicts-{settings}.log",
    priority: 10
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="1h",
    params:
        file=lambda wildcards: COLLECTIONS[wildcards.collection].verdict_files[0],
        sizes=lambda wildcards: sizes(COLLECTIONS[wildcards.collection].verdict_files),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.data.verdicts --file {params.file:q} --dataset {params.dataset:q}"
        " --output {output.pool:q}"


# A cross-encoder that teaches scores the candidates once, for all rows and seeds. If the suite says so, several jobs
# each score a share into the cache, and the last one gathers them.
JUDGMENTS = "results/judgments/{collection}/{encoder}/{settings}/{ranker}"


rule judgments_part:
    input:
        pool=rules.dense_pool.output.pool,
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        own=inputs(LAYOUT.ranker_files()),
        sources=sources("negmark.train.judgments"),
    output:
        record=temp(f"{JUDGMENTS}-part-{{part}}-of-{{parts}}.json"),
    log:
        "results/logs/judgments/{collection}/{encoder}-{settings}-{ranker}-{part}-of-{parts}.log",
    wildcard_constraints:
        part="[0-9]+",
        parts="[0-9]+",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        settings=LAYOUT.judgments_settings(),
        sizes=sizes(LAYOUT.ranker_files()),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.train.judgments --pool {input.pool:q} --dataset {params.dataset:q}"
        " --settings {params.settings:q} --part {wildcards.part:q} --parts {wildcards.parts:q}"
        " --output {output.record:q} --threads {threads}"


rule judgments:
    input:
        parts=lambda wildcards: PATHS.judgment_parts(JUDGMENTS.format(**wildcards)),
        pool=rules.dense_pool.output.pool,
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        own=inputs(LAYOUT.ranker_files()),
        sources=sources("negmark.train.judgments"),
    output:
        judgments=f"{JUDGMENTS}.safetensors",
    log:
        "results/logs/judgments/{collection}/{encoder}-{settings}-{ranker}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        settings=LAYOUT.judgments_settings(),
        sizes=sizes(LAYOUT.ranker_files()),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.train.judgments --pool {input.pool:q} --dataset {params.dataset:q}"
        " --settings {params.settings:q} --output {output.judgments:q} --threads {threads}"


# The same by a row of the suite, which is trained first: for each of its models.
ROW_JUDGMENTS = "results/runs/{suite}/{dataset}/{row}/seed-{seed}/judgments"
ROW_JUDGED = dict(
    pool=lambda wildcards: PATHS.pool(DATASETS[wildcards.dataset], "dense"),
    documents=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/documents.parquet",
    queries=lambda wildcards: f"{PATHS.collection(DATASETS[wildcards.dataset])}/queries.parquet",
    model="results/runs/{suite}/{dataset}/{row}/seed-{seed}/model.safetensors",
    manifest="results/runs/{suite}/{dataset}/{row}/seed-{seed}/manifest.json",
    sources=sources("negmark.train.judgments"),
)


rule row_judgments_part:
    input:
        **ROW_JUDGED,
    output:
        record=temp(f"{ROW_JUDGMENTS}-part-{{part}}-of-{{parts}}.json"),
    log:
        "results/logs/judgments/{suite}/{dataset}/{row}/seed-{seed}-{part}-of-{parts}.log",
    wildcard_constraints:
        part="[0-9]+",
        parts="[0-9]+",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(DATASETS[wildcards.dataset])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.train.judgments --pool {input.pool:q} --dataset {params.dataset:q}"
        " --model {input.model:q} --part {wildcards.part:q} --parts {wildcards.parts:q}"
        " --output {output.record:q} --threads {threads}"


rule row_judgments:
    input:
        **ROW_JUDGED,
        parts=lambda wildcards: PATHS.judgment_parts(ROW_JUDGMENTS.format(**wildcards)),
    output:
        judgments=f"{ROW_JUDGMENTS}.safetensors",
    log:
        "results/logs/judgments/{suite}/{dataset}/{row}/seed-{seed}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(DATASETS[wildcards.dataset])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.train.judgments --pool {input.pool:q} --dataset {params.dataset:q}"
        " --model {input.model:q} --output {output.judgments:q} --threads {threads}"


# Texts made of the positives of training queries: by rule, or by a small causal model, once and before any training.
AUXILIARY = "results/auxiliary/{collection}"


rule edits:
    input:
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        sources=sources("negmark.data.edited"),
    output:
        texts=f"{AUXILIARY}/edits-{{settings}}/texts.jsonl",
    log:
        "results/logs/auxiliary/{collection}/edits-{settings}.log",
    priority: 10
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.search(COLLECTIONS[wildcards.collection], "bm25")),
        runtime="2h",
    params:
        settings=LAYOUT.specs.edits(),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.data.edited --dataset {params.dataset:q}"
        " --settings {params.settings:q} --output {output.texts:q}"


# A killed job goes on where it was.
rule written:
    input:
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        own=inputs(LAYOUT.writer_files()),
        sources=sources("negmark.data.written"),
    output:
        texts=f"{AUXILIARY}/written-{{settings}}/texts.jsonl",
    log:
        "results/logs/auxiliary/{collection}/written-{settings}.log",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="24h",
        gpu=LAYOUT.resources.gpus(),
    params:
        settings=LAYOUT.specs.written(),
        sizes=sizes(LAYOUT.writer_files()),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.data.written --dataset {params.dataset:q}"
        " --settings {params.settings:q} --output {output.texts:q} --threads {threads}"


# Does a text answer its query after all? Also asked of what BM25 and the encoder find.
rule judged_texts:
    input:
        texts=lambda wildcards: LAYOUT.judged_inputs(wildcards.collection, wildcards.source),
        documents=rules.dataset.output.documents,
        queries=rules.dataset.output.queries,
        qrels=rules.dataset.output.qrels,
        own=inputs(LAYOUT.text_judge_files()),
        sources=sources("negmark.train.judged_texts"),
    output:
        table=f"{AUXILIARY}/{{source}}-{{settings}}/judged-{{judge}}.parquet",
    log:
        "results/logs/auxiliary/{collection}/{source}-{settings}-judged-{judge}.log",
    wildcard_constraints:
        source="edits|written|retrieved",
        settings="[0-9a-f]+",
        judge="[0-9a-f]+",
    priority: 10
    threads: 64
    resources:
        mem_mb=memory(4000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="12h",
        gpu=LAYOUT.resources.gpus(),
    params:
        judging=LAYOUT.specs.judging(),
        sizes=sizes(LAYOUT.text_judge_files()),
        options=lambda wildcards: LAYOUT.judged_options(wildcards.collection, wildcards.source),
        dataset=lambda wildcards, input: Path(input.documents).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.train.judged_texts {params.options} --dataset {params.dataset:q}"
        " --settings {params.judging:q} --output {output.table:q} --threads {threads}"
