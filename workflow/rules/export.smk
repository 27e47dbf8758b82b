rule export:
    input:
        warmup=lambda wildcards: LAYOUT.warmup(*LAYOUT.encoder_place(wildcards.dataset)),
        model="results/runs/{suite}/{dataset}/{method}/seed-{seed}/model.safetensors",
        manifest="results/runs/{suite}/{dataset}/{method}/seed-{seed}/manifest.json",
        metrics="results/runs/{suite}/{dataset}/{method}/seed-{seed}/metrics.json",
        sources=sources("negmark.share.export"),
        method=lambda wildcards: LAYOUT.method_sources(wildcards.method),
    output:
        # The folder and not a file of it: which files a model has differs, and Snakemake removes the whole old
        # model before the job, so that none of its files is left among the new ones.
        model=directory("results/models/{suite}/{dataset}/{method}/seed-{seed}"),
    log:
        "results/logs/export/{suite}/{dataset}/{method}/seed-{seed}.log",
    resources:
        mem_mb=memory(4000),
        runtime="30m",
    params:
        encoder=lambda wildcards: LAYOUT.encoder_settings(*LAYOUT.encoder_place(wildcards.dataset)),
        run=lambda wildcards, input: Path(input.model).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.export {params.run:q}"
        " --encoder {params.encoder:q} --output {output.model:q}"


rule models:
    input:
        damaged_as_well,
        expand(
            "results/models/{suite}/{dataset}/{method}/seed-{seed}",
            suite=CONTENTS.suite,
            dataset=CONTENTS.trained(),
            method=[row for row, tier in CONTENTS.tiers.items() if tier != "rerank"],  # no vectors there
            seed=CONTENTS.seeds[0],
        ),
    localrule: True
