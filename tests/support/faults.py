"""The faults that songbag is tested against, and the page made of them and of the tests that hold them.

``python -m tests.support.faults`` writes ``docs/reference/faults.md``. A test says which faults it holds by number:
``@pytest.mark.fault(24)``.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "faults.md"

FAULTS: dict[str, dict[int, tuple[str, str]]] = {
    "Audio files": {
        1: ("A file has no bytes.", "The song fails: `empty-file`."),
        2: ("A file ends inside its header.", "The song fails: `unreadable-header`."),
        3: ("A WAV, AIFF or similar file is cut off.", "What is there is used; the song is flagged as truncated."),
        4: (
            "An MP3 is cut off, or does not count its frames.",
            "It is read to its end; flagged if frames are missing.",
        ),
        5: ("An Ogg file is cut off.", "What is there is used; the song is flagged as truncated."),
        6: ("A FLAC is cut off.", "What is there is used; the song is flagged as truncated."),
        7: ("An M4A is cut off.", "The song fails, or is flagged as truncated if its table survived."),
        8: ("Some bytes inside an MP3 or WAV are damaged.", "The song is used; formats without checksums cannot tell."),
        9: (
            "A FLAC or M4A is damaged.",
            "A few damaged packets are silent or left out, which is noted; with many the song fails: `corrupt`.",
        ),
        10: ("An Ogg file has no whole packet.", "The song fails: `no-audio`."),
        11: ("Text or a web page is named like audio.", "The song fails: `not-audio`."),
        12: ("A file has the suffix of another format.", "It is read by its content."),
        13: ("An MP3 holds a tag and nothing else.", "The song fails: `no-audio`."),
        14: ("A file declares no samples.", "It is read to its end; without samples the song fails: `no-audio`."),
        15: ("A song is shorter than one window or one frame.", "It is padded to one window, or fails: `too-short`."),
        16: ("A song is digital silence.", "It is stored with finite features."),
        17: ("Samples are NaN or infinite.", "The song fails: `non-finite`."),
        18: ("Samples are far outside [-1, 1].", "The song fails: `out-of-range`."),
        19: ("The sample rate is very low or very high.", "The song is resampled and its duration is right."),
        20: ("A file has many channels, 24 or 32 bits.", "It gives the features of its mono mix."),
        21: ("The header has an impossible sample rate.", "`unreadable-header` or `bad-sample-rate`."),
        22: ("A file has hundreds of channels.", "The song fails: `too-many-channels`."),
        23: ("A header claims 4 GB of samples.", "What is there is read; no memory is taken for the claim."),
        24: ("A file lasts ten hours.", "Memory stays bounded; only the seconds asked for are decoded."),
        25: ("The codec is unknown, or a video has no sound.", "`unsupported-codec` or `no-audio`."),
        26: ("A playlist named like audio points to another file.", "`not-audio`; the other file is never opened."),
        27: (
            "A decoder crashes, hangs or takes all memory.",
            "Its process is replaced; this song alone fails: `decoder-crash`, `decoder-hang`, `out-of-memory`.",
        ),
        94: (
            "The channels are in opposite phase, so that nothing is left of them in the mix to mono.",
            "The song is used; `info` counts it, `failures` names it, `cancelled_share` is 1.",
        ),
        28: ("A file changes while it is read, or is gone.", "`changed-while-read` or `missing`."),
        89: (
            "A file has any number of channels up to 64, in any codec that carries so many.",
            "It gives the mix that the same audio gives as a WAV; no file can end the process that calls `read_audio`.",
        ),
        90: ("A decoder refuses a file.", "Another one tries it; a song fails only if all refuse it."),
        91: (
            "Recordings were joined in a file, or the sample rate, the channels or the layout change on the way.",
            "It is followed to its end, which is noted in `audio_note` if something changes; where the header says "
            "that the first recording ends, that is the song, and the rest is noted.",
        ),
        92: (
            "Tags, zeros or something else stand in front of the audio.",
            "They are skipped; the audio is searched in 16 MiB. Else the song fails: `not-audio` or `no-audio`.",
        ),
        93: (
            "A file has several audio streams.",
            "The one flagged as default is read, else the first, which is noted in `audio_note`.",
        ),
    },
    "Names and lists of songs": {
        29: (
            "Names in any script, with line breaks, not UTF-8, or equal but for composed accents.",
            "Names are kept as they are; what cannot be kept is left out with its reason; twins are warned of.",
        ),
        30: ("A song id looks like a path.", "It stays text; no path is ever made of it."),
        31: ("A manifest lists a song id twice.", "Refused before any work, with both lines."),
        32: ("One recording is listed under two ids.", "Both are stored, counted, and kept in one subset of a split."),
        33: ("Link loops, dangling links, pipes, devices.", "Left out and said; nothing waits for a pipe."),
        34: ("A file may not be read.", "The song fails: `permission-denied`."),
        35: ("A source is empty, or a manifest cannot be used.", "Refused with line or column; no store is made."),
        36: ("A list has millions of songs.", "It is cut into batches with some bytes of memory a song."),
        37: ("A file has changed since it was extracted.", "The run stops before any work, unless told to update it."),
        95: (
            "A folder holds hidden, trash, version, AppleDouble and system entries.",
            "Left out with one counted note; `--hidden` takes them, albums such as ..But Seriously are kept.",
        ),
        96: (
            "A folder holds links that lead out of it, to each other or back.",
            "Said with what follows them; followed, each folder is listed once and loops end.",
        ),
        97: (
            "A table, a playlist or a packed file is given as the source.",
            "TSV and JSON are read; the others are refused with what to do, and nothing is made.",
        ),
        98: ("No song could be stored.", "The exit code is 1."),
        99: (
            "A manifest has columns for parts of recordings.",
            "Each part is a song; bounds that make no part, or have other names, are refused.",
        ),
    },
    "Storage and processes": {
        38: ("The disk fills up.", "Said in words; nothing half-written is visible; the next run goes on."),
        39: ("A disk or bucket may not be written.", "Writing is refused at once; reading and training work."),
        40: ("Writers are killed at random moments.", "No acknowledged song is lost, none is there twice or torn."),
        41: ("Workers of a cluster are killed.", "The run completes."),
        42: ("The scheduler of a cluster is killed.", "The same command on another cluster goes on."),
        43: ("A run is killed between its parts and its commit.", "The next run takes over what was finished."),
        44: ("A song kills its worker again and again.", "That song alone fails."),
        45: ("A worker runs out of memory.", "The song alone fails; the message says memory."),
        46: ("A worker given up finishes its batch after all.", "One unused fragment is left, no song twice."),
        47: ("A run is interrupted.", "What is finished is committed; a second signal ends the run at once."),
        48: ("The power fails.", "Data are forced to disk before anything names them."),
        49: ("Several processes commit at once.", "All rows are there once; no commit is lost."),
        50: ("An object store is down, slow or breaks off.", "Tried again for a bounded time, then a clear error."),
        51: ("The answer to a successful write is lost.", "The write is recognised as our own."),
        52: ("An object store answers 409 to a conditional write.", "Tried again; not taken for an existing object."),
        53: ("A server ignores or refuses conditional writes.", "The place is refused when it is opened for writing."),
        54: ("A file system has no hard links, or replaces files.", "The place is refused with the reason."),
        55: ("Credentials, bucket, region or permission is wrong.", "Each has its own message."),
        56: ("A clock is days off.", "Extraction, commits and garbage collection are unaffected."),
        57: ("Garbage is collected beside a run or a reader.", "Nothing that is in use or pinned is removed."),
        58: (
            "A listing is long or breaks off.",
            "The newest snapshot is read, or there is an error; never an older one.",
        ),
        59: ("A worker has other software, or does not see the files.", "It is named before any work."),
        100: (
            "A folder or a bucket cannot be listed.",
            "An error that names it, at each listing of each command; gc deletes nothing.",
        ),
        104: ("Another user of the machine calls the local cluster.", "Refused: each run has a TLS key of its own."),
        113: ("`extract` is called by a script without a main guard.", "It works: no worker imports the script."),
        114: (
            "Snapshots are pinned by deleted runs, or left behind by runs.",
            "Pins are listed and can be released; of a run that has ended the last snapshot stays.",
        ),
        103: (
            "A link or a file was planted in the folder of a cache.",
            "It is never followed or read; a folder that others may write to is refused.",
        ),
        115: ("A library has something to say.", "Standard error holds songbag's own message, or nothing."),
    },
    "Damaged and foreign stores": {
        60: ("The fragment or shard of a song is missing.", "An error with the song; never zeros."),
        61: ("A shard is empty.", "An error with its songs; never zeros."),
        62: ("A shard is cut off.", "An error with its songs."),
        63: ("A bit of a shard is flipped.", "Found when it is read."),
        64: ("A bit of an index is flipped.", "Found before SQL sees it."),
        65: ("An index is cut off or is something else.", "An error that names the last good snapshot."),
        66: ("Rows of an index point nowhere, overlap or repeat.", "An error when the store is opened or read."),
        67: ("Files of another store are copied in.", "Refused."),
        68: ("`store.json` is lost, damaged or newer.", "Each has its message; nothing is written over."),
        69: ("Array metadata claim an impossible size.", "Refused before memory is taken."),
        70: ("Array metadata are something that songbag does not write.", "One kind of error; nothing is decoded."),
        71: ("A small chunk unpacks to gigabytes.", "Found by its digest before it is unpacked."),
        72: ("An index claims more rows than its bytes can hold.", "Refused before it is unpacked."),
        73: (
            "A store is copied while it is written.",
            "Whole at its newest snapshot, or `verify` says what is missing.",
        ),
        102: (
            "A bit of any file of a store is flipped, or the file is cut off.",
            "Noticed when the store is opened or by `verify --full`, or nothing that is read changes.",
        ),
    },
    "SQL, models and training": {
        74: ("SQL reads files, loads extensions or changes settings.", "Refused: the index is read-only."),
        75: ("SQL copies over the index.", "Refused; the index is untouched."),
        76: ("Hostile song ids, values and conditions.", "They are values, one expression, or refused."),
        77: ("A query has no end or needs too much memory.", "Stopped; no file is left."),
        78: ("SQL names a Python variable.", "It is out of reach."),
        79: ("A run folder holds a model file that runs code.", "It is never opened; weights hold numbers alone."),
        80: ("Weights or `run.json` lie about their size or shape.", "Refused before memory is taken."),
        81: ("A training is killed.", "Resumed, it ends as if nothing had happened."),
        152: ("A sweep is stopped or killed.", "The same command goes on; its points end as if nothing had happened."),
        153: ("A point of a sweep fails.", "It is a row with its error, and the others go on."),
        154: (
            "A worker that trains does not see the folder of the runs.",
            "It trains in a folder of its own, and the files of the run come back.",
        ),
        82: ("The disk fills up while weights or a checkpoint are saved.", "The ones before stay whole."),
        83: ("The loss becomes NaN.", "Training stops with the songs of the step; good weights are kept."),
        84: ("Classes, subsets, folds or labels are missing or empty.", "Refused before training, with the counts."),
        85: ("Songs are shorter than a bag, or all failed.", "Padded and masked, or refused."),
        86: ("The store goes on during a training.", "The run keeps its snapshot and names it."),
        87: (
            "Copies or one artist are in two subsets of a split.",
            "Refused or noted, with the way to keep them together.",
        ),
        88: (
            "Memory is too small for a step; a reading process dies.",
            "A clear error; batches are read all the same.",
        ),
        101: (
            "One bit of a file of a run changes, or the file is cut off.",
            "What reads the file refuses it; `verify` names it.",
        ),
        107: (
            "A song is there twice: with another tag, encoded again or quieter.",
            "`copies` lists both; a split keeps them together; what it claims is what was compared.",
        ),
        108: (
            "A run is judged by a column of another task.",
            "Refused; the message names both tasks.",
        ),
        109: (
            "A class has few test songs.",
            "Means over classes have no interval, and the reason is said; intervals that are shown hold the truth.",
        ),
        111: (
            "The column to group by is empty for many songs.",
            "A note counts them and says that each stands alone; another names texts such as Unknown.",
        ),
        110: (
            "Rare classes count more in the training.",
            "They count as much in the validation that chooses the epoch; `--monitor` names another metric.",
        ),
        112: (
            "Class names differ only in case, spaces or Unicode form, or are texts such as nan and None.",
            "A note names them with their numbers of songs and says what to do; they stay as they are.",
        ),
        105: (
            "An option has a value that makes a library panic, or names a device.",
            "A usage error that names the option.",
        ),
        150: (
            "Two processes train in one folder at the same time.",
            "The second one is refused, and names the first.",
        ),
        151: (
            "A list of doubtful labels is made after labels were corrected, or songs left the store.",
            "These songs are left out of it and counted.",
        ),
        131: (
            "A run was trained on songs that are test songs of a run that starts from its encoder.",
            "They and their copies are told, with the metrics without them, also when the first run is gone.",
        ),
        132: (
            "A training is to start from a run with another encoder or other features, or from something else.",
            "Refused, naming what differs, before there is a folder.",
        ),
        133: (
            "A finished run is to go on to fewer epochs than it has, or its state was not kept.",
            "Refused; the run stays as it is.",
        ),
        134: (
            "A run that has learned without labels is to predict or to be judged.",
            "Refused; the message says that it has no classes, and how to train from it.",
        ),
        135: (
            "A store has too few songs to learn from without labels, or only copies of one.",
            "With fewer than two recordings refused; with a few none is kept aside, and a note says so.",
        ),
        159: (
            "An optimizer, schedule or callback of the user's own returns the wrong thing, or fails.",
            "An error with its name; the checkpoint before stays whole.",
        ),
        106: (
            "The result of a query is larger than memory.",
            "It is written to a file as it comes; for a table, or a very large row, an error names the limit.",
        ),
    },
}
"""By part of songbag: the number of a fault, what happens, what songbag does."""

HEAD = """# Faults

