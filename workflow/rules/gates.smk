# A gate's baseline is evaluated by itself, as its published value was made: BM25 with that value's k1 and b. Gates come
# before any training: a baseline that is wrong should be known in minutes.
rule gate:
    input:
        unpack(lambda wildcards: LAYOUT.gate_inputs(wildcards.gate)),
        sources=sources("negmark.evaluate.evaluate"),
    output:
        metrics="results/gates/{suite}/{gate}/metrics.json",
        per_query="results/gates/{suite}/{gate}/per_query.parquet",
        run="results/gates/{suite}/{gate}/run.trec.gz",
    log:
        "results/logs/gates/{suite}/{gate}.log",
    priority: 20
    resources:
        mem_mb=memory(2000),
        runtime="2h",
    params:
        about=lambda wildcards: LAYOUT.about_gate(wildcards.gate),
        dataset=lambda wildcards, input: Path(input.qrels).parent,
        vectors=lambda wildcards, input: (
            f"--vectors {Path(input.documents).parent}" if "documents" in input.keys() else ""
        ),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.evaluate {output.metrics:q} --about {params.about:q}"
        " --dataset {params.dataset:q} {params.vectors} --threads {threads}"


rule gates:
    input:
        metrics=expand(
            "results/gates/{suite}/{gate}/metrics.json", suite=CONTENTS.suite, gate=LAYOUT.suite.gates
        ),
        damaged=damaged_as_well,
        sources=sources("negmark.evaluate.gates"),
    output:
        csv=report(
            f"{LAYOUT.board}/gates.csv",
            caption="../report/gates.rst",
            category="Gates",
            labels={"form": "table"},
        ),
        markdown=report(
            f"{LAYOUT.board}/gates.md",
            caption="../report/gates.rst",
            category="Gates",
            labels={"form": "text"},
        ),
    log:
        f"results/logs/gates/{LAYOUT.suite.suite}.log",
    priority: 20
    resources:
        mem_mb=memory(1000),
        runtime="30m",
    params:
        gates=lambda wildcards: LAYOUT.gate_settings(),
        folder=lambda wildcards, output: Path(output.csv).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.evaluate.gates {input.metrics:q} --gates {params.gates:q}"
        " --folder {params.folder:q}"
