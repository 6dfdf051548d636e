"""CSV and its kin as people write it: the separator is found, spaces behind it go, every fault has its line."""

from __future__ import annotations

import csv
import dataclasses
import io
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from songbag_store.errors import UsageError
from songbag_store.sql.encoding import check_text, encoding_of, fault, shown
from songbag_store.words import counted

_SEPARATORS = ",;\t|"
_TELLING = {"path", "audio_filepath", "song_id"}
_HINT = "sep="  # Excel writes and reads a first line such as `sep=;`
_BLOCKS = (1 << 20, 1 << 25, (1 << 31) - 1)
_LARGEST = (1 << 63) - 1
_MOST_EXACT = 1 << 53
_CODE = r"^[+-]?0[0-9xX]"  # 007, and 0x1F
_CODES = r"^[0-9]+[eE][0-9]+$"  # 1E5 and 2E3: a column of such texts alone holds codes, not measurements
_DECIMAL_COMMA = r"^[+-]?(0|[1-9][0-9]*)(,[0-9]+)?$"
_MANY_DIGITS = r"^[+-]?[0-9]{16,}$"

Record = tuple[int, list[str]]
"""The line where a record begins, counted from 1, and its fields."""


@dataclasses.dataclass(frozen=True, slots=True)
class Delimited:
    """A file of records whose fields are separated by a character.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    encoding : str
        Of its text.
    separator : str
        Between two fields.
    hinted : bool
        Whether the first line names the separator, and is no record.
    padded : bool
        Whether there are spaces beside the separators, which belong to no field.
    quoted : bool
        Whether a quotation mark is somewhere in it.
    """

    path: Path
    encoding: str
    separator: str = ","
    hinted: bool = False
    padded: bool = False
    quoted: bool = False

    @classmethod
    def of(cls, path: Path) -> Delimited:
        """Find out how a file is written.

        Raises
        ------
        UsageError
            If it is not text; with the line.
        """
        with path.open("rb") as file:
            encoding = encoding_of(file.read(4))
        plain = cls(path, encoding, quoted=check_text(path, encoding))
        with plain.open() as file:
            first = file.readline().strip()
        if first.lower().startswith(_HINT) and len(first) == len(_HINT) + 1:
            known = dataclasses.replace(plain, hinted=True, separator=first[-1])
        else:
            tab_first = sorted(_SEPARATORS, key=lambda one: one != "\t")
            order = tab_first if path.suffix.lower() in (".tsv", ".tab") else _SEPARATORS
            known = max((dataclasses.replace(plain, separator=one) for one in order), key=Delimited._fit)
        # A quoted field behind a space would otherwise not be taken for quoted.
        header = known.header()
        return dataclasses.replace(known, padded=any(name != name.strip() for name in header))

    def _fit(self) -> tuple[bool, int]:
        names = {name.strip() for name in self.header()}
        return bool(names & _TELLING), len(names)

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """Open the text, with its line ends as they are."""
        # Python's parser takes no field above 128 kB unless it is told to.
        limit = csv.field_size_limit(sys.maxsize)
        try:
            with self.path.open(newline="", encoding=self.encoding) as file:
                yield file
        finally:
            csv.field_size_limit(limit)

    def header(self) -> list[str]:
        """Return the names of the columns as they stand there."""
        try:
            return next((fields for _, fields in self.records()), [])
        except csv.Error:
            return []

    def records(self, *, strict: bool = False) -> Iterator[Record]:
        """Yield the records, the header first; empty lines are none."""
        with self.open() as file:
            reader = csv.reader(file, delimiter=self.separator, skipinitialspace=self.padded, strict=strict)
            begins = 1
            try:
                for fields in reader:
                    if fields and not (self.hinted and begins == 1):
                        yield begins, [field.strip() for field in fields] if self.padded else fields
                    begins = reader.line_num + 1
            except csv.Error as error:
                raise csv.Error(begins, str(error)) from error

    def line_of(self, row: int) -> int:
        """Return the line where a row begins; the header is no row."""
        return next(line for number, (line, _) in enumerate(self.records()) if number == row + 1)

    def check(self) -> None:
        """Refuse records of another length than the header, and quotation marks without their partner.

        Raises
        ------
        UsageError
            With the line.
        """
        n_fields = 0
        try:
            for line, fields in self.records(strict=True):
                n_fields = n_fields or len(fields)
                if len(fields) != n_fields:
                    what = f"line {line} has {counted(len(fields), 'field')}, and the first line has {n_fields}"
                    remedy = "Name every column in the first line, and put a field that holds "
                    remedy += f"{self.separator!r} between quotation marks."
                    raise fault(self.path, what, remedy)
        except csv.Error as error:
            line, reason = error.args
            what = f"line {line}: a quotation mark that opens a field has no partner ({reason})"
            raise fault(self.path, what, 'Write a quotation mark in a field twice: "12"" mix".') from error

    def read(self, texts: Collection[str] = ()) -> pa.Table:
        """Read the table with the types that its texts suggest; ids, paths and codes like 007, 0x1F and 1E5 are text.

        So are the columns named by `texts`.

        Only an empty field is null: an artist may be called "NA".

        Raises
        ------
        UsageError
            If it cannot be read, or a whole number would be rounded: above 64 bits, or above 2**53 among decimal
            numbers; with the line.
        """
        if self.quoted:
            self.check()
        source = self._rewritten() if self.padded else None
        try:
            return self._read(source, {*_TELLING, *texts})
        except pa.ArrowException as error:
            self.check()
            raise fault(self.path, f"it cannot be read ({str(error).splitlines()[0]})") from error

    def _read(self, source: pa.Buffer | None, as_text: set[str]) -> pa.Table:
        table = self._parse(source, dict.fromkeys(as_text, pa.string()), [])
        if len(set(table.column_names)) < table.num_columns:
            return table  # refused by its caller
        kinds = zip(table.column_names, table.schema.types, strict=True)
        numbers = [name for name, kind in kinds if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
        texts = self._parse(source, dict.fromkeys(numbers, pa.string()), numbers) if numbers else table
        for name in numbers:
            column, position = texts[name], table.schema.get_field_index(name)
            if pc.any(pc.match_substring_regex(column, _CODE)).as_py() or _all_match(column, _CODES):
                table = table.set_column(position, name, column)
            elif pa.types.is_floating(table.schema.field(position).type):
                self._refuse_rounded(name, column)
        for position, field in enumerate(table.schema):
            # The first column has no separator before it: a file name may begin with a space.
            if position and pa.types.is_string(field.type):
                column = table[position]
                column = pc.utf8_trim_whitespace(column) if _all_match(column, "^ ") else column
                if self.separator == ";" and field.name not in as_text and _have_decimal_comma(column):
                    self._refuse_rounded(field.name, column)
                    column = pc.replace_substring(column, ",", ".").cast(pa.float64())
                table = table.set_column(position, field.name, column)
        return table

    def _parse(self, source: pa.Buffer | None, types: dict[str, pa.DataType], only: list[str]) -> pa.Table:
        converting = pyarrow.csv.ConvertOptions(
            null_values=[""], strings_can_be_null=True, column_types=types, include_columns=only
        )
        parsing = pyarrow.csv.ParseOptions(newlines_in_values=True, delimiter=self.separator if source is None else ",")
        for block_bytes in _BLOCKS:
            # Every thread of Arrow keeps its own memory until the process ends.
            reading = pyarrow.csv.ReadOptions(
                use_threads=False,
                block_size=block_bytes,
                encoding="utf8" if source is not None or self.encoding == "utf-8-sig" else self.encoding,
                skip_rows=int(self.hinted and source is None),
            )
            whole = str(self.path) if source is None else pa.BufferReader(source)
            try:
                return pyarrow.csv.read_csv(whole, reading, parsing, converting)
            except pa.ArrowInvalid as error:
                # A record that is longer than a block.
                if "straddling" not in str(error) or block_bytes == _BLOCKS[-1]:
                    raise
        raise AssertionError

    def _refuse_rounded(self, name: str, texts: pa.ChunkedArray) -> None:
        """Refuse whole numbers that a column of decimal numbers would round."""
        for row in pc.indices_nonzero(pc.match_substring_regex(texts, _MANY_DIGITS)).to_pylist():
            text = texts[row].as_py()
            # Python takes a text of thousands of digits for an attack.
            digits = text.lstrip("+-0")
            if len(digits) > len(str(_LARGEST)) or not -_LARGEST - 1 <= int(text) <= _LARGEST:
                raise self._fault_of_number(name, row, text, "a number above 64 bits")
            if abs(int(text)) > _MOST_EXACT:
                raise self._fault_of_number(name, row, text, "which a column with decimal numbers would round")

    def _fault_of_number(self, name: str, row: int, text: str, what: str) -> UsageError:
        what = f"line {self.line_of(row)}: the column {name!r} holds {shown(text)}, {what}"
        return fault(self.path, what, "If it is a name and no number, write a letter before it.")

    def _rewritten(self) -> pa.Buffer:
        """Return the records as plain CSV in UTF-8, without the padding of their fields."""
        self.check()
        target = io.BytesIO()
        with io.TextIOWrapper(target, encoding="utf-8", newline="", write_through=True) as text:
            csv.writer(text).writerows(fields for _, fields in self.records())
            return pa.py_buffer(target.getvalue())


def _all_match(texts: pa.ChunkedArray, pattern: str) -> bool:
    """Return whether there are texts, and a pattern is found in all of them."""
    return texts.null_count < len(texts) and bool(pc.all(pc.match_substring_regex(texts, pattern)).as_py())


def _have_decimal_comma(texts: pa.ChunkedArray) -> bool:
    """Return whether texts are numbers with a decimal comma, as Excel writes where it writes semicolons."""
    return _all_match(texts, _DECIMAL_COMMA) and bool(pc.any(pc.match_substring(texts, ",")).as_py())