What can go wrong outside of songbag, what it does then, and the tests that hold it. Whatever happens, committed
snapshots stay as they are bit for bit, the good songs of a batch are stored, and the same command run again finishes.

This page is made from the tests: `python -m tests.support.faults` writes it.
"""


def holders() -> dict[int, list[tuple[str, str]]]:
    """Return file and name of the tests that are marked with each fault."""
    found: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text())
        of_file = [number for node in tree.body if is_pytestmark(node) for number in numbers(node)]
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                own = [number for decorator in node.decorator_list for number in numbers(decorator)]
                for number in {*of_file, *own}:
                    found[number].append((str(path.relative_to(ROOT)), node.name))
    return dict(found)


def is_pytestmark(node: ast.stmt) -> bool:
    """Return whether a statement marks all tests of a file."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"


def numbers(node: ast.AST) -> list[int]:
    """Return the faults that a marker names."""
    return [
        argument.value
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.fault"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    ]


def page() -> str:
    """Return the text of the page."""
    tests = holders()
    parts = [HEAD]
    for title, faults in FAULTS.items():
        parts.append(f"## {title}\n\n| | what happens | what songbag does | held by |\n|---|---|---|---|")
        for number, (what, outcome) in faults.items():
            held = "<br>".join(f"[{fact(name)}](../../{file})" for file, name in tests[number])
            parts.append(f"| {number} | {what} | {outcome} | {held} |")
        parts.append("")
    return "\n".join(parts)


def fact(name: str) -> str:
    """Return the name of a test as words."""
    return name.removeprefix("test_").replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(page())
