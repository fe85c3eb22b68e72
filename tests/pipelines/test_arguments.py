import argparse
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.pipelines.arguments import Arguments, arities, split_arguments
from scoreline.pipelines.beam_flags import BEAM_FLAGS, FLINK_FLAGS, Arity
from scoreline.pipelines.errors import ExitCode, UsageError

OURS = {
    "--model": Arity.VALUE,
    "--input": Arity.VALUE,
    "--output": Arity.VALUE,
    "--dead-letters": Arity.VALUE,
    "--max-ratio": Arity.VALUE,
    "--set": Arity.VALUES,
    "--overwrite": Arity.STORE_TRUE,
    "--row-id": Arity.STORE_TRUE,
    "--help": Arity.STORE_TRUE,
    "-h": Arity.STORE_TRUE,
}


def split(*argv: str) -> Arguments:
    return split_arguments(argv, OURS)


def refusal(*argv: str) -> str:
    with pytest.raises(UsageError) as caught:
        split(*argv)
    return str(caught.value)


def parser_of_ours() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--model")
    parser.add_argument("--max-ratio", type=float)
    parser.add_argument("--set", action="append")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--no-report", dest="report", action="store_false")
    parser.add_argument("--version", action="version", version="1")
    parser.add_argument("job", nargs="*")
    return parser


# Sorting


def test_nothing_gives_nothing() -> None:
    assert split() == Arguments(ours=[], beam=[], positionals=[])


def test_flags_of_both_stand_anywhere_among_positionals() -> None:
    assert split(
        "a.yaml", "--runner=FlinkRunner", "--model", "m", "b.yaml", "--streaming", "--overwrite"
    ) == Arguments(
        ours=["--model=m", "--overwrite"],
        beam=["--runner=FlinkRunner", "--streaming"],
        positionals=["a.yaml", "b.yaml"],
    )


@pytest.mark.parametrize("argv", [["--model", "m"], ["--model=m"]])
def test_a_value_of_ours_stands_behind_a_space_or_an_equals_sign(argv: list[str]) -> None:
    assert split(*argv).ours == ["--model=m"]


@pytest.mark.parametrize("name", ["--dead-letters", "--dead_letters"])
def test_ours_accept_both_separators_and_come_out_as_our_parser_spells_them(name: str) -> None:
    assert split(name, "d").ours == ["--dead-letters=d"]


@pytest.mark.parametrize("name", ["--flink-master", "--flink_master"])
def test_beams_accept_both_separators_and_come_out_with_underscores(name: str) -> None:
    assert split(name, "host:8081").beam == ["--flink_master=host:8081"]


def test_separators_in_values_are_left_alone() -> None:
    assert split("--model=a-b_c=d", "--temp-location=gs://a-b_c").ours == ["--model=a-b_c=d"]
    assert split("--temp-location=gs://a-b_c").beam == ["--temp_location=gs://a-b_c"]


def test_flags_that_only_flinks_java_side_knows_go_to_beam() -> None:
    assert split("--checkpointing_interval", "1000", "--object-reuse").beam == [
        "--checkpointing_interval=1000",
        "--object_reuse",
    ]


def test_a_name_that_we_and_beam_share_is_ours() -> None:
    assert "--region" in BEAM_FLAGS
    assert split_arguments(["--region", "r"], {"--region": Arity.VALUE}) == Arguments(
        ours=["--region=r"], beam=[], positionals=[]
    )


def test_two_dashes_end_the_flags() -> None:
    assert split("a", "--overwrite", "--", "--model", "-x", "--").positionals == [
        "a",
        "--model",
        "-x",
        "--",
    ]


def test_a_single_dash_and_negative_numbers_are_positionals() -> None:
    assert split("-", "-1", "-.5").positionals == ["-", "-1", "-.5"]


def test_short_flags_are_known_exactly_as_they_are_declared() -> None:
    assert split("-h").ours == ["-h"]
    assert refusal("-model", "m") == "unknown flag -model. Did you mean --model?"


# Values


@pytest.mark.parametrize("value", ["-1", "-0.5", "-.5", "-1e3", "-", "", "a b", "true", "x=y"])
def test_a_value_flag_takes_the_next_word(value: str) -> None:
    assert split("--max-ratio", value).ours == [f"--max-ratio={value}"]
    assert split("--autoscaling_algorithm", value).beam == [f"--autoscaling_algorithm={value}"]


@pytest.mark.parametrize("value", ["--output", "--", "-Xmx1g", ""])
def test_a_joined_value_may_be_anything(value: str) -> None:
    assert split(f"--model={value}").ours == [f"--model={value}"]


@pytest.mark.parametrize("name", ["--model", "--dead_letters", "--flink-master", "--set"])
def test_a_value_that_is_missing_at_the_end(name: str) -> None:
    assert refusal("--overwrite", name) == (
        f"{name} needs a value, and nothing follows it. Write {name}=VALUE."
    )


@pytest.mark.parametrize("following", ["--output", "--nobody-knows-me", "--"])
def test_a_value_that_is_missing_before_the_next_flag(following: str) -> None:
    assert refusal("--model", following, "o") == (
        f"--model needs a value, and '{following}' follows it. Write --model=VALUE."
    )


def test_a_value_that_looks_like_a_short_flag_has_to_be_joined() -> None:
    assert refusal("--job_server_jvm_properties", "-Xmx1g") == (
        "--job_server_jvm_properties needs a value, and '-Xmx1g' looks like a flag. "
        "If it is the value, write --job_server_jvm_properties=-Xmx1g."
    )


# Booleans


@pytest.mark.parametrize("word", ["--row-id", "--row_id", "--row-id=true", "--row_id=TRUE"])
def test_a_boolean_of_ours_that_is_true(word: str) -> None:
    assert split(word).ours == ["--row-id"]


@pytest.mark.parametrize("word", ["--row-id=false", "--row_id=False"])
def test_a_boolean_of_ours_that_is_false_is_dropped(word: str) -> None:
    assert split(word).ours == []


@pytest.mark.parametrize("word", ["--streaming", "--streaming=true", "--streaming=True"])
def test_a_boolean_of_beams_that_is_true(word: str) -> None:
    assert split(word).beam == ["--streaming"]


def test_a_boolean_of_beams_that_is_false_is_dropped() -> None:
    assert split("--streaming=FALSE", "--no_use_public_ips=false").beam == []


def test_a_store_false_flag_of_beams_stands_alone_like_any_boolean() -> None:
    assert split("--no-use-public-ips=true").beam == ["--no_use_public_ips"]


@pytest.mark.parametrize(
    ("values", "wins"),
    [(["true", "false"], False), (["false", "true"], True), (["true", "false", "true"], True)],
)
def test_the_last_of_a_boolean_wins(values: list[str], wins: bool) -> None:
    argv = [f"--{name}={value}" for value in values for name in ("overwrite", "streaming")]
    assert split(*argv) == Arguments(
        ours=["--overwrite"] * wins, beam=["--streaming"] * wins, positionals=[]
    )


def test_the_last_of_two_opposite_booleans_of_beams_comes_last() -> None:
    assert split("--use_public_ips", "--no_use_public_ips", "--use_public_ips").beam == [
        "--no_use_public_ips",
        "--use_public_ips",
    ]


@pytest.mark.parametrize("value", ["maybe", "1", "yes", "", "true "])
@pytest.mark.parametrize("name", ["--overwrite", "--streaming", "--object-reuse", "--row_id"])
def test_a_boolean_accepts_nothing_else(name: str, value: str) -> None:
    assert refusal(f"{name}={value}") == (
        f"{name} is a boolean: expected {name}, {name}=true or {name}=false, got {name}={value}"
    )


@pytest.mark.parametrize("value", ["true", "False"])
@pytest.mark.parametrize("name", ["--overwrite", "--streaming"])
def test_a_boolean_does_not_take_the_next_word(name: str, value: str) -> None:
    assert refusal(name, value) == (
        f"{name} is a boolean and takes its value with a '=': {name}={value}"
    )
    assert split(name, "other").positionals == ["other"]


# Booleans of Flink's that are on by default


def test_one_that_is_on_by_default_is_switched_off_in_the_job_servers_way() -> None:
    assert split("--operator-chaining=false").beam == ["--operator_chaining"]
    assert split("--operator_chaining=false", "--flink_submit_uber_jar").beam == [
        "--operator_chaining",
        "--flink_submit_uber_jar",
    ]


def test_without_a_job_server_it_is_switched_off_by_its_value() -> None:
    assert split(
        "--operator_chaining=false", "--flink_submit_uber_jar", "--flink_master=host:8081"
    ).beam == [
        "--operator_chaining=false",
        "--flink_submit_uber_jar",
        "--flink_master=host:8081",
    ]


def test_one_that_is_on_by_default_is_dropped_when_true() -> None:
    assert split("--operator_chaining=false", "--operator_chaining=True").beam == []


def test_one_that_is_on_by_default_is_refused_when_bare() -> None:
    assert refusal("--operator_chaining") == (
        "--operator_chaining is on by default. "
        "Write --operator_chaining=false to switch it off, or leave it out."
    )


# Unknown flags


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--ouput", "--output"),
        ("--ouput=x", "--output"),
        ("--inptu", "--input"),
        ("--mod", "--model"),
        ("--dead_leters", "--dead-letters"),
        ("--overwite=true", "--overwrite"),
        ("--flink_mster=h", "--flink_master"),
        ("--flink-mster=h", "--flink_master"),
        ("--checkpointing-interva", "--checkpointing_interval"),
        ("--tempLocation", "--temp_location"),
    ],
)
def test_an_unknown_flag_names_the_nearest_one(word: str, nearest: str) -> None:
    name = word.partition("=")[0]
    assert refusal(word) == f"unknown flag {name}. Did you mean {nearest}?"


@pytest.mark.parametrize("name", ["--xyzzy", "-q", "---"])
def test_an_unknown_flag_that_is_like_no_other(name: str) -> None:
    assert refusal(name) == (
        f"unknown flag {name}: neither scoreline nor Beam nor Flink has one like it."
    )


def test_ours_are_suggested_before_beams_that_are_as_near() -> None:
    ours = {"--zonf": Arity.VALUE}
    assert "--zone" in BEAM_FLAGS
    with pytest.raises(UsageError, match=re.escape("Did you mean --zonf?")):
        split_arguments(["--zong"], ours)
    with pytest.raises(UsageError, match=re.escape("Did you mean --zone?")):
        split_arguments(["--zong"], {})


@pytest.mark.parametrize("name", ["--mode", "--over", "--stream", "--flink_mast"])
def test_names_are_never_abbreviated(name: str) -> None:
    assert refusal(f"{name}=x").startswith(f"unknown flag {name}. Did you mean --")


def test_flags_are_case_sensitive() -> None:
    assert refusal("--Model=m") == "unknown flag --Model. Did you mean --model?"


# Repeated flags


@pytest.mark.parametrize("second", ["b", "a"])
def test_a_single_valued_flag_of_ours_is_given_once(second: str) -> None:
    assert refusal("--model", "a", "x", f"--model={second}") == (
        f"--model was given twice: 'a' and '{second}'"
    )


def test_both_spellings_of_a_flag_are_the_same_flag() -> None:
    assert refusal("--dead_letters=a", "--dead-letters=b") == (
        "--dead-letters was given twice: 'a' and 'b'"
    )


def test_a_repeatable_flag_of_ours_keeps_its_order() -> None:
    assert split("--set", "a=1", "--set=b=2", "--set", "a=1").ours == [
        "--set=a=1",
        "--set=b=2",
        "--set=a=1",
    ]


def test_repeated_flags_of_beams_are_beams_business() -> None:
    assert split("--runner=A", "--experiments=a", "--runner=B", "--experiments=b").beam == [
        "--runner=A",
        "--experiments=a",
        "--runner=B",
        "--experiments=b",
    ]


def test_a_usage_error_carries_its_exit_code() -> None:
    assert UsageError.exit_code is ExitCode.USAGE
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 130, 143]


# The table of an argparse parser


def test_arities_of_a_parser() -> None:
    assert arities(parser_of_ours()) == {
        "-h": Arity.STORE_TRUE,
        "--help": Arity.STORE_TRUE,
        "--model": Arity.VALUE,
        "--max-ratio": Arity.VALUE,
        "--set": Arity.VALUES,
        "--overwrite": Arity.STORE_TRUE,
        "--no-report": Arity.STORE_FALSE,
        "--version": Arity.STORE_TRUE,
    }


