"""The notebook of the documentation, run from top to bottom: python -m tests.support.notebook writes its outputs.

It makes the demo's collection and store in a temporary folder, and runs the notebook there.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tests.support.site import DOCS

NOTEBOOK = DOCS / "tutorial" / "notebook.ipynb"


def write() -> None:
    """Run the notebook and save it with what it shows."""
    import nbformat
    from nbclient import NotebookClient

    import songbag
    from songbag_pipeline.demo.collection import write_collection

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        write_collection(Path(folder, "songs"))
        songbag.extract(f"{folder}/songs", f"{folder}/store", config=songbag.ExtractConfig(label_from_folder=True))
        where = {"metadata": {"path": folder}}
        NotebookClient(notebook, resources=where, record_timing=False, coalesce_streams=True).execute()
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if not _is_empty(one)]
    nbformat.write(notebook, NOTEBOOK)


def _is_empty(output: Any) -> bool:
    """Return whether an output shows nothing, such as a bar that has gone."""
    return output.output_type == "display_data" and not output.data.get("text/plain", "").strip()


if __name__ == "__main__":
    write()
