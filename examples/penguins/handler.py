"""Does flipper length tell the weight of a penguin? Grouped statistics and a linear regression for each species.

The data are measurements of 344 penguins at Palmer Station, Antarctica (Gorman, Williams and Fraser 2014,
https://doi.org/10.1371/journal.pone.0090081, CC-0). They ship inside the package palmerpenguins.
"""

import numpy
import pandas
from palmerpenguins import load_penguins

penguins = load_penguins()


def regression(group, x, y):
    """Returns the least-squares line y = slope * x + intercept and how much of the variance it explains."""
    design = numpy.column_stack([group[x], numpy.ones(len(group))])
    (slope, intercept), residual, _, _ = numpy.linalg.lstsq(design, group[y], rcond=None)
    explained = 1 - residual[0] / ((group[y] - group[y].mean()) ** 2).sum()
    return {"slope": round(float(slope), 2), "intercept": round(float(intercept), 1), "r2": round(float(explained), 3)}


def handler(event, context):
    x = event.get("x", "flipper_length_mm")
    y = event.get("y", "body_mass_g")
    measured = [c for c in penguins.columns if pandas.api.types.is_numeric_dtype(penguins[c]) and c != "year"]
    for column in (x, y):
        if column not in measured:
            raise ValueError(f"no measurement is called {column!r}; there are {', '.join(measured)}")
    complete = penguins.dropna(subset=[x, y])
    species = {}
    for name, group in complete.groupby("species"):
        by_island = group.groupby("island")[y].agg(["count", "mean", "std"]).round(1)
        species[name] = {
            "count": len(group),
            "mean": round(float(group[y].mean()), 1),
            "median": round(float(group[y].median()), 1),
            "islands": by_island.to_dict("index"),
            "regression": regression(group, x, y),
        }
    return {"x": x, "y": y, "rows": len(complete), "species": species}
