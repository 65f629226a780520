"""Adds up the rows of a CSV by a column."""
import io

import pandas


def handler(event, context):
    table = pandas.read_csv(io.StringIO(event["csv"]))
    sums = table.groupby("city")["amount"].agg(["sum", "mean", "count"]).round(3)
    return sums.reset_index().to_dict(orient="records")