@pytest.mark.parametrize(
    ("kwargs", "got"),
    [
        ({"action": "count"}, "_CountAction with nargs=0"),
        ({"nargs": "?"}, "_StoreAction with nargs='?'"),
        ({"nargs": 2, "action": "append"}, "_AppendAction with nargs=2"),
        ({"action": argparse.BooleanOptionalAction}, "BooleanOptionalAction with nargs=0"),
    ],
)
def test_arities_refuses_what_the_rules_have_no_form_for(
    kwargs: dict[str, object], got: str
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--odd", **kwargs)  # type: ignore[arg-type]
    expected = (
        "--odd: expected a store, append, store_true or store_false action without nargs, "
        f"got {got}"
    )
    with pytest.raises(ValueError, match=re.escape(expected)):
        arities(parser)


def test_arities_refuses_a_second_name_for_a_single_value() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", "--model")
    with pytest.raises(ValueError, match="-m and --model are one flag; given both, neither would"):
        arities(parser)


def test_argparse_takes_what_comes_out() -> None:
    parser = parser_of_ours()
    argv = ["-1", "--max_ratio", "-1", "--model=--x", "--set", "a=-b", "--set=", "--overwrite=true"]
    arguments = split_arguments([*argv, "--", "--job"], arities(parser))
    parsed = parser.parse_args([*arguments.ours, "--", *arguments.positionals])
    assert vars(parsed) == {
        "model": "--x",
        "max_ratio": -1.0,
        "set": ["a=-b", ""],
        "overwrite": True,
        "report": True,
        "job": ["-1", "--job"],
    }


# Properties

_VALUES = st.text(st.characters(codec="utf-8"), max_size=8)
_POSITIONALS = _VALUES.filter(
    lambda v: not v.startswith("-") and v.lower() not in ("true", "false")
)


def _spellings(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.replace("_", "-"), "--" + name[2:].replace("-", "_")])


def _valued(names: list[str]) -> st.SearchStrategy[tuple[str, str]]:
    return st.sampled_from(names).flatmap(lambda n: st.tuples(st.just(n), _VALUES))


@given(
    ours=st.lists(_valued(["--set"]), max_size=3),
    beam=st.lists(
        _valued([*FLINK_FLAGS, *BEAM_FLAGS]).filter(
            lambda pair: {**FLINK_FLAGS, **BEAM_FLAGS}[pair[0]].takes_value
        ),
        max_size=3,
    ),
    positionals=st.lists(_POSITIONALS, max_size=3),
    data=st.data(),
)
def test_every_word_comes_out_once_and_in_order(
    ours: list[tuple[str, str]],
    beam: list[tuple[str, str]],
    positionals: list[str],
    data: st.DataObject,
) -> None:
    kinds = data.draw(
        st.permutations(["ours"] * len(ours) + ["beam"] * len(beam) + ["free"] * len(positionals))
    )
    queues = {"ours": iter(ours), "beam": iter(beam)}
    free = iter(positionals)
    argv: list[str] = []
    for kind in kinds:
        if kind == "free":
            argv.append(next(free))
            continue
        name, value = next(queues[kind])
        spelling = data.draw(_spellings(name))
        is_joined = value.startswith("-") or data.draw(st.booleans())
        argv += [f"{spelling}={value}"] if is_joined else [spelling, value]
    assert split(*argv) == Arguments(
        ours=[f"{name}={value}" for name, value in ours],
        beam=[f"{name}={value}" for name, value in beam],
        positionals=positionals,
    )


@given(st.lists(st.text(st.sampled_from("-_=1amodel"), max_size=9) | st.sampled_from([*OURS])))
def test_any_command_line_is_sorted_or_refused_and_sorting_again_changes_nothing(
    argv: list[str],
) -> None:
    try:
        first = split(*argv)
    except UsageError:
        return
    assert split(*first.ours, *first.beam, "--", *first.positionals) == first


# Start-up


def test_the_flags_layer_imports_nothing_that_is_slow() -> None:
    code = "import sys, scoreline.pipelines.arguments; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert loaded & {"apache_beam", "pydantic", "pyarrow", "numpy", "yaml", "sklearn"} == set()
