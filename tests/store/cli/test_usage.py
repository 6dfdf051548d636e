"""A wrong command line is answered in plain words: what is wrong, what was probably meant, where the help is."""

from __future__ import annotations

import pytest

from tests.support.command import songbag_here


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "s", "-o", "r", "--label", "x", "--epochs", "ten"],
            "--epochs: is 'ten' but must be a whole number from 1.",
        ),
        (
            ["train", "s", "-o", "r", "--label", "x", "--epochs", "0"],
            "--epochs: is 0 but must be a whole number from 1.",
        ),
        (
            ["train", "s", "-o", "r", "--label", "x", "--mixup", "much"],
            "--mixup: is 'much' but must be a number from 0.",
        ),
        (["train", "s", "-o", "r", "--label", "x", "--pooling", "atention"], "Did you mean 'attention'"),
        (["train", "s", "-o", "r", "--label", "x", "--encoder", "compct"], "Did you mean 'compact'?"),
        (["info", "s", "--snapshot", "last"], "--snapshot: is 'last' but must be a whole number from 0."),
        (["info", "s", "--snapshot", "-1"], "--snapshot: is '-1' but must be from 0."),
        (["diff", "s", "--from", "1.5"], "--from: is '1.5' but must be a whole number."),
        (["query", "s", "select 1", "--format", "tabel"], "one of table, csv, json, parquet.\n  Did you mean 'table'?"),
        (["train", "s", "--epoch", "3"], "no option '--epoch'.\n  Did you mean '--epochs' or '--epoch-songs'?"),
        (["trian", "s"], "there is no command 'trian'.\n  Did you mean 'train' or 'pretrain'?"),
        (["Train", "s"], "Did you mean 'train' or 'pretrain'?"),
        (["predict", "run"], "SOURCE: is missing."),
        (["predict", "run", "songs"], "--output: is missing."),
        (["info"], "STORE|RUN: is missing."),
        (["info", "a", "b c"], "too much: 'b c'."),
        (["train", "s", "--epochs"], "--epochs: needs a value."),
        (["gc", "s", "--yes=1"], "--yes: takes no value."),
        (["x\x1b[31m"], r"there is no command 'x\x1b[31m'."),
    ],
)
def test_a_wrong_command_line_is_answered_in_plain_words(words: list[str], said: str) -> None:
    done = songbag_here(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("songbag: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_alone_shows_its_help() -> None:
    done = songbag_here()
    assert (done.returncode, done.stderr) == (0, "")
    assert "songbag COMMAND" in done.stdout
