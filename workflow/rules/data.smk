# A prepared dataset is stored under its collection's name, a hash of all settings that decide it.
# Shared work has priority: it takes all cores, so while it waited for a long run to end, the others would be idle.
rule dataset:
    input:
        sources=lambda wildcards: sources(*COLLECTIONS[wildcards.collection].preparers),
        tables=asset("workflow/negmark/data/datasets.yaml"),
        own=lambda wildcards: inputs(COLLECTIONS[wildcards.collection].own_files),
    output:
        documents="results/datasets/{collection}/documents.parquet",
        queries="results/datasets/{collection}/queries.parquet",
        qrels="results/datasets/{collection}/qrels.parquet",
        card="results/datasets/{collection}/card.json",
    log:
        "results/logs/datasets/{collection}.log",
    priority: 10
    resources:
        mem_mb=memory(2000, lambda wildcards: FOOTPRINT.texts(COLLECTIONS[wildcards.collection])),
        runtime="4h",  # MS MARCO has 8.8 million passages to read
    params:
        settings=lambda wildcards: canonical(COLLECTIONS[wildcards.collection].decides),
        sizes=lambda wildcards: sizes(COLLECTIONS[wildcards.collection].own_files),
        folder=lambda wildcards, output: Path(output.card).parent,
        module=lambda wildcards: COLLECTIONS[wildcards.collection].preparers[0],
    shell:
        "NEGMARK_LOG={log:q} python -m {params.module} --settings {params.settings:q} --folder {params.folder:q}"
