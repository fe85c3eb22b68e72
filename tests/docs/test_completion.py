"""The completion scripts, in the shells themselves where these are installed."""

import shutil
import subprocess
import sys

import pytest

from scoreline.pipelines.completion import SHELLS, completion_script
from scoreline.pipelines.flags import score_parser

# A shell that is given words completes the last of them, and prints what it would offer.
_IN_BASH = """
source "$1"; shift
complete -p scoreline > /dev/null || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
_scoreline
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def bash(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = tmp_path / "scoreline.bash"
    script.write_text(completion_script("bash"))

    def complete(*words):
        command = ["bash", "--norc", "-c", _IN_BASH, "bash", str(script), *words]
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert run.stderr == ""
        return run.stdout.split()

    return complete


def test_bash_completes_verbs(bash):
    verbs = ["score", "run", "check", "schema", "model", "template", "completion"]
    assert bash("scoreline", "") == verbs
    assert bash("scoreline", "sc") == ["score", "schema"]


def test_bash_completes_the_flags_of_each_verb(bash):
    flags = [action.option_strings[-1] for action in score_parser()._actions]
    assert bash("scoreline", "score", "--") == flags
    assert bash("scoreline", "score", "--csv-n") == [
        "--csv-null-values",
        "--csv-newlines-in-values",
    ]
    assert bash("scoreline", "run", "job.yaml", "--s") == ["--set", "--status-secs"]


def test_bash_completes_the_actions_of_template_and_their_flags(bash):
    assert bash("scoreline", "template", "") == ["build", "check", "run"]
    assert bash("scoreline", "template", "build", "--o") == ["--output", "--overwrite"]
    assert bash("scoreline", "template", "run", "--job") == ["--job-file"]
    assert bash("scoreline", "run", "--job") == []


def test_bash_leaves_what_is_no_flag_to_its_file_names(bash):
    assert bash("scoreline", "score", "--input", "cust") == []
    assert "complete -o default " in completion_script("bash")


@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shutil.which(shell)])
def test_the_script_is_valid_in_its_shell(shell, tmp_path):
    script = tmp_path / f"scoreline.{shell}"
    script.write_text(completion_script(shell))
    run = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_every_verb_and_flag_stands_in_the_script(shell):
    script = completion_script(shell)
    for action in score_parser()._actions:
        name = action.option_strings[-1]
        assert (f"-l {name.lstrip('-')} " if shell == "fish" else name) in script


def test_completion_does_not_import_beam():
    code = (
        "import sys; from scoreline.pipelines.cli import main; main(['completion', 'bash']); "
        "sys.exit('apache_beam' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )
