# Advice on a user's own collection. Its board has a plan of its own, so the rule here only starts the parts one after
# the other. Without outputs: what is done says so in seconds, and the advice is that of the newest board.
from negmark.advise.asked import open_asked
from negmark.advise.designs import check_whole

ASKED = open_asked(config, workflow.configfiles, sys.argv[1:], check_whole)


def advise_command():
    """Return what gives the command: Snakemake would fill in braces of a text."""
    asked = shlex.quote(ASKED.as_json())
    snakefile = shlex.quote(workflow.main_snakefile)
    command = f"set -o pipefail; python -m negmark.advise.advise --asked {asked} --snakefile {snakefile}"
    return lambda wildcards: command
