rule track:
    input:
        metrics=CONTENTS.files("metrics.json"),
        histories=[run / "history.parquet" for run in CONTENTS.runs(*CONTENTS.trained())],
        scores=[run / "scores.parquet" for run in CONTENTS.runs(*CONTENTS.trained())],
        manifests=[run / "manifest.json" for run in CONTENTS.runs(*CONTENTS.trained())],
        sources=sources("negmark.share.track"),
    output:
        receipt=LAYOUT.wandb,
    log:
        f"results/logs/track/{LAYOUT.suite.suite}.log",
    resources:
        mem_mb=memory(2000),
        runtime="1h",
    params:
        contents=CONTENTS.model_dump_json(),
        settings=lambda wildcards: canonical(LAYOUT.suite.tracking.model_dump()),
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.track --contents {params.contents:q}"
        " --settings {params.settings:q} --receipt {output.receipt:q}"


# By itself, as a board is collated more often than runs are made.
rule track_board:
    input:
        table=rules.leaderboard.output.csv,
        page=rules.leaderboard.output.html,
        manifest=rules.manifest.output.manifest,
        sources=sources("negmark.share.track"),
    output:
        receipt=LAYOUT.wandb_board,
    log:
        f"results/logs/track/{LAYOUT.suite.suite}-board.log",
    resources:
        mem_mb=memory(2000),
        runtime="30m",
    params:
        contents=CONTENTS.model_dump_json(),
        settings=lambda wildcards: canonical(LAYOUT.suite.tracking.model_dump()),
        folder=lambda wildcards, input: Path(input.table).parent,
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.track --contents {params.contents:q}"
        " --settings {params.settings:q} --receipt {output.receipt:q} --folder {params.folder:q}"


# The one rule that needs the network and a key; no target but itself waits for it.
rule sync:
    input:
        receipts=[rules.track.output.receipt, rules.track_board.output.receipt],
        sources=sources("negmark.share.sync"),
    output:
        receipt=f"results/tracking/{LAYOUT.suite.suite}.synced.json",
    log:
        f"results/logs/sync/{LAYOUT.suite.suite}.log",
    localrule: True
    shell:
        "NEGMARK_LOG={log:q} python -m negmark.share.sync {input.receipts:q} --output {output.receipt:q}"
