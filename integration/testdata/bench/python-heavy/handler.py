import pandas


def handler(event, context):
    return int(pandas.Series([1, 2, 3]).sum())
