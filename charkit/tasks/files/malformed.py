"""Why a row of delimited text is not well-formed, and what to do."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from charkit.errors import DataError

LARGEST_FIELD = 64 * 2**20
"""A longer field is a quotation mark that is never closed, or no text that anyone reads."""


def malformed(
    where: str, start: int, error: csv.Error, lines: Sequence[str], delimiter: str
) -> DataError:
    """Return the refusal of a row.

    Args:
        where: What messages call the file.
        start: The row's first line.
        error: What the reader found.
        lines: The lines of the row, as far as it was read.
        delimiter: The separator.
    """
    reason, text = str(error), "".join(lines[:1])
    if "field limit" in reason:
        return DataError(
            f"{where}: the row that starts at line {start} holds a field of more than "
            f"{LARGEST_FIELD // 2**20} MB: expected a text. A quotation mark is open there: close "
            "it, or shorten the text."
        )
    if '\\"' in text:
        return DataError(
            f"{where}: the row that starts at line {start} is not well-formed: quotation marks "
            'are written with a backslash (\\"): expected them doubled (""). Convert them: '
            'sed \'s/\\\\"/""/g\' old > new.'
        )
    if re.match(r'"[^"]*" "', text):
        return DataError(
            f"{where}, line {start}: the fields seem to be separated by spaces: expected commas. "
            "Write the file again (in R: write.csv)."
        )
    if delimiter in text and re.search(rf'[^"]" +({re.escape(delimiter)}|$)', text):
        return DataError(
            f"{where}, line {start}: a space stands after a quotation mark. Remove such spaces: "
            f"sed 's/\" *{delimiter}/\"{delimiter}/g' old > new."
        )
    if "unexpected end" in reason:
        reason = f"a quotation mark is never closed, to the end of the file ({len(lines)} lines)"
    return DataError(
        f"{where}: the row that starts at line {start} is not well-formed: {reason}. Put texts "
        'with quotation marks in quotes and double the marks inside ("She said ""no""").'
    )
