"""Notebooks run from top to bottom, and are stored without outputs.

Pain 41: what is shown must run.
"""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "colabs").glob("*.ipynb"))


@pytest.mark.slow
# The kernel's client warns about its own event loop and sockets.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path):
  nbclient = pytest.importorskip("nbclient")
  nbformat = pytest.importorskip("nbformat")
  notebook = nbformat.read(path, as_version=4)
  cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
  assert not any(cell.outputs for cell in cells)
  resources = {"metadata": {"path": str(ROOT)}}
  client = nbclient.NotebookClient(notebook, timeout=300, resources=resources)
  client.execute()
  shown = [
      output
      for cell in cells
      for output in cell.outputs
      if "image/png" in output.get("data", {})
  ]
  assert len(shown) >= 3
