# What is prepared of a dataset lies under its collection's name, which stands for all settings that decide it.
# Shared work has priority: it takes all cores, and would leave some idle while it waits for a long run to end.
rule dataset:
    input:
        sources=lambda wildcards: sources(*COLLECTIONS[wildcards.collection].preparers),
        tables=asset("workflow/negmark/data/datasets.yaml"),
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
        folder=lambda wildcards, output: Path(output.card).parent,
        module=lambda wildcards: COLLECTIONS[wildcards.collection].preparers[0],
    shell:
        "NEGMARK_LOG={log:q} python -m {params.module} --settings {params.settings:q} --folder {params.folder:q}"
