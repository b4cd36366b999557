import base64
import io
import re

import numpy as np
import pytest
import rich.console

from rewardjax.training import figures, report
from rewardjax.training.intervals import mean_interval

CURVES = {
    "clean": figures.Curve([0, 10, 20], [[0.1, 0.4, 0.8], [0.2, 0.5, 0.7]]),
    "noisy <b>": figures.Curve([0, 10, 20], [[0.1, 0.3, np.nan]]),
}
TABLE = report.Table(
    ["arm", "accuracy"],
    [["clean", mean_interval([0.8, 0.7])], ["noisy <b>[red]", 0.25]],
    "Final accuracy",
)


def test_curves_are_labelled_and_told_apart():
  figure = figures.learning_curves(CURVES, ylabel="accuracy", title="Both")
  (axes,) = figure.axes
  assert axes.get_xlabel() == "step" and axes.get_ylabel() == "accuracy"
  np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.15, 0.45, 0.75])
  names = {text.get_text(): text.get_color() for text in axes.texts}
  lines = [line.get_color() for line in axes.lines]
  assert names == dict(zip(CURVES, lines))
  assert len({(x.get_color(), x.get_linestyle()) for x in axes.lines}) == 2


def test_names_at_line_ends_do_not_overlap():
  bundle = {
      str(i): figures.Curve([0, 1], [[0, 1 + i / 1000]]) for i in range(6)
  }
  (axes,) = figures.learning_curves(bundle, ylabel="y").axes
  heights = sorted(text.xyann[1] for text in axes.texts)
  low, high = axes.get_ylim()
  assert min(np.diff(heights)) > 0.06 * (high - low)


def test_the_page_holds_everything(tmp_path):
  figure = figures.learning_curves(CURVES, ylabel="accuracy")
  sections = [
      report.Section("A & B", "One.\n\nTwo <i>.", TABLE, {"curves": figure}),
      report.Section("Empty"),
  ]
  path = report.write_report(tmp_path / "report.html", "What <came>", sections)
  page = path.read_text()
  assert "<h1>What &lt;came&gt;</h1>" in page and "A &amp; B" in page
  assert page.count("<p>") == 2 and "noisy &lt;b&gt;[red]" in page
  assert "<td>0.250</td>" in page and "0.750 ± " in page
  # Self-contained: the image is inside, nothing is fetched.
  assert not re.search(r"https?://|<script|<link", page)
  (image,) = re.findall(r"base64,([^\"]+)", page)
  png = (tmp_path / "figures" / "curves.png").read_bytes()
  assert base64.b64decode(image) == png and png.startswith(b"\x89PNG")


def test_equal_numbers_give_equal_files(tmp_path):
  pages = []
  for i in range(2):
    drawn = {"c": figures.learning_curves(CURVES, ylabel="y")}
    sections = [report.Section("s", "", TABLE, drawn)]
    path = report.write_report(tmp_path / str(i) / "report.html", "t", sections)
    pages.append(path.read_bytes())
  assert pages[0] == pages[1]


def test_two_figures_may_not_share_a_name(tmp_path):
  figure = figures.learning_curves(CURVES, ylabel="y")
  sections = [report.Section(t, figures={"same": figure}) for t in "ab"]
  with pytest.raises(ValueError, match=r"share the names \['same'\]"):
    report.write_report(tmp_path / "report.html", "t", sections)


def test_a_config_is_shown_line_by_line(tmp_path):
  section = report.config_section(
      dict(
          noise=dict(rates=(0.1, 0.2), name="<b>"),
          steps=3,
          none=None,
          text=dict(separator="\n\n", how="3"),
      )
  )
  page = report.write_report(tmp_path / "report.html", "t", [section])
  shown = page.read_text().split("<pre>")[1].split("</pre>")[0]
  assert shown.splitlines() == [
      "noise:",
      "  name: &lt;b&gt;",
      "  rates: [0.1, 0.2]",
      "none: null",
      "steps: 3",
      "text:",
      "  how: &#39;3&#39;",
      "  separator: &#34;\\n\\n&#34;",
  ]


def test_the_table_prints():
  out = io.StringIO()
  console = rich.console.Console(file=out, width=60)
  report.print_table(TABLE, console)
  text = out.getvalue()
  for shown in ("Final accuracy", "noisy <b>[red]", "0.250"):
    assert shown in text
